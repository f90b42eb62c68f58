//! What is asked of a database for retention: where the log begins, and removing what stands
//! before that.
//!
//! The log is trimmed in two steps. First the *trim point* moves, in one transaction that holds it
//! against every cursor: from then on no reader begins at or below it. What is no longer kept is
//! removed after that, in small steps, when the database allows it.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Pool, Transaction};

use super::{Base, Cursor};
use crate::{
    Result,
    message::{Link, Position},
};

impl Cursor {
    /// This trim point for a reader that has read up to `position`, or why it has none there.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(crate) fn of(self, position: Position) -> Result<Self> {
        match position < self.position {
            true => Err(crate::Error::Trimmed { position: position.0, kept: self.position.0 }),
            false => Ok(self),
        }
    }
}

/// The last message of one shard of a stream at or below the trim point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The stream.
    pub stream: String,
    /// The version of its definition.
    pub version: i32,
    /// The shard.
    pub shard: i32,
    /// The message; an anchor where none stands between its position and the trim point.
    pub last: Link,
}

/// When a reader counts as standing still or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Alarm is raised about a reader before this position that has not moved for `alarm_age`.
    pub alarm_before: Position,
    /// See `alarm_before`.
    pub alarm_age: Duration,
    /// Alarm is raised about any reader before this position.
    pub alarm_far: Position,
    /// A reader before this position is lost that has not moved for `lost_age`, when its alarm is
    /// at least `heard` old.
    pub lost_before: Position,
    /// See `lost_before`.
    pub lost_age: Duration,
    /// See `lost_before`.
    pub heard: Duration,
    /// A reader before this position is lost when its alarm is at least `heard_far` old.
    pub lost_far: Position,
    /// See `lost_far`.
    pub heard_far: Duration,
}

/// What is purged by its age alone; one `purge_*.sql` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aged {
    /// Rejections that this source has compensated.
    Compensations,
    /// Idempotency keys.
    IdempotencyKeys,
}

/// What one step of removing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Rows of the outbox and seals that were removed one by one.
    pub rows: u64,
    /// Partitions that were emptied or dropped.
    pub partitions: u64,
    /// There may be more to do at once.
    pub more: bool,
    /// A lock was not free: to be tried again later.
    pub locked: bool,
}

/// What of the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The trim point: the log begins after it.
    pub trimmed: Position,
    /// Its last position.
    pub head: Position,
    /// The size of the outbox and its seals; on SQLite, of all that is in the file.
    pub bytes: i64,
    /// What keeps rows from being removed that are no longer kept, with its age.
    pub held_back: Vec<(String, Duration)>,
}

/// A row of the log that cannot be read or sent, because another program has written it past the
/// table's rules. Its position is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Its position.
    pub position: Position,
    /// Its sequence value, by which it is found in the outbox.
    pub seq: i64,
    /// Why it cannot be read or sent.
    pub problem: String,
}

/// Keeps the log from growing for ever.
#[async_trait]
pub trait RetentionStore: Base {
    /// The cursor of a reader at the trim point, where the log begins.
    async fn trimmed(pool: &Pool<Self>) -> Result<Cursor>;

    /// Fails with [`Error::Trimmed`](crate::Error::Trimmed) when `position` is before the trim
    /// point, which does not move until the transaction ends.
    async fn hold_trim(tx: &mut Transaction<'_, Self>, position: Position) -> Result<()>;

    /// The anchors of every shard that was known when the log was trimmed last.
    async fn anchors(pool: &Pool<Self>) -> Result<Vec<Anchor>>;

    /// One shard's anchor.
    async fn anchor(
        pool: &Pool<Self>,
        stream: &str,
        version: i32,
        shard: i32,
    ) -> Result<Option<Link>>;

    /// Notes that the log ends at `head` now.
    async fn mark(pool: &Pool<Self>, head: Position) -> Result<()>;

    /// Where the log ended `age` ago, as far as it was noted.
    async fn aged(pool: &Pool<Self>, age: Duration) -> Result<Position>;

    /// The slowest cursor that retention waits for; none when there is no route.
    async fn slowest(pool: &Pool<Self>) -> Result<Option<Position>>;

    /// Where the trim point can be moved from `from` in one step, `goal` at the most.
    async fn trim_to(pool: &Pool<Self>, from: Cursor, goal: Position) -> Result<Option<Cursor>>;

    /// Moves the trim point and stores the anchors up to it. False, and nothing is changed, when
    /// it is not at `from` any more, or a cursor that retention waits for is before `to`.
    async fn trim(pool: &Pool<Self>, from: Cursor, to: Cursor, anchors: &[Anchor]) -> Result<bool>;

    /// Raises alarm about readers that stand still and declares those lost that did so for too
    /// long; returns how many shards it concerned.
    async fn judge(pool: &Pool<Self>, patience: Patience) -> Result<u64>;

    /// Makes room for `messages` more, ahead of the writers, where rows stand in partitions.
    async fn extend(_pool: &Pool<Self>, _messages: i64) -> Result<()> {
        Ok(())
    }

    /// Removes what stands at or below the trim point: one short step of at most `most` rows.
    async fn sweep(pool: &Pool<Self>, most: i64) -> Result<Swept>;

    /// Purges what is older than `age`, at most `most` rows; returns how many.
    async fn purge(pool: &Pool<Self>, what: Aged, age: Duration, most: i64) -> Result<u64>;

    /// Records a row that cannot be read or sent; once for each position.
    async fn set_aside(pool: &Pool<Self>, row: &SetAside) -> Result<()>;

    /// The first `most` rows that were set aside and are still kept.
    async fn all_set_aside(pool: &Pool<Self>, most: i64) -> Result<Vec<SetAside>>;

    /// What is kept, and what has been keeping it from being less for `longer`.
    async fn kept(pool: &Pool<Self>, longer: Duration) -> Result<Kept>;
}
