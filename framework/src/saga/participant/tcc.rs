//! Try, confirm, cancel: a step that reserves, and one after the pivot that makes it final.

use async_trait::async_trait;
use serde_json::Value;
use sqlx::Transaction;

use super::SagaHandler;
use crate::{HandlerError, Storage, message::Envelope, saga::Outcome};

/// A participant that reserves before the pivot and confirms after it (try, confirm, cancel).
///
/// The barrier orders the three: a confirmation is applied only to a reservation that stands, a
/// cancellation before its reservation bars it, and what is confirmed cannot be cancelled.
/// The saga says it with [`reserve`](crate::saga::SagaBuilder::reserve) and
/// [`confirm`](crate::saga::SagaBuilder::confirm).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # use async_trait::async_trait;
/// # use serde_json::{Value, json};
/// # use sqlx::{Sqlite, SqlitePool, Transaction};
/// # use syncline::{Consumer, Envelope, HandlerError};
/// use syncline::saga::{Outcome, TccHandler, tcc};
///
/// struct Credit;
///
/// #[async_trait]
/// impl TccHandler<Sqlite> for Credit {
///     async fn reserve(
///         &self, tx: &mut Transaction<'_, Sqlite>, command: &Envelope,
///     ) -> Result<Outcome<Value>, HandlerError> {
///         let amount: i64 = command.decode()?;
///         let made = sqlx::query("INSERT INTO holds (amount) VALUES (?)")
///             .bind(amount).execute(&mut **tx).await?;
///         Ok(Outcome::Done(json!(made.last_insert_rowid())))
///     }
///
///     async fn confirm(
///         &self, tx: &mut Transaction<'_, Sqlite>, _: &Envelope, hold: &Value,
///     ) -> Result<Value, HandlerError> {
///         sqlx::query("UPDATE holds SET spent = 1 WHERE rowid = ?")
///             .bind(hold.as_i64()).execute(&mut **tx).await?;
///         Ok(Value::Null)
///     }
///
///     async fn cancel(
///         &self, tx: &mut Transaction<'_, Sqlite>, _: &Envelope, hold: &Value,
///     ) -> Result<(), HandlerError> {
///         sqlx::query("DELETE FROM holds WHERE rowid = ?")
///             .bind(hold.as_i64()).execute(&mut **tx).await?;
///         Ok(())
///     }
/// }
///
/// fn consumer(pool: SqlitePool) -> syncline::Result<Consumer<Sqlite>> {
///     Consumer::builder("credit", pool).participant("credit.*", tcc(Credit)).build()
/// }
/// # }
/// ```
#[async_trait]
pub trait TccHandler<DB: Storage>: Send + Sync + 'static {
    /// Try: reserves, or refuses. What it returns goes to the saga, and to the two others.
    ///
    /// # Errors
    /// As for [`SagaHandler::apply`].
    async fn reserve(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError>;

    /// Makes the reservation final. The pivot is applied, so it cannot be refused.
    ///
    /// # Errors
    /// As for [`SagaHandler::apply`].
    async fn confirm(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        reserved: &Value,
    ) -> Result<Value, HandlerError>;

    /// Gives the reservation back.
    ///
    /// # Errors
    /// As for [`SagaHandler::apply`].
    async fn cancel(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        reserved: &Value,
    ) -> Result<(), HandlerError>;
}

/// Makes a participant of a [`TccHandler`].
pub fn tcc<H>(handler: H) -> Tcc<H> {
    Tcc(handler)
}

/// A [`TccHandler`] as a [`SagaHandler`]; made by [`tcc`].
#[derive(Debug, Clone, Copy)]
pub struct Tcc<H>(H);

#[async_trait]
impl<DB: Storage, H: TccHandler<DB>> SagaHandler<DB> for Tcc<H> {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        self.0.reserve(tx, command).await
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        applied: &Value,
    ) -> Result<(), HandlerError> {
        self.0.cancel(tx, command, applied).await
    }

    async fn confirm(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        reserved: &Value,
    ) -> Result<Value, HandlerError> {
        self.0.confirm(tx, command, reserved).await
    }
}
