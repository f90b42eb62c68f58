//! What a sender says that has no message to send.

use tokio::time::Instant;

use super::{Run, Sender};
use crate::{
    Storage, cap,
    message::{Batch, Link, hash},
};

impl<DB: Storage> Run<'_, DB> {
    /// Whether this version is at its end, and the consumer has said so.
    pub(super) fn is_finished(&self) -> bool {
        self.sender.carried.until.is_some_and(|until| self.told.is_some_and(|told| told >= until))
    }

    /// Tells the consumer how far the log was looked at, or asks where it is, when that is due: an
    /// empty batch.
    pub(super) fn ask_or_tell(&mut self) -> bool {
        if Instant::now() >= self.ask_at && self.continues.is_none() {
            self.progress_at = None;
            self.ask();
            return true;
        }
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

    /// When it has something to say next.
    pub(super) fn speaks_at(&self) -> Instant {
        self.progress_at.map_or(self.ask_at, |progress| progress.min(self.ask_at))
    }

    /// The consumer has answered: it is asked again after a while. Shards do not ask together, for
    /// the while is each one's own.
    pub(super) fn heard(&mut self) {
        let part = (hash(self.sender.lease.name.as_bytes()) % 512) as u32;
        let every = cap::duration(self.sender.shared.options.ask_every);
        self.ask_at = Instant::now() + every / 1024 * (768 + part);
    }

    /// Whatever was heard was no good news: it is asked as soon as there is nothing else to say.
    pub(super) fn unheard(&mut self) {
        self.ask_at = Instant::now();
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
