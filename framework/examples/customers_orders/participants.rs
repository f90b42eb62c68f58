//! The three services that take part, each with its tables and what it does for a topic of
//! commands.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Sqlite, Transaction};
use syncline::{
    Envelope, HandlerError,
    saga::{Outcome, SagaHandler},
};

/// The customers' service: what each may owe.
pub(crate) mod customers {
    use super::*;

    pub(crate) const TABLES: &str = "CREATE TABLE customers (
        name TEXT PRIMARY KEY,
        credit INTEGER NOT NULL CHECK (credit >= 0)
    ) STRICT;
    INSERT INTO customers (name, credit) VALUES ('ada', 10000), ('ben', 1000)";

    /// Takes an amount off a customer's credit, and gives it back.
    pub(crate) struct Credit;

    #[async_trait]
    impl SagaHandler<Sqlite> for Credit {
        async fn apply(
            &self,
            tx: &mut Transaction<'_, Sqlite>,
            command: &Envelope,
        ) -> Result<Outcome<Value>, HandlerError> {
            let ReserveCredit { customer, amount } = command.decode()?;
            let sql = "UPDATE customers SET credit = credit - ?1 WHERE name = ?2 AND credit >= ?1";
            let reserved = sqlx::query(sql).bind(amount).bind(&customer).execute(&mut **tx).await?;
            Ok(match reserved.rows_affected() {
                0 => Outcome::Refuse(format!("{customer} has not {amount} of credit left")),
                _ => Outcome::Done(json!(null)),
            })
        }

        async fn compensate(
            &self,
            tx: &mut Transaction<'_, Sqlite>,
            command: &Envelope,
            _applied: &Value,
        ) -> Result<(), HandlerError> {
            let ReserveCredit { customer, amount } = command.decode()?;
            let sql = "UPDATE customers SET credit = credit + ? WHERE name = ?";
            sqlx::query(sql).bind(amount).bind(customer).execute(&mut **tx).await?;
            Ok(())
        }
    }
}

/// The warehouse: what is there of each item.
pub(crate) mod warehouse {
    use super::*;

    pub(crate) const TABLES: &str = "CREATE TABLE stock (
        item TEXT PRIMARY KEY,
        pieces INTEGER NOT NULL CHECK (pieces >= 0)
    ) STRICT;
    INSERT INTO stock (item, pieces) VALUES ('lamp', 100)";

    /// Puts pieces aside, and back.
    pub(crate) struct Stock;

    #[async_trait]
    impl SagaHandler<Sqlite> for Stock {
        async fn apply(
            &self,
            tx: &mut Transaction<'_, Sqlite>,
            command: &Envelope,
        ) -> Result<Outcome<Value>, HandlerError> {
            let ReserveStock { item, pieces } = command.decode()?;
            let sql = "UPDATE stock SET pieces = pieces - ?1 WHERE item = ?2 AND pieces >= ?1";
            let reserved = sqlx::query(sql).bind(pieces).bind(&item).execute(&mut **tx).await?;
            Ok(match reserved.rows_affected() {
                0 => Outcome::Refuse(format!("there are not {pieces} of {item}")),
                _ => Outcome::Done(json!(null)),
            })
        }

        async fn compensate(
            &self,
            tx: &mut Transaction<'_, Sqlite>,
            command: &Envelope,
            _applied: &Value,
        ) -> Result<(), HandlerError> {
            let ReserveStock { item, pieces } = command.decode()?;
            let sql = "UPDATE stock SET pieces = pieces + ? WHERE item = ?";
            sqlx::query(sql).bind(pieces).bind(item).execute(&mut **tx).await?;
            Ok(())
        }
    }
}

/// Shipping: what goes where.
pub(crate) mod shipping {
    use super::*;

    pub(crate) const TABLES: &str = "CREATE TABLE shipments (
        tracking TEXT PRIMARY KEY,
        customer TEXT NOT NULL,
        status TEXT NOT NULL
    ) STRICT";

    /// Books a shipment and returns its tracking number; takes the booking back.
    pub(crate) struct Booking;

    #[async_trait]
    impl SagaHandler<Sqlite> for Booking {
        async fn apply(
            &self,
            tx: &mut Transaction<'_, Sqlite>,
            command: &Envelope,
        ) -> Result<Outcome<Value>, HandlerError> {
            let BookShipment { order, customer } = command.decode()?;
            if order.contains("overseas") {
                return Ok(Outcome::Refuse("nothing is shipped overseas".to_owned()));
            }
            let tracking = format!("track-{order}");
            let sql = "INSERT INTO shipments (tracking, customer, status) VALUES (?, ?, 'booked')";
            sqlx::query(sql).bind(&tracking).bind(customer).execute(&mut **tx).await?;
            Ok(Outcome::Done(json!(tracking)))
        }

        async fn compensate(
            &self,
            tx: &mut Transaction<'_, Sqlite>,
            _command: &Envelope,
            applied: &Value,
        ) -> Result<(), HandlerError> {
            let sql = "DELETE FROM shipments WHERE tracking = ?";
            sqlx::query(sql).bind(applied.as_str()).execute(&mut **tx).await?;
            Ok(())
        }
    }

    /// Sends a booked shipment off.
    pub(crate) struct Departure;

    #[async_trait]
    impl SagaHandler<Sqlite> for Departure {
        async fn apply(
            &self,
            tx: &mut Transaction<'_, Sqlite>,
            command: &Envelope,
        ) -> Result<Outcome<Value>, HandlerError> {
            let Dispatch { tracking } = command.decode()?;
            let sql = "UPDATE shipments SET status = 'sent' WHERE tracking = ?";
            sqlx::query(sql).bind(tracking).execute(&mut **tx).await?;
            Ok(Outcome::Done(json!(null)))
        }

        async fn compensate(
            &self,
            _tx: &mut Transaction<'_, Sqlite>,
            _command: &Envelope,
            _applied: &Value,
        ) -> Result<(), HandlerError> {
            Err("what has left does not come back: the step stands after the pivot".into())
        }
    }
}

/// To the customers' service.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReserveCredit {
    pub(crate) customer: String,
    pub(crate) amount: i64,
}

/// To the warehouse.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReserveStock {
    pub(crate) item: String,
    pub(crate) pieces: i64,
}

/// To shipping.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BookShipment {
    pub(crate) order: String,
    pub(crate) customer: String,
}

/// To shipping, when the order is approved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Dispatch {
    pub(crate) tracking: String,
}
