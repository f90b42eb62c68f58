//! What is asked of a database for routes: definitions of streams, checkpoints, and which relay
//! processes share the work.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Pool;
use uuid::Uuid;

use super::{Base, Cursor, Lease};
use crate::{
    Result,
    message::{Link, Position},
};

/// Where a route stands in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The log up to here was acknowledged.
    pub cursor: Cursor,
    /// The stream's last message at or below it.
    pub last: Link,
}

/// One shard of one version of a route's stream: what has a checkpoint and a lease of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardKey {
    /// The route.
    pub route: String,
    /// The version of its stream's definition, from 1.
    pub version: i32,
    /// The shard, from 0.
    pub shard: i32,
}

impl ShardKey {
    /// Shard `shard` of version `version` of a route's stream.
    pub fn new(route: impl Into<String>, version: i32, shard: i32) -> Self {
        Self { route: route.into(), version, shard }
    }

    /// The name of its lease.
    ///
    /// ```
    /// use syncline::storage::ShardKey;
    /// assert_eq!(ShardKey::new("login", 1, 0).lease_name(), "route/login");
    /// assert_eq!(ShardKey::new("login", 1, 7).lease_name(), "route/login/1/7");
    /// ```
    pub fn lease_name(&self) -> String {
        match (self.version, self.shard) {
            // The name from before there were shards: processes of both kinds exclude each other.
            (1, 0) => format!("route/{}", self.route),
            (version, shard) => format!("route/{}/{version}/{shard}", self.route),
        }
    }
}

/// What is stored of one shard of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRow {
    /// Which shard of which route.
    pub key: ShardKey,
    /// The route's stream.
    pub stream: String,
    /// How far it got.
    pub checkpoint: Checkpoint,
    /// Whether an operator paused the route.
    pub paused: bool,
    /// Whether it has sent all of its version that there is.
    pub closed: bool,
    /// Since when it has been standing still for too long, or been too far behind.
    pub alarm_at: Option<DateTime<Utc>>,
    /// Whether retention goes on without it.
    pub lost: bool,
    /// Why it does not move, if its sender has found a reason.
    pub problem: Option<RouteProblem>,
    /// By whom the route was paused and why, while it is.
    pub pause: Option<RoutePause>,
}

/// By whom a route was paused, why and since when, as far as it was said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutePause {
    /// The operator; at most 2,000 characters.
    pub by: Option<String>,
    /// The reason; at most 2,000 characters.
    pub why: Option<String>,
    /// Since when, by the database's clock; none for one that was paused before this was kept.
    pub since: Option<DateTime<Utc>>,
}

impl std::fmt::Display for RoutePause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { by, why, since } = self;
        f.write_str("paused")?;
        if let Some(by) = by {
            write!(f, " by {by}")?;
        }
        if let Some(since) = since {
            let since = since.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            write!(f, " since {since}")?;
        }
        write!(f, ": {}", why.as_deref().unwrap_or("no reason was given"))
    }
}

/// A pause as it is noted; texts are cut to 2,000 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewPause<'a> {
    /// The operator.
    pub by: Option<&'a str>,
    /// The reason.
    pub why: Option<&'a str>,
}

/// Why a shard of a route does not move, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteProblem {
    /// The state's tag, as [`RouteState`](crate::relay::RouteState) has it: `backoff`, `diverged`,
    /// `refused`, `trimmed` or `outdated`.
    pub kind: String,
    /// What was found, and what to do; at most 2,000 characters.
    pub text: String,
    /// Since when, by the database's clock.
    pub since: DateTime<Utc>,
    /// Failed tries in a row when it was noted, at most 10 seconds and one try ago.
    pub tries: u32,
    /// When the next try was to be, by the database's clock; none when nothing is tried.
    pub next_try: Option<DateTime<Utc>>,
}

/// Why a shard of a route does not move, as its sender has found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundProblem<'a> {
    /// See [`RouteProblem::kind`].
    pub kind: &'static str,
    /// What was found; it is cut to 2,000 characters.
    pub text: &'a str,
    /// For how long it has been so.
    pub age: Duration,
    /// One of that kind is stored: it keeps its time.
    pub known: bool,
    /// Failed tries in a row.
    pub tries: u32,
    /// How long until the next try; none when nothing is tried.
    pub next: Option<Duration>,
}

/// A shard's row as it is made: nothing at or below `at` is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewShard {
    /// Which shard of which route.
    pub key: ShardKey,
    /// Where it begins.
    pub at: Position,
    /// Whether there is nothing for it to send.
    pub closed: bool,
}

/// A checkpoint to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    /// Of which shard.
    pub key: ShardKey,
    /// The lease under which it was reached.
    pub lease: Lease,
    /// The checkpoint.
    pub to: Checkpoint,
    /// Whether the shard is closed with it.
    pub closed: bool,
}

/// One version of a stream's definition, as the source keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamVersion {
    /// The stream.
    pub name: String,
    /// The version, from 1.
    pub version: i32,
    /// Its topic patterns; none where the definition comes from a time when they were not kept.
    pub topics: Vec<String>,
    /// How many virtual shards it has.
    pub shards: i32,
    /// It carries the positions after this one, up to the next version's.
    pub after: Position,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// The pattern of a version that carries nothing: no topic has this name.
