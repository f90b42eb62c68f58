//! A new version of a stream: its messages wait until the old version was applied to its end,
//! and what the old one carried past its end is not applied again.

use std::{borrow::Cow, collections::BTreeMap, sync::PoisonError};

use sqlx::Transaction;

use super::{
    Inner,
    apply::{PAUSE_MS, Part},
    stop::Stop,
};
use crate::{
    Start, Storage,
    message::{Envelope, HandOver, Link, Origin, Position, TakenOver, shard_of},
    storage::InboxRow,
    transport::{Ack, Outcome, ReceiveError},
};

/// Where each shard of a version ended.
type Ends = BTreeMap<i32, Position>;

impl InboxRow {
    /// A version of a stream carries nothing of what came before it took over: one that was sent
    /// back further has missed nothing of it.
    pub(super) fn at_its_beginning(self, part: Part<'_>) -> Self {
        let began = part.handover.map_or(Position::START, |old| old.through);
        match self.watermark < began {
            true => Self { watermark: began, last: Link::anchor(began), ..self },
            false => self,
        }
    }
}

impl<DB: Storage> Inner<DB> {
    /// Takes those out of `fresh` that the old version has brought, when it is at its end; the
    /// part waits when it is not.
    pub(super) async fn hand_over<'a>(
        &self,
        tx: &mut Transaction<'_, DB>,
        part: Part<'a>,
        row: &InboxRow,
        fresh: Cow<'a, [Envelope]>,
    ) -> Result<Cow<'a, [Envelope]>, Stop> {
        let Some(old) = part.handover else {
            return match part.origin.version {
                1 => Ok(fresh),
                version => Err(Stop::Refused(format!(
                    "version {version} of stream {:?} does not say what it took over from",
                    part.origin.stream
                ))),
            };
        };
        let handed =
            self.handed.lock().unwrap_or_else(PoisonError::into_inner).get(part.origin).copied();
        // A database that was restored to before the hand-over is behind this watermark, too.
        if handed.is_some_and(|handed| row.watermark >= handed) {
            return Ok(fresh);
        }
        let (own, mut settled) = self.ends_of(tx, part.origin, old).await?;
        let mut all = vec![(old.shards, &old.topics, own)];
        // Without messages it only tells that the old version has ended: that waits for nobody.
        if !fresh.is_empty() {
            for from in &old.from {
                all.push((from.shards, &from.topics, self.ended(tx, part.origin, from).await?));
            }
        }
        settled &= !fresh.is_empty() || old.from.is_empty();
        // All of it is committed, and nothing that comes now was brought before. Who is back at
        // the beginning of the version may be back in the old one, too.
        let ends = all.iter().flat_map(|(.., ends)| ends.values());
        if settled && row.watermark > old.through && ends.max().is_none_or(|e| *e <= row.watermark)
        {
            let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
            handed.insert(part.origin.clone(), row.watermark);
        }
        let again = |message: &Envelope| {
            all.iter().any(|(shards, topics, ends)| {
                *shards > 0
                    && ends.get(&shard_of(message, *shards)).is_some_and(|e| message.position <= *e)
                    && topics.iter().any(|topic| topic.matches(&message.topic))
            })
        };
        match fresh.iter().any(again) {
            false => Ok(fresh),
            true => Ok(fresh.iter().filter(|message| !again(message)).cloned().collect()),
        }
    }

    /// Where each shard of the old version ended here. From then on it takes nothing more, so
    /// that a relay which was paused through the change brings nothing late.
    async fn ends_of(
        &self,
        tx: &mut Transaction<'_, DB>,
        origin: &Origin,
        old: &HandOver,
    ) -> Result<(Ends, bool), Stop> {
        let of_shard =
            |shard| Origin { version: origin.version - 1, shard, ..Origin::clone(origin) };
        let rows = DB::lock_version(tx, &self.name, &of_shard(0)).await?;
        let mut ends = Ends::new();
        let mut settled = true;
        for shard in 0..old.shards {
            let known = rows.iter().find(|(of, _)| *of == shard).map(|(_, row)| *row);
            let known = match known {
                Some(known) => known,
                None if self.begins_after(old.through) => {
                    let (watermark, last) = (old.through, Link::anchor(old.through));
                    let first =
                        InboxRow { incarnation: origin.incarnation, watermark, last, ended: None };
                    DB::lock_inbox(tx, &self.name, &of_shard(shard), first).await?
                }
                None => return Err(Stop::OlderVersion),
            };
            if known.watermark < old.through {
                return Err(Stop::OlderVersion);
            }
            let end = known.ended.unwrap_or(known.watermark);
            if known.ended.is_none() {
                settled = false;
                let ended = InboxRow { ended: Some(end), ..known };
                DB::save_inbox(tx, &self.name, &of_shard(shard), ended).await?;
            }
            ends.insert(shard, end);
        }
        Ok((ends, settled))
    }

    /// Where each shard of another stream's version ended here; nothing when this consumer never had
    /// it. Only the stream itself says that it has ended: who sends one need not be trusted with
    /// another.
    async fn ended(
        &self,
        tx: &mut Transaction<'_, DB>,
        origin: &Origin,
        old: &TakenOver,
    ) -> Result<Ends, Stop> {
        let (stream, version) = (old.stream.clone(), old.version);
        let of = Origin { stream, version, shard: 0, ..Origin::clone(origin) };
        let mut ends = Ends::new();
        for (shard, row) in DB::lock_version(tx, &self.name, &of).await? {
            let Some(end) = row.ended else {
                return Err(Stop::OtherStream(format!(
                    "the stream waits: it took topics over from stream {:?}, whose version \
                     {version} has not ended here: shard {shard} is at position {}. The routes of \
                     that stream are to send all of it, and that it has ended: start the relay that \
                     declares it. Only if what is missing is gone for good: `syncline inbox skip` gives \
                     it up",
                    old.stream, row.watermark
                )));
            };
            ends.insert(shard, end);
        }
        Ok(ends)
    }

    /// Takes in that the version before `part`'s has ended, which other streams may wait for, while
    /// `part` itself waits for another stream.
    pub(super) async fn ends_own(&self, part: Part<'_>) -> Result<Ack, ReceiveError> {
        let row = self.inbox(part.origin).await?.unwrap_or(self.first_row(part));
        let told = Part { messages: &[], through: row.watermark, last: row.last, ..part };
        // It is tried again with the next batch.
        if let Err(Stop::Broken(error)) = self.limited(self.apply(told, false)).await {
            return Err(ReceiveError::Storage(error));
        }
        Ok(row.ack(Outcome::Paused { retry_after_ms: PAUSE_MS, trouble: None }))
    }

    /// Whether this consumer wants nothing of what came up to `position`.
    fn begins_after(&self, position: Position) -> bool {
        match self.start {
            Start::Beginning => false,
            Start::Now => true,
            Start::Position(start) => start >= position,
        }
    }
}
