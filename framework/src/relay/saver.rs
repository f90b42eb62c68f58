//! Checkpoints of all senders of this process, saved together: one transaction a tick, and not
//! one for each shard.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::Pool;
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{Storage, storage::Save};

#[derive(Default)]
pub(super) struct Saver {
    waiting: Mutex<Vec<(Save, oneshot::Sender<bool>)>>,
    something: Notify,
    hurry: Notify,
}

impl Saver {
    /// Hands a checkpoint in; it is saved with the next tick, or at once with `now`. The answer
    /// is false when the lease is somebody else's, and none when the database did not answer.
    pub(super) fn save(&self, save: Save, now: bool) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((save, answer));
        drop(waiting);
        self.something.notify_one();
        if now {
            self.hurry.notify_one();
        }
        answered
    }

    fn take(&self) -> (Vec<Save>, Vec<oneshot::Sender<bool>>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain(..).unzip()
    }

    /// Saves what is handed in, every `tick`, until `stop`.
    pub(super) async fn run<DB: Storage>(
        &self,
        pool: &Pool<DB>,
        tick: Duration,
        stop: &CancellationToken,
    ) {
        while stop.run_until_cancelled(self.something.notified()).await.is_some() {
            // Time for others to come along.
            let _ = timeout(tick, self.hurry.notified()).await;
            let (saves, answers) = self.take();
            if saves.is_empty() {
                continue;
            }
            match DB::save_checkpoints(pool, &saves).await {
                Ok(saved) => {
                    for (answer, saved) in answers.into_iter().zip(saved) {
                        // A sender that ended meanwhile does not wait for it.
                        let _ = answer.send(saved);
                    }
                }
                // The senders hand in again.
                Err(error) => tracing::warn!(%error, "checkpoints could not be saved"),
            }
        }
    }
}
