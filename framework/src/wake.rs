//! Wake-ups inside one process, from whoever enqueues to the relays.
//!
//! They only make a relay look sooner: a lost one costs a poll, never a message. So one hub
//! serves all databases of the process.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

static CHANGED: Notify = Notify::const_new();
static ENQUEUED: AtomicU64 = AtomicU64::new(0);
static COMMITTED: AtomicU64 = AtomicU64::new(0);

/// Messages were enqueued; their transaction may commit soon.
pub(crate) fn enqueued() {
    ENQUEUED.fetch_add(1, Ordering::Relaxed);
    CHANGED.notify_waiters();
}

/// A transaction with messages was committed.
pub(crate) fn committed() {
    COMMITTED.fetch_add(1, Ordering::Relaxed);
    CHANGED.notify_waiters();
}

/// How much was enqueued when a transaction began, for one whose receipts are not at hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before(u64);

impl Before {
    pub(crate) fn now() -> Self {
        Self(ENQUEUED.load(Ordering::Relaxed))
    }

    /// The transaction has committed: if something was enqueued meanwhile, it may have been here.
    pub(crate) fn committed(self) {
        if ENQUEUED.load(Ordering::Relaxed) != self.0 {
            committed();
        }
    }
}

/// What happened since a relay looked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// A transaction with messages may commit soon.
    Expected,
    /// One has committed.
    Committed,
}

/// One relay's view of the hub.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    enqueued: u64,
    committed: u64,
}

impl Wakes {
    /// Waits until something happened since the last call. Safe to drop.
    pub(crate) async fn next(&mut self) -> Wake {
        loop {
            let changed = CHANGED.notified();
            tokio::pin!(changed);
            // Registered before the counters are read, so that nothing falls between.
            changed.as_mut().enable();
            let committed = COMMITTED.load(Ordering::Relaxed);
            let enqueued = ENQUEUED.load(Ordering::Relaxed);
            if committed != std::mem::replace(&mut self.committed, committed) {
                self.enqueued = enqueued;
                return Wake::Committed;
            }
            if enqueued != std::mem::replace(&mut self.enqueued, enqueued) {
                return Wake::Expected;
            }
            changed.await;
        }
    }
}
