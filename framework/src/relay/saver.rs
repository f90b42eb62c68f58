//! Checkpoints of all senders of this process, saved together: one transaction a tick, and not
//! one for each shard.

use std::sync::{Mutex, PoisonError};

use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::Shared;
use crate::{Result, Storage, said::Said, storage::Save};

#[derive(Default)]
pub(super) struct Saver {
    waiting: Mutex<Vec<Waiting>>,
    something: Notify,
    hurry: Notify,
}

struct Waiting {
    save: Save,
    life: u64,
    answer: oneshot::Sender<bool>,
}

impl Saver {
    /// Hands in a checkpoint that was reached in `life`; it is saved with the next tick, or at
    /// once with `now`. The answer is false when the lease is somebody else's, and none when it
    /// was not saved.
    pub(super) fn save(&self, save: Save, life: u64, now: bool) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(Waiting { save, life, answer });
        drop(waiting);
        self.something.notify_one();
        if now {
            self.hurry.notify_one();
        }
        answered
    }

    fn take(&self, life: u64) -> (Vec<Save>, Vec<oneshot::Sender<bool>>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // One of another life may lie past the end of the log.
        let of_now = waiting.drain(..).filter(|waiting| waiting.life == life);
        of_now.map(|waiting| (waiting.save, waiting.answer)).unzip()
    }

    /// Saves what is handed in, with each tick, until all senders have ended.
    pub(super) async fn run<DB: Storage>(&self, shared: &Shared<DB>) {
        let mut said = Said::default();
        let (tick, stop) = (shared.options.checkpoint_every, &shared.saved);
        while stop.run_until_cancelled(self.something.notified()).await.is_some() {
            // Time for others to come along.
            let _ = timeout(tick, self.hurry.notified()).await;
            // The senders hand in again what is not saved.
            if let Err(error) = shared.works.checkpoints.step(self.save_all(shared)).await
                && let Some(left_out) = said.admit(&error.to_string())
            {
                tracing::warn!(%error, left_out, "checkpoints could not be saved");
            }
        }
    }

    async fn save_all<DB: Storage>(&self, shared: &Shared<DB>) -> Result<()> {
        let life = shared.life.now();
        let (saves, answers) = self.take(life);
        if saves.is_empty() {
            return Ok(());
        }
        let hold = || shared.life.now() == life;
        let pool = shared.ready.now();
        let saved = pool.limit(DB::save_checkpoints(&pool, &saves, &hold)).await?;
        for (answer, saved) in answers.into_iter().zip(saved) {
            // A sender that ended meanwhile does not wait for it.
            let _ = answer.send(saved);
        }
        Ok(())
    }
}
