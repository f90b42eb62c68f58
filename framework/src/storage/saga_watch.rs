//! Storage operations so that a saga does not stand still without a word: which steps fail,
//! whose a reply is, and as which sources relays and engines work.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::{Base, SagaSummary};
use crate::Result;

/// Works on a database as some source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceRole {
    /// A relay, which sends as it.
    Relay,
    /// An engine of sagas, which takes replies to it.
    Sagas,
}

impl SourceRole {
    /// As it is stored.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Sagas => "sagas",
        }
    }
}

/// An instance's state and timers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaSteps {
    /// The instance.
    pub id: Uuid,
    /// Its state, as JSON.
    pub state: String,
    /// The subjects of its timers (the id, 32 hexadecimal digits, and more), and when each is due.
    pub timers: Vec<(String, DateTime<Utc>)>,
}

/// Storage operations that show why sagas do not go on.
#[async_trait]
pub trait SagaWatch: Base {
    /// Instances with a step whose last attempt has failed, the longest failing first.
    async fn failing_sagas(pool: &Pool<Self>, limit: i64) -> Result<Vec<SagaSummary>>;

    /// Stores why an instance that is not over does not go on, until its next decision.
    async fn note_saga_trouble(pool: &Pool<Self>, id: Uuid, trouble: &str) -> Result<()>;

    /// Their states and timers.
    async fn saga_steps(pool: &Pool<Self>, ids: &[Uuid]) -> Result<Vec<SagaSteps>>;

    /// Which of `ids` are instances of this database that are not over.
    async fn known_sagas(tx: &mut Transaction<'_, Self>, ids: &[Uuid]) -> Result<Vec<Uuid>>;

    /// Notes that a relay or an engine works as `source` now.
    async fn note_source(pool: &Pool<Self>, role: SourceRole, source: &str) -> Result<()>;

    /// A relay or an engine of `source` has stopped; another one that runs notes it again.
    async fn withdraw_source(pool: &Pool<Self>, role: SourceRole, source: &str) -> Result<()>;

    /// Forgets sources that were not seen for a day.
    async fn forget_sources(pool: &Pool<Self>) -> Result<()>;

    /// The sources as which relays, or engines, were seen `within` a time.
    async fn sources_seen(
        pool: &Pool<Self>,
        role: SourceRole,
        within: Duration,
    ) -> Result<Vec<String>>;
}
