//! What an operator does with instances of sagas. What changes one is a durable event, which the
//! engine decides like any other; who did it and why stands in the instance's log.

mod failing;
mod find;

use std::time::Duration;

use sqlx::Pool;
use uuid::Uuid;

use super::{Event, State, definition::Saga};
use crate::{
    Error, Result, Storage, cap,
    storage::{
        SagaChanges, SagaEvent, SagaFilter, SagaLock, SagaLogLine, SagaLogRow, SagaSummary,
        begin_by_hand,
    },
};

pub(crate) use failing::SET_ASIDE;
pub use failing::{Failing, GivenUp, failing, retry_failing};
pub use find::find;

/// When nobody has done an instance's work for so long, no engine has its version.
const IDLE: Duration = Duration::from_secs(60);

/// An instance with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// What a list says of it.
    pub summary: SagaSummary,
    /// What it started with, as JSON.
    pub input: String,
    /// Its steps; an error when this program cannot read them.
    pub state: Result<State, String>,
    /// Its log, the oldest line first.
    pub log: Vec<SagaLogRow>,
}

/// Who does something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What an operator can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Takes it back, if its pivot is not applied.
    Cancel,
    /// Has a step that has failed tried again, or one that waits for its next attempt at once; its attempts
    /// begin anew. Without one, has the engine look again at an
    /// instance that it could not decide.
    Retry(Option<String>),
    /// Has the command of a step sent again whose answer is awaited. The participant answers what it has
    /// recorded, or does now what it has not done.
    Resend(String),
    /// Goes on without a step that has failed.
    Skip(String),
    /// Declares a stuck instance settled: it ends as it is.
    Resolve,
}

/// Instances, the newest first.
///
/// # Errors
/// [`Error::Database`].
pub async fn list<DB: Storage>(
    pool: &Pool<DB>,
    filter: &SagaFilter,
    limit: u32,
) -> Result<Vec<SagaSummary>> {
    DB::sagas(pool, filter, limit.into()).await
}

/// Stuck instances, the longest stuck first.
///
/// # Errors
/// [`Error::Database`].
pub async fn stuck<DB: Storage>(pool: &Pool<DB>, limit: u32) -> Result<Vec<SagaSummary>> {
    DB::stuck_sagas(pool, limit.into()).await
}

/// Instances with a command that was sent again and is not answered yet, the oldest first.
///
/// # Errors
/// [`Error::Database`].
pub async fn overdue<DB: Storage>(pool: &Pool<DB>, limit: u32) -> Result<Vec<SagaSummary>> {
    DB::overdue_sagas(pool, limit.into()).await
}

/// One instance; none when there is no such one.
///
/// # Errors
/// [`Error::Database`].
pub async fn show<DB: Storage>(pool: &Pool<DB>, id: Uuid) -> Result<Option<Shown>> {
    let Some(summary) = DB::saga(pool, id).await? else { return Ok(None) };
    let Some((input, state)) = DB::saga_text(pool, id).await? else { return Ok(None) };
    let state = serde_json::from_str(&state).map_err(|error| error.to_string());
    let log = DB::saga_log(pool, id).await?;
    Ok(Some(Shown { summary, input, state, log }))
}

/// Does something with an instance: the engine decides it soon, and its log says what came of it.
/// False when there is no such instance, or it is over.
///
/// # Errors
/// [`Error::Database`].
pub async fn act<DB: Storage>(pool: &Pool<DB>, id: Uuid, act: Act, by: &By) -> Result<bool> {
    let reason = cap::text(&format!("{}: {}", by.who, by.why));
    let (event, step) = match act {
        Act::Cancel => (Some(Event::Cancelled { reason: reason.clone() }), None),
        Act::Retry(None) => (None, None),
        Act::Retry(Some(step)) => (Some(Event::Retried { step: step.clone() }), Some(step)),
        Act::Resend(step) => (Some(Event::Resent { step: step.clone() }), Some(step)),
        Act::Skip(step) => {
            (Some(Event::Skipped { step: step.clone(), reason: reason.clone() }), Some(step))
        }
        Act::Resolve => (Some(Event::Resolved { reason: reason.clone() }), None),
    };
    let mut tx = begin_by_hand(pool).await?;
    if !DB::revive_saga(&mut tx, id).await? {
        return Ok(false);
    }
    if let Some(event) = event {
        let event = serde_json::to_string(&event)
            .map_err(|error| Error::Message(crate::message::MessageError::Payload(error)))?;
        DB::add_events(&mut tx, &[SagaEvent { id, event }]).await?;
    }
    let line = SagaLogLine { id, step, what: "operator", attempt: None, detail: Some(reason) };
    DB::save_sagas(&mut tx, &SagaChanges { log: vec![line], ..SagaChanges::default() }).await?;
    tx.commit().await.map_err(Error::database("act on a saga"))?;
    Ok(true)
}

