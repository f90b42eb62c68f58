//! A consumer that follows a former incarnation of this source is told from where to go on.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    super::position::{Continuation, continuation, resume},
    Run,
};
use crate::{Result, Storage, message::Link, transport::Ack};

impl<DB: Storage> Run<'_, DB> {
    /// Goes back to where both logs are the same, and says so with what is sent next.
    pub(super) async fn continue_from(&mut self, follows: Uuid, ack: &Ack) -> Result<()> {
        let pool = self.sender.shared.pool.now();
        if pool.limit(DB::incarnation(&pool)).await? != self.sender.carried.origin.incarnation {
            // An operator has begun a new one; this sender is about to end.
            self.back_off("a new incarnation begins".to_owned(), Duration::ZERO).await;
            return Ok(());
        }
        let told_before = self.continues.is_some();
        let told = continuation(&pool, &self.sender.carried, follows, ack.watermark, ack.last);
        let continues = match pool.limit(told).await? {
            Continuation::At(continues) => continues,
            Continuation::Unknown(error) => {
                self.diverged(error).await;
                return Ok(());
            }
        };
        self.window.drain().await;
        let after = self.sender.carried.after;
        let through = ack.watermark.min(continues.agreed);
        let (through, last) = match through < after {
            true => (after, Link::anchor(after)),
            false => (through, continues.last),
        };
        let checkpoint = pool.limit(resume(&pool, &self.sender.carried, through, last)).await?;
        (self.acked, self.read, self.told) = (checkpoint, checkpoint, None);
        self.continues = Some(Arc::new(continues));
        if told_before {
            let error = "the consumer does not follow the new incarnation".to_owned();
            self.back_off(error, Duration::ZERO).await;
        }
        Ok(())
    }
}
