//! What is asked of a database for operators: how far things are, and whether it is fit.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Pool;
use uuid::Uuid;

use super::{Base, HeldMessage, RoutePause, RouteProblem};
use crate::{Result, message::Position};

/// How far each part of a service is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLag {
    /// The route.
    pub route: String,
    /// Its stream.
    pub stream: String,
    /// The version of the stream's definition.
    pub version: i32,
    /// The shard.
    pub shard: i32,
    /// Whether an operator paused the route.
    pub paused: bool,
    /// The checkpoint.
    pub position: Position,
    /// Messages of the log (of all topics) after the checkpoint.
    pub behind: i64,
    /// When the oldest of them was enqueued.
    pub oldest: Option<DateTime<Utc>>,
    /// When the checkpoint last moved.
    pub updated_at: DateTime<Utc>,
    /// Since when it has been standing still for too long, or been too far behind.
    pub alarm_at: Option<DateTime<Utc>>,
    /// Whether retention goes on without it.
    pub lost: bool,
    /// Why it does not move, if its relay has found a reason.
    pub problem: Option<RouteProblem>,
    /// By whom the route was paused and why, while it is.
    pub pause: Option<RoutePause>,
}

/// A lease that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// Its name; a shard's is [`ShardKey::lease_name`](super::ShardKey::lease_name).
    pub name: String,
    /// The process that has it: it may have died since it renewed it last.
    pub holder: Uuid,
    /// Until when it holds unless it is renewed, by the database's clock.
    pub until: DateTime<Utc>,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// Do not run on it.
    Failure,
}

/// What one check of the server found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it went.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do, when it is not as it should be.
    pub advice: Option<&'static str>,
}

/// A transaction that has written and is still open: its messages wait for its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWriter {
    /// Where to find it, such as `pid 4711` or `prepared transaction "g1"`.
    pub who: String,
    /// For how many seconds it has been open.
    pub age: i64,
}

/// What an operator looks at.
#[async_trait]
pub trait Inspect: Base {
    /// The oldest open transaction that has written messages, also a prepared one; none where the
    /// database, or the connected role's rights, do not show it. (On MySQL: that has written
    /// anything.)
    async fn oldest_writer(_pool: &Pool<Self>) -> Result<Option<OpenWriter>> {
        Ok(None)
    }

    /// Whether the server takes no writes, as a standby or a replica: open transactions are seen
    /// at the primary only.
    async fn is_standby(_pool: &Pool<Self>) -> Result<bool> {
        Ok(false)
    }

    /// Fails with [`Error::Unfit`](crate::Error::Unfit) when the numbers that new messages are given
    /// are nearly used up, because another program gave a row a very high one.
    async fn check_numbers(_pool: &Pool<Self>) -> Result<()> {
        Ok(())
    }

    /// Messages that are committed and not sealed.
    async fn unsealed(pool: &Pool<Self>) -> Result<i64>;

    /// The lag of every shard of every route; not of those that are closed.
    async fn route_lags(pool: &Pool<Self>) -> Result<Vec<RouteLag>>;

    /// The leases that hold now, in order of their names.
    async fn leases(pool: &Pool<Self>) -> Result<Vec<HeldLease>>;

    /// Sessions that hold locks for which another session waits, or that lock a table of ours as a
    /// whole: who they are, what they do and for how long, for people. None where the database, or
    /// the connected role's rights, do not tell.
    async fn blockers(_pool: &Pool<Self>) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Dead letters (or, with `all`, every held message), the oldest first, after held id `after`.
    async fn held(pool: &Pool<Self>, all: bool, after: i64, limit: i64)
    -> Result<Vec<HeldMessage>>;

    /// One held message.
    async fn held_by_id(connection: &mut Self::Connection, id: i64) -> Result<Option<HeldMessage>>;

    /// The rights on Syncline's tables that the connected role needs and does not have.
    async fn missing_privileges(pool: &Pool<Self>) -> Result<Vec<String>>;

    /// The server's version and settings, judged.
    async fn findings(pool: &Pool<Self>) -> Result<Vec<Finding>>;
}
