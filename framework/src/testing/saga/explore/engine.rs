//! The orchestrator's engine, as the explorer drives it.

use serde_json::Value;
use sqlx::{Sqlite, SqlitePool};
use uuid::Uuid;

use super::world::{Broken, broken};
use crate::{
    Result, begin,
    consumer::{Consumer, ConsumerBuilder},
    message::SAGA_REPLY,
    saga::{Event, Phase, Saga, Sagas, State},
    storage::{SagaEvent, SagaStore, sqlite::explored},
};

/// The key that the explorer starts its instance with.
const KEY: &str = "explored";

/// The engine in one process.
pub(super) struct Orchestrator {
    saga: String,
    sagas: Sagas<Sqlite>,
}

impl Orchestrator {
    pub(super) fn build(
        source: &str,
        pool: &SqlitePool,
        saga: Saga<Sqlite>,
        consumer: ConsumerBuilder<Sqlite>,
    ) -> Result<(Self, Consumer<Sqlite>)> {
        let name = saga.plan().name().to_owned();
        let sagas = Sagas::builder(source, pool.clone()).saga(saga).build()?;
        let consumer = consumer.batch_handler(SAGA_REPLY, sagas.replies()).build()?;
        Ok((Self { saga: name, sagas }, consumer))
    }

    /// Starts the saga in a transaction of the client's.
    pub(super) async fn start(&self, pool: &SqlitePool, input: &Value) -> Result<Uuid, Broken> {
        let mut tx = begin(pool).await.map_err(broken)?;
        let started = self.sagas.start(&mut tx, &self.saga, KEY, input).await.map_err(broken)?;
        tx.commit().await.map_err(broken)?;
        Ok(started.id)
    }

    /// Decides whatever is stored or due, until nothing is.
    pub(super) async fn work(&self) -> Result<bool> {
        self.sagas.work_off().await
    }

    pub(super) async fn state(pool: &SqlitePool, id: Uuid) -> Result<State, Broken> {
        let (state, problem) = explored::state(pool, id).await.map_err(broken)?;
        match problem {
            Some(problem) => Err(format!("the engine cannot decide it: {problem}")),
            None => serde_json::from_str(&state).map_err(broken),
        }
    }

    /// Has every step that has failed tried again.
    pub(super) async fn mend(pool: &SqlitePool, id: Uuid, state: &State) -> Result<(), Broken> {
        let failed = state
            .steps
            .iter()
            .filter(|(_, step)| matches!(step.phase, Phase::Failed | Phase::UndoFailed));
        let mut events = Vec::new();
        for (step, _) in failed {
            let event = serde_json::to_string(&Event::Retried { step: step.clone() });
            events.push(SagaEvent { id, event: event.map_err(broken)? });
        }
        let mut tx = begin(pool).await.map_err(broken)?;
        Sqlite::add_events(&mut tx, &events).await.map_err(broken)?;
        tx.commit().await.map_err(broken)
    }
}
