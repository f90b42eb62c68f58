//! Reading on, and sending what was read.

use super::{
    super::{RouteState, carried::Gather},
    Run, Sender,
};
use crate::{
    Result, Storage,
    message::{Batch, Envelope, Position},
    storage::{Checkpoint, PageLimit},
};

/// So many batches are under way without a wait for more messages: one at the consumer and one
/// at its door. Only full ones fill the rest of the window.
const AT_ONCE: usize = 2;

impl<DB: Storage> Run<'_, DB> {
    /// One batch at a time until the consumer has answered: what it begins with, it must get
    /// first.
    pub(super) fn window_size(&self) -> usize {
        match self.told {
            None => 1,
            Some(_) if self.sender.most.is_some() => 1,
            Some(_) => self.sender.backoff.window(self.sender.shared.options.window),
        }
    }

    /// How many positions there must be before more is read. While the consumer has one batch in
    /// its hands and the next one at its door, what arrives meanwhile goes together: else each
    /// message would cost a transaction of its own, and a queue build up before the consumer.
    pub(super) fn least(&self) -> i64 {
        let (carried, full) = (&self.sender.carried, self.full());
        let ends = carried.until.map(|until| until.0 - self.read.cursor.position.0);
        match self.window.under_way() < AT_ONCE {
            true => 1,
            false => ends.map_or(full, |ends| full.min(ends)).max(1),
        }
    }

    /// How many positions are looked at for one batch.
    fn full(&self) -> i64 {
        let Sender { shared, carried, .. } = &*self.sender;
        i64::from(shared.options.batch_messages) * i64::from(carried.pages())
    }

    /// Gathers one batch and sends it; false when there are less than `least` positions to read.
    pub(super) async fn fill(&mut self, least: i64) -> Result<bool> {
        let Sender { shared, publisher, carried, .. } = &*self.sender;
        let head = (*shared.head.borrow()).min(carried.until.unwrap_or(Position(i64::MAX)));
        if head.0 - self.read.cursor.position.0 < least {
            return Ok(false);
        }
        let page = shared.options.page();
        let rows = self.sender.most.map_or(page.rows, i64::from);
        let mut batch = Gather::new(carried, self.read, PageLimit { rows, ..page });
        // A shard finds little in a page, and a seal may be one of few rows: it looks at so many
        // that a batch is worth sending.
        let upto = head.min(Position(self.read.cursor.position.0 + self.full()));
        while batch.end.cursor.position < upto {
            let read = shared.pages.read(&shared.ready, self.life, batch.end.cursor, head);
            // A database that does not answer does not hold up the stop.
            let Some(page) = shared.stop.run_until_cancelled(read).await else { return Ok(false) };
            let page = page?;
            self.sender.work.succeeded();
            let ahead = shared.pages.read_ahead(&shared.ready, self.life, &page, head);
            self.ahead = ahead.or(self.ahead.take());
            if !batch.take(&page) {
                break;
            }
        }
        let (messages, end) = (batch.messages, batch.end);
        let batch = (!messages.is_empty()).then(|| self.batch(messages, &end));
        self.window.push(end, self.acked.cursor.position, publisher, batch);
        self.read = end;
        // A try tells nothing new of a shard that stands; its answer does.
        if !self.sender.trouble.stands() {
            self.tell(RouteState::Sending);
        }
        Ok(true)
    }

    pub(super) fn batch(&self, messages: Vec<Envelope>, end: &Checkpoint) -> Batch {
        let continues = self.continues.clone();
        Batch { continues, ..self.sender.carried.batch(messages, end) }
    }
}
