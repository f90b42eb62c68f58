//! The leases that are a process's own, and not a route's: to seal, and to move delayed messages.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    super::{head::SEAL, mover::DELAYED, route::Hold},
    Share,
};
use crate::{Storage, storage::Lease};

/// How long a lease may take to be given back; it runs out anyhow.
pub(super) const STOPPING: Duration = Duration::from_secs(5);

/// The leases that are a process's own, and when they were asked for.
#[derive(Debug)]
pub(in crate::relay) struct Kept {
    asked: Instant,
    seal: Option<Lease>,
    delayed: Option<Lease>,
}

impl Kept {
    pub(in crate::relay) fn nothing() -> Self {
        Self { asked: Instant::now(), seal: None, delayed: None }
    }

    /// When they were asked for: those are good, however late a part of the relay begins.
    pub(in crate::relay) fn asked(&self) -> Instant {
        self.asked
    }

    /// The lease to seal, if it was asked for after `void`.
    pub(in crate::relay) fn seal_since(&self, void: Instant) -> Option<Lease> {
        self.seal.clone().filter(|_| self.asked >= void)
    }

    /// The lease to move delayed messages, if it was asked for after `void`.
    pub(in crate::relay) fn delayed_since(&self, void: Instant) -> Option<Lease> {
        self.delayed.clone().filter(|_| self.asked >= void)
    }
}

impl<DB: Storage> Share<DB> {
    /// The leases to seal and to move delayed messages; none when the relay stops.
    pub(super) fn keep(&self, asked: Instant, own: Vec<Option<Lease>>) {
        if self.shared.stop.is_cancelled() {
            return;
        }
        let (mut seal, mut delayed) = (None, None);
        for lease in own.into_iter().flatten() {
            match lease.name.as_str() {
                SEAL => seal = Some(lease),
                _ => delayed = Some(lease),
            }
        }
        self.shared.kept.send_replace(Kept { asked, seal, delayed });
    }

    /// Leaves leases whose work got no answer to other processes, for long enough that one takes
    /// them that is there.
    pub(super) async fn give_up(&mut self) {
        let shared = Arc::clone(&self.shared);
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let until = now + shared.options.lease / 2;
        for running in self.running.values().filter(|running| running.work.take_tripped()) {
            running.hold.send_replace(Hold::GiveBack);
            self.resting.insert(running.lease.name.clone(), until);
        }
        let mut given_up = Vec::new();
        shared.kept.send_if_modified(|kept| {
            for (name, work, lease) in [
                (SEAL, &shared.works.sealing, &mut kept.seal),
                (DELAYED, &shared.works.delayed, &mut kept.delayed),
            ] {
                if work.take_tripped() {
                    self.resting.insert(name.to_owned(), until);
                    given_up.extend(lease.take());
                }
            }
            !given_up.is_empty()
        });
        let pool = shared.pool.now();
        for lease in given_up {
            tracing::warn!(
                lease = lease.name,
                "the work under a lease gets no answer from the database: it is left to another \
                 process"
            );
            if let Err(error) = pool.limit_to(STOPPING, DB::release(&pool, &lease)).await {
                tracing::warn!(%error, lease = lease.name, "a lease was not given back");
            }
        }
    }

    /// What is this process's own is the next one's.
    pub(super) async fn give_back(&self) {
        let kept = self.shared.kept.send_replace(Kept::nothing());
        let pool = self.shared.pool.now();
        for lease in [kept.seal, kept.delayed].into_iter().flatten() {
            drop(pool.limit_to(STOPPING, DB::release(&pool, &lease)).await);
        }
    }
}
