//! The one question that an idle process asks its database again and again.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::Pool;
use uuid::Uuid;

use super::{Base, Lease};
use crate::{Result, message::Position};

/// What the parts of a process wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Awaited {
    /// Whether the log and the delayed messages are asked about.
    pub log: bool,
    /// Consumers that are asked about.
    pub consumers: BTreeSet<String>,
    /// Owners of sagas that are asked about, as `saga/version`.
    pub sagas: BTreeSet<String>,
    /// How far ahead sagas' timers are looked for.
    pub within: Duration,
}

/// What is there for those who wait. Times are from now, nought when something is due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The last position that has been given out.
    pub head: Option<Position>,
    /// Whether the next seal would hold something.
    pub unsealed: bool,
    /// When the next delayed message is due.
    pub delayed: Option<Duration>,
    /// When the next parked key of each consumer is due.
    pub parked: HashMap<String, Duration>,
    /// The consumers that keep messages past a watermark.
    pub ahead: HashSet<String>,
    /// When a saga has something to decide.
    pub sagas: Option<Duration>,
}

/// Who a relay process is, and what it has.
#[derive(Debug, Clone)]
pub struct Beating<'a> {
    /// The process.
    pub holder: Uuid,
    /// The leases that it has or wants.
    pub leases: &'a [String],
    /// The routes that it can carry.
    pub routes: &'a [String],
    /// How long that holds.
    pub ttl: Duration,
}

/// What a relay process learns when it renews what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// One answer for each lease, as by [`LeaseStore::acquire_all`](super::LeaseStore::acquire_all).
    pub leases: Vec<Option<Lease>>,
    /// What the shares of processes depend on: the incarnation, the routes, the streams and the
    /// members, each as a text that is another one when anything of it is. In order.
    pub seen: Vec<String>,
    /// As by [`PulseStore::pulse`].
    pub found: Found,
}

/// Cheap questions that are asked again and again.
#[async_trait]
pub trait PulseStore: Base {
    /// What is there of what is awaited; a plain read.
    async fn pulse(pool: &Pool<Self>, awaited: &Awaited) -> Result<Found>;

    /// Renews a relay process's leases and tells the others that it lives. No statement of it
    /// leaves a lock behind when the process is frozen after it.
    async fn beat(pool: &Pool<Self>, of: Beating<'_>, awaited: &Awaited) -> Result<Beat>;
}
