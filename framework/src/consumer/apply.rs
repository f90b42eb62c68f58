//! Applying a batch: one transaction for all of it; when one message fails, smaller ones
//! until the failing message stands alone.

use std::{collections::HashSet, ops::Range, time::Duration};

use sqlx::Transaction;

use super::{
    Inner,
    stop::{Failure, Stop, forget_index, shift_index},
};
use crate::{
    Error, Result, Storage, begin,
    inbox::{News, compare},
    message::{Batch, Envelope, HandOver, Link, Origin, Position},
    storage::{HeldReason, Holding, InboxRow},
    transport::{Ack, Outcome, ReceiveError},
};

/// How long a batch that came too early waits for the one before it.
const EARLY: Duration = Duration::from_millis(500);
/// A transaction that the database rolled back is repeated so often, with these pauses.
const REPEATS: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
];
/// What a source is told to wait when our database is away or too many keys fail.
const PAUSE_MS: u64 = 1_000;

/// What is applied in one transaction: messages, and how far the log was looked at after them.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) origin: &'a Origin,
    pub(super) messages: &'a [Envelope],
    pub(super) through: Position,
    pub(super) last: Link,
    pub(super) handover: Option<&'a HandOver>,
}

impl<'a> Part<'a> {
    /// The messages of `range`; progress belongs to the part at the end.
    fn of(batch: &'a Batch, range: Range<usize>) -> Self {
        let messages = &batch.messages[range.clone()];
        let (through, last) = match messages.last() {
            Some(last) if range.end < batch.messages.len() => (last.position, last.link()),
            _ => (batch.through, batch.last),
        };
        let handover = batch.handover.as_deref();
        Self { origin: &batch.origin, messages, through, last, handover }
    }
}

