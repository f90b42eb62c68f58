//! What is asked of a database for sagas: instances, what has happened to them, their log and the
//! entities that they lock.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::Base;
use crate::{Result, cap};

/// A new instance.
#[derive(Debug, Clone, Copy)]
pub struct NewSaga<'a> {
    /// Its id.
    pub id: Uuid,
    /// The saga.
    pub saga: &'a str,
    /// The version of its definition.
    pub version: i32,
    /// What its start is known by.
    pub key: &'a str,
    /// What it starts with, as JSON.
    pub input: &'a str,
    /// Its state, as JSON.
    pub state: &'a str,
    /// Its first event, as JSON.
    pub event: &'a str,
}

/// An instance that this transaction has locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaRow {
    /// Its id.
    pub id: Uuid,
    /// The saga.
    pub saga: String,
    /// The version of its definition.
    pub version: i32,
    /// What its start is known by.
    pub key: String,
    /// What it started with, as JSON.
    pub input: String,
    /// Its state, as JSON.
    pub state: String,
    /// The database's time.
    pub now: DateTime<Utc>,
}

/// Something that an instance has not decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The instance.
    pub saga: Uuid,
    /// The event's id; 0 for a timer that is due.
    pub id: i64,
    /// The event as JSON, or the timer's subject.
    pub text: String,
}

/// The name of a timer of a saga: the instance's id, 32 hexadecimal digits, and more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SagaTimer {
    /// `saga/version`.
    pub owner: String,
    /// Which.
    pub subject: String,
    /// In how many milliseconds it is due; none in a timer that is to be read or cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
}

/// An event for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SagaEvent {
    /// The instance.
    #[serde(with = "uuid::serde::simple")]
    pub id: Uuid,
    /// The event, as JSON.
    pub event: String,
}

/// A line of the step log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SagaLogLine {
    /// The instance.
    #[serde(with = "uuid::serde::simple")]
    pub id: Uuid,
    /// The step, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What happened.
    pub what: &'static str,
    /// Which attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cap::optional_text")]
    pub detail: Option<String>,
}

/// An instance as it is after its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SagaSave {
    /// The instance.
    #[serde(with = "uuid::serde::simple")]
    pub id: Uuid,
    /// Where it stands, in a word.
    pub status: &'static str,
    /// Its state, as JSON.
    pub state: String,
    /// Why it cannot be decided.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cap::optional_text")]
    pub problem: Option<String>,
    /// The steps that fail, and why; none while none does.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cap::optional_text")]
    pub trouble: Option<String>,
    /// Whether an operator should look.
    #[serde(serialize_with = "bit")]
    pub stuck: bool,
    /// Whether it is over: its locks are released.
    #[serde(serialize_with = "bit")]
    pub ended: bool,
}

/// Every database reads it as a number; PostgreSQL as a boolean, too.
pub(super) fn bit<S: serde::Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}

/// What the decisions of one transaction change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SagaChanges {
    /// Instances that this transaction has locked.
    pub saves: Vec<SagaSave>,
    /// Events that are decided.
    pub done: Vec<i64>,
    /// Timers that are set.
    pub armed: Vec<SagaTimer>,
    /// Timers that are cleared.
    pub cleared: Vec<SagaTimer>,
    /// What the log says of it, in order.
    pub log: Vec<SagaLogLine>,
}

/// Instances of sagas and their events.
#[async_trait]
pub trait SagaStore: Base {
    /// Makes an instance with its first event; false when the saga has one with this key.
    async fn create_saga(tx: &mut Transaction<'_, Self>, new: NewSaga<'_>) -> Result<bool>;

    /// The instance with a key, and what it started with.
    async fn saga_by_key(
        tx: &mut Transaction<'_, Self>,
        saga: &str,
        key: &str,
    ) -> Result<Option<(Uuid, String)>>;

    /// Locks `entities` for an instance, or says which one another instance has locked.
    async fn lock_entities(
        tx: &mut Transaction<'_, Self>,
        id: Uuid,
        entities: &[String],
    ) -> Result<Option<(String, Uuid)>>;

