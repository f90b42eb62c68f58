//! What is asked of a database for the log: positions in commit order, and reading by them.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Pool;

use super::{Base, Lease};
use crate::{
    Result,
    message::{Message, Position},
};

/// A reader's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The last position read.
    pub position: Position,
    /// The seal it lies in; 0 where there are no seals.
    pub seal: i64,
    /// Its sequence value.
    pub seq: i64,
}

/// One message of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// The cursor of a reader that has read up to this row.
    pub cursor: Cursor,
    /// The message.
    pub message: Arc<Message>,
}

/// How much one read returns at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// So many messages.
    pub rows: i64,
    /// So many bytes of payload, but at least one message.
    pub bytes: usize,
}

/// What one sealing step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// How many messages the step closed; none when nothing was there, the lease is gone, or
    /// another sealer was faster.
    pub count: u64,
    /// The last position given out, where the step knows it.
    pub head: Option<Position>,
    /// The messages that it closed, where they are few and the database gives them in the same
    /// round trip: all of them, or none.
    pub rows: Vec<LogRow>,
}

/// The log: gives committed messages dense positions, and reads them by position.
#[async_trait]
pub trait LogStore: Base {
    /// Closes one batch of at most `limit` fresh rows, if `holder` has the lease `seal` at `epoch`.
    async fn seal(pool: &Pool<Self>, lease: &Lease, limit: i64) -> Result<Sealed>;

    /// The last position that has been given out.
    async fn head(pool: &Pool<Self>) -> Result<Position>;

    /// Messages after `after`, in order of position, within `limit`. The message at a
    /// position is the same at any later time. Fails with
    /// [`Error::Trimmed`](crate::Error::Trimmed) when what follows `after` is no longer kept. Fewer rows than the limit do not mean that the
    /// end was reached; none do.
    async fn read(pool: &Pool<Self>, after: Cursor, limit: PageLimit) -> Result<Vec<LogRow>>;

    /// The cursor of a reader that has read up to `position`. Fails with
    /// [`Error::Trimmed`](crate::Error::Trimmed) before the trim point.
    async fn locate(pool: &Pool<Self>, position: Position) -> Result<Cursor>;

    /// Refuses settings under which a commit can be lost at a power cut, and servers on which
    /// positions cannot be given out.
    async fn check_durable(pool: &Pool<Self>) -> Result<()>;

    /// Something that notices what other processes have committed.
    async fn watch(pool: &Pool<Self>, signal: Signal) -> Result<Box<dyn Watch>>;

    /// Wakes the watchers in other processes, in a transaction of its own.
    async fn signal(pool: &Pool<Self>, signal: Signal) -> Result<()>;
}

/// What other processes are told of, where the database can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Messages were committed: relays look.
    Outbox,
    /// Events of sagas were committed: engines look.
    Sagas,
}

/// Notices that another process may have committed messages.
#[async_trait]
pub trait Watch: Send {
    /// Returns when something may have changed; never, when it cannot tell or has noticed nothing
    /// for long. Safe to drop.
    async fn changed(&mut self);
}

/// Notices nothing: its owner polls.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(super) struct Blind;

#[cfg(any(feature = "mysql", feature = "sqlite"))]
#[async_trait]
impl Watch for Blind {
    async fn changed(&mut self) {
        std::future::pending().await
    }
}