impl<DB: Storage> Inner<DB> {
    pub(super) async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        let turn = self.turn(&batch.origin);
        let mut applied = turn.watermark.subscribe();
        let early = applied.wait_for(|applied| *applied >= batch.prev().position);
        // Late is as good: a gap is answered with the watermark, and the source sends again.
        drop(tokio::time::timeout(EARLY, early).await);
        let applying = turn.applying.lock().await;
        let result = self.apply_batch(&batch).await;
        drop(applying);
        if let Ok(ack) = &result {
            turn.watermark.send_replace(ack.watermark);
        }
        result
    }

    async fn apply_batch(&self, batch: &Batch) -> Result<Ack, ReceiveError> {
        let all = 0..batch.messages.len();
        let mut todo = vec![all];
        let mut row = None;
        while let Some(range) = todo.pop() {
            match self.apply_repeatedly(Part::of(batch, range.clone())).await {
                Ok(done) => row = Some(done),
                Err(Stop::Failed(index, failure)) if range.len() > 1 => {
                    tracing::debug!(consumer = self.name, %failure, ?range, "batch is split");
                    split(range, index, &mut todo);
                }
                Err(Stop::Failed(_, failure)) => {
                    match self.settle_repeatedly(Part::of(batch, range), failure).await {
                        Ok(done) => row = Some(done),
                        Err(stop) => return self.stopped(batch, row, stop).await,
                    }
                }
                Err(stop) => return self.stopped(batch, row, stop).await,
            }
        }
        match row {
            Some(row) => Ok(row.ack(Outcome::Complete)),
            None => Err(ReceiveError::Refused("the batch is empty".to_owned())),
        }
    }

    /// Answers a source whose batch was not applied to its end.
    async fn stopped(
        &self,
        batch: &Batch,
        row: Option<InboxRow>,
        stop: Stop,
    ) -> Result<Ack, ReceiveError> {
        let (error, paused) = match stop {
            Stop::Gap(row) => return Ok(row.ack(Outcome::Gap)),
            Stop::Refused(reason) => return Err(ReceiveError::Refused(reason)),
            Stop::Broken(error) => return Err(ReceiveError::Storage(error)),
            Stop::Failed(_, failure) => return Err(ReceiveError::Refused(failure.to_string())),
            Stop::Transient(error) => (Some(error), "the database is away or busy"),
            Stop::TooManyParked => (None, "too many keys are parked: the stream pauses"),
        };
        tracing::warn!(consumer = self.name, ?error, "{paused}");
        let row = match row {
            Some(row) => Some(row),
            None => DB::inbox(&self.pool, &self.name, &batch.origin).await?,
        };
        let row = row.unwrap_or(self.first_row(Part::of(batch, 0..batch.messages.len())));
        Ok(row.ack(Outcome::Paused { retry_after_ms: PAUSE_MS }))
    }

    async fn apply_repeatedly(&self, part: Part<'_>) -> Result<InboxRow, Stop> {
        for pause in REPEATS {
            match self.apply(part).await {
                Err(Stop::Transient(error)) => {
                    tracing::debug!(consumer = self.name, %error, "transaction is repeated");
                    tokio::time::sleep(pause).await;
                }
                other => return other,
            }
        }
        self.apply(part).await
    }

    async fn settle_repeatedly(&self, part: Part<'_>, failure: Failure) -> Result<InboxRow, Stop> {
        for pause in REPEATS {
            match self.settle(part, &failure).await {
                Err(Stop::Transient(_)) => tokio::time::sleep(pause).await,
                other => return other,
            }
        }
        self.settle(part, &failure).await
    }

    /// Applies one part in one transaction: the inbox row is locked, the handlers run, the
    /// watermark moves, and all of it commits.
    async fn apply(&self, part: Part<'_>) -> Result<InboxRow, Stop> {
        let mut tx = begin(&self.pool).await?;
        let (fresh, after) = match self.open(&mut tx, part).await? {
            (_, News::Apply(fresh, after)) => (fresh, after),
            (row, News::Gap) => return Err(Stop::Gap(row)),
        };
        let parked = self.lock_parked_keys(&mut tx, part.origin, fresh).await?;
        if parked.is_empty() {
            let known = part.messages.len() - fresh.len();
            self.invoke_all(&mut tx, fresh).await.map_err(|stop| shift_index(stop, known))?;
        } else {
            let (held, free): (Vec<_>, Vec<_>) =
                fresh.iter().cloned().partition(|message| parked.contains(&key_of(message)));
            self.invoke_all(&mut tx, &free).await.map_err(forget_index)?;
            for message in &held {
                let key = key_of(message);
                let behind = Holding { reason: HeldReason::Behind, error: None, dead: false };
                DB::hold(&mut tx, &self.name, &key, message, behind).await?;
            }
        }
        // A handler may have left the transaction unusable without saying so: its failure.
        let saved = DB::save_inbox(&mut tx, &self.name, part.origin, after).await;
        saved.map_err(|error| self.blame(error))?;
        let committed = tx.commit().await.map_err(Error::database("commit"));
        committed.map_err(|error| self.blame(error))?;
        Ok(after)
    }

    fn blame(&self, error: Error) -> Stop {
        match error.is_transient() {
            true => Stop::Transient(error),
            false => Stop::Failed(None, Failure::Error(error.to_string())),
        }
    }

    /// Locks the inbox row and compares the part with it.
    pub(super) async fn open<'a>(
        &self,
        tx: &mut Transaction<'_, DB>,
        part: Part<'a>,
    ) -> Result<(InboxRow, News<'a>), Stop> {
        let first = self.first_row(part);
        let row = DB::lock_inbox(tx, &self.name, part.origin, first).await?;
        if row.incarnation != part.origin.incarnation {
            return Err(Stop::Refused(format!(
                "{} began a new incarnation {} (known: {}): its log may not continue what was \
                 applied here",
                part.origin.source, part.origin.incarnation, row.incarnation
            )));
        }
        let news = compare(&row, part.messages, part.through, part.last);
        Ok((row, news))
    }

    /// The keys of `messages` that are parked, locked until the transaction ends.
    async fn lock_parked_keys(
        &self,
        tx: &mut Transaction<'_, DB>,
        origin: &Origin,
        messages: &[Envelope],
    ) -> Result<HashSet<String>, Stop> {
        let mut locked = HashSet::new();
        if messages.is_empty() {
            return Ok(locked);
        }
        let parked: HashSet<String> =
            DB::parked_keys(tx, &self.name, &origin.source, self.max_parked + 1)
                .await?
                .into_iter()
                .collect();
        if parked.is_empty() {
            return Ok(locked);
        }
        // In one order, so that two transactions cannot wait for each other.
        let mut keys: Vec<String> =
            messages.iter().map(key_of).filter(|key| parked.contains(key)).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            if DB::lock_parked(tx, &self.name, &origin.source, &key).await? {
                locked.insert(key);
            }
        }
        Ok(locked)
    }
}

/// The key that is parked with a message: its own, or one that no other message has.
pub(super) fn key_of(message: &Envelope) -> String {
    message.key.clone().unwrap_or_else(|| format!("~{}", message.id))
}

/// Cuts a range where it failed, or in halves; the first part comes to the top.
fn split(range: Range<usize>, failed: Option<usize>, todo: &mut Vec<Range<usize>>) {
    let parts = match failed {
        Some(index) => {
            let at = range.start + index;
            vec![range.start..at, at..at + 1, at + 1..range.end]
        }
        None => {
            let middle = range.start + range.len() / 2;
            vec![range.start..middle, middle..range.end]
        }
    };
    todo.extend(parts.into_iter().rev().filter(|part| !part.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_range_is_split_so_that_every_message_is_tried_once_in_order() {
        for failed in [None, Some(0), Some(3), Some(6)] {
            let mut todo = Vec::new();
            split(10..17, failed, &mut todo);
            let all: Vec<usize> = todo.into_iter().rev().flatten().collect();
            assert_eq!(all, (10..17).collect::<Vec<_>>(), "{failed:?}");
        }
    }
}