const RESTING: &str = "!";

impl StreamVersion {
    /// Whether it carries nothing: the stream was closed here, or another stream carried its topics
    /// until the next version took over.
    pub fn rests(&self) -> bool {
        self.topics.iter().any(|topic| topic == RESTING)
    }
}

/// A version of a stream's definition as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// The stream.
    pub name: String,
    /// The version, from 1.
    pub version: i32,
    /// Its topic patterns.
    pub topics: Vec<String>,
    /// How many virtual shards it has.
    pub shards: i32,
    /// Which positions it carries.
    pub begins: Begins,
}

/// Where a version of a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// After this position of the log.
    After(Position),
    /// After the log's head, which is one position for all versions that are stored together.
    Head,
}

impl NewVersion {
    /// A version that carries nothing.
    pub(crate) fn resting(name: &str, version: i32, begins: Begins) -> Self {
        let (name, topics) = (name.to_owned(), vec![RESTING.to_owned()]);
        Self { name, version, topics, shards: 1, begins }
    }

    /// Whether it carries nothing.
    pub(crate) fn rests(&self) -> bool {
        self.topics.iter().any(|topic| topic == RESTING)
    }

    /// Whether `stored` is this one.
    pub(crate) fn is(&self, stored: &StreamVersion) -> bool {
        self.name == stored.name && self.version == stored.version
    }
}

/// The durable checkpoints of routes, one for each shard.
#[async_trait]
pub trait RouteStore: Base {
    /// Makes the rows that are missing; none begins before the trim point.
    async fn create_shards(pool: &Pool<Self>, stream: &str, shards: &[NewShard]) -> Result<()>;

    /// Every shard of every route, in order.
    async fn shards(pool: &Pool<Self>) -> Result<Vec<RouteRow>>;

    /// One shard of a route.
    async fn shard(pool: &Pool<Self>, key: &ShardKey) -> Result<Option<RouteRow>>;

    /// Moves checkpoints in one statement that commits by itself, so that a process that is frozen
    /// meanwhile leaves no lock; each if its lease is still its route's. One answer each: false when
    /// the lease is somebody else's by now. `hold` says whether they still hold
    /// on the connection that was made or found for it.
    async fn save_checkpoints(
        pool: &Pool<Self>,
        saves: &[Save],
        hold: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<bool>>;

    /// Notes why a shard does not move, or with none that it does again; nothing is written when the
    /// lease is somebody else's by now.
    async fn note_problem(
        pool: &Pool<Self>,
        key: &ShardKey,
        lease: &Lease,
        found: Option<&FoundProblem<'_>>,
    ) -> Result<()>;

    /// Opens the closed shards of a version again, and says how many there were: a consumer
    /// lacks what they have sent.
    async fn reopen(pool: &Pool<Self>, route: &str, version: i32) -> Result<u64>;

    /// Pauses a route, or with none lets it go on; returns how many shards it has.
    async fn set_pause(pool: &Pool<Self>, route: &str, pause: Option<&NewPause<'_>>)
    -> Result<u64>;

    /// As [`RouteStore::set_pause`], without saying who and why.
    async fn set_paused(pool: &Pool<Self>, route: &str, paused: bool) -> Result<u64> {
        Self::set_pause(pool, route, paused.then_some(&NewPause::default())).await
    }

    /// Sets shards to where they are told, in one transaction that takes their leases away:
    /// what their holders still save is refused. Fails with
    /// [`Error::Trimmed`](crate::Error::Trimmed) when one would begin before the trim point.
    async fn rewind(pool: &Pool<Self>, to: &[NewShard]) -> Result<()>;
}

/// The definitions of streams.
#[async_trait]
pub trait StreamStore: Base {
    /// Every version of every stream, in order.
    async fn streams(pool: &Pool<Self>) -> Result<Vec<StreamVersion>>;

    /// Stores new versions, all or none; false when there is one of such a number already.
    ///
    /// Those that begin at the log's head begin at the same position, in one transaction that takes
    /// the leases of their streams' routes away and makes the new shards: what the holders of the
    /// old leases still save is refused.
    async fn define_streams(pool: &Pool<Self>, versions: &[NewVersion]) -> Result<bool>;

    /// Notes the topics of a version from a time when they were not kept.
    async fn tell_topics(
        pool: &Pool<Self>,
        name: &str,
        version: i32,
        topics: &[String],
    ) -> Result<()>;
}

/// Which relay processes can carry which routes.
#[async_trait]
pub trait MemberStore: Base {
    /// Announces that `holder` can carry `routes`, for `ttl`, and returns who can carry which
    /// route now, in order.
    async fn announce(
        pool: &Pool<Self>,
        holder: Uuid,
        routes: &[String],
        ttl: Duration,
    ) -> Result<Vec<(String, Uuid)>>;

    /// `holder` carries nothing any more.
    async fn withdraw(pool: &Pool<Self>, holder: Uuid) -> Result<()>;
}
