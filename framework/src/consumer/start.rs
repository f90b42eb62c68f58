//! Where a subscription begins.

use super::{Inner, apply::Part};
use crate::{
    Error, Result, Start, Storage,
    message::{Batch, Link, Origin, Position},
    storage::InboxRow,
};

impl<DB: Storage> Inner<DB> {
    /// What the inbox of an origin that nothing is known of holds.
    pub(super) fn first_row(&self, part: Part<'_>) -> InboxRow {
        let base = part.handover.map_or(Position::START, |old| old.through);
        let last = match self.start {
            Start::Beginning => Link::anchor(base),
            Start::Now => part.messages.first().map_or(part.last, |first| first.prev),
            Start::Position(position) => Link::anchor(position.max(base)),
        };
        let incarnation = part.origin.incarnation;
        InboxRow { incarnation, watermark: last.position, last, ended: None }
    }

    /// The inbox row of `batch`'s origin, which is made when nothing is known of it.
    pub(super) async fn open_inbox(&self, batch: &Batch) -> Result<InboxRow> {
        if let Some(row) = self.inbox(&batch.origin).await? {
            return Ok(row);
        }
        let open = async {
            let mut tx = self.begin().await?;
            let first = self.first_row(Part::of(batch));
            let row = DB::lock_inbox(&mut tx, &self.name, &batch.origin, first).await?;
            tx.commit().await.map_err(Error::database("begin a subscription"))?;
            Ok(row)
        };
        self.limited(open).await
    }
}

/// The beginning of a log, for what has no other.
pub(super) fn beginning(origin: &Origin) -> InboxRow {
    let (incarnation, last) = (origin.incarnation, Link::START);
    InboxRow { incarnation, watermark: last.position, last, ended: None }
}
