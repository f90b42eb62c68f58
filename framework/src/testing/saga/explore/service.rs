//! A service as users describe it, and its process while a run lasts.

use std::{path::Path, sync::Arc};

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

use super::{
    mutant::Unguarded,
    valve::{Death, Valve},
    watch::{Script, Watched},
};
use crate::{
    consumer::{Consumer, ConsumerBuilder},
    message::TopicPattern,
    saga::SagaHandler,
    storage::sqlite::explored,
    testing::saga::Mutant,
    transport::Receive,
};

/// One service of an exploration: its tables, and what it does in sagas. It gets a SQLite database
/// of its own.
///
/// ```
/// # use async_trait::async_trait;
/// # use sqlx::{Sqlite, Transaction};
/// # use syncline::{Envelope, HandlerError, saga::{Outcome, SagaHandler}};
/// # struct Stock;
/// # #[async_trait]
/// # impl SagaHandler<Sqlite> for Stock {
/// #     async fn apply(&self, _: &mut Transaction<'_, Sqlite>, _: &Envelope)
/// #         -> Result<Outcome<serde_json::Value>, HandlerError> { Ok(Outcome::Done(().into())) }
/// #     async fn compensate(&self, _: &mut Transaction<'_, Sqlite>, _: &Envelope,
/// #         _: &serde_json::Value) -> Result<(), HandlerError> { Ok(()) }
/// # }
/// use syncline::testing::saga::Service;
/// let warehouse = Service::new("warehouse")
///     .tables("CREATE TABLE stock (item TEXT PRIMARY KEY, pieces INTEGER NOT NULL)")
///     .handles("stock.reserve", Stock);
/// ```
#[derive(Clone)]
pub struct Service {
    pub(super) name: String,
    tables: Vec<String>,
    handlers: Vec<(TopicPattern, Arc<dyn SagaHandler<sqlx::Sqlite>>)>,
}

impl Service {
    /// A service of this name, as its consumer is called.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), tables: Vec::new(), handlers: Vec::new() }
    }

    /// SQL that makes its tables, and what is in them at the beginning.
    #[must_use]
    pub fn tables(mut self, sql: impl Into<String>) -> Self {
        self.tables.push(sql.into());
        self
    }

    /// It takes part in sagas: `handler` is called for commands of `topic`.
    #[must_use]
    pub fn handles(
        mut self,
        topic: impl Into<TopicPattern>,
        handler: impl SagaHandler<sqlx::Sqlite>,
    ) -> Self {
        self.handlers.push((topic.into(), Arc::new(handler)));
        self
    }

    pub(super) fn takes(&self, topic: &str) -> bool {
        self.handlers.iter().any(|(pattern, _)| pattern.matches(topic))
    }

    /// CloudEvents source.
    pub(super) fn source(&self) -> String {
        format!("/{}", self.name)
    }

    /// Makes the database that each run begins with.
    pub(super) async fn prepare(&self, file: &Path) -> crate::Result<()> {
        let pool = Valve::new(None).pool(options(file).create_if_missing(true));
        crate::migrate(&pool).await?;
        explored::create(&pool, &self.tables).await?;
        pool.close().await;
        Ok(())
    }

    pub(super) fn consumer(
        &self,
        pool: &SqlitePool,
        script: &Arc<Script>,
        mutant: Option<Mutant>,
    ) -> ConsumerBuilder<sqlx::Sqlite> {
        let mut consumer = Consumer::builder(&self.name, pool.clone());
        for (topic, handler) in &self.handlers {
            let (handler, script) = (Arc::clone(handler), Arc::clone(script));
            let watched = Watched { handler, script };
            consumer = match mutant {
                Some(Mutant::NoBarrier) => consumer.handler(topic.clone(), Unguarded(watched)),
                _ => consumer.participant(topic.clone(), watched),
            };
        }
        consumer
    }
}

/// As a service is connected to its database: what a commit has written outlives the process, but
/// not a power cut, which is not what is explored.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Off)
        .foreign_keys(true)
}

/// One life of a service's process.
pub(super) struct Process {
    pub(super) valve: Valve,
    pub(super) pool: SqlitePool,
    pub(super) receive: Arc<dyn Receive>,
}

impl Process {
    /// Opens the database for a process that dies so.
    pub(super) fn open(file: &Path, death: Option<Death>) -> (Valve, SqlitePool) {
        let valve = Valve::new(death);
        let pool = valve.pool(options(file));
        (valve, pool)
    }
}
