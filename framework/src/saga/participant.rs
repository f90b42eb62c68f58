//! Taking part in the sagas of other services. A [`SagaHandler`] applies a step and takes it back;
//! the framework calls it once with an effect, however often and in whatever order commands come.
//!
//! Behind it stands the *barrier*: a row for each step of each instance, which is claimed before the
//! handler runs and says what became of the step afterwards. It commits with the handler's writes,
//! the answer and the inbox's watermark. So
//! - a command that comes again gets the same answer, and has no effect;
//! - a compensation that comes before its action takes nothing back, and bars the late action;
//! - what an orchestrator has asked to bar is never applied afterwards;
//! - an action that comes after its `not_after`, by this database's clock, is not applied.
//!
//! The answer goes into this service's own outbox, with topic [`REPLY`](super::wire::REPLY): the
//! service needs a stream with that topic and a route of it to each orchestrator.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # mod example {
//! use async_trait::async_trait;
//! use serde_json::{Value, json};
//! use sqlx::{Sqlite, SqlitePool, Transaction};
//! use syncline::{
//!     Consumer, Envelope, HandlerError,
//!     saga::{Outcome, SagaHandler},
//! };
//!
//! struct ProvisionLogin;
//!
//! #[async_trait]
//! impl SagaHandler<Sqlite> for ProvisionLogin {
//!     async fn apply(
//!         &self,
//!         tx: &mut Transaction<'_, Sqlite>,
//!         command: &Envelope,
//!     ) -> Result<Outcome<Value>, HandlerError> {
//!         let email: String = command.decode()?;
//!         if email.ends_with("@example.invalid") {
//!             return Ok(Outcome::Refuse("this address cannot have a login".into()));
//!         }
//!         let made = sqlx::query("INSERT INTO logins (email) VALUES (?)")
//!             .bind(email).execute(&mut **tx).await?;
//!         Ok(Outcome::Done(json!({ "login": made.last_insert_rowid() })))
//!     }
//!
//!     async fn compensate(
//!         &self,
//!         tx: &mut Transaction<'_, Sqlite>,
//!         _command: &Envelope,
//!         applied: &Value,
//!     ) -> Result<(), HandlerError> {
//!         sqlx::query("DELETE FROM logins WHERE rowid = ?")
//!             .bind(applied["login"].as_i64()).execute(&mut **tx).await?;
//!         Ok(())
//!     }
//! }
//!
//! fn consumer(pool: SqlitePool) -> syncline::Result<Consumer<Sqlite>> {
//!     Consumer::builder("login", pool).participant("login.provision", ProvisionLogin).build()
//! }
//! # }
//! ```
//!
//! **Choreography.** A message of the topic that no saga has sent is applied by the same handler,
//! without barrier and answer: the inbox keeps it from being applied twice. A refusal is then a
//! [`Verdict::Reject`](crate::Verdict::Reject): it goes back to the source, whose registered
//! [`Compensate`](crate::Compensate) runs.

mod answer;
mod record;
mod tcc;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::Transaction;

use super::Outcome;
use crate::{HandlerError, Storage, message::Envelope};

pub(crate) use answer::{AnswerCommand, Participant};
pub(crate) use record::{Barrier, erased as erased_record};
pub use tcc::{Tcc, TccHandler, tcc};

/// What a participant does for one topic of commands; registered with
/// [`ConsumerBuilder::participant`](crate::consumer::ConsumerBuilder::participant).
///
/// It runs in a savepoint of the consumer's transaction: what it writes before it refuses or fails
/// is rolled back. It must not commit, and does not call other services.
#[async_trait]
pub trait SagaHandler<DB: Storage>: Send + Sync + 'static {
    /// Applies the action. It is called at most once with an effect: a command that comes again
    /// gets the recorded answer. What it returns must fit a message.
    ///
    /// # Errors
    /// A technical failure: the writes are rolled back, and the orchestrator, which is told, tries
    /// again. After a *transient* one of the database the consumer repeats the transaction itself.
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError>;

    /// Takes back what [`apply`](Self::apply) has done and returned. It is called only when the
    /// action was applied, and at most once with an effect.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        applied: &Value,
    ) -> Result<(), HandlerError>;

    /// Makes final what an earlier step of the same instance has reserved here: see
    /// [`TccHandler`]. A participant without reservations leaves it as it is.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    async fn confirm(
        &self,
        _tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        _reserved: &Value,
    ) -> Result<Value, HandlerError> {
        let topic = &command.topic;
        Err(format!("the participant for {topic:?} confirms nothing: it is no `tcc` handler")
            .into())
    }
}
