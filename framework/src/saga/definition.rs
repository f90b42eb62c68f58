//! A saga as users write it: typed steps that read what earlier steps returned.

mod reads;
mod step;

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sqlx::Transaction;
use uuid::Uuid;

use super::{
    plan::{Plan, PlanBuilder, PlanError},
    state::Why,
    step::Step,
};
use crate::{HandlerError, Message, Storage};

pub use reads::{Reads, Ref};
pub(crate) use step::RunStep;
pub use step::{Local, Remote, StepBuilder};

/// What an action comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It is applied; later steps may read this.
    Done(T),
    /// It is refused, for a business reason: its writes are rolled back.
    Refuse(String),
}

/// What a step's code gets of its instance.
#[derive(Debug, Clone)]
pub struct Call<In, R> {
    /// The instance.
    pub id: Uuid,
    /// What the saga was started with.
    pub input: In,
    /// What the steps returned that it reads.
    pub read: R,
    /// In a compensation: why the saga goes back. None in an action.
    pub why: Option<Why>,
}

/// An instance as the engine hands it to a step.
#[derive(Debug)]
pub(crate) struct Instance<'a> {
    pub(crate) id: Uuid,
    pub(crate) input: &'a Value,
    pub(crate) outputs: &'a BTreeMap<String, Value>,
    /// Why it goes back, where a compensation is called.
    pub(crate) why: Option<Why>,
}

impl Instance<'_> {
    fn input<In: DeserializeOwned>(&self) -> Result<In, HandlerError> {
        let read = In::deserialize(self.input);
        read.map_err(|error| {
            format!("what the saga was started with cannot be read: {error}").into()
        })
    }

    fn output<T: DeserializeOwned>(&self, step: &str) -> Result<T, HandlerError> {
        let output = self.outputs.get(step);
        let output = output.ok_or_else(|| format!("step {step:?} has returned nothing"))?;
        let read = T::deserialize(output);
        read.map_err(|error| format!("what step {step:?} returned cannot be read: {error}").into())
    }

    fn call<In: DeserializeOwned, R: Reads>(
        &self,
        reads: &R,
    ) -> Result<Call<In, R::Values>, HandlerError> {
        let (input, read, why) = (self.input()?, reads.load(self)?, self.why.clone());
        Ok(Call { id: self.id, input, read, why })
    }
}

/// Names the entities that an instance locks.
type Locks = Arc<dyn Fn(&Value) -> Result<Vec<String>, HandlerError> + Send + Sync>;

/// A saga: its plan and its code. One version of one definition.
pub struct Saga<DB: Storage> {
    pub(crate) plan: Plan,
    pub(crate) steps: Vec<Arc<dyn RunStep<DB>>>,
    locks: Option<Locks>,
    reads_input: fn(&Value) -> Result<(), HandlerError>,
}

impl<DB: Storage> Clone for Saga<DB> {
    fn clone(&self) -> Self {
        let (plan, steps, locks) = (self.plan.clone(), self.steps.clone(), self.locks.clone());
        Self { plan, steps, locks, reads_input: self.reads_input }
    }
}

/// Whether an `In` can be read from what an instance is to start with.
fn reads_input<In: DeserializeOwned>(input: &Value) -> Result<(), HandlerError> {
    let read = In::deserialize(input).map(drop);
    read.map_err(|error| {
        let of = std::any::type_name::<In>();
        format!("its input is of type `{of}`, which cannot be read from it: {error}").into()
    })
}

/// Builds a saga whose instances start with an `In`.
///
/// ```
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// # #[cfg(feature = "sqlite")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use syncline::{Message, saga::{Outcome, SagaBuilder}};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, Clone)]
/// struct Order { customer: String, total: i64 }
///
/// let mut saga = SagaBuilder::<sqlx::Sqlite, Order>::new("order", 1);
/// let order = saga
///     .local("create-order", (), |tx, call| Box::pin(async move {
///         let made = sqlx::query("INSERT INTO orders (customer) VALUES (?)")
///             .bind(call.input.customer).execute(&mut **tx).await?;
///         Ok(Outcome::Done(made.last_insert_rowid()))
///     }))
///     .compensate(|tx, _call, order| Box::pin(async move {
///         sqlx::query("DELETE FROM orders WHERE id = ?").bind(order).execute(&mut **tx).await?;
///         Ok(())
///     }))
///     .add();
/// let _credit = saga
///     .remote::<_, ()>("reserve-credit", order.clone(), |call| {
///         Ok(Message::json("credit.reserve", &(call.input.customer, call.input.total, call.read))?)
///     })
///     .compensated()
///     .add();
/// saga.local("approve", order, |tx, call| Box::pin(async move {
///         sqlx::query("UPDATE orders SET approved = 1 WHERE id = ?")
///             .bind(call.read).execute(&mut **tx).await?;
///         Ok(Outcome::Done(()))
///     }))
///     .pivot()
///     .add();
/// let saga = saga.build()?;
/// assert_eq!(saga.plan().steps().len(), 3);
/// # Ok(())
/// # }
/// ```
pub struct SagaBuilder<DB: Storage, In> {
    plan: PlanBuilder,
    steps: Vec<Arc<dyn RunStep<DB>>>,
    locks: Option<Locks>,
    input: PhantomData<fn(In)>,
}

