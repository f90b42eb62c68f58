//! Wake-ups inside one process, from whoever enqueues to the relays, and from
//! whoever stores events of sagas to the engines.
//!
//! They only make them look sooner: a lost one costs a poll, never a message. So one hub
//! serves all databases of the process.

use std::{
    cell::Cell,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

static CHANGED: Notify = Notify::const_new();
static ENQUEUED: AtomicU64 = AtomicU64::new(0);
static COMMITTED: AtomicU64 = AtomicU64::new(0);
static TO_DECIDE: Notify = Notify::const_new();
static DECIDABLE: AtomicU64 = AtomicU64::new(0);
static TIMED: Notify = Notify::const_new();
/// When the next delayed message is due of those that were enqueued here.
static SOONEST: Mutex<Option<Instant>> = Mutex::new(None);

/// Messages were enqueued; their transaction may commit soon.
pub(crate) fn enqueued() {
    Noted::note(|noted| &noted.enqueued);
    ENQUEUED.fetch_add(1, Ordering::Relaxed);
    CHANGED.notify_waiters();
}

/// A transaction with messages was committed.
pub(crate) fn committed() {
    COMMITTED.fetch_add(1, Ordering::Relaxed);
    CHANGED.notify_waiters();
}

/// A delayed message was enqueued, which is due then if its transaction commits before.
pub(crate) fn timed(due: Instant) {
    let mut soonest = soonest();
    // One that has passed was seen, or is found by the next look.
    let coming = soonest.filter(|soonest| *soonest > Instant::now());
    *soonest = Some(coming.map_or(due, |coming| coming.min(due)));
    drop(soonest);
    TIMED.notify_waiters();
}

fn soonest() -> MutexGuard<'static, Option<Instant>> {
    SOONEST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A mover's view of the hub.
#[derive(Debug, Default)]
pub(crate) struct Timed(Option<Instant>);

impl Timed {
    /// Waits for another time at which a delayed message may be due. Safe to drop.
    pub(crate) async fn next(&mut self) -> Instant {
        loop {
            let told = TIMED.notified();
            tokio::pin!(told);
            // Registered before the time is read, so that nothing falls between.
            told.as_mut().enable();
            let soonest = *soonest();
            if let Some(due) =
                soonest.filter(|_| soonest != std::mem::replace(&mut self.0, soonest))
            {
                return due;
            }
            told.await;
        }
    }
}

/// Events of sagas were stored; their transaction may commit soon.
pub(crate) fn stored() {
    Noted::note(|noted| &noted.stored);
}

/// A transaction with events of sagas was committed.
pub(crate) fn decidable() {
    DECIDABLE.fetch_add(1, Ordering::Relaxed);
    TO_DECIDE.notify_waiters();
}

tokio::task_local! {
    static NOTED: Noted;
}

/// What the code of one transaction did.
#[derive(Debug, Clone, Default)]
struct Noted {
    enqueued: Cell<bool>,
    stored: Cell<bool>,
}

impl Noted {
    fn note(what: fn(&Self) -> &Cell<bool>) {
        // Outside of `committing` nobody asks.
        let _ = NOTED.try_with(|noted| what(noted).set(true));
    }
}

/// Runs a transaction whose receipts are not at hand, to its commit, and wakes whoever waits for
/// what was enqueued and stored in it. What others do meanwhile wakes nobody.
pub(crate) async fn committing<T, E>(
    transaction: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let (done, noted) = noting(transaction).await;
    let done = done?;
    if noted.enqueued.get() {
        committed();
    }
    if noted.stored.get() {
        decidable();
    }
    Ok(done)
}

async fn noting<T>(code: impl Future<Output = T>) -> (T, Noted) {
    let code = async {
        let done = code.await;
        (done, NOTED.with(Noted::clone))
    };
    NOTED.scope(Noted::default(), code).await
}

/// An engine's view of the hub, from when it was made.
#[derive(Debug)]
pub(crate) struct Decidable(u64);

impl Default for Decidable {
    fn default() -> Self {
        Self(DECIDABLE.load(Ordering::Relaxed))
    }
}

impl Decidable {
    /// Waits until events were committed since the last call. Safe to drop.
    pub(crate) async fn next(&mut self) {
        loop {
            let told = TO_DECIDE.notified();
            tokio::pin!(told);
            // Registered before the counter is read, so that nothing falls between.
            told.as_mut().enable();
            let decidable = DECIDABLE.load(Ordering::Relaxed);
            if decidable != std::mem::replace(&mut self.0, decidable) {
                return;
            }
            told.await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_others_enqueue_meanwhile_is_not_noted() {
        let ((), noted) = noting(async {
            tokio::spawn(async {
                enqueued();
                stored();
            })
            .await
            .expect("the other");
        })
        .await;
        assert!(!noted.enqueued.get() && !noted.stored.get(), "{noted:?}");
    }

    #[tokio::test]
    async fn what_the_code_itself_enqueues_is_noted_across_its_awaits() {
        let (inner, outer) = noting(async {
            enqueued();
            tokio::task::yield_now().await;
            // A transaction within another's code has its own.
            noting(async { stored() }).await.1
        })
        .await;
        assert!(!inner.enqueued.get() && inner.stored.get(), "{inner:?}");
        assert!(outer.enqueued.get() && !outer.stored.get(), "{outer:?}");
    }
}
