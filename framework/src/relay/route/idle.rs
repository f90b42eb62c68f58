//! What a sender says that has no message to send.

use tokio::time::Instant;

use super::{Run, Sender};
use crate::{
    Storage,
    message::{Batch, Link},
};

impl<DB: Storage> Run<'_, DB> {
    /// Whether this version is at its end, and the consumer has said so.
    pub(super) fn is_finished(&self) -> bool {
        self.sender.carried.until.is_some_and(|until| self.told.is_some_and(|told| told >= until))
    }

    /// Tells the consumer how far the log was looked at, when that is due: an empty batch.
    pub(super) fn tell_progress(&mut self) -> bool {
        let Sender { shared, carried, .. } = &*self.sender;
        let at = self.acked.cursor.position;
        // The end of a version is told at once, and when nothing else was.
        let last = self.continues.is_some() || carried.until.is_some_and(|until| at >= until);
        if !last && self.told.unwrap_or(self.began) >= at {
            self.progress_at = None;
            return false;
        }
        let due = *self.progress_at.get_or_insert_with(|| shared.progress_slot());
        if !last && Instant::now() < due {
            return false;
        }
        self.progress_at = None;
        self.send_empty(self.acked.last);
        true
    }

    /// Asks the consumer how far it is. What it knows of its last message stays, as where it was told
    /// to skip some.
    pub(super) fn ask(&mut self) {
        self.send_empty(Link::anchor(self.acked.last.position));
    }

    fn send_empty(&mut self, last: Link) {
        let batch = Batch { last, ..self.batch(Vec::new(), &self.acked) };
        let (acked, publisher) = (self.acked, &self.sender.publisher);
        self.window.push(acked, acked.cursor.position, publisher, Some(batch));
    }
}