/// Ends an instance that no engine can decide: one of a version that none has, or whose state or
/// definition does not fit. It ends as it is, without a further step or compensation; its locks,
/// timers and undecided events go. False when there is no such instance, it is over, or it is
/// neither stuck nor has had work for a minute that nobody has done.
///
/// # Errors
/// [`Error::Database`].
pub async fn force_resolve<DB: Storage>(pool: &Pool<DB>, id: Uuid, by: &By) -> Result<bool> {
    end(pool, id, by, IDLE).await
}

pub(crate) async fn end<DB: Storage>(
    pool: &Pool<DB>,
    id: Uuid,
    by: &By,
    idle: Duration,
) -> Result<bool> {
    let mut tx = begin_by_hand(pool).await?;
    let ended = DB::end_saga(&mut tx, id, idle).await?;
    if ended {
        let line = |what, detail| SagaLogLine { id, step: None, what, attempt: None, detail };
        let log = vec![
            line("operator", Some(format!("{}: {}", by.who, by.why))),
            line("ended", Some("resolved, by force".to_owned())),
        ];
        DB::save_sagas(&mut tx, &SagaChanges { log, ..SagaChanges::default() }).await?;
    }
    tx.commit().await.map_err(Error::database("end a saga"))?;
    Ok(ended)
}

/// Locked entities.
///
/// # Errors
/// [`Error::Database`].
pub async fn locks<DB: Storage>(pool: &Pool<DB>, limit: u32) -> Result<Vec<SagaLock>> {
    DB::saga_locks(pool, limit.into()).await
}

/// Releases an entity that an instance has locked, although the instance goes on; false when it
/// has not locked it.
///
/// # Errors
/// [`Error::Database`].
pub async fn release<DB: Storage>(pool: &Pool<DB>, lock: &SagaLock, by: &By) -> Result<bool> {
    let mut tx = begin_by_hand(pool).await?;
    let released = DB::release_entity(&mut tx, &lock.entity, lock.saga).await?;
    if released {
        let detail = Some(format!("released {}; {}: {}", lock.entity, by.who, by.why));
        let line =
            SagaLogLine { id: lock.saga, step: None, what: "operator", attempt: None, detail };
        let changes = SagaChanges { log: vec![line], ..SagaChanges::default() };
        DB::save_sagas(&mut tx, &changes).await?;
    }
    tx.commit().await.map_err(Error::database("release an entity"))?;
    Ok(released)
}

/// Versions of sagas with instances that are not over and of which `definitions` has none, with the
/// number of instances: what a deployment of these definitions would leave without an engine.
///
/// # Errors
/// [`Error::Database`].
pub async fn check<DB: Storage>(
    pool: &Pool<DB>,
    definitions: &[Saga<DB>],
) -> Result<Vec<(String, i32, i64)>> {
    let known = definitions.iter().map(|one| (one.plan.name().to_owned(), one.plan.version()));
    check_versions(pool, &known.collect::<Vec<_>>()).await
}

/// The same for definitions that are known by name and version only.
///
/// # Errors
/// [`Error::Database`].
pub async fn check_versions<DB: Storage>(
    pool: &Pool<DB>,
    known: &[(String, i32)],
) -> Result<Vec<(String, i32, i64)>> {
    let mut versions = DB::saga_versions(pool).await?;
    versions.retain(|(saga, version, _)| {
        !known.iter().any(|(name, number)| name == saga && number == version)
    });
    Ok(versions)
}
