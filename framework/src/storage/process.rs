//! Storage operations for the table of processes, and for what an operator asks beside it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::{LeaseStore, SagaSummary};
use crate::Result;

/// Row that a running relay, consumer or engine writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessReport<'a> {
    /// Its id; a relay's is the holder of its leases.
    pub id: Uuid,
    /// `relay`, `consumer` or `engine`.
    pub kind: &'static str,
    /// The relay's or engine's source, the consumer's name; at most 255 bytes.
    pub name: &'a str,
    /// The machine; at most 255 bytes.
    pub host: &'a str,
    /// The operating system's number of the process.
    pub pid: i64,
    /// The program, with its version if that is known; at most 255 bytes.
    pub program: &'a str,
    /// Definitions that it was built with, as JSON.
    pub defined: &'a str,
    /// Problems, as a JSON array of texts.
    pub problems: &'a str,
}

/// A row of the table of processes; times are the database's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRow {
    /// See [`ProcessReport::id`].
    pub id: Uuid,
    /// See [`ProcessReport::kind`].
    pub kind: String,
    /// See [`ProcessReport::name`].
    pub name: String,
    /// See [`ProcessReport::host`].
    pub host: String,
    /// See [`ProcessReport::pid`].
    pub pid: i64,
    /// See [`ProcessReport::program`].
    pub program: String,
    /// See [`ProcessReport::defined`].
    pub defined: String,
    /// See [`ProcessReport::problems`].
    pub problems: String,
    /// When it wrote its row first.
    pub started_at: DateTime<Utc>,
    /// When it wrote its row last.
    pub seen_at: DateTime<Utc>,
    /// When the row was read.
    pub now: DateTime<Utc>,
}

/// A lease that has not run out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// Its name, such as `seal`; a shard's is [`ShardKey::lease_name`](super::ShardKey::lease_name).
    pub name: String,
    /// Its holder, a relay process's id: it may have died since it renewed it last.
    pub holder: Uuid,
    /// Its fencing epoch.
    pub epoch: i64,
    /// For how long it still holds unless it is renewed.
    pub left: Duration,
}

/// Numbers of messages that a consumer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCount {
    /// The consumer.
    pub consumer: String,
    /// All of them.
    pub held: i64,
    /// Dead letters among them.
    pub dead: i64,
    /// Messages among them for which it has no handler.
    pub unknown: i64,
    /// Since when the oldest is held.
    pub since: DateTime<Utc>,
}

/// Messages that a consumer holds for lack of a handler, of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhandled {
    /// The consumer.
    pub consumer: String,
    /// The topic, or one of its schema versions, that none of the consumer's handlers takes.
    pub topic: String,
    /// Number of messages; those that wait behind them for their keys are not counted.
    pub messages: i64,
    /// Since when the oldest is held.
    pub since: DateTime<Utc>,
}

/// The processes that run on a database.
#[async_trait]
pub trait ProcessStore: LeaseStore {
    /// Writes a process's row, or writes it again: its name, host, pid and program stay as they were.
    /// One statement that commits by itself.
    async fn report_process(pool: &Pool<Self>, of: ProcessReport<'_>) -> Result<()>;

    /// Removes a process's row; does nothing when it is gone.
    async fn remove_process(pool: &Pool<Self>, id: Uuid) -> Result<()>;

    /// As [`ProcessStore::report_process`], within a transaction.
    async fn report_within(tx: &mut Transaction<'_, Self>, of: ProcessReport<'_>) -> Result<()>;

    /// As [`ProcessStore::remove_process`], within a transaction.
    async fn remove_within(tx: &mut Transaction<'_, Self>, id: Uuid) -> Result<()>;

    /// Removes rows that were not written for longer than `age`, and those of the future; returns
    /// how many.
    async fn forget_processes(pool: &Pool<Self>, age: Duration) -> Result<u64>;

    /// Every row, in order of kind, name and start.
    async fn processes(pool: &Pool<Self>) -> Result<Vec<ProcessRow>>;

    /// The leases that hold now, in order of name.
    async fn leases(pool: &Pool<Self>) -> Result<Vec<HeldLease>>;

    /// Numbers of messages that each consumer holds, in order of their names; none that holds nothing.
    async fn held_counts(pool: &Pool<Self>) -> Result<Vec<HeldCount>>;

    /// The topics of messages that consumers hold for lack of a handler, at most `limit`, in order of
    /// consumer and topic.
    async fn unhandled(pool: &Pool<Self>, limit: i64) -> Result<Vec<Unhandled>>;

    /// The time by the database's clock.
    async fn time(pool: &Pool<Self>) -> Result<DateTime<Utc>>;

    /// Instances of sagas that were started with `key`, at most `limit`, the newest first.
    async fn sagas_of_key(pool: &Pool<Self>, key: &str, limit: i64) -> Result<Vec<SagaSummary>>;
}
