//! Applying a batch: one transaction for all of it; when one message fails, smaller ones
//! until the failing message stands alone.

use std::{
    borrow::Cow,
    collections::HashSet,
    ops::Range,
    time::{Duration, Instant},
};

use sqlx::Transaction;

use super::{
    Inner, Turn,
    builder::Order,
    stop::{Disturbed, Failure, Stop, forget_index, shift_index},
};
use crate::{
    Error, Result, Storage,
    error::is_exhausted,
    inbox::{News, compare},
    message::{Batch, Envelope, HandOver, Link, Origin, Position},
    storage::{HeldReason, Holding, InboxRow, Lent, Mark},
    stream::MAX_SHARDS,
    transport::{Ack, Outcome, ReceiveError},
};

/// How long a batch that came too early waits for the one before it.
pub(super) const EARLY: Duration = Duration::from_millis(500);
/// How often is looked whether another process has applied it.
pub(super) const LOOK: Duration = Duration::from_millis(25);
/// What a source is told to wait when our database is away or too many keys fail.
pub(super) const PAUSE_MS: u64 = 1_000;
/// And while an older version of the stream is applied.
const SHORT_PAUSE_MS: u64 = 200;
const OLDER: &str = "the stream waits: its version before this one is not at its end";

/// What is applied in one transaction: messages, and how far the log was looked at after them.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) origin: &'a Origin,
    pub(super) messages: &'a [Envelope],
    pub(super) through: Position,
    pub(super) last: Link,
    pub(super) handover: Option<&'a HandOver>,
    pub(super) mode: Mode,
}

/// How a part's new messages are told from those that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// By the watermark: each follows the one before.
    Ordered,
    /// By a row for each message past the watermark, in any order.
    Ahead,
    /// By their ids: they have no position.
    Foreign,
}

impl<'a> Part<'a> {
    pub(super) fn of(batch: &'a Batch) -> Self {
        let Batch { origin, messages, through, last, .. } = batch;
        let (through, last, handover) = (*through, *last, batch.handover.as_deref());
        Self { origin, messages, through, last, handover, mode: Mode::Ordered }
    }

    /// The messages of `range`; progress belongs to the part at the end.
    fn cut(self, range: Range<usize>) -> Self {
        let messages = &self.messages[range.clone()];
        match messages.last() {
            Some(last) if range.end < self.messages.len() => {
                Self { messages, through: last.position, last: last.link(), ..self }
            }
            _ => Self { messages, ..self },
        }
    }
}

/// The new messages of a part, and the inbox row once they are applied.
pub(super) struct Taken<'a> {
    pub(super) fresh: Cow<'a, [Envelope]>,
    after: InboxRow,
    /// Whether it is known that no key of the source is parked.
    free: bool,
}

