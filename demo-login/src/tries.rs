//! A limit on failed logins, by user and by client address, in bounded memory.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;

/// Failures are forgotten after so long.
const WINDOW: Duration = Duration::from_secs(60);
const PER_USER: u32 = 10;
const PER_ADDRESS: u32 = 200;
/// So many users and addresses are remembered; more push the least used ones out.
const REMEMBERED: u64 = 100_000;

/// Counts failed logins.
#[derive(Clone)]
pub struct Tries {
    users: Cache<String, Arc<AtomicU32>>,
    addresses: Cache<IpAddr, Arc<AtomicU32>>,
}

impl Default for Tries {
    fn default() -> Self {
        fn cache<K: std::hash::Hash + Eq + Send + Sync + 'static>() -> Cache<K, Arc<AtomicU32>> {
            Cache::builder().max_capacity(REMEMBERED).time_to_live(WINDOW).build()
        }
        Self { users: cache(), addresses: cache() }
    }
}

impl Tries {
    /// None when the client may try; else the seconds to wait. It says nothing about whether
    /// the user exists.
    pub fn wait(&self, user: &str, address: IpAddr) -> Option<u64> {
        let full = |count: Option<Arc<AtomicU32>>, most| {
            count.is_some_and(|count| count.load(Ordering::Relaxed) >= most)
        };
        let stop =
            full(self.users.get(user), PER_USER) || full(self.addresses.get(&address), PER_ADDRESS);
        stop.then_some(WINDOW.as_secs())
    }

    /// Counts one failure.
    pub fn failed(&self, user: &str, address: IpAddr) {
        let user = self.users.get_with(user.to_owned(), Arc::default);
        user.fetch_add(1, Ordering::Relaxed);
        self.addresses.get_with(address, Arc::default).fetch_add(1, Ordering::Relaxed);
    }
}
