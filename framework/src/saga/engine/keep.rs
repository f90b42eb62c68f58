//! What is done now and then: looking for instances that nobody here can decide, and forgetting
//! those that are over.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Inner, source};
use crate::{
    Result, Storage,
    storage::{SourceRole, saga_owner},
};

/// How often.
const LOOK: Duration = Duration::from_secs(300);
/// The time between two looks for instances that do not go on.
const OVERDUE: Duration = Duration::from_secs(30);
/// How many of them are counted.
const COUNTED: i64 = 1_000;
/// How many instances are forgotten in one transaction.
const CHUNK: i64 = 500;
/// The pause between two such transactions.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn run<DB: Storage>(engine: Arc<Inner<DB>>, stop: CancellationToken) {
    let mut looks = 0_u64;
    while !stop.is_cancelled() {
        if let Err(error) = engine.keep(&stop).await {
            tracing::warn!(%error, "sagas could not be looked after; tried again in five minutes");
        }
        let until = tokio::time::Instant::now() + LOOK;
        while !stop.is_cancelled() && tokio::time::Instant::now() < until {
            looks += 1;
            let looked = match looks % 2 {
                0 => engine.look_at_sources().await,
                _ => Ok(()),
            };
            if let Err(error) = looked.and(engine.look_after().await) {
                tracing::debug!(%error, "sagas that wait could not be counted");
            }
            stop.run_until_cancelled(tokio::time::sleep(OVERDUE)).await;
        }
    }
    source::withdraw(&engine.pool, SourceRole::Sagas, &engine.source).await;
}

impl<DB: Storage> Inner<DB> {
    /// Looks for what keeps instances from going on.
    async fn look_after(&self) -> Result<()> {
        let pool = self.pool.now();
        let overdue = pool.limit(DB::overdue_sagas(&pool, COUNTED)).await?.len();
        let failing = pool.limit(DB::failing_sagas(&pool, COUNTED)).await?;
        let stuck = failing.iter().filter(|saga| saga.stuck_at.is_some()).count();
        {
            let mut status = self.status();
            (status.overdue, status.failing, status.stuck) = (overdue, failing.len(), stuck);
        }
        self.look_at_topics().await
    }

    async fn keep(&self, stop: &CancellationToken) -> Result<()> {
        self.look_at_versions().await?;
        while !stop.is_cancelled() {
            let pool = self.pool.now();
            let forgotten = pool.limit(DB::forget_sagas(&pool, self.retention, CHUNK)).await?;
            if forgotten < CHUNK as u64 {
                break;
            }
            stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
        Ok(())
    }

    /// Instances of versions that no definition here is of are left alone, and told of.
    pub(super) async fn look_at_versions(&self) -> Result<()> {
        let pool = self.pool.now();
        let mut versions = pool.limit(DB::saga_versions(&pool)).await?;
        versions.retain(|(saga, version, _)| !self.owners.contains(&saga_owner(saga, *version)));
        if !versions.is_empty() {
            tracing::warn!(
                ?versions,
                "instances of sagas whose version (saga, version, instances) no definition here is \
                 of: they wait for an engine that has it"
            );
        }
        self.status().unknown = versions;
        Ok(())
    }
}

#[cfg(any(test, feature = "testing"))]
impl<DB: Storage> super::Sagas<DB> {
    /// Looks now for what keeps instances from going on, for a test.
    pub(crate) async fn look_after(&self) -> Result<()> {
        self.0.look_at_sources().await?;
        self.0.look_after().await
    }
}