impl<DB: Storage> Inner<DB> {
    pub(super) async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        check_origin(&batch.origin)?;
        if self.order_of(&batch.origin) == Order::None {
            return self.receive_unordered(&batch).await;
        }
        let turn = self.turn(&batch.origin);
        if let Some(handover) = &batch.handover {
            turn.set_handover(handover);
        }
        self.await_turn(&turn, &batch).await;
        let applying = turn.begin(self.patience()).await?;
        let result = self.apply_batch(&batch).await;
        drop(applying);
        if let Ok(ack) = &result {
            turn.watermark.send_replace(ack.watermark);
            self.passed(&batch.origin, ack);
        }
        result
    }

    /// Waits a little for the batch before this one: it may be under way here, or in another
    /// process of this consumer.
    async fn await_turn(&self, turn: &Turn, batch: &Batch) {
        let prev = batch.prev().position;
        let mut applied = turn.watermark.subscribe();
        let until = Instant::now() + EARLY;
        while *applied.borrow() < prev && Instant::now() < until {
            // What is applied here tells of itself: only of others is to be asked.
            if turn.applying.try_lock().is_ok() {
                let row = self.inbox(&batch.origin).await;
                if row.is_ok_and(|row| row.is_some_and(|row| row.watermark >= prev)) {
                    return;
                }
            }
            // Late is as good.
            let early = applied.wait_for(|applied| *applied >= prev);
            drop(tokio::time::timeout(LOOK, early).await);
        }
    }

    /// Applies what of `batch` follows the watermark.
    pub(super) async fn apply_batch(&self, batch: &Batch) -> Result<Ack, ReceiveError> {
        let mut done = self.apply_as_ordered(batch).await;
        if let Err(Stop::Incarnation(row)) = done {
            done = match self.limited(self.adopt(batch, row.incarnation)).await {
                Ok(true) => self.apply_as_ordered(batch).await,
                Ok(false) => Err(Stop::Incarnation(row)),
                Err(stop) => Err(stop),
            };
        }
        match done {
            Ok(row) => Ok(row.ack(Outcome::Complete)),
            Err(Stop::Gap(row)) => self.early(batch, row).await,
            Err(stop) => self.stopped(Part::of(batch), stop).await,
        }
    }

    async fn apply_as_ordered(&self, batch: &Batch) -> Result<InboxRow, Stop> {
        match self.order_of(&batch.origin) {
            Order::Strict => self.apply_split(Part::of(batch)).await,
            Order::Lanes(lanes) => self.apply_lanes(batch, lanes).await,
            Order::None => self.apply_unordered(batch).await,
        }
    }

    /// Applies `whole`, in smaller parts where a message fails.
    pub(super) async fn apply_split(&self, whole: Part<'_>) -> Result<InboxRow, Stop> {
        let all = 0..whole.messages.len();
        let mut todo = vec![all];
        let mut row = None;
        while let Some(range) = todo.pop() {
            match self.apply_repeatedly(whole.cut(range.clone())).await {
                Ok(done) => row = Some(done),
                Err(Stop::Failed(index, failure)) if range.len() > 1 => {
                    tracing::debug!(consumer = self.name, %failure, ?range, "batch is split");
                    split(range, index, &mut todo);
                }
                Err(Stop::Failed(_, failure)) => {
                    row = Some(self.settle_repeatedly(whole.cut(range), failure).await?);
                }
                Err(Stop::Disturbed(disturbed)) if range.len() > 1 => {
                    let at = disturbed.at;
                    if let Some(suspect) = whole.messages.get(range.start + at.unwrap_or(0))
                        && !self.standing.is_alone(&whole.messages[range.clone()])
                    {
                        self.stands(suspect, &disturbed);
                        return Err(Stop::Disturbed(disturbed));
                    }
                    split(range, at, &mut todo);
                }
                Err(Stop::Disturbed(disturbed)) => {
                    let part = whole.cut(range);
                    let message = part.messages.first();
                    match message.and_then(|message| self.stands(message, &disturbed)) {
                        None => return Err(Stop::Disturbed(disturbed)),
                        Some(why) => {
                            row = Some(self.settle_repeatedly(part, Failure::Cut(why)).await?);
                            message.into_iter().for_each(|message| self.standing.parked(message));
                        }
                    }
                }
                Err(stop) => return Err(stop),
            }
        }
        row.ok_or_else(|| Stop::Refused("the batch is empty".to_owned()))
    }

    /// Answers a source whose batch was not applied to its end.
    pub(super) async fn stopped(&self, part: Part<'_>, stop: Stop) -> Result<Ack, ReceiveError> {
        if let Stop::OtherStream(waits) = &stop {
            let text = waits.to_string();
            if let Some(left_out) = self.said.admit("other stream", &text) {
                tracing::warn!(
                    consumer = self.name,
                    stream = part.origin.stream,
                    left_out,
                    "{text}"
                );
            }
            return self.ends_own(part).await;
        }
        let (error, paused) = match stop {
            Stop::Gap(row) => return Ok(row.ack(Outcome::Gap)),
            Stop::Incarnation(row) => {
                return Ok(row.ack(Outcome::Incarnation { follows: row.incarnation }));
            }
            Stop::Refused(reason) => return Err(ReceiveError::Refused(reason)),
            Stop::Broken(error) => return Err(ReceiveError::Storage(error)),
            Stop::Failed(_, failure) => return Err(ReceiveError::Refused(failure.to_string())),
            // How far we are could not be asked either.
            Stop::Transient(error) | Stop::Disturbed(Disturbed { error, .. })
                if is_exhausted(&error) =>
            {
                return Err(ReceiveError::Storage(error));
            }
            Stop::Transient(error) | Stop::Disturbed(Disturbed { error, .. }) => {
                (Some(error), "the database is away or busy")
            }
            Stop::TooManyParked => (None, "too many keys are parked: the stream pauses"),
            Stop::TooManyHeld => (None, "too many messages are held: the stream pauses"),
            Stop::OlderVersion | Stop::OtherStream(_) => (None, OLDER),
        };
        if paused == OLDER {
            tracing::debug!(consumer = self.name, stream = part.origin.stream, "{paused}");
        } else {
            let error = error.as_ref().map(ToString::to_string);
            if let Some(left_out) = self.said.admit(paused, error.as_deref().unwrap_or_default()) {
                let stream = &part.origin.stream;
                tracing::warn!(consumer = self.name, stream, error, left_out, "{paused}");
            }
        }
        let row = self.inbox(part.origin).await?;
        let row = row.unwrap_or(self.first_row(part));
        let retry_after_ms = if paused == OLDER { SHORT_PAUSE_MS } else { PAUSE_MS };
        Ok(row.ack(Outcome::Paused { retry_after_ms }))
    }

    /// Applies one part in one transaction: the inbox row is locked, the handlers run, the
    /// watermark moves, and all of it commits.
    pub(super) async fn apply(&self, part: Part<'_>, fresh: bool) -> Result<InboxRow, Stop> {
        let mut lent = self.lend(fresh).await?;
        let done = self.apply_by(&mut lent, part).await;
        lent.give_back(done.as_ref().is_err_and(Stop::spoils));
        done
    }

    async fn apply_by(&self, lent: &mut Lent<DB>, part: Part<'_>) -> Result<InboxRow, Stop> {
        let mut tx = lent.begin(self.opening()).await?;
        let taken = self.take(&mut tx, part).await?;
        let fresh = &taken.fresh[..];
        let parked = match taken.free {
            true => HashSet::new(),
            false => self.lock_parked_keys(&mut tx, part.origin, fresh).await?,
        };
        // On PostgreSQL a mark costs a round trip. The one that moves the watermark does without.
        let told = DB::SAVE_TELLS && part.mode != Mode::Ahead;
        let mark = if told { Mark::default() } else { DB::mark_transaction(&mut tx).await? };
        if parked.is_empty() {
            let known = part.messages.len() - fresh.len();
            let called = self.invoke_all(&mut tx, (&mark, told), fresh).await;
            called.map_err(|stop| match part.mode {
                Mode::Ordered if matches!(taken.fresh, Cow::Borrowed(_)) => {
                    shift_index(stop, known)
                }
                // The new ones need not be the last ones.
                _ if known > 0 => forget_index(stop),
                _ => stop,
            })?;
        } else {
            let (held, free): (Vec<_>, Vec<_>) =
                fresh.iter().cloned().partition(|message| parked.contains(&self.key_of(message)));
            self.invoke_all(&mut tx, (&mark, false), &free).await.map_err(forget_index)?;
            if !held.is_empty() {
                self.room_to_hold(&mut tx, held.len()).await?;
            }
            for message in &held {
                let key = self.key_of(message);
                let behind = Holding { reason: HeldReason::Behind, error: None, dead: false };
                DB::hold(&mut tx, &self.name, &key, message, behind).await?;
            }
        }
        // A handler may have left the transaction unusable without saying so: its failure.
        let after = self.save(&mut tx, part, &taken).await.map_err(Stop::behind_handler)?;
        let committed = tx.commit().await.map_err(Error::database("commit"));
        committed.map_err(Stop::behind_handler)?;
        self.standing.applied(fresh);
        let origin = part.origin;
        tracing::debug!(
            consumer = self.name, source = origin.source, stream = origin.stream, shard = origin.shard,
            messages = fresh.len(), watermark = %after.watermark, "a batch is committed"
        );
        Ok(after)
    }

    /// Tells what of `part` is new, in a way in which no other transaction can tell the same.
    pub(super) async fn take<'a>(
        &self,
        tx: &mut Transaction<'_, DB>,
        part: Part<'a>,
    ) -> Result<Taken<'a>, Stop> {
        match part.mode {
            Mode::Ordered => self.open(tx, part).await,
            Mode::Ahead => {
                let (fresh, after) = self.take_ahead(tx, part).await?;
                Ok(Taken { fresh: Cow::Owned(fresh), after, free: false })
            }
            Mode::Foreign => {
                let (fresh, after) = self.take_foreign(tx, part).await?;
                Ok(Taken { fresh: Cow::Owned(fresh), after, free: false })
            }
        }
    }

    /// Moves the watermark over what was taken. What is ahead of it waits for its predecessors.
    pub(super) async fn save(
        &self,
        tx: &mut Transaction<'_, DB>,
        part: Part<'_>,
        taken: &Taken<'_>,
    ) -> Result<InboxRow> {
        if part.mode != Mode::Ahead {
            DB::save_inbox(tx, &self.name, part.origin, taken.after).await?;
        }
        Ok(taken.after)
    }

    /// Locks the inbox row and compares the part with it.
    async fn open<'a>(
        &self,
        tx: &mut Transaction<'_, DB>,
        part: Part<'a>,
    ) -> Result<Taken<'a>, Stop> {
        let first = self.first_row(part);
        let (row, free) = DB::lock_inbox_asking(tx, &self.name, part.origin, first).await?;
        row.check_incarnation(part.origin)?;
        let row = row.at_its_beginning(part);
        check_end(&row, part)?;
        // Lanes park keys without this row, and a version before this one may until it has ended.
        let alone = self.order == Order::Strict && part.origin.version == 1;
        let free = alone && free == Some(true);
        match compare(&row, part.messages, part.through, part.last) {
            News::Apply(fresh, after) => {
                Ok(Taken { fresh: self.hand_over(tx, part, &row, fresh).await?, after, free })
            }
            News::Gap => Err(Stop::Gap(row)),
        }
    }
}

/// No stream has such a version or shard: nothing of it may leave a row.
fn check_origin(origin: &Origin) -> Result<(), ReceiveError> {
    let Origin { stream, version, shard, .. } = origin;
    if *version >= 1 && (0..MAX_SHARDS).contains(shard) {
        return Ok(());
    }
    Err(ReceiveError::Refused(format!(
        "stream {stream:?} cannot have shard {shard} in version {version}: shards are numbered from 0 \
         to {}, versions from 1",
        MAX_SHARDS - 1
    )))
}

/// A version of a stream takes nothing more once a newer one has begun here.
pub(super) fn check_end(row: &InboxRow, part: Part<'_>) -> Result<(), Stop> {
    let last = part.messages.last().map(|last| last.position);
    match row.ended.filter(|end| last.is_some_and(|last| last > *end)) {
        None => Ok(()),
        Some(end) => Err(Stop::Refused(format!(
            "version {} of stream {:?} ended at position {end}: this relay has an older \
             definition of the stream than the one that is in force",
            part.origin.version, part.origin.stream
        ))),
    }
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
