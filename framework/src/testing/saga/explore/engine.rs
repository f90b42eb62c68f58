//! The orchestrator's engine, as the explorer drives it.

use serde_json::Value;
use sqlx::{Sqlite, SqlitePool};
use uuid::Uuid;

use crate::{
    Result,
    consumer::{Consumer, ConsumerBuilder},
    saga::{Saga, State},
};

/// The engine in one process.
pub(super) struct Orchestrator {}

impl Orchestrator {
    pub(super) fn build(
        _source: &str,
        _pool: &SqlitePool,
        _saga: Saga<Sqlite>,
        consumer: ConsumerBuilder<Sqlite>,
    ) -> Result<(Self, Consumer<Sqlite>)> {
        Ok((Self {}, consumer.build()?))
    }

    /// Starts the saga in a transaction of the client's.
    pub(super) async fn start(&self, _pool: &SqlitePool, _input: &Value) -> Result<Uuid> {
        todo!()
    }

    /// Decides whatever is stored or due, until nothing is.
    pub(super) async fn work(&self) -> Result<()> {
        todo!()
    }

    pub(super) async fn state(_pool: &SqlitePool, _id: Uuid) -> Result<State> {
        todo!()
    }

    /// Has every step that has failed tried again.
    pub(super) async fn mend(&self, _id: Uuid, _state: &State) -> Result<()> {
        todo!()
    }
}
