//! A new version of a stream: its messages wait until the old version was applied to its end,
//! and what the old one carried past its end is not applied again.

use std::{borrow::Cow, sync::PoisonError};

use sqlx::Transaction;

use super::{Inner, apply::Part, stop::Stop};
use crate::{
    Start, Storage,
    message::{Envelope, HandOver, Link, Origin, Position, shard_of},
    storage::InboxRow,
};

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
        let ends = self.ends_of(tx, part.origin, old, row).await?;
        let again = |message: &Envelope| {
            let shard = shard_of(message, old.shards).unsigned_abs() as usize;
            let known = ends.get(shard).is_some_and(|end| message.position <= *end);
            known && old.topics.iter().any(|topic| topic.matches(&message.topic))
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
        row: &InboxRow,
    ) -> Result<Vec<Position>, Stop> {
        let of_shard =
            |shard| Origin { version: origin.version - 1, shard, ..Origin::clone(origin) };
        let rows = DB::lock_version(tx, &self.name, &of_shard(0)).await?;
        let mut ends = Vec::new();
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
            ends.push(end);
        }
        // All of it is committed, and nothing that comes now was brought before. Who is back at
        // the beginning of the version may be back in the old one, too.
        if settled && row.watermark > old.through && ends.iter().all(|end| *end <= row.watermark) {
            let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
            handed.insert(origin.clone(), row.watermark);
        }
        Ok(ends)
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
