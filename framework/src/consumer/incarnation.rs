//! A new incarnation of a source: its database was restored from a backup, or lost commits, and an
//! operator has begun its log anew from where both sides still agree.

use std::sync::PoisonError;

use uuid::Uuid;

use super::{Inner, apply::Part, stop::Stop};
use crate::{
    Error, Storage,
    message::{Batch, Continues, Link, Origin, Position},
    storage::InboxRow,
};

impl InboxRow {
    /// Positions mean nothing across incarnations.
    pub(super) fn check_incarnation(&self, origin: &Origin) -> Result<(), Stop> {
        match self.incarnation == origin.incarnation {
            true => Ok(()),
            false => Err(Stop::Incarnation(*self)),
        }
    }
}

impl<DB: Storage> Inner<DB> {
    /// Follows the incarnation of `batch` from where it continues `former`; false when it does not
    /// say so. What was applied past that place stays: the source has lost it.
    pub(super) async fn adopt(&self, batch: &Batch, former: Uuid) -> Result<bool, Stop> {
        let Some(continues) = batch.continues.as_deref().filter(|told| told.former == former)
        else {
            return Ok(false);
        };
        let Continues { agreed, last, .. } = *continues;
        let origin = &batch.origin;
        let mut tx = self.begin().await?;
        let first = self.first_row(Part::of(batch));
        let row = DB::lock_inbox(&mut tx, &self.name, origin, first).await?;
        if row.incarnation != former {
            // Another process was faster, or somebody is late.
            return Ok(row.incarnation == origin.incarnation);
        }
        // A version of the stream that took over after the agreed position is another one.
        let began = batch.handover.as_deref().map_or(Position::START, |old| old.through);
        let after = InboxRow {
            incarnation: origin.incarnation,
            watermark: row.watermark.min(agreed).max(began),
            last: if began > agreed { Link::anchor(began) } else { last },
            ended: row.ended.filter(|end| *end <= agreed),
        };
        if after.last.position > after.watermark {
            return Err(Stop::Refused(format!(
                "{} says that incarnation {former} was applied up to {}, and it was to {}",
                origin.source, last.position, row.watermark
            )));
        }
        DB::save_inbox(&mut tx, &self.name, origin, after).await?;
        DB::forget_ahead(&mut tx, &self.name, origin, agreed).await?;
        tx.commit().await.map_err(Error::database("follow a new incarnation"))?;
        self.forget(&Origin { incarnation: former, ..Origin::clone(origin) });
        let lost = (row.watermark.0 - agreed.0).max(0);
        // A version that ended before, or that was sent back, has lost nothing by it.
        match lost {
            0 => tracing::info!(
                consumer = self.name, source = origin.source, stream = origin.stream,
                version = origin.version, shard = origin.shard, %former,
                incarnation = %origin.incarnation, applied = %row.watermark, %agreed,
                "the source began a new incarnation; it has all that was applied here"
            ),
            _ => tracing::error!(
                consumer = self.name, source = origin.source, stream = origin.stream,
                version = origin.version, shard = origin.shard, %former,
                incarnation = %origin.incarnation, applied = %row.watermark, %agreed, lost,
                "the source began a new incarnation; it has lost what was applied after the agreed \
                 position"
            ),
        }
        Ok(true)
    }

    fn forget(&self, origin: &Origin) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(origin);
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner).remove(origin);
        self.handed.lock().unwrap_or_else(PoisonError::into_inner).remove(origin);
    }
}
