//! Steps with their code: what is typed for users, and erased for the engine.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sqlx::Transaction;

use super::{Call, Instance, Outcome, Reads, Ref, SagaBuilder};
use crate::{
    HandlerError, Message, Storage,
    saga::{
        kept,
        step::{Retry, Step, Undo},
    },
};

/// A step as the engine runs it.
#[async_trait]
pub(crate) trait RunStep<DB: Storage>: Send + Sync {
    /// The action of a local step.
    async fn act(
        &self,
        tx: &mut Transaction<'_, DB>,
        instance: &Instance<'_>,
    ) -> Result<Outcome<Value>, HandlerError>;

    /// The compensation of a local step, which gets what the action returned.
    async fn undo(
        &self,
        tx: &mut Transaction<'_, DB>,
        instance: &Instance<'_>,
        output: &Value,
    ) -> Result<(), HandlerError>;

    /// The command of a remote step, without the engine's headers and key.
    fn command(&self, instance: &Instance<'_>) -> Result<Message, HandlerError>;

    /// Whether what the participant answered can be read as the step's output.
    fn check_output(&self, output: &Value) -> Result<(), HandlerError>;
}

type Action<DB, In, Values, Out> = Arc<
    dyn for<'a> Fn(
            &'a mut Transaction<'_, DB>,
            Call<In, Values>,
        ) -> BoxFuture<'a, Result<Outcome<Out>, HandlerError>>
        + Send
        + Sync,
>;
type Compensation<DB, In, Values, Out> = Arc<
    dyn for<'a> Fn(
            &'a mut Transaction<'_, DB>,
            Call<In, Values>,
            Out,
        ) -> BoxFuture<'a, Result<(), HandlerError>>
        + Send
        + Sync,
>;

/// The code of a local step: part of its [`StepBuilder`]'s type.
pub struct Local<DB: Storage, In, R: Reads, Out> {
    reads: R,
    action: Action<DB, In, R::Values, Out>,
    compensation: Option<Compensation<DB, In, R::Values, Out>>,
}

impl<DB: Storage, In, R: Reads, Out> Local<DB, In, R, Out> {
    pub(super) fn new<F>(reads: R, action: F) -> Self
    where
        F: for<'a> Fn(
                &'a mut Transaction<'_, DB>,
                Call<In, R::Values>,
            ) -> BoxFuture<'a, Result<Outcome<Out>, HandlerError>>
            + Send
            + Sync
            + 'static,
    {
        Self { reads, action: Arc::new(action), compensation: None }
    }
}

#[async_trait]
impl<DB, In, R, Out> RunStep<DB> for Local<DB, In, R, Out>
where
    DB: Storage,
    In: DeserializeOwned + Send + Sync + 'static,
    R: Reads,
    Out: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    async fn act(
        &self,
        tx: &mut Transaction<'_, DB>,
        instance: &Instance<'_>,
    ) -> Result<Outcome<Value>, HandlerError> {
        let call = instance.call(&self.reads)?;
        Ok(match (self.action)(tx, call).await? {
            Outcome::Done(output) => {
                let output = kept::keep(&output);
                Outcome::Done(
                    output.map_err(|error| format!("what it returned cannot be kept: {error}"))?,
                )
            }
            Outcome::Refuse(reason) => Outcome::Refuse(reason),
        })
    }

    async fn undo(
        &self,
        tx: &mut Transaction<'_, DB>,
        instance: &Instance<'_>,
        output: &Value,
    ) -> Result<(), HandlerError> {
        let Some(compensation) = &self.compensation else { return Ok(()) };
        let call = instance.call(&self.reads)?;
        compensation(tx, call, Out::deserialize(output)?).await
    }

    fn command(&self, _instance: &Instance<'_>) -> Result<Message, HandlerError> {
        Err("a local step sends no command".into())
    }

    fn check_output(&self, output: &Value) -> Result<(), HandlerError> {
        Ok(Out::deserialize(output).map(drop)?)
    }
}

/// The code of a remote step: part of its [`StepBuilder`]'s type.
pub struct Remote<In, R: Reads> {
    reads: R,
    command: Command<In, R::Values>,
}

