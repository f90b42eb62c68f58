//! What user code implements: handlers, their verdicts, and compensations.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::Transaction;
use uuid::Uuid;

use crate::{Storage, message::Envelope};

/// Any error of a handler. A *transient* one (the database is away, a deadlock) pauses the
/// stream and is tried again; any other one parks the message's key.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// What a handler answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The writes and the inbox's watermark commit together.
    Done,
    /// Not now: the writes are rolled back, the key is held in order and tried again after
    /// this time. It counts as an attempt.
    Retry(Duration),
    /// Never, for a business reason: the writes are rolled back, and the reason travels back
    /// to the source, whose registered [`Compensate`] runs once.
    Reject(String),
}

/// Handles one message at a time.
///
/// The transaction is the consumer's own: everything written through it commits together
/// with the inbox's watermark, so its effect happens once however often the message arrives.
/// Do not call other services from here: put a message into the outbox instead.
///
/// A function can be used as a handler with [`handler_fn`].
#[async_trait]
pub trait Handler<DB: Storage>: Send + Sync + 'static {
    /// Handles `message` in `tx`.
    ///
    /// # Errors
    /// Any [`HandlerError`]; the writes are rolled back then. A panic and a time-out count as
    /// errors.
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError>;
}

/// Handles many messages at once, in order, set-based: the fast way.
#[async_trait]
pub trait BatchHandler<DB: Storage>: Send + Sync + 'static {
    /// Handles `messages` (at least one) in `tx`. After an error the batch is split until
    /// the failing message stands alone, so it must not matter how messages are grouped.
    ///
    /// # Errors
    /// Any [`HandlerError`]; the writes are rolled back then.
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        messages: &[Envelope],
    ) -> Result<Verdict, HandlerError>;
}

/// What a consumer answered to a message of ours: not now and never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The rejected message's id.
    pub message_id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its ordering key.
    pub key: Option<String>,
    /// Its place in our log.
    pub position: i64,
    /// Whose message it was: this service.
    pub source: String,
    /// The stream it was sent in.
    pub stream: String,
    /// Who rejected it.
    pub consumer: String,
    /// Why.
    pub reason: String,
}

/// Takes back what a message announced, when a consumer has rejected it.
///
/// The rejection does not carry the message's payload: store what this needs in the transaction that
/// enqueues the message, under [`Message::id`](crate::Message), and read it by
/// [`Rejection::message_id`].
#[async_trait]
pub trait Compensate<DB: Storage>: Send + Sync + 'static {
    /// Runs once per rejected message, however many consumers reject it; its writes commit
    /// with the inbox.
    ///
    /// # Errors
    /// Any [`HandlerError`]: retried like a handler's, then a dead letter.
    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        rejection: &Rejection,
    ) -> Result<(), HandlerError>;
}

/// Makes a [`Handler`] of a function that returns a boxed future.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use syncline::{Verdict, handler_fn};
/// let handler = handler_fn::<sqlx::Sqlite, _>(|tx, message| Box::pin(async move {
///     sqlx::query("INSERT INTO seen (id) VALUES (?)")
///         .bind(message.id).execute(&mut **tx).await?;
///     Ok(Verdict::Done)
/// }));
/// # drop(handler); }
/// ```
pub fn handler_fn<DB, F>(function: F) -> HandlerFn<F>
where
    DB: Storage,
    F: for<'a> Fn(
            &'a mut Transaction<'_, DB>,
            &'a Envelope,
        ) -> BoxFuture<'a, Result<Verdict, HandlerError>>
        + Send
        + Sync
        + 'static,
{
    HandlerFn(function)
}

/// A function as a handler; made by [`handler_fn`].
#[derive(Debug, Clone, Copy)]
pub struct HandlerFn<F>(F);

#[async_trait]
impl<DB, F> Handler<DB> for HandlerFn<F>
where
    DB: Storage,
    F: for<'a> Fn(
            &'a mut Transaction<'_, DB>,
            &'a Envelope,
        ) -> BoxFuture<'a, Result<Verdict, HandlerError>>
        + Send
        + Sync
        + 'static,
{
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        (self.0)(tx, message).await
    }
}
