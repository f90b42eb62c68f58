//! Local steps run in the transaction that decides, each behind a savepoint: with a time limit,
//! with panics contained.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use sqlx::{Connection, Transaction};
use uuid::Uuid;

use super::turn::Turn;
use crate::{
    Error, HandlerError, Storage,
    consumer::panic_text,
    error::{chain, is_transient_handler_error},
    message::MessageError,
    saga::{Answer, Outcome, UndoAnswer, definition::Instance},
};

/// The server ends a transaction in which nothing happens for so long: a step that has taken longer
/// has failed, and not the database.
const IDLE: Duration = Duration::from_secs(4);

/// One try of a local step: instance, step, whether it is the compensation, attempt.
pub(super) type Key = (Uuid, String, bool, u32);

/// Tries whose failure has cost their transaction, with the error: they are not made again.
pub(super) type Excused = HashMap<Key, String>;

/// Why a transaction was not committed.
pub(super) enum Stop {
    /// A local step spoilt it: it is answered by this error in the next one.
    Spoilt(Key, String),
    /// The database, or what these instances do to it; the last local step of them that ran.
    Error(Error, Option<Box<Blame>>),
}

/// Whom an error may be due to.
pub(super) struct Blame {
    pub(super) instances: Vec<Uuid>,
    pub(super) last: Option<Key>,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error, None)
    }
}

impl Stop {
    pub(super) fn json(error: serde_json::Error) -> Self {
        Error::Message(MessageError::Payload(error)).into()
    }
}

/// What user code did.
enum Did<T> {
    Done(T),
    Refused(String),
    Failed(String),
}

impl<DB: Storage> Turn<'_, DB> {
    pub(super) async fn act(
        &mut self,
        tx: &mut Transaction<'_, DB>,
        excused: &Excused,
        step: &str,
        attempt: u32,
    ) -> Result<Answer, Stop> {
        let key = (self.id(), step.to_owned(), false, attempt);
        Ok(match self.call(tx, excused, key).await? {
            Did::Done(output) => Answer::Applied(output),
            Did::Refused(reason) => Answer::Refused(reason),
            Did::Failed(error) => Answer::Failed(error),
        })
    }

    pub(super) async fn undo(
        &mut self,
        tx: &mut Transaction<'_, DB>,
        excused: &Excused,
        step: &str,
        attempt: u32,
    ) -> Result<UndoAnswer, Stop> {
        let key = (self.id(), step.to_owned(), true, attempt);
        Ok(match self.call(tx, excused, key).await? {
            Did::Done(_) => UndoAnswer::Undone,
            Did::Refused(error) | Did::Failed(error) => UndoAnswer::Failed(error),
        })
    }

    async fn call(
        &mut self,
        tx: &mut Transaction<'_, DB>,
        excused: &Excused,
        key: Key,
    ) -> Result<Did<serde_json::Value>, Stop> {
        if let Some(error) = excused.get(&key) {
            return Ok(Did::Failed(error.clone()));
        }
        let Some(place) = self.saga.plan.place(&key.1) else {
            return Ok(Did::Failed("there is no such step".to_owned()));
        };
        let limit: Duration = self.saga.plan.steps()[place].deadline;
        let code = self.saga.steps[place].clone();
        let outputs = self.outputs();
        let instance = Instance { id: self.id(), input: &self.input, outputs: &outputs };
        let failed = "set a savepoint for a step";
        let began = Instant::now();
        let mut inner = Connection::begin(&mut **tx).await.map_err(Error::database(failed))?;
        let call = async {
            match key.2 {
                false => code.act(&mut inner, &instance).await,
                true => {
                    let output = outputs.get(&key.1).unwrap_or(&serde_json::Value::Null);
                    let undone = code.undo(&mut inner, &instance, output).await;
                    undone.map(|()| Outcome::Done(serde_json::Value::Null))
                }
            }
        };
        let called = tokio::time::timeout(limit, AssertUnwindSafe(call).catch_unwind()).await;
        let did = match called {
            Ok(Ok(Ok(Outcome::Done(output)))) => {
                let spoilt = key.clone();
                self.ran.push(key);
                return match inner.commit().await.map_err(Error::database("end a step")) {
                    Ok(()) => Ok(Did::Done(output)),
                    Err(error) if error.is_transient() && began.elapsed() >= IDLE => {
                        self.ran.pop();
                        Err(Stop::Spoilt(spoilt, error.to_string()))
                    }
                    Err(error) if error.is_transient() => Err(error.into()),
                    // It has swallowed an error of the database.
                    Err(error) => Ok(Did::Failed(error.to_string())),
                };
            }
            Ok(Ok(Ok(Outcome::Refuse(reason)))) => Did::Refused(reason),
            Ok(Ok(Err(error))) if is_transient_handler_error(&*error) => {
                if began.elapsed() >= IDLE {
                    return Err(Stop::Spoilt(key, chain(&*error)));
                }
                return Err(transient(error).into());
            }
            Ok(Ok(Err(error))) => Did::Failed(chain(&*error)),
            // The connection may be in the middle of something.
            Ok(Err(panic)) => {
                return Err(Stop::Spoilt(key, format!("it panicked: {}", panic_text(&*panic))));
            }
            Err(_) => return Err(Stop::Spoilt(key, format!("it took longer than {limit:?}"))),
        };
        inner.rollback().await.map_err(Error::database("take a step back"))?;
        Ok(did)
    }
}

fn transient(error: HandlerError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::Database {
            action: "run a step of a saga",
            source: match error.downcast::<sqlx::Error>() {
                Ok(error) => *error,
                Err(error) => sqlx::Error::Io(std::io::Error::other(error)),
            },
        },
    }
}
