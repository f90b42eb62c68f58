//! Where a subscription begins.

use super::{Inner, apply::Part};
use crate::{
    Start, Storage,
    message::{Link, Position},
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
}
