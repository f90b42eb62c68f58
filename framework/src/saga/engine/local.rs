//! Local steps run in the transaction that decides, each behind a savepoint: with a time limit,
//! with panics contained.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use uuid::Uuid;

use super::{step_tx::StepTx, turn::Turn};
use crate::{
    Error, Storage,
    consumer::panic_text,
    error::{Class, chain, class_of_handler, of_database},
    message::MessageError,
    saga::{Answer, Outcome, UndoAnswer, definition::Instance},
    storage::{Cause, user_code},
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
    /// A local step met an error of the database that is not its own.
    Disturbed(Box<Key>, Class, Error),
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

impl Cause for Stop {
    fn cause(&self) -> Option<&Error> {
        match self {
            Self::Error(error, _) | Self::Disturbed(.., error) => Some(error),
            Self::Spoilt(..) => None,
        }
    }
}

impl Stop {
    /// Whether the connection must not be used again.
    pub(super) fn spoils(&self) -> bool {
        let of = |class| matches!(class, Class::Session | Class::Stale);
        match self {
            Self::Spoilt(..) => true,
            Self::Disturbed(_, class, _) => of(*class),
            Self::Error(error, _) => of(error.class()),
        }
    }

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
        steps: &mut StepTx<'_, '_, DB>,
        excused: &Excused,
        step: &str,
        attempt: u32,
    ) -> Result<Answer, Stop> {
        let key = (self.id(), step.to_owned(), false, attempt);
        Ok(match self.call(steps, excused, key).await? {
            Did::Done(output) => Answer::Applied(output),
            Did::Refused(reason) => Answer::Refused(reason),
            Did::Failed(error) => Answer::Failed(error),
        })
    }

    pub(super) async fn undo(
        &mut self,
        steps: &mut StepTx<'_, '_, DB>,
        excused: &Excused,
        step: &str,
        attempt: u32,
    ) -> Result<UndoAnswer, Stop> {
        let key = (self.id(), step.to_owned(), true, attempt);
        Ok(match self.call(steps, excused, key).await? {
            Did::Done(_) => UndoAnswer::Undone,
            Did::Refused(error) | Did::Failed(error) => UndoAnswer::Failed(error),
        })
    }

    async fn call(
        &mut self,
        steps: &mut StepTx<'_, '_, DB>,
        excused: &Excused,
        key: Key,
    ) -> Result<Did<serde_json::Value>, Stop> {
        if let Some(error) = excused.get(&key) {
            return Ok(Did::Failed(error.clone()));
        }
        let Some(place) = self.saga.plan.place(&key.1) else {
            return Ok(Did::Failed("there is no such step".to_owned()));
        };
        let step = &self.saga.plan.steps()[place];
        let limit: Duration = step.try_limit.min(step.deadline);
        let code = self.saga.steps[place].clone();
        let outputs = self.outputs();
        let why = if key.2 { self.state.why() } else { None };
        let instance = Instance { id: self.id(), input: &self.input, outputs: &outputs, why };
        let began = Instant::now();
        let tx = steps.begin().await?;
        let call = async {
            match key.2 {
                false => code.act(tx, &instance).await,
                true => {
                    let output = outputs.get(&key.1).unwrap_or(&serde_json::Value::Null);
                    let undone = code.undo(tx, &instance, output).await;
                    undone.map(|()| Outcome::Done(serde_json::Value::Null))
                }
            }
        };
        let call = AssertUnwindSafe(call).catch_unwind();
        let called = user_code(tokio::time::timeout(limit, call)).await;
        let did = match called {
            Ok(Ok(Ok(Outcome::Done(output)))) => {
                self.ran.push(key.clone());
                // Whether the database takes it is seen by the next statement, which the error is
                // then laid at; only one that may have been cut off for its slowness asks.
                if began.elapsed() >= IDLE
                    && let Err(error) = steps.keep().await
                {
                    self.ran.pop();
                    return Err(Stop::Spoilt(key, chain(&error)));
                }
                return Ok(Did::Done(output));
            }
            Ok(Ok(Ok(Outcome::Refuse(reason)))) => Did::Refused(reason),
            Ok(Ok(Err(error))) => match class_of_handler(&*error) {
                Class::Lasting => Did::Failed(chain(&*error)),
                _ if began.elapsed() >= IDLE => return Err(Stop::Spoilt(key, chain(&*error))),
                class => {
                    let error = of_database("run a step of a saga", error);
                    return Err(Stop::Disturbed(Box::new(key), class, error));
                }
            },
            // The connection may be in the middle of something.
            Ok(Err(panic)) => {
                return Err(Stop::Spoilt(key, format!("it panicked: {}", panic_text(&*panic))));
            }
            Err(_) => return Err(Stop::Spoilt(key, format!("it took longer than {limit:?}"))),
        };
        steps.take_back().await?;
        Ok(did)
    }
}
