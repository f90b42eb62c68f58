//! What is asked of a database for operators: how far things are, and whether it is fit.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Pool;

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

/// A session that keeps others waiting for a lock, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocking {
    /// Where to find it, such as `pid 4711 (app, psql)`; what the database tells of it, on PostgreSQL the
    /// start of its last statement, too.
    pub who: String,
    /// The tables whose locks they are, as far as the database tells; may be empty.
    pub tables: String,
    /// Number of sessions that wait.
    pub waiting: i64,
    /// For how many seconds the longest has been waiting.
    pub waited: i64,
    /// For how many seconds its transaction has been open; 0 when that is not known.
    pub open: i64,
    /// Whether the database does not tell who has the lock: `who` only may have it.
    pub perhaps: bool,
}

impl std::fmt::Display for Blocking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { who, tables, waiting, waited, open, perhaps } = self;
        let perhaps = if *perhaps { "perhaps " } else { "" };
        write!(f, "{who} {perhaps}has a lock")?;
        if !tables.is_empty() {
            write!(f, " on {tables}")?;
        }
        if *open > 0 {
            write!(f, ", its transaction has been open for {open} s")?;
        }
        match waiting {
            0 => Ok(()),
            1 => write!(f, ", and 1 session waits for it, since {waited} s"),
            _ => write!(f, ", and {waiting} sessions wait for it, the longest since {waited} s"),
        }
    }
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

    /// Sessions that have kept others waiting for a lock for `since` or longer, or whose transaction has
    /// had a lock on a table of ours as a whole for so long; as many as the connected role may see, at
    /// most 20, the longest first. It waits for no lock itself but, on SQLite, for `busy_timeout`; there
    /// nothing is told where `since` is zero, for who waits has had the library's answer.
    async fn blocking(_pool: &Pool<Self>, _since: Duration) -> Result<Vec<Blocking>> {
        Ok(Vec::new())
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

    /// Dead letters (or, with `all`, every held message), the oldest first, after held id `after`.
    async fn held(pool: &Pool<Self>, all: bool, after: i64, limit: i64)
    -> Result<Vec<HeldMessage>>;

    /// One held message.
    async fn held_by_id(connection: &mut Self::Connection, id: i64) -> Result<Option<HeldMessage>>;

    /// The rights on Syncline's tables that the connected role needs and does not have.
    async fn missing_privileges(pool: &Pool<Self>) -> Result<Vec<String>>;

    /// The server's version and settings, judged.
    async fn findings(pool: &Pool<Self>) -> Result<Vec<Finding>>;

    /// Limits the session on `connection` for a command: each statement at the server, and the wait for a
    /// lock. Shorter limits of the session's stay. Nothing is done where a connection is made with such
    /// limits (PostgreSQL), or the session ends with it (SQLite).
    ///
    /// # Errors
    /// Those of the driver, as a pool's `after_connect` passes them on.
    async fn limit_session(
        _connection: &mut Self::Connection,
        _statement: Option<Duration>,
        _lock: Option<Duration>,
    ) -> sqlx::Result<()> {
        Ok(())
    }

    /// A name of the session on `connection`, by which [`Inspect::end_sessions`] finds it; none where
    /// a session ends with its connection.
    async fn session_name(_connection: &mut Self::Connection) -> Result<Option<String>> {
        Ok(None)
    }

    /// Ends the sessions `named` that still run or wait for something: a server goes on with what its
    /// client has given up. Others of the same names (on PostgreSQL: of the same `application_name`) end,
    /// too; that of the caller does not.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database)
    async fn end_sessions(_pool: &Pool<Self>, _named: &[String]) -> Result<()> {
        Ok(())
    }
}
