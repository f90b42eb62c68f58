//! The orders' saga of the campaigns, and the two services that take part in it: each effect is a
//! note, so that one that stands twice, or stands where it was taken back, is seen.
//!
//! ```text
//! create ── reserve (stock) ── charge (bank) ── approve (pivot) ── dispatch (stock)
//! ```

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::Transaction;
use syncline::{
    Consumer, Envelope, HandlerError, Message,
    consumer::ConsumerBuilder,
    saga::{Outcome, PlanError, Retry, Saga, SagaBuilder, SagaHandler, wire::Command},
};

use crate::kit::Kit;

/// The saga's name.
pub const SAGA: &str = "order";
/// As what the orchestrator sends.
pub const SOURCE: &str = "/orders";
/// The steps that leave an effect, with the service whose database holds it.
pub const EFFECTS: [(&str, &str); 5] = [
    ("create", "orders"),
    ("reserve", "stock"),
    ("charge", "bank"),
    ("approve", "orders"),
    ("dispatch", "stock"),
];
/// So many orders' sagas run at the same time at the most: each locks one of so many customers.
pub const CUSTOMERS: i64 = 40;

const RETRY: Retry =
    Retry { attempts: 50, base: Duration::from_millis(100), longest: Duration::from_secs(1) };

/// Whether the bank refuses an order: one in ten.
pub fn is_refused(order: i64) -> bool {
    order % 10 == 0
}

async fn note<DB: Kit>(
    tx: &mut Transaction<'_, DB>,
    step: &str,
    order: i64,
    sign: i64,
) -> Result<(), HandlerError> {
    Ok(DB::note(tx, &format!("{step} {order}"), sign).await?)
}

/// The saga of an order, whose input is its number.
///
/// # Errors
/// None: the definition is sound.
pub fn definition<DB: Kit>() -> Result<Saga<DB>, PlanError> {
    let mut saga = SagaBuilder::<DB, i64>::new(SAGA, 1)
        .locks(|order| vec![format!("customer {}", order % CUSTOMERS)]);
    saga.local("create", (), |tx, call| {
        Box::pin(async move {
            note(tx, "create", call.input, 1).await?;
            Ok(Outcome::Done(()))
        })
    })
    .compensate(|tx, call, ()| Box::pin(note(tx, "create", call.input, -1)))
    .add();
    let reserved = saga
        .remote::<_, i64>("reserve", (), |call| Ok(Message::json("stock.reserve", &call.input)?))
        .retry(RETRY)
        .compensated()
        .add();
    saga.remote::<_, i64>("charge", (), |call| Ok(Message::json("bank.charge", &call.input)?))
        .retry(RETRY)
        .compensated()
        .add();
    saga.local("approve", (), |tx, call| {
        Box::pin(async move {
            note(tx, "approve", call.input, 1).await?;
            Ok(Outcome::Done(()))
        })
    })
    .pivot()
    .add();
    saga.remote::<_, i64>("dispatch", reserved, |call| {
        Ok(Message::json("stock.dispatch", &call.read)?)
    })
    .retry(RETRY)
    .retriable()
    .add();
    saga.build()
}

/// What a service does for the commands of a topic `service.step`.
struct Step {
    /// It fails the first attempt of one order in seven.
    flaky: bool,
}

fn step(command: &Envelope) -> &str {
    command.topic.rsplit('.').next().unwrap_or_default()
}

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Step {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        let order: i64 = command.decode()?;
        note(tx, step(command), order, 1).await?;
        if self.flaky && order % 7 == 3 && Command::read(command)?.attempt == 1 {
            return Err("it fails once".into());
        }
        if step(command) == "charge" && is_refused(order) {
            return Ok(Outcome::Refuse("the bank refuses it".to_owned()));
        }
        Ok(Outcome::Done(json!(order)))
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        applied: &Value,
    ) -> Result<(), HandlerError> {
        let order: i64 = command.decode()?;
        if *applied != json!(order) {
            return Err(format!("{applied} was applied, and {order} is to be taken back").into());
        }
        note(tx, step(command), order, -1).await
    }
}

/// The consumer of `service`, which is `stock` or `bank`.
pub fn participant<DB: Kit>(
    service: &str,
    pool: sqlx::Pool<DB>,
    flaky: bool,
) -> ConsumerBuilder<DB> {
    Consumer::builder(service, pool).participant(format!("{service}.*"), Step { flaky })
}
