//! What a consumer's answer to a batch means.

use std::time::Duration;

use super::{
    super::{
        RouteState,
        position::{Verified, applied_beyond, beyond, verify},
        window::Landed,
    },
    Run, Sender,
};
use crate::{
    Result, Storage,
    message::{Link, Position},
    storage::Checkpoint,
    transport::{Ack, Outcome, PublishError, paused},
};

impl<DB: Storage> Run<'_, DB> {
    /// Takes in the answer to the oldest batch under way.
    pub(super) async fn land(&mut self, landed: Landed) -> Result<()> {
        let Landed { end, acked, sent, answer } = landed;
        let sent = sent.as_deref().map_or(&[][..], |batch| &batch.messages);
        let suspect = self.suspect.take();
        let ack = match answer {
            None => {
                self.acked = end;
                return Ok(());
            }
            Some(Ok(ack)) => ack,
            Some(Err(error)) => {
                let (route, shard) = (&self.sender.key.route, self.sender.key.shard);
                if self.sender.trouble.is_unsaid(&error.to_string()) {
                    tracing::warn!(route, shard, %error, "batch was not delivered");
                }
                if matches!(error, PublishError::Refused { .. }) {
                    self.refused(&error, sent).await;
                    return Ok(());
                }
                let asked = match &error {
                    PublishError::Unavailable { retry_after, .. } => {
                        retry_after.unwrap_or_default()
                    }
                    PublishError::Timeout { limit, .. } => {
                        self.sender.trouble.has_lasted(*limit);
                        Duration::ZERO
                    }
                    _ => Duration::ZERO,
                };
                let most = self.sender.shared.options.max_backoff;
                self.back_off(error.to_string(), asked.min(most)).await;
                return Ok(());
            }
        };
        self.heard();
        if let Outcome::Incarnation { follows } = ack.outcome {
            return self.continue_from(follows, &ack).await;
        }
        let complete = ack.outcome == Outcome::Complete && ack.watermark >= end.cursor.position;
        // An answer may name what was sent since; no more than that is believed unseen.
        if ack.watermark > self.read.cursor.position.max(end.cursor.position) {
            let pool = self.sender.shared.pool.now();
            if let Some(head) = pool.limit(beyond(&pool, ack.watermark)).await? {
                self.diverged(applied_beyond(ack.watermark, head)).await;
                return Ok(());
            }
        }
        if complete && ack.last == end.last {
            match suspect {
                Some(suspect) => self.is_refused(suspect).await,
                None => self.complete(end, &ack).await,
            }
            return Ok(());
        }
        let behind = ack.watermark < self.acked.cursor.position;
        if behind && acked < self.acked.cursor.position {
            // It was answered before what has been acknowledged since, for answers are taken in
            // order of sending. One to what is sent from now on tells whether the consumer has
            // gone back.
            self.window.drain().await;
            self.read = self.acked;
            return Ok(());
        }
        if let Some(unknown) =
            sent.iter().map(|sent| sent.position).find(|sent| ack.has_passed(*sent))
        {
            // Nothing of it was applied: the consumer holds the position of something else.
            let error = format!(
                "the consumer has applied up to position {}, its last message stands at {}, and \
                 this log holds a message of the stream at {unknown}: this database was restored \
                 from a backup (`syncline stream rebase`), or it is not the one the consumer knows",
                ack.watermark, ack.last.position
            );
            self.diverged(error).await;
            return Ok(());
        }
        let pool = self.sender.shared.pool.now();
        let known = verify(&pool, &self.sender.carried, ack.watermark, ack.last, &self.acked);
        match pool.limit(known).await? {
            Verified::Diverged(error) => self.diverged(error).await,
            Verified::Here(checkpoint) if complete => match suspect {
                // It was told to skip what is refused.
                Some(_) if checkpoint.cursor.position > self.acked.cursor.position => {
                    self.read = checkpoint;
                    self.complete(checkpoint, &ack).await;
                }
                Some(suspect) => self.is_refused(suspect).await,
                // The consumer knew it already, and more.
                None => self.complete(end, &ack).await,
            },
            Verified::Here(mut checkpoint) => {
                let after = self.sender.carried.after;
                if checkpoint.cursor.position < after {
                    let cursor = pool.limit(DB::locate(&pool, after)).await?;
                    checkpoint = Checkpoint { cursor, last: Link::anchor(after) };
                }
                let progress = checkpoint != self.acked;
                self.window.drain().await;
                (self.acked, self.read) = (checkpoint, checkpoint);
                match ack.outcome {
                    Outcome::Paused { retry_after_ms, trouble } => {
                        if checkpoint.cursor.position <= after {
                            self.reopen_older().await?;
                        }
                        let pause = Duration::from_millis(retry_after_ms);
                        self.back_off(paused(trouble), pause).await;
                    }
                    // The first answer to a gap is to send again at once, from there.
                    _ if progress => {}
                    _ => {
                        let error = "the consumer asks again for what it was sent".to_owned();
                        self.back_off(error, Duration::ZERO).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn complete(&mut self, end: Checkpoint, ack: &Ack) {
        self.sender.backoff.succeeded();
        self.widen();
        self.acked = end;
        self.told = Some(ack.watermark);
        self.continues = None;
        if self.sender.moves().await {
            self.tell(RouteState::Sending);
        }
    }

    /// A consumer that does not take the first message of a version may lack the end of the one
    /// before it, for its database was restored, or it began later than the route.
    async fn reopen_older(&self) -> Result<()> {
        let Sender { shared, key, carried, .. } = &*self.sender;
        if carried.after > Position::START && key.version > 1 {
            let pool = shared.pool.now();
            let opened = pool.limit(DB::reopen(&pool, &key.route, key.version - 1)).await?;
            if opened > 0 {
                tracing::info!(
                    route = key.route,
                    version = key.version - 1,
                    "the consumer lacks an older version of the stream: it is sent again"
                );
            }
        }
        Ok(())
    }

    pub(super) async fn back_off(&mut self, error: String, at_least: Duration) {
        self.window.drain().await;
        self.read = self.acked;
        self.unheard();
        let pause = self.sender.backoff.failed().max(at_least);
        self.sender.backs_off(error, pause).await;
        self.sender.pause(pause).await;
    }

    pub(super) async fn diverged(&mut self, error: String) {
        if self.sender.trouble.is_unsaid(&error) {
            let (route, shard) = (&self.sender.key.route, self.sender.key.shard);
            tracing::error!(route, shard, error, "route stopped: the logs differ");
        }
        self.window.drain().await;
        self.read = self.acked;
        self.unheard();
        let pause = self.sender.shared.options.max_backoff;
        self.sender.stands(RouteState::Diverged { error }, pause).await;
        self.sender.pause(pause).await;
    }
}
