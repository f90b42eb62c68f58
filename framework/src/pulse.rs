//! The pulse of a process that has nothing to do: its parts ask their database together, about once
//! a second, whether there is something for them of which nobody has told them.
//!
//! Nobody is in charge of it: whoever finds that the last answer is too old asks for all. Parts
//! that share a pool (clones of one) share its pulse.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use sqlx::{Connection, Database, Pool};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    Result, Storage,
    storage::{Awaited, Beat, Beating, Found, Own},
};

/// The interval, unless a part wants it otherwise: 50 statements a minute, however many parts wait. What
/// else an idle process asks is about 40 statements a minute for a relay with one stream and a consumer
/// on one PostgreSQL database: 24 tell that both are alive (`processes::EVERY`, three each), 6 whether the
/// connection that listens is alive, up to 6 whether a consumer's own messages are carried, and a few
/// whether sessions are fit and where the consumer is. So it is three statements in two seconds; more on
/// MySQL and SQLite, where every second of the 50 renews leases, which takes several statements there.
pub(crate) const EVERY: Duration = Duration::from_millis(1_200);

/// A renewal of leases may take so long, however short they are.
const SHORTEST_BEAT: Duration = Duration::from_secs(1);

/// The pulses of this process.
static ALL: Mutex<Vec<Weak<dyn Any + Send + Sync>>> = Mutex::new(Vec::new());

type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

/// What a part waits for.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// Messages to be sealed.
    Log,
    /// Delayed messages that are due.
    Delayed,
    /// Parked keys of a consumer that are due.
    Parked(String),
    /// Messages past a watermark of a consumer.
    Ahead(String),
    /// Instances that have something to decide, of these owners.
    Sagas(Vec<String>),
}

impl Wish {
    fn add_to(&self, awaited: &mut Awaited) {
        match self {
            Self::Log | Self::Delayed => awaited.log = true,
            Self::Parked(consumer) | Self::Ahead(consumer) => {
                awaited.consumers.insert(consumer.clone());
            }
            Self::Sagas(owners) => awaited.sagas.extend(owners.iter().cloned()),
        }
    }

    /// How long after it was asked there is something; none when that was not in sight.
    fn due(&self, found: &Found) -> Option<Duration> {
        match self {
            Self::Log => found.unsealed.then_some(Duration::ZERO),
            Self::Delayed => found.delayed,
            Self::Parked(consumer) => found.parked.get(consumer).copied(),
            Self::Ahead(consumer) => found.ahead.contains(consumer).then_some(Duration::ZERO),
            Self::Sagas(_) => found.sagas,
        }
    }

    /// The relay asks first: it has connections of its own, whatever the service does with its pool.
    fn patience(&self, every: Duration) -> Duration {
        match self {
            Self::Log | Self::Delayed => Duration::ZERO,
            _ => every / 10,
        }
    }
}

/// The pulse of a pool.
pub(crate) struct Pulse<DB: Storage> {
    /// What tells the pool, and its clones, from others.
    pool: Arc<Options<DB>>,
    state: Mutex<State>,
    heard: watch::Sender<Heard>,
}

struct State {
    next: u64,
    wishes: BTreeMap<u64, (Wish, Duration)>,
    /// When somebody began to ask.
    asked: Instant,
}

/// An answer, and when it was asked for; none when that failed.
struct Heard {
    asked: Instant,
    found: Option<Found>,
}

