//! What is asked of a database for the participant's barrier: what became of each step of other
//! services' sagas.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::Base;
use crate::Result;

/// Which step. Steps of different sources have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierKey<'a> {
    /// The service whose saga it is.
    pub source: &'a str,
    /// The instance.
    pub saga: Uuid,
    /// The step's name.
    pub step: &'a str,
}

/// What became of a step, as its claim has found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarrierRow {
    /// What was recorded, as JSON; empty when nothing was.
    pub record: String,
    /// Whether it was compensated, or barred by its compensation.
    pub undone: bool,
    /// The database's time when it was claimed, in milliseconds.
    pub now: DateTime<Utc>,
}

/// The participant's barrier.
#[async_trait]
pub trait BarrierStore: Base {
    /// Locks a step until the transaction ends, and reads what is recorded of it. Whoever claims
    /// it meanwhile waits, in every process. Of a step of which nothing is recorded it makes a row
    /// with an empty record, which the caller fills or takes away.
    async fn claim_barrier(
        tx: &mut Transaction<'_, Self>,
        key: BarrierKey<'_>,
    ) -> Result<BarrierRow>;

    /// Records what became of a claimed step. It is kept for the retention, counted from now, or
    /// from `not_before` when that is later.
    async fn record_barrier(
        tx: &mut Transaction<'_, Self>,
        key: BarrierKey<'_>,
        record: &str,
        undone: bool,
        not_before: Option<DateTime<Utc>>,
    ) -> Result<()>;

    /// Takes away the row that a claim has made; false when there is none without a record.
    async fn leave_barrier(tx: &mut Transaction<'_, Self>, key: BarrierKey<'_>) -> Result<bool>;

    /// Forgets at most `limit` steps that were recorded longer than `age` ago, and says how many.
    async fn purge_barriers(pool: &Pool<Self>, age: Duration, limit: i64) -> Result<u64>;
}