impl<DB: Storage> Saga<DB> {
    /// Its plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Checks that the saga's steps can read what an instance is to start with.
    pub(crate) fn check_input(&self, input: &Value) -> Result<(), HandlerError> {
        (self.reads_input)(input)
    }

    /// The entities that an instance locks while it runs.
    pub(crate) fn locks(&self, input: &Value) -> Result<Vec<String>, HandlerError> {
        self.locks.as_ref().map_or_else(|| Ok(Vec::new()), |locks| locks(input))
    }
}

impl<DB, In> SagaBuilder<DB, In>
where
    DB: Storage,
    In: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Begins version `version`, from 1, of the saga `name`. Both are stored with each instance.
    pub fn new(name: impl Into<String>, version: i32) -> Self {
        let plan = Plan::builder(name, version);
        Self { plan, steps: Vec::new(), locks: None, input: PhantomData }
    }

    /// How long an instance may take until its pivot is applied; it is compensated then.
    #[must_use]
    pub fn deadline(mut self, deadline: std::time::Duration) -> Self {
        self.plan = self.plan.deadline(deadline);
        self
    }

    /// The entities, such as `customer/17`, that no other saga may lock until an instance ends: a
    /// start that meets a locked one is refused.
    #[must_use]
    pub fn locks(mut self, entities: impl Fn(&In) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.locks = Some(Arc::new(move |input| Ok(entities(&In::deserialize(input)?))));
        self
    }

    /// A step in this service's own database: `action` runs in the orchestrator's transaction.
    /// `reads` are earlier steps: `()`, one, or a tuple of up to four.
    pub fn local<R, Out, F>(
        &mut self,
        name: impl Into<String>,
        reads: R,
        action: F,
    ) -> StepBuilder<'_, DB, In, Local<DB, In, R, Out>, Out>
    where
        R: Reads,
        Out: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: for<'a> Fn(
                &'a mut Transaction<'_, DB>,
                Call<In, R::Values>,
            ) -> BoxFuture<'a, Result<Outcome<Out>, HandlerError>>
            + Send
            + Sync
            + 'static,
    {
        let step = Step::local(name);
        StepBuilder::new(self, step, Local::new(reads, action))
    }

    /// A step of another service: `command` makes the message that is sent to it. The
    /// participant's [`SagaHandler`](super::SagaHandler) for its topic answers an `Out`.
    pub fn remote<R, Out>(
        &mut self,
        name: impl Into<String>,
        reads: R,
        command: impl Fn(Call<In, R::Values>) -> Result<Message, HandlerError> + Send + Sync + 'static,
    ) -> StepBuilder<'_, DB, In, Remote<In, R>, Out>
    where
        R: Reads,
        Out: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let step = Step::remote(name);
        StepBuilder::new(self, step, Remote::new(reads, command))
    }

    /// A step of another service that only reserves, up to the pivot (the try of
    /// try/confirm/cancel). A step after the pivot [confirms](Self::confirm) it; when the saga goes
    /// back, it is cancelled. The participant is a [`TccHandler`](super::TccHandler).
    pub fn reserve<R, Out>(
        &mut self,
        name: impl Into<String>,
        reads: R,
        command: impl Fn(Call<In, R::Values>) -> Result<Message, HandlerError> + Send + Sync + 'static,
    ) -> StepBuilder<'_, DB, In, Remote<In, R>, Out>
    where
        R: Reads,
        Out: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let step = Step::remote(name).reserves();
        StepBuilder::new(self, step, Remote::new(reads, command))
    }

    /// A step after the pivot that makes final what `reserved` has reserved. It goes to the same
    /// participant, which gets what it had returned then; `command` makes the message.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// use syncline::{Message, saga::{Outcome, SagaBuilder}};
    /// let mut saga = SagaBuilder::<sqlx::Sqlite, i64>::new("order", 1);
    /// let hold = saga
    ///     .reserve::<_, i64>("hold-credit", (), |call| Ok(Message::json("credit.hold", &call.input)?))
    ///     .add();
    /// saga.local("approve", (), |_tx, _call| Box::pin(async { Ok(Outcome::Done(())) }))
    ///     .pivot()
    ///     .add();
    /// saga.confirm::<_, (), _>("spend-credit", &hold, (), |call| {
    ///         Ok(Message::json("credit.spend", &call.id)?)
    ///     })
    ///     .add();
    /// assert!(saga.build().is_ok());
    /// # }
    /// ```
    pub fn confirm<R, Out, Held>(
        &mut self,
        name: impl Into<String>,
        reserved: &Ref<Held>,
        reads: R,
        command: impl Fn(Call<In, R::Values>) -> Result<Message, HandlerError> + Send + Sync + 'static,
    ) -> StepBuilder<'_, DB, In, Remote<In, R>, Out>
    where
        R: Reads,
        Out: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let step = Step::remote(name).confirms(reserved.name());
        StepBuilder::new(self, step, Remote::new(reads, command))
    }

    /// Checks the definition.
    ///
    /// # Errors
    /// [`PlanError`]: the first thing that is wrong, and what to do about it.
    pub fn build(self) -> Result<Saga<DB>, PlanError> {
        let Self { plan, steps, locks, input: _ } = self;
        Ok(Saga { plan: plan.build()?, steps, locks, reads_input: reads_input::<In> })
    }
}
