//! Telling engines that there is something to decide: the one of this process at once, those of
//! other processes by the database's signal, where it has one. What is lost costs a poll.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::Inner;
use crate::{
    Storage,
    storage::Signal,
    wake::{self, Decidable},
};

/// Commits of so long are told of by one signal.
const GATHERED: Duration = Duration::from_millis(2);

/// An engine that is told, whatever its database is.
pub(super) trait Tell: Send + Sync {
    /// A start has committed.
    fn tell(self: Arc<Self>);
}

impl<DB: Storage> Tell for Inner<DB> {
    fn tell(self: Arc<Self>) {
        wake::decidable();
        self.signal_after(async {});
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
            if let Err(error) = DB::signal(&self.pool, Signal::Sagas).await {
                tracing::debug!(%error, "no engine was woken; polling covers");
            }
        });
    }
}
