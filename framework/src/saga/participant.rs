//! The participant: applies commands of other services' sagas once, each in one transaction with
//! its barrier.

use async_trait::async_trait;
use serde_json::Value;
use sqlx::Transaction;

use super::Outcome;
use crate::{HandlerError, Storage, message::Envelope};

/// What a participant does for one topic of commands. It is called by sagas of an orchestrator and
/// for choreographed messages alike.
#[async_trait]
pub trait SagaHandler<DB: Storage>: Send + Sync + 'static {
    /// Applies the action. It is called at most once with an effect: a command that comes again
    /// gets the recorded answer.
    ///
    /// # Errors
    /// A technical failure: the writes are rolled back, and the orchestrator tries again.
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
}
