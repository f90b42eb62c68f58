//! Telling engines that there is something to decide: the one of this process at once, those of
//! other processes by the database's signal, where it has one. What is lost costs a poll.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Inner, changes::end_of_word};
use crate::{
    Result, Storage,
    saga::End,
    storage::Signal,
    wake::{self, Decidable},
};

/// Commits of so long are told of by one signal.
const GATHERED: Duration = Duration::from_millis(2);

/// An engine that is told, and that tells, whatever its database is.
#[async_trait]
pub(super) trait Tell: Send + Sync {
    /// A start has committed.
    fn tell(self: Arc<Self>);

    /// Somebody waits until an instance is over; told when this engine has decided that.
    fn hear(&self, id: Uuid) -> watch::Receiver<Option<End>>;

    /// Nobody may wait for it any more.
    fn forget(&self, id: Uuid);

    /// How an instance has ended, as the database knows it.
    async fn end_of(&self, id: Uuid) -> Result<Option<End>>;

    /// How often the database is asked.
    fn poll(&self) -> Duration;
}

#[async_trait]
impl<DB: Storage> Tell for Inner<DB> {
    fn tell(self: Arc<Self>) {
        wake::decidable();
        self.signal_after(async {});
    }

    fn hear(&self, id: Uuid) -> watch::Receiver<Option<End>> {
        self.waiting.hear(id)
    }

    fn forget(&self, id: Uuid) {
        self.waiting.forget(id);
    }

    async fn end_of(&self, id: Uuid) -> Result<Option<End>> {
        let pool = self.pool.now();
        let saga = pool.limit(DB::saga(&pool, id)).await?;
        Ok(saga.and_then(|saga| end_of_word(&saga.status)))
    }

    fn poll(&self) -> Duration {
        self.poll
    }
}

impl<DB: Storage> Inner<DB> {
    /// Events are stored in a transaction that may commit soon.
    pub(super) fn tell_after_commit(self: &Arc<Self>) {
        let (mut decidable, limit) = (Decidable::default(), self.poll);
        wake::stored();
        Arc::clone(self).signal_after(async move {
            drop(tokio::time::timeout(limit, decidable.next()).await);
        });
    }

    /// Wakes engines of other processes after `commit`, unless one runs here.
    fn signal_after(self: Arc<Self>, commit: impl Future<Output = ()> + Send + 'static) {
        if self.running.load(Ordering::Relaxed) > 0 {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.signalling.swap(true, Ordering::SeqCst) {
            return;
        }
        runtime.spawn(async move {
            commit.await;
            tokio::time::sleep(GATHERED).await;
            // What commits from here on has a signal of its own.
            self.signalling.store(false, Ordering::SeqCst);
            let pool = self.pool.now();
            if let Err(error) = pool.limit(DB::signal(&pool, Signal::Sagas)).await {
                tracing::debug!(%error, "no engine was woken; polling covers");
            }
        });
    }
}