impl<DB: Storage> Pulse<DB> {
    pub(crate) fn of(pool: &Pool<DB>) -> Arc<Self> {
        let pool = pool.connect_options();
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pulse| pulse.strong_count() > 0);
        let known = all.iter().filter_map(Weak::upgrade).find_map(|pulse| {
            pulse.downcast::<Self>().ok().filter(|pulse| Arc::ptr_eq(&pulse.pool, &pool))
        });
        known.unwrap_or_else(|| {
            let asked = Instant::now();
            let state = Mutex::new(State { next: 0, wishes: BTreeMap::new(), asked });
            let heard = watch::channel(Heard { asked, found: Some(Found::default()) }).0;
            let pulse = Arc::new(Self { pool, state, heard });
            all.push(Arc::downgrade(&pulse) as Weak<dyn Any + Send + Sync>);
            pulse
        })
    }

    /// Somebody who waits for `wish`, and wants to hear of it after `every` at the latest; asks
    /// by `pool`.
    pub(crate) fn ear(self: &Arc<Self>, pool: Own<DB>, wish: Wish, every: Duration) -> Ear<DB> {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.wishes.insert(id, (wish.clone(), every));
        let heard = self.heard.subscribe();
        Ear { pulse: Arc::clone(self), pool, wish, id, every, heard }
    }

    /// Renews what a relay process has, which is a pulse as well.
    /// It takes less time than its leases have, or is of no use.
    pub(crate) async fn beat(&self, pool: &Own<DB>, of: Beating<'_>) -> Result<Beat> {
        let asked = Instant::now();
        self.state().asked = asked;
        let (pool, limit) = (pool.now(), (of.ttl / 2).max(SHORTEST_BEAT));
        let beat = pool.limit_to(limit, DB::beat(&pool, of, &self.awaited())).await?;
        self.tell(asked, Some(beat.found.clone()));
        Ok(beat)
    }

    /// Asks for everybody, unless somebody has begun to within `age`.
    async fn ask(&self, pool: &Own<DB>, age: Duration) {
        let Some(asking) = self.begin(age) else { return };
        let pool = pool.now();
        let found = pool.limit(DB::pulse(&pool, &self.awaited())).await;
        if let Err(error) = &found {
            tracing::debug!(%error, "the pulse failed; each part looks for itself");
        }
        self.tell(asking.asked, found.ok());
        asking.done();
    }

    fn begin(&self, age: Duration) -> Option<Asking<'_>> {
        let mut state = self.state();
        let asked = Instant::now();
        if asked < state.asked + age {
            return None;
        }
        let before = std::mem::replace(&mut state.asked, asked);
        Some(Asking { state: &self.state, asked, before })
    }

    fn tell(&self, asked: Instant, found: Option<Found>) {
        self.heard.send_if_modified(|heard| {
            let newer = asked > heard.asked;
            if newer {
                *heard = Heard { asked, found };
            }
            newer
        });
    }

    fn awaited(&self) -> Awaited {
        let state = self.state();
        let mut awaited = Awaited::default();
        for (wish, every) in state.wishes.values() {
            wish.add_to(&mut awaited);
            // What is due before the next answer is in sight of this one.
            awaited.within = awaited.within.max(*every * 2);
        }
        awaited
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody is asking. Dropped before it is done, it was never begun.
struct Asking<'a> {
    state: &'a Mutex<State>,
    asked: Instant,
    before: Instant,
}

impl Asking<'_> {
    fn done(mut self) {
        self.before = self.asked;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.asked == self.asked {
            state.asked = self.before;
        }
    }
}

/// One part's view of the pulse.
pub(crate) struct Ear<DB: Storage> {
    pulse: Arc<Pulse<DB>>,
    pool: Own<DB>,
    wish: Wish,
    id: u64,
    every: Duration,
    heard: watch::Receiver<Heard>,
}

impl<DB: Storage> Ear<DB> {
    /// Waits until there is something, as far as an answer says that was asked for after `since`:
    /// when the part began to look for itself. Also when that cannot be said. Safe to drop.
    pub(crate) async fn due(&mut self, since: Instant) {
        self.due_or(since, |_| false).await;
    }

    /// As [`Ear::due`]; also when `else_due` says so.
    pub(crate) async fn due_or(&mut self, since: Instant, else_due: impl Fn(&Found) -> bool) {
        let age = self.every + self.wish.patience(self.every);
        loop {
            let due = self.due_at(since, &else_due);
            let ask_at = self.pulse.state().asked + age;
            let due_in_time = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due_in_time => return,
                _ = self.heard.changed() => {}
                () = sleep_until(ask_at) => self.pulse.ask(&self.pool, age).await,
            }
        }
    }

    fn due_at(&mut self, since: Instant, else_due: impl Fn(&Found) -> bool) -> Option<Instant> {
        let heard = self.heard.borrow_and_update();
        if heard.asked < since {
            return None;
        }
        match &heard.found {
            Some(found) if !else_due(found) => heard.asked.checked_add(self.wish.due(found)?),
            _ => Some(heard.asked),
        }
    }
}

