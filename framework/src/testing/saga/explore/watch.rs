//! The user's handlers and local steps, watched: each effect is noted in the transaction that has
//! it, and a script says where they are refused or fail.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use serde_json::Value;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use crate::{
    Envelope, HandlerError, Message,
    saga::{
        Outcome, Saga, SagaHandler,
        definition::{Instance, RunStep},
        wire::Command,
    },
    storage::sqlite::explored::{self, Effected},
};

/// What happens to a step instead of what its code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its action is refused.
    Refused,
    /// Its action fails technically so many times.
    Fails(u32),
    /// Its compensation fails technically so many times.
    UndoFails(u32),
}

/// What went otherwise in one run, and how often each was called.
#[derive(Debug, Default)]
pub(super) struct Script {
    faults: Mutex<HashMap<String, Vec<Fault>>>,
    at: AtomicI64,
    faults_had: AtomicUsize,
}

impl Script {
    pub(super) fn new(faults: &[(String, Fault)]) -> Self {
        let mut all = HashMap::<String, Vec<Fault>>::new();
        for (step, fault) in faults {
            all.entry(step.clone()).or_default().push(*fault);
        }
        Self { faults: Mutex::new(all), at: AtomicI64::new(0), faults_had: AtomicUsize::new(0) }
    }

    /// Whatever was to go wrong is mended.
    pub(super) fn mend(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What happens to the action (or compensation) of `step` that is called now.
    fn fault(&self, step: &str, undo: bool) -> Option<Fault> {
        let fault = self.next_fault(step, undo);
        self.faults_had.fetch_add(usize::from(fault.is_some()), Ordering::Relaxed);
        fault
    }

    /// How often something was refused or failed.
    pub(super) fn faults_had(&self) -> usize {
        self.faults_had.load(Ordering::Relaxed)
    }

    fn next_fault(&self, step: &str, undo: bool) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in faults.get_mut(step)? {
            match fault {
                Fault::Refused if !undo => return Some(Fault::Refused),
                Fault::Fails(left) if !undo && *left > 0 => {
                    *left -= 1;
                    return Some(Fault::Fails(1));
                }
                Fault::UndoFails(left) if undo && *left > 0 => {
                    *left -= 1;
                    return Some(Fault::UndoFails(1));
                }
                _ => {}
            }
        }
        None
    }

    async fn note(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        saga: Uuid,
        step: &str,
        undo: bool,
    ) -> Result<(), HandlerError> {
        let at = self.at.fetch_add(1, Ordering::Relaxed);
        let effect = Effected { saga, step: step.to_owned(), undo, at };
        Ok(explored::add(tx, &effect).await?)
    }
}

const FAILS: &str = "the explorer has it fail";
const REFUSES: &str = "the explorer has it refused";

/// A participant's handler, watched.
pub(super) struct Watched {
    pub(super) handler: Arc<dyn SagaHandler<Sqlite>>,
    pub(super) script: Arc<Script>,
}

#[async_trait]
impl SagaHandler<Sqlite> for Watched {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        let Command { saga, step, .. } = Command::read(command)?;
        let fault = self.script.fault(&step, false);
        // It fails after it has written: nothing of that may stay.
        let outcome = self.handler.apply(tx, command).await?;
        match fault {
            Some(Fault::Refused) => return Ok(Outcome::Refuse(REFUSES.to_owned())),
            Some(_) => return Err(FAILS.into()),
            None => {}
        }
        if let Outcome::Done(_) = outcome {
            self.script.note(tx, saga, &step, false).await?;
        }
        Ok(outcome)
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        command: &Envelope,
        applied: &Value,
    ) -> Result<(), HandlerError> {
        let Command { saga, step, .. } = Command::read(command)?;
        let fault = self.script.fault(&step, true);
        self.handler.compensate(tx, command, applied).await?;
        if fault.is_some() {
            return Err(FAILS.into());
        }
        self.script.note(tx, saga, &step, true).await
    }

    async fn confirm(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        command: &Envelope,
        reserved: &Value,
    ) -> Result<Value, HandlerError> {
        let Command { saga, step, .. } = Command::read(command)?;
        let fault = self.script.fault(&step, false);
        let confirmed = self.handler.confirm(tx, command, reserved).await?;
        if fault.is_some() {
            return Err(FAILS.into());
        }
        self.script.note(tx, saga, &step, false).await?;
        Ok(confirmed)
    }
}

/// A local step, watched.
struct WatchedStep {
    name: String,
    code: Arc<dyn RunStep<Sqlite>>,
    script: Arc<Script>,
}

#[async_trait]
impl RunStep<Sqlite> for WatchedStep {
    async fn act(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        instance: &Instance<'_>,
    ) -> Result<Outcome<Value>, HandlerError> {
        let fault = self.script.fault(&self.name, false);
        let outcome = self.code.act(tx, instance).await?;
        match fault {
            Some(Fault::Refused) => return Ok(Outcome::Refuse(REFUSES.to_owned())),
            Some(_) => return Err(FAILS.into()),
            None => {}
        }
        if let Outcome::Done(_) = outcome {
            self.script.note(tx, instance.id, &self.name, false).await?;
        }
        Ok(outcome)
    }

    async fn undo(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        instance: &Instance<'_>,
        output: &Value,
    ) -> Result<(), HandlerError> {
        let fault = self.script.fault(&self.name, true);
        self.code.undo(tx, instance, output).await?;
        if fault.is_some() {
            return Err(FAILS.into());
        }
        self.script.note(tx, instance.id, &self.name, true).await
    }

    fn command(&self, instance: &Instance<'_>) -> Result<Message, HandlerError> {
        self.code.command(instance)
    }

    fn check_output(&self, output: &Value) -> Result<(), HandlerError> {
        self.code.check_output(output)
    }
}

/// The saga with its local steps watched.
pub(super) fn watched(saga: &Saga<Sqlite>, script: &Arc<Script>) -> Saga<Sqlite> {
    let mut saga = saga.clone();
    let names: Vec<String> = saga.plan.steps().iter().map(|step| step.name.clone()).collect();
    for (name, code) in names.into_iter().zip(&mut saga.steps) {
        let script = Arc::clone(script);
        *code = Arc::new(WatchedStep { name, code: Arc::clone(code), script });
    }
    saga
}
