//! What is asked of a database for the participant's barrier: what became of each step of other
//! services' sagas.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::{Base, saga::bit};
use crate::{Error, Result};

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

impl BarrierKey<'_> {
    fn owned(&self) -> BarrierStep {
        BarrierStep { saga: self.saga, step: self.step.to_owned() }
    }
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

/// A step of one source's sagas.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BarrierStep {
    /// The instance.
    #[serde(with = "uuid::serde::simple")]
    pub saga: Uuid,
    /// The step's name.
    pub step: String,
}

/// What became of a claimed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BarrierRecord {
    /// Which.
    #[serde(flatten)]
    pub step: BarrierStep,
    /// What is recorded of it, as JSON.
    #[serde(rename = "answer")]
    pub record: String,
    /// Whether it is compensated, or barred by its compensation.
    #[serde(serialize_with = "bit")]
    pub undone: bool,
    /// It is kept for the retention, counted from now, or from this when it is later.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub not_before: DateTime<Utc>,
}

/// The participant's barrier.
#[async_trait]
pub trait BarrierStore: Base {
    /// Locks steps of the sagas of `source` until the transaction ends, and reads what is recorded
    /// of them. Whoever claims one meanwhile waits, in every process. Of a step of which nothing is
    /// recorded it makes a row with an empty record, which the caller fills or takes away.
    /// `steps` are sorted, so that two that claim the same ones do not wait for each other.
    async fn claim_barriers(
        tx: &mut Transaction<'_, Self>,
        source: &str,
        steps: &BTreeSet<BarrierStep>,
    ) -> Result<Vec<(BarrierStep, BarrierRow)>>;

    /// Records what became of claimed steps.
    async fn record_barriers(
        tx: &mut Transaction<'_, Self>,
        source: &str,
        records: &[BarrierRecord],
    ) -> Result<()>;

    /// [`claim_barriers`](Self::claim_barriers) for one step.
    async fn claim_barrier(
        tx: &mut Transaction<'_, Self>,
        key: BarrierKey<'_>,
    ) -> Result<BarrierRow> {
        let steps = BTreeSet::from([key.owned()]);
        let found = Self::claim_barriers(tx, key.source, &steps).await?.pop();
        let source = sqlx::Error::RowNotFound;
        Ok(found.ok_or(Error::Database { action: "claim a saga's step", source })?.1)
    }

    /// [`record_barriers`](Self::record_barriers) for one step.
    async fn record_barrier(
        tx: &mut Transaction<'_, Self>,
        key: BarrierKey<'_>,
        record: &str,
        undone: bool,
        not_before: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let record = BarrierRecord {
            step: key.owned(),
            record: record.to_owned(),
            undone,
            not_before: not_before.unwrap_or_default(),
        };
        Self::record_barriers(tx, key.source, &[record]).await
    }

    /// Takes away the row that a claim has made; false when there is none without a record.
    async fn leave_barrier(tx: &mut Transaction<'_, Self>, key: BarrierKey<'_>) -> Result<bool>;

    /// Forgets at most `limit` steps that were recorded longer than `age` ago, and says how many.
    async fn purge_barriers(pool: &Pool<Self>, age: Duration, limit: i64) -> Result<u64>;
}