type Command<In, Values> =
    Arc<dyn Fn(Call<In, Values>) -> Result<Message, HandlerError> + Send + Sync>;

impl<In, R: Reads> Remote<In, R> {
    pub(super) fn new(
        reads: R,
        command: impl Fn(Call<In, R::Values>) -> Result<Message, HandlerError> + Send + Sync + 'static,
    ) -> Self {
        Self { reads, command: Arc::new(command) }
    }
}

struct Sent<In, R: Reads, Out>(Remote<In, R>, PhantomData<fn(Out)>);

#[async_trait]
impl<DB, In, R, Out> RunStep<DB> for Sent<In, R, Out>
where
    DB: Storage,
    In: DeserializeOwned + Send + Sync + 'static,
    R: Reads,
    Out: DeserializeOwned + Send + Sync + 'static,
{
    async fn act(
        &self,
        _tx: &mut Transaction<'_, DB>,
        _instance: &Instance<'_>,
    ) -> Result<Outcome<Value>, HandlerError> {
        Err("a remote step runs at its participant".into())
    }

    async fn undo(
        &self,
        _tx: &mut Transaction<'_, DB>,
        _instance: &Instance<'_>,
        _output: &Value,
    ) -> Result<(), HandlerError> {
        Err("a remote step is compensated at its participant".into())
    }

    fn command(&self, instance: &Instance<'_>) -> Result<Message, HandlerError> {
        (self.0.command)(instance.call(&self.0.reads)?)
    }

    fn check_output(&self, output: &Value) -> Result<(), HandlerError> {
        Ok(Out::deserialize(output).map(drop)?)
    }
}

/// Says more about a step, and [adds](Self::add) it.
///
/// A helper that gives steps of one kind the same options names it by its `Code`, which is a [`Local`]
/// or a [`Remote`]:
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use std::time::Duration;
/// use sqlx::Sqlite;
/// use syncline::{Message, saga::{Outcome, Remote, SagaBuilder, StepBuilder}};
///
/// type Asking<'a, Out> = StepBuilder<'a, Sqlite, i64, Remote<i64, ()>, Out>;
///
/// fn ask<'a>(
///     saga: &'a mut SagaBuilder<Sqlite, i64>,
///     step: &str,
///     topic: &'static str,
/// ) -> Asking<'a, i64> {
///     saga.remote(step, (), move |call| Ok(Message::json(topic, &call.input)?))
///         .topic(topic)
///         .silence(Duration::from_secs(10))
/// }
///
/// let mut saga = SagaBuilder::new("order", 1);
/// ask(&mut saga, "reserve-credit", "credit.reserve").compensated().add();
/// saga.local("approve", (), |_tx, _call| Box::pin(async { Ok(Outcome::Done(())) })).pivot().add();
/// assert!(saga.build().is_ok());
/// # }
/// ```
#[must_use = "a step becomes part of the saga with `add()`"]
pub struct StepBuilder<'a, DB: Storage, In, Code, Out> {
    saga: &'a mut SagaBuilder<DB, In>,
    step: Step,
    code: Code,
    output: PhantomData<fn() -> Out>,
}

impl<'a, DB: Storage, In, Code, Out> StepBuilder<'a, DB, In, Code, Out> {
    pub(super) fn new(saga: &'a mut SagaBuilder<DB, In>, step: Step, code: Code) -> Self {
        Self { saga, step, code, output: PhantomData }
    }

    /// It begins when `step` is done. Without a word it begins after the one before it; steps that
    /// name the same one run side by side.
    pub fn after<T>(mut self, step: &Ref<T>) -> Self {
        self.step = self.step.after(step.name());
        self
    }

    /// There is nothing to take back of it.
    pub fn nothing_to_undo(mut self) -> Self {
        self.step = self.step.nothing_to_undo();
        self
    }

    /// It is the pivot: once it is applied, there is no way back.
    pub fn pivot(mut self) -> Self {
        self.step = self.step.pivot();
        self
    }

    /// It is never refused; technical failures are tried again.
    pub fn retriable(mut self) -> Self {
        self.step = self.step.retriable();
        self
    }

