//! The saga of an order: what the customer may owe and what the warehouse has are reserved side by
//! side, a shipment is booked, and the order is approved. Whatever is refused before that, the rest
//! is given back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, Transaction};
use syncline::{
    HandlerError, Message,
    saga::{Outcome, PlanError, Saga, SagaBuilder},
};

use super::participants::{BookShipment, Dispatch, ReserveCredit, ReserveStock};

/// What a customer wants. Amounts are in cents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: String,
    pub(crate) customer: String,
    pub(crate) item: String,
    pub(crate) pieces: i64,
    pub(crate) total: i64,
}

/// The table of the orders' own service.
pub(crate) const TABLES: &str = "CREATE TABLE orders (
    number TEXT PRIMARY KEY,
    status TEXT NOT NULL
) STRICT";

/// Places an order.
///
/// ```text
/// create-order ─┬─ reserve-credit ─┬─ book-shipment ── approve (pivot) ── dispatch
///               └─ reserve-stock ──┘
/// ```
pub(crate) fn place_order() -> Result<Saga<Sqlite>, PlanError> {
    let mut saga =
        SagaBuilder::<Sqlite, Order>::new("place-order", 1).deadline(Duration::from_secs(600));

    let created = saga
        .local("create-order", (), |tx, call| Box::pin(create(tx, call.input)))
        .compensate(|tx, call, ()| Box::pin(set_status(tx, call.input, "rejected")))
        .add();

    let credit = saga
        .remote::<_, ()>("reserve-credit", (), |call| {
            let Order { customer, total: amount, .. } = call.input;
            Ok(Message::json("credit.reserve", &ReserveCredit { customer, amount })?)
        })
        .after(&created)
        .compensated()
        .add();
    let stock = saga
        .remote::<_, ()>("reserve-stock", (), |call| {
            let Order { item, pieces, .. } = call.input;
            Ok(Message::json("stock.reserve", &ReserveStock { item, pieces })?)
        })
        .after(&created)
        .compensated()
        .add();

    let shipment = saga
        .remote::<_, String>("book-shipment", (), |call| {
            let Order { number: order, customer, .. } = call.input;
            Ok(Message::json("shipment.book", &BookShipment { order, customer })?)
        })
        .after(&credit)
        .after(&stock)
        .compensated()
        .deadline(Duration::from_secs(30))
        .add();

    saga.local("approve", (), |tx, call| {
        Box::pin(async move {
            set_status(tx, call.input, "approved").await?;
            Ok(Outcome::Done(()))
        })
    })
    .pivot()
    .add();

    saga.remote::<_, ()>("dispatch", shipment, |call| {
        let tracking = call.read;
        Ok(Message::json("shipment.dispatch", &Dispatch { tracking })?)
    })
    .retriable()
    .add();

    saga.build()
}

async fn create(
    tx: &mut Transaction<'_, Sqlite>,
    order: Order,
) -> Result<Outcome<()>, HandlerError> {
    let sql = "INSERT INTO orders (number, status) VALUES (?, 'pending')";
    sqlx::query(sql).bind(order.number).execute(&mut **tx).await?;
    Ok(Outcome::Done(()))
}

async fn set_status(
    tx: &mut Transaction<'_, Sqlite>,
    order: Order,
    status: &str,
) -> Result<(), HandlerError> {
    let sql = "UPDATE orders SET status = ? WHERE number = ?";
    sqlx::query(sql).bind(status).bind(order.number).execute(&mut **tx).await?;
    Ok(())
}
