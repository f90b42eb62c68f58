//! Storage operations for the record of what operators have done.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Pool;
use uuid::Uuid;

use super::Base;
use crate::Result;

/// An operator's act before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewOperation<'a> {
    /// Its id.
    pub id: Uuid,
    /// The operator; at most 255 bytes.
    pub operator: &'a str,
    /// The command, such as `route pause`; at most 255 bytes.
    pub command: &'a str,
    /// The thing that it is done to.
    pub target: &'a str,
    /// The operator's reason.
    pub why: &'a str,
}

/// An operator's act, as it is recorded; times are the database's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRow {
    /// See [`NewOperation::id`].
    pub id: Uuid,
    /// See [`NewOperation::operator`].
    pub operator: String,
    /// See [`NewOperation::command`].
    pub command: String,
    /// See [`NewOperation::target`].
    pub target: String,
    /// See [`NewOperation::why`].
    pub why: String,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// When it ended; none while it is under way, and for one that was cut off.
    pub ended_at: Option<DateTime<Utc>>,
    /// Number of things that it has changed.
    pub affected: Option<i64>,
    /// Why it was not done.
    pub problem: Option<String>,
}

/// Keeps what operators have done.
#[async_trait]
pub trait OperationStore: Base {
    /// Writes that an act begins; commits by itself.
    async fn begin_operation(pool: &Pool<Self>, new: &NewOperation<'_>) -> Result<()>;

    /// Writes that an act has ended, and how many things it has changed or why it was not done. Does
    /// nothing to one that has ended.
    async fn end_operation(
        pool: &Pool<Self>,
        id: Uuid,
        affected: Option<i64>,
        problem: Option<&str>,
    ) -> Result<()>;

    /// The last `limit` acts, the newest first.
    async fn operations(pool: &Pool<Self>, limit: i64) -> Result<Vec<OperationRow>>;

    /// Removes acts that began longer than `age` ago; returns how many.
    async fn forget_operations(pool: &Pool<Self>, age: Duration) -> Result<u64>;

    /// Number of rows of `table`, a name out of our own migrations.
    async fn rows_of(pool: &Pool<Self>, table: &'static str) -> Result<i64>;
}