    /// Time for all its attempts, by the database's clock (six hours). A step before
    /// the pivot, or the pivot, that is not done by then **turns the saga back**: make it longer than an
    /// outage that should be waited out. Each attempt of a compensation, and of a step after the pivot,
    /// has as long for its answer (a compensation one hour unless this is set).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.step = self.step.deadline(deadline);
        self
    }

    /// How long its participant may be silent until the command is sent again (30 s).
    pub fn silence(mut self, silence: Duration) -> Self {
        self.step = self.step.silence(silence);
        self
    }

    /// It handles what nobody shall find later, such as a password's hash: when the instance ends, however
    /// that is, what the step returned is dropped from its state, and its commands in the log lose their
    /// payloads and travel as bare links. Until then both are as they are: an operator can see them, and a
    /// command that is sent again must have them. See [`erasure`](crate::erasure).
    pub fn secret(mut self) -> Self {
        self.step = self.step.secret();
        self
    }

    /// Retries after technical failures of its action and its compensation. Unset, an action is
    /// tried for more than six hours ([`Retry::default`]) and a compensation for three days
    /// ([`Retry::COMPENSATION`]); then the saga goes back, or is stuck.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.step = self.step.retry(retry);
        self
    }

    /// Retries after technical failures of its compensation, when not as after those of its action.
    pub fn undo_retry(mut self, retry: Retry) -> Self {
        self.step = self.step.undo_retry(retry);
        self
    }

    fn insert(self, reads: Vec<String>, code: Arc<dyn RunStep<DB>>) -> Ref<Out> {
        let Self { saga, mut step, .. } = self;
        for read in reads {
            step = step.reads(read);
        }
        let name = step.name.clone();
        saga.steps.push(code);
        saga.plan = std::mem::take(&mut saga.plan).step(step);
        Ref::new(name)
    }
}

impl<DB, In, R, Out> StepBuilder<'_, DB, In, Local<DB, In, R, Out>, Out>
where
    DB: Storage,
    In: DeserializeOwned + Send + Sync + 'static,
    R: Reads + Clone,
    Out: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Time for one try of its action or compensation (one minute, and never longer than its
    /// deadline). Its transaction is that of other instances, too, which wait for it.
    pub fn try_limit(mut self, limit: Duration) -> Self {
        self.step = self.step.try_limit(limit);
        self
    }

    /// Takes it back: gets what the action returned and, in [`Call::why`], why the saga goes back; runs in
    /// the orchestrator's transaction.
    pub fn compensate<F>(mut self, compensation: F) -> Self
    where
        F: for<'t> Fn(
                &'t mut Transaction<'_, DB>,
                Call<In, R::Values>,
                Out,
            ) -> BoxFuture<'t, Result<(), HandlerError>>
            + Send
            + Sync
            + 'static,
    {
        self.step.undo = Undo::Compensation;
        self.code.compensation = Some(Arc::new(compensation));
        self
    }

    /// Adds the step to the saga.
    pub fn add(self) -> Ref<Out> {
        let Local { reads, action, compensation } = &self.code;
        let (reads, action, compensation) =
            (reads.clone(), Arc::clone(action), compensation.clone());
        let names = reads.names();
        self.insert(names, Arc::new(Local { reads, action, compensation }))
    }
}

impl<DB, In, R, Out> StepBuilder<'_, DB, In, Remote<In, R>, Out>
where
    DB: Storage,
    In: DeserializeOwned + Send + Sync + 'static,
    R: Reads + Clone,
    Out: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// The topic of its command. The engine warns at its start when no stream carries it, before the
    /// first instance waits; a command with another topic is an error of the attempt. Undeclared, the
    /// topic is known, and looked at, when the first command is sent.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.step = self.step.topic(topic);
        self
    }

    /// Its participant compensates it: [`SagaHandler::compensate`](crate::saga::SagaHandler::compensate).
    pub fn compensated(mut self) -> Self {
        self.step.undo = Undo::Compensation;
        self
    }

    /// Adds the step to the saga.
    pub fn add(self) -> Ref<Out> {
        let (reads, command) = (self.code.reads.clone(), Arc::clone(&self.code.command));
        let names = reads.names();
        let sent = Sent::<In, R, Out>(Remote { reads, command }, PhantomData);
        self.insert(names, Arc::new(sent))
    }
}