impl<DB: Storage> Drop for Ear<DB> {
    fn drop(&mut self) {
        self.pulse.state().wishes.remove(&self.id);
    }
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests {
    use sqlx::{Sqlite, SqlitePool, sqlite::SqlitePoolOptions};

    use super::*;

    fn pool() -> SqlitePool {
        // Each connection is a database of its own.
        let one = SqlitePoolOptions::new().max_connections(1);
        one.connect_lazy("sqlite::memory:").expect("a pool")
    }

    fn ear(pool: &SqlitePool, wish: Wish) -> Ear<Sqlite> {
        let own = Own::service("a test", pool, Duration::from_secs(60));
        Pulse::of(pool).ear(own, wish, EVERY)
    }

    #[tokio::test]
    async fn clones_of_a_pool_have_one_pulse_and_other_pools_another() {
        let (one, two) = (pool(), pool());
        let pulse = Pulse::of(&one);
        assert!(Arc::ptr_eq(&pulse, &Pulse::of(&one.clone())));
        assert!(!Arc::ptr_eq(&pulse, &Pulse::of(&two)));
        let (first, other) = (ear(&one, Wish::Log), ear(&two, Wish::Parked("c".to_owned())));
        assert_eq!((pulse.awaited().log, pulse.awaited().consumers.len()), (true, 0));
        assert_eq!(other.pulse.awaited().consumers, ["c".to_owned()].into());
        drop(first);
        assert!(!pulse.awaited().log, "who is gone waits for nothing");
    }

    #[tokio::test]
    async fn of_many_one_asks_and_who_is_dropped_while_asking_has_not_asked() {
        let pulse = Pulse::of(&pool());
        assert!(pulse.begin(EVERY).is_none(), "it is too soon");
        let asking = pulse.begin(Duration::ZERO).expect("it is time");
        assert!(pulse.begin(EVERY).is_none(), "somebody asks");
        let before = asking.before;
        drop(asking);
        assert_eq!(pulse.state().asked, before);
        let asking = pulse.begin(Duration::ZERO).expect("it is time");
        let asked = asking.asked;
        asking.done();
        assert_eq!(pulse.state().asked, asked);
    }

    #[tokio::test]
    async fn an_answer_counts_for_who_began_to_look_before_it_was_asked_for() {
        let pool = pool();
        let (mut log, mut delayed) = (ear(&pool, Wish::Log), ear(&pool, Wish::Delayed));
        let (asked, second) = (Instant::now() + EVERY, Duration::from_secs(1));
        let soon = Found { delayed: Some(second), ..Found::default() };
        log.pulse.tell(asked, Some(soon));
        assert_eq!(delayed.due_at(asked, |_| false), Some(asked + second));
        assert_eq!(delayed.due_at(asked + second, |_| false), None, "it may have seen that itself");
        assert_eq!(log.due_at(asked, |_| false), None);
        assert_eq!(log.due_at(asked, |_| true), Some(asked));
        log.pulse.tell(asked - second, None);
        assert_eq!(log.due_at(asked, |_| false), None, "an older answer comes too late");
        log.pulse.tell(asked + second, None);
        assert_eq!(log.due_at(asked, |_| false), Some(asked + second), "each looks for itself");
    }

    #[tokio::test]
    async fn one_answer_is_heard_by_all() {
        let pool = pool();
        crate::migrate(&pool).await.expect("migrate");
        let since = Instant::now();
        let (mut one, mut two) = (ear(&pool, Wish::Log), ear(&pool, Wish::Delayed));
        let head = |found: &Found| found.head.is_some();
        let both = async { tokio::join!(one.due_or(since, head), two.due_or(since, head)) };
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("both have heard");
        assert_eq!(one.heard.borrow().asked, two.heard.borrow().asked);
    }
}
