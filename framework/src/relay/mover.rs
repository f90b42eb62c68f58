//! Delayed messages: one process, by a lease, puts them into the outbox when they are due.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::Shared;
use crate::{Result, Storage, storage::Lease, wake};

/// The lease of the process that moves delayed messages.
const DELAYED: &str = "delayed";
/// The most that one transaction moves.
const BATCH: i64 = 1_000;
/// How long a step that is under way may take when the relay stops.
const STOPPING: Duration = Duration::from_secs(2);

pub(super) async fn run<DB: Storage>(shared: Arc<Shared<DB>>) {
    let mut mover = Mover { lease: None, renew_at: Instant::now(), shared };
    mover.run().await;
    if let Some(lease) = mover.lease.take() {
        drop(DB::release(&mover.shared.pool, &lease).await);
    }
}

struct Mover<DB: Storage> {
    shared: Arc<Shared<DB>>,
    lease: Option<Lease>,
    renew_at: Instant,
}

impl<DB: Storage> Mover<DB> {
    async fn run(&mut self) {
        let stop = self.shared.stop.clone();
        let late = async || {
            stop.cancelled().await;
            sleep(STOPPING).await;
        };
        while !stop.is_cancelled() {
            // Finished also when the relay stops: a lease that is just being taken is given back.
            let stepped = tokio::select! {
                stepped = self.step() => stepped,
                () = late() => return,
            };
            let pause = stepped.unwrap_or_else(|error| {
                tracing::warn!(%error, "delayed messages could not be moved; trying again");
                self.renew_at = Instant::now();
                self.shared.options.idle
            });
            stop.run_until_cancelled(sleep(pause)).await;
        }
    }

    /// Moves what is due, or says how long to wait.
    async fn step(&mut self) -> Result<Duration> {
        let Shared { pool, options, holder, .. } = &*self.shared;
        if Instant::now() >= self.renew_at {
            self.lease = DB::acquire(pool, DELAYED, *holder, options.lease).await?;
            self.renew_at = Instant::now() + options.lease / 3;
        }
        let Some(lease) = &self.lease else {
            return Ok(self.renew_at.saturating_duration_since(Instant::now()));
        };
        // Somebody else may set an earlier timer meanwhile: never asleep for long.
        match DB::next_due(pool).await? {
            None => Ok(options.idle),
            Some(wait) if !wait.is_zero() => Ok(wait.min(options.idle)),
            Some(_) if DB::move_due(pool, lease, BATCH).await? > 0 => {
                wake::committed();
                Ok(Duration::ZERO)
            }
            // Due, and not moved: the lease is another's, or somebody is just cancelling.
            Some(_) => {
                self.renew_at = Instant::now();
                Ok(options.idle / 10)
            }
        }
    }
}
