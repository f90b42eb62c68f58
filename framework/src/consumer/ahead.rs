//! Applying past the watermark: lanes, which share a batch's keys out, and consumers to which
//! order does not matter.
//!
//! Each message gets a row *first*, and the watermark is read *after* it, in one READ COMMITTED
//! transaction. Whoever applied the message before has left its row, or has moved the watermark
//! over it in the transaction that removed the row: one of the two is seen. A step of its own
//! moves the watermark over rows that follow each other.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Instant,
};

use futures::future::join_all;
use sqlx::Transaction;

use super::{
    Inner,
    apply::{EARLY, LOOK, Mode, Part, check_end},
    start::beginning,
    stop::Stop,
};
use crate::{
    Error, Storage,
    inbox::{News, compare},
    message::{Batch, Envelope, Link, Origin, Position},
    storage::InboxRow,
    transport::{Ack, Outcome, ReceiveError},
};

/// How many rows a step moves the watermark over.
const STEP: i64 = 1_000;

impl<DB: Storage> Inner<DB> {
    /// The messages of `part` that nobody has applied; no other transaction can take them.
    pub(super) async fn take_ahead(
        &self,
        tx: &mut Transaction<'_, DB>,
        part: Part<'_>,
    ) -> Result<(Vec<Envelope>, InboxRow), Stop> {
        let mut fresh = Vec::with_capacity(part.messages.len());
        for message in part.messages {
            // One that waited is there already, and nobody has applied it.
            if DB::add_ahead(tx, &self.name, message, false).await?
                || DB::claim_ahead(tx, &self.name, message).await?
            {
                fresh.push(message.clone());
            }
        }
        let row = DB::peek_inbox(tx, &self.name, part.origin).await?;
        let row = row.unwrap_or(beginning(part.origin));
        row.check_incarnation(part.origin)?;
        check_end(&row, part)?;
        let taken = fresh.len();
        fresh.retain(|message| message.position > row.watermark);
        if fresh.len() < taken {
            DB::remove_ahead(tx, &self.name, part.origin, row.watermark).await?;
        }
        Ok((fresh, row))
    }

    /// Applies what of `batch` follows the watermark, its keys shared out over `lanes`.
    pub(super) async fn apply_lanes(&self, batch: &Batch, lanes: usize) -> Result<InboxRow, Stop> {
        let Batch { origin, messages, through, last, .. } = batch;
        let row = self.open_inbox(batch).await?;
        row.check_incarnation(origin)?;
        let News::Apply(fresh, _) = compare(&row, messages, *through, *last) else {
            return Err(Stop::Gap(row));
        };
        let mut shares = vec![Vec::new(); lanes.max(1)];
        for message in fresh.iter() {
            let mut hasher = DefaultHasher::new();
            self.key_of(message).hash(&mut hasher);
            let lane = hasher.finish() % shares.len() as u64;
            shares[lane as usize].push(message.clone());
        }
        let lanes = shares.iter().filter(|share| !share.is_empty());
        let lanes = lanes.map(|messages| {
            self.apply_split(Part { messages, mode: Mode::Ahead, ..Part::of(batch) })
        });
        let done = join_all(lanes).await;
        let row = self.advance(origin, Some((*through, *last))).await?;
        done.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(row)
    }

    /// Applies a batch that may come before others.
    pub(super) async fn apply_unordered(&self, batch: &Batch) -> Result<InboxRow, Stop> {
        self.open_inbox(batch).await?;
        if !batch.messages.is_empty() {
            self.apply_split(Part { mode: Mode::Ahead, ..Part::of(batch) }).await?;
        }
        self.advance(&batch.origin, Some((batch.through, batch.last))).await
    }

    pub(super) async fn receive_unordered(&self, batch: &Batch) -> Result<Ack, ReceiveError> {
        let turn = self.turn(&batch.origin);
        let mut moved = turn.watermark.subscribe();
        let mut ack = self.apply_batch(batch).await?;
        let until = Instant::now() + EARLY;
        // The batches before it are under way. A relay that is told less than it has sent
        // sends again from there, so it is better to wait a little.
        while ack.outcome == Outcome::Complete && ack.last.position < batch.last.position {
            if Instant::now() >= until {
                return self.left_behind(batch, ack).await;
            }
            drop(tokio::time::timeout(LOOK, moved.changed()).await);
            let progress = Some((batch.through, batch.last));
            match self.advance(&batch.origin, progress).await {
                Ok(row) => ack = row.ack(Outcome::Complete),
                Err(stop) => return self.stopped(Part::of(batch), stop).await,
            }
        }
        turn.watermark.send_if_modified(|known| {
            let further = ack.watermark > *known;
            *known = ack.watermark.max(*known);
            further
        });
        self.passed(&batch.origin, &ack);
        Ok(ack)
    }

    /// Moves the watermark over what was applied past it, and to `progress` (how far the log was
    /// looked at, and the last message there) if nothing is missing before.
    pub(super) async fn advance(
        &self,
        origin: &Origin,
        progress: Option<(Position, Link)>,
    ) -> Result<InboxRow, Stop> {
        loop {
            let (after, more) = self.limited(self.advance_step(origin, progress)).await?;
            if !more {
                return Ok(after);
            }
        }
    }

    /// One transaction of it; also whether there may be more to move over.
    async fn advance_step(
        &self,
        origin: &Origin,
        progress: Option<(Position, Link)>,
    ) -> Result<(InboxRow, bool), Stop> {
        let mut tx = self.begin().await?;
        let row = DB::lock_inbox(&mut tx, &self.name, origin, beginning(origin)).await?;
        row.check_incarnation(origin)?;
        let ahead = DB::next_ahead(&mut tx, &self.name, origin, row.watermark, STEP).await?;
        let mut after = row;
        for next in &ahead {
            if next.envelope.is_some() || !after.is_followed_by(next.prev) {
                break;
            }
            (after.watermark, after.last) = (next.link.position, next.link);
        }
        let more = ahead.len() as i64 == STEP && ahead.last().map(|a| a.link) == Some(after.last);
        if let Some((through, last)) = progress {
            after = after.told(through, last).unwrap_or(after);
        }
        if after != row {
            DB::save_inbox(&mut tx, &self.name, origin, after).await?;
        }
        if after.last != row.last {
            DB::remove_ahead(&mut tx, &self.name, origin, after.watermark).await?;
        }
        tx.commit().await.map_err(Error::database("commit the watermark"))?;
        Ok((after, more))
    }
}
