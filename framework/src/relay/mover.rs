//! Delayed messages: one process, by a lease, puts them into the outbox when they are due.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{Shared, share::Kept};
use crate::{
    Result, Storage,
    pulse::{Ear, Wish},
    said::Said,
    wake::{self, Timed},
};

/// The lease of the process that moves delayed messages.
pub(super) const DELAYED: &str = "delayed";
/// The most that one transaction moves.
const BATCH: i64 = 1_000;
/// It is looked again after so long at the latest.
const FAR: Duration = Duration::from_secs(60 * 60);
/// How long a step that is under way may take when the relay stops.
const STOPPING: Duration = Duration::from_secs(2);

pub(super) async fn run<DB: Storage>(shared: Arc<Shared<DB>>) {
    let ear = shared.pulse.ear(shared.pool.clone(), Wish::Delayed, shared.options.idle);
    let (kept, timed, looked) = (shared.kept.subscribe(), Timed::default(), Instant::now());
    let void = kept.borrow().asked();
    Mover { kept, ear, timed, looked, void, epoch: None, shared }.run().await;
}

struct Mover<DB: Storage> {
    shared: Arc<Shared<DB>>,
    kept: watch::Receiver<Kept>,
    ear: Ear<DB>,
    timed: Timed,
    /// When the last look began.
    looked: Instant,
    /// A lease from before then is asked for anew.
    void: Instant,
    /// The epoch of the lease under which was looked.
    epoch: Option<i64>,
}

impl<DB: Storage> Mover<DB> {
    async fn run(&mut self) {
        let stop = self.shared.stop.clone();
        let shared = Arc::clone(&self.shared);
        let late = async || {
            stop.cancelled().await;
            sleep(STOPPING).await;
        };
        let mut said = Said::default();
        while !stop.is_cancelled() {
            let stepped = tokio::select! {
                stepped = shared.works.delayed.step(self.step()) => stepped,
                () = late() => return,
            };
            match stepped {
                Ok(due) => stop.run_until_cancelled(self.wait(due)).await,
                Err(error) => {
                    if let Some(left_out) = said.admit(&error.to_string()) {
                        tracing::warn!(%error, left_out, "delayed messages could not be moved; trying again");
                    }
                    self.renew();
                    stop.run_until_cancelled(sleep(self.shared.options.idle)).await
                }
            };
        }
    }

    /// Moves what is due, and says how long it is until the next one is, if there is one.
    async fn step(&mut self) -> Result<Option<Duration>> {
        self.looked = Instant::now();
        let lease = self.kept.borrow_and_update().delayed_since(self.void);
        self.epoch = lease.as_ref().map(|lease| lease.epoch);
        let Some(lease) = lease else { return Ok(None) };
        let Shared { pool, options, .. } = &*self.shared;
        let pool = pool.now();
        match pool.limit(DB::next_due(&pool)).await? {
            Some(wait) if wait.is_zero() => {}
            due => return Ok(due),
        }
        if pool.limit(DB::move_due(&pool, &lease, BATCH)).await? > 0 {
            wake::committed();
            return Ok(Some(Duration::ZERO));
        }
        // Due, and not moved: the lease is another's, or somebody is just cancelling.
        let pause = options.idle / 10;
        self.renew();
        Ok(Some(pause))
    }

    fn renew(&mut self) {
        self.void = Instant::now();
        self.shared.renew.notify_one();
    }

    /// Waits until one may be due: the next one that is known, one that was set here, or one of
    /// which only the database knows.
    async fn wait(&mut self, due: Option<Duration>) {
        let mut until = Instant::now() + due.unwrap_or(FAR).min(FAR);
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.ear.due(self.looked) => return,
                set = self.timed.next() => until = until.min(set),
                _ = self.kept.changed() => {
                    let lease = self.kept.borrow_and_update().delayed_since(self.void);
                    if lease.map(|lease| lease.epoch) != self.epoch {
                        return;
                    }
                }
            }
        }
    }
}
