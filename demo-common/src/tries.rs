//! Limits on failed tries of passwords, in bounded memory. A stranger must not guess, and must not keep
//! the user out either: so it is a user *at an address* who is shut out for a while, and an address.
//! Failures from many addresses make all tries for one user slow, but not those from where the user
//! has logged in of late.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use moka::sync::Cache;

use crate::Client;

/// Failures are forgotten after so long.
const WINDOW: Duration = Duration::from_secs(60);
/// Failures for one user from one address.
const PER_PAIR: u32 = 10;
/// Failures from one address.
const PER_ADDRESS: u32 = 200;
/// After so many failures for one user, from wherever, tries take turns.
const PER_USER: u32 = 50;
/// Between two turns.
const PACE: Duration = Duration::from_secs(1);
/// The longest that a try waits for its turn; one that would wait longer is refused.
const QUEUE: Duration = Duration::from_secs(8);
/// A user who has logged in from an address needs no turn there for so long.
const FAMILIAR: Duration = Duration::from_secs(24 * 60 * 60);
/// Counters of each kind; more push the least used ones out.
const REMEMBERED: u64 = 100_000;

/// A user's id as a hash with a secret of this process: ids that strangers make up take no more memory.
type Key = u64;
type Pair = (Key, Client);

/// Counts failed tries.
#[derive(Clone)]
pub(crate) struct Tries {
    pairs: Cache<Pair, Arc<AtomicU32>>,
    addresses: Cache<Client, Arc<AtomicU32>>,
    users: Cache<Key, Arc<User>>,
    familiar: Cache<Pair, ()>,
    secret: RandomState,
}

/// Tries for one user, from all addresses.
#[derive(Default)]
struct User {
    failures: AtomicU32,
    /// When the next turn is.
    next: Mutex<Option<Instant>>,
}

impl Default for Tries {
    fn default() -> Self {
        fn cache<K, V>(keep: Duration) -> Cache<K, V>
        where
            K: std::hash::Hash + Eq + Send + Sync + 'static,
            V: Clone + Send + Sync + 'static,
        {
            Cache::builder().max_capacity(REMEMBERED).time_to_live(keep).build()
        }
        Self {
            pairs: cache(WINDOW),
            addresses: cache(WINDOW),
            users: cache(WINDOW),
            familiar: cache(FAMILIAR),
            secret: RandomState::new(),
        }
    }
}

impl Tries {
    /// None when the client may try; else the seconds to wait. It says nothing about whether
    /// the user exists.
    pub(crate) fn barred(&self, user: &str, client: Client) -> Option<u64> {
        let full = |count: Option<Arc<AtomicU32>>, most| {
            count.is_some_and(|count| count.load(Ordering::Relaxed) >= most)
        };
        let user = self.key(user);
        let pair = self.pairs.get(&(user, client));
        let stop = full(pair, PER_PAIR) || full(self.addresses.get(&client), PER_ADDRESS);
        stop.then_some(WINDOW.as_secs())
    }

    /// The time that a try waits for its turn.
    ///
    /// # Errors
    /// The seconds after which to come again, when too many wait already.
    pub(crate) fn turn(&self, user: &str, client: Client, now: Instant) -> Result<Duration, u64> {
        let user = self.key(user);
        let Some(known) = self.users.get(&user) else { return Ok(Duration::ZERO) };
        if known.failures.load(Ordering::Relaxed) < PER_USER
            || self.familiar.contains_key(&(user, client))
        {
            return Ok(Duration::ZERO);
        }
        let mut next = known.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now));
        let wait = at.duration_since(now);
        if wait > QUEUE {
            return Err((wait - QUEUE).as_secs() + 1);
        }
        *next = Some(at + PACE);
        Ok(wait)
    }

    /// Counts one failure.
    pub(crate) fn failed(&self, user: &str, client: Client) {
        let user = self.key(user);
        let add = |count: Arc<AtomicU32>| count.fetch_add(1, Ordering::Relaxed);
        add(self.pairs.get_with((user, client), Arc::default));
        add(self.addresses.get_with(client, Arc::default));
        self.users.get_with(user, Arc::default).failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers that the user has had the right password there.
    pub(crate) fn passed(&self, user: &str, client: Client) {
        self.familiar.insert((self.key(user), client), ());
    }

    fn key(&self, user: &str) -> Key {
        self.secret.hash_one(user)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn at(last: u8) -> Client {
        Client::new(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_user_is_shut_out_at_one_address_and_an_address_for_all_users() {
        let tries = Tries::default();
        for _ in 0..PER_PAIR {
            assert_eq!(tries.barred("ann", at(1)), None);
            tries.failed("ann", at(1));
        }
        assert!(tries.barred("ann", at(1)).is_some());
        assert_eq!(tries.barred("ann", at(2)), None, "from elsewhere");
        assert_eq!(tries.barred("ben", at(1)), None, "somebody else");
        for n in 0..PER_ADDRESS {
            tries.failed(&format!("user-{n}"), at(1));
        }
        assert!(tries.barred("ben", at(1)).is_some(), "anybody");
        assert_eq!(tries.barred("ben", at(2)), None);
    }

    #[test]
    fn failures_from_everywhere_make_strangers_take_turns_and_no_familiar_address() {
        let (tries, now) = (Tries::default(), Instant::now());
        tries.passed("ann", at(200));
        for n in 0..PER_USER {
            assert_eq!(tries.turn("ann", at(1), now), Ok(Duration::ZERO), "{n} failures");
            tries.failed("ann", at(n as u8));
        }
        let waits: Vec<_> = (0..20).map(|_| tries.turn("ann", at(100), now)).collect();
        let all = u32::try_from(QUEUE.as_secs()).expect("small");
        for (n, wait) in (0..=all).zip(&waits) {
            assert_eq!(*wait, Ok(PACE * n));
        }
        assert!(waits[all as usize + 1..].iter().all(Result::is_err), "{waits:?}");
        // The queue moves on, and nobody is shut out for longer than it takes.
        assert!(tries.turn("ann", at(101), now + PACE * 2).is_ok());
        assert_eq!(tries.turn("ann", at(200), now), Ok(Duration::ZERO), "where she was of late");
        assert_eq!(tries.turn("ben", at(100), now), Ok(Duration::ZERO), "somebody else");
    }
}
