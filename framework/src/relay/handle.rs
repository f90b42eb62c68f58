//! A running relay, as the service that runs it sees it.

use std::sync::{Arc, PoisonError};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{RouteStatus, Shared};
use crate::{Storage, streams::Uncarried, transport::Feed};

pub(super) trait Status: Send + Sync {
    fn status(&self) -> Vec<RouteStatus>;
    fn problems(&self) -> Vec<String>;
    fn pages_read(&self) -> u64;
    fn uncarried(&self) -> Vec<Uncarried>;
}

impl<DB: Storage> Status for Shared<DB> {
    fn status(&self) -> Vec<RouteStatus> {
        self.board.all(self.works.standstill())
    }

    fn problems(&self) -> Vec<String> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        self.works.problems().into_iter().chain(resting.iter().cloned()).collect()
    }

    fn pages_read(&self) -> u64 {
        self.pages.reads()
    }

    fn uncarried(&self) -> Vec<Uncarried> {
        self.uncarried.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running relay. Dropping it lets the relay go on; [`RelayHandle::stop`] ends it.
#[must_use = "the relay is stopped with `stop()`"]
pub struct RelayHandle {
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) status: Arc<dyn Status>,
    pub(super) feed: Arc<dyn Feed>,
}

impl RelayHandle {
    /// What each shard of each route is doing in this process, in order.
    pub fn status(&self) -> Vec<RouteStatus> {
        self.status.status()
    }

    /// Problems of this process beside those in [`RelayHandle::status`]: sealing,
    /// renewing leases, saving checkpoints, moving delayed messages, trimming the log; routes that an
    /// operator has paused or whose lease a dead process holds, and streams that reach nobody, as found
    /// within the last 15 seconds. Empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        self.status.problems()
    }

    /// What consumers may pull: every declared stream, routes or not. It serves as long as the
    /// relay runs.
    ///
    /// ```
    /// # #[cfg(feature = "http-feed")]
    /// # fn example(relay: &syncline::RelayHandle, token: syncline::transport::http_feed::Token)
    /// # -> Result<axum::Router, Box<dyn std::error::Error>> {
    /// use syncline::transport::http_feed::{FeedServer, Reader};
    /// let reader = Reader::new(&token, "users", ["user.*"])?;
    /// let feed = FeedServer::new(relay.feed()).reader(reader).router();
    /// # Ok(axum::Router::new().nest("/feed", feed)) }
    /// ```
    pub fn feed(&self) -> Arc<dyn Feed> {
        Arc::clone(&self.feed)
    }

    /// How many pages of the log this process has read from the database: all its routes and
    /// shards that are at about the same place share one.
    pub fn pages_read(&self) -> u64 {
        self.status.pages_read()
    }

    /// Messages that no stream carries, by topic, as far as this process has found them when it looked
    /// what can be trimmed: within a minute, and only the one process that trims does. They are told
    /// until they are trimmed, of 1,000 topics at the most; one that a stream carries by now says so
    /// ([`Uncarried::carried_after`]), and is no alarm any more. The log tells of each topic once. See
    /// [`streams::uncarried`](crate::streams::uncarried), which looks at once.
    pub fn uncarried(&self) -> Vec<Uncarried> {
        self.status.uncarried()
    }

    /// Waits for the batches under way, each for
    /// [`RelayOptions::publish_within`](super::RelayOptions::publish_within) at most, saves the
    /// checkpoints and gives the leases back.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}