    /// Takes an instance that this transaction has made back, with its locks and events.
    async fn unmake_saga(tx: &mut Transaction<'_, Self>, id: Uuid) -> Result<()>;

    /// Stores events, in order, for instances that are not over; those of others are noted in
    /// their log. Returns how many were stored.
    async fn add_events(tx: &mut Transaction<'_, Self>, events: &[SagaEvent]) -> Result<u64>;

    /// How long until instances of `owners` have something to decide, if it is `within` a time.
    async fn saga_due(
        pool: &Pool<Self>,
        owners: &[String],
        within: Duration,
    ) -> Result<Option<Duration>>;

    /// Locks instances of `owners` that have something to decide and that nobody else has locked,
    /// none of `aside` and at most `limit`, until the transaction ends.
    async fn claim_sagas(
        tx: &mut Transaction<'_, Self>,
        owners: &[String],
        aside: &[Uuid],
        limit: i64,
    ) -> Result<Vec<SagaRow>>;

    /// The undecided events of locked instances in order, and those of `timers` that are due.
    async fn pending(
        tx: &mut Transaction<'_, Self>,
        ids: &[Uuid],
        timers: &[SagaTimer],
    ) -> Result<Vec<Pending>>;

    /// Writes what was decided.
    async fn save_sagas(tx: &mut Transaction<'_, Self>, changes: &SagaChanges) -> Result<()>;

    /// Removes up to `limit` instances that ended longer than `age` ago, with their log, and
    /// returns how many there were.
    async fn forget_sagas(pool: &Pool<Self>, age: Duration, limit: i64) -> Result<u64>;

    /// How many instances of each version are not over.
    async fn saga_versions(pool: &Pool<Self>) -> Result<Vec<(String, i32, i64)>>;
}

/// What an instance's version is called in events and timers.
pub(crate) fn saga_owner(saga: &str, version: i32) -> String {
    format!("{saga}/{version}")
}

/// An instance as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaSummary {
    /// Its id.
    pub id: Uuid,
    /// The saga.
    pub saga: String,
    /// The version of its definition.
    pub version: i32,
    /// What its start is known by.
    pub key: String,
    /// `new`, `running`, `compensating`, `stuck`, `completed`, `compensated` or `resolved`.
    pub status: String,
    /// Why the engine cannot decide it.
    pub problem: Option<String>,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Since when it is stuck.
    pub stuck_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its steps that fail, and why; at most 2,000 characters.
    pub trouble: Option<String>,
    /// Since when a step fails.
    pub failing_at: Option<DateTime<Utc>>,
}

/// A line of an instance's log, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaLogRow {
    /// The step, if it is of one.
    pub step: Option<String>,
    /// What happened.
    pub what: String,
    /// Which attempt.
    pub attempt: Option<i32>,
    /// More about it.
    pub detail: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// An entity that a saga has locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaLock {
    /// The entity.
    pub entity: String,
    /// The instance.
    pub saga: Uuid,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// Which instances are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SagaFilter {
    /// Of this saga.
    pub saga: Option<String>,
    /// With this status.
    pub status: Option<String>,
    /// Started before this one: the last one of the page before.
    pub before: Option<Uuid>,
}

/// What an operator asks of sagas.
#[async_trait]
pub trait SagaInspect: SagaStore {
    /// Instances, the newest first.
    async fn sagas(pool: &Pool<Self>, filter: &SagaFilter, limit: i64) -> Result<Vec<SagaSummary>>;

    /// Stuck ones, the longest stuck first.
    async fn stuck_sagas(pool: &Pool<Self>, limit: i64) -> Result<Vec<SagaSummary>>;

    /// Those that are not over, with a command that was sent again and is not answered, the oldest
    /// first.
    async fn overdue_sagas(pool: &Pool<Self>, limit: i64) -> Result<Vec<SagaSummary>>;

    /// One of them.
    async fn saga(pool: &Pool<Self>, id: Uuid) -> Result<Option<SagaSummary>>;

    /// Instances with ids from `low` to `high`, at most `limit`, the newest first.
    async fn sagas_between(
        pool: &Pool<Self>,
        low: Uuid,
        high: Uuid,
        limit: i64,
    ) -> Result<Vec<SagaSummary>>;

    /// Its input and its state, as JSON.
    async fn saga_text(pool: &Pool<Self>, id: Uuid) -> Result<Option<(String, String)>>;

    /// Its log, the oldest line first.
    async fn saga_log(pool: &Pool<Self>, id: Uuid) -> Result<Vec<SagaLogRow>>;

    /// Locked entities.
    async fn saga_locks(pool: &Pool<Self>, limit: i64) -> Result<Vec<SagaLock>>;

    /// Releases an entity that an instance has locked; false when it has not.
    async fn release_entity(tx: &mut Transaction<'_, Self>, entity: &str, id: Uuid)
    -> Result<bool>;

    /// Has the engine look at an instance again that it could not decide; false when there is no
    /// such instance or it is over.
    async fn revive_saga(tx: &mut Transaction<'_, Self>, id: Uuid) -> Result<bool>;

    /// Ends an instance as it is, with its locks, timers and undecided events, if it is stuck or
    /// nobody has done its work for the time `idle`; else false.
    async fn end_saga(tx: &mut Transaction<'_, Self>, id: Uuid, idle: Duration) -> Result<bool>;
}
