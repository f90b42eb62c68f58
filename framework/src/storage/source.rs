//! What a source does beside its outbox: messages under idempotency keys, and delayed ones.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::{Appended, Base, Lease};
use crate::{
    Result,
    message::{Due, Message},
};

/// What was written under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The message's id.
    pub id: Uuid,
    /// The digest of its content.
    pub digest: Vec<u8>,
    /// Where it was written; none for a delayed message.
    pub appended: Option<Appended>,
}

/// Idempotency keys.
#[async_trait]
pub trait IdempotencyStore: Base {
    /// Takes `key` for a message, or tells what was written under it before. Waits for another
    /// transaction that is taking the key, and tells what that one committed.
    async fn claim(
        tx: &mut Transaction<'_, Self>,
        key: &str,
        id: Uuid,
        digest: &[u8],
    ) -> Result<Option<Known>>;

    /// Notes what this transaction has written under a key that it took.
    async fn claimed(tx: &mut Transaction<'_, Self>, key: &str, known: &Known) -> Result<()>;
}

/// The delayed messages that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delayed {
    /// How many.
    pub waiting: i64,
    /// When the first of them is due.
    pub next: Option<DateTime<Utc>>,
}

/// A delayed message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DelayedMessage {
    /// The message's id.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// When it is due.
    pub due: DateTime<Utc>,
}

/// Delayed messages: kept until they are due, and then moved into the outbox.
#[async_trait]
pub trait DelayStore: Base {
    /// Keeps `message` until it is due.
    async fn delay(tx: &mut Transaction<'_, Self>, message: &Message, due: Due) -> Result<()>;

    /// Takes a delayed message away; false when there is none of this id, or not any more.
    async fn cancel(tx: &mut Transaction<'_, Self>, id: Uuid) -> Result<bool>;

    /// Moves at most `limit` messages that are due into the outbox, in order of (due, id), in one
    /// transaction, if the lease holds; says how many.
    async fn move_due(pool: &Pool<Self>, lease: &Lease, limit: i64) -> Result<u64>;

    /// How long it is until the next one is due; nought when one is due now.
    async fn next_due(pool: &Pool<Self>) -> Result<Option<Duration>>;

    /// What waits.
    async fn delayed(pool: &Pool<Self>) -> Result<Delayed>;

    /// The first messages of `key` that wait, at most `limit`, in order of (due, id). Looks through all
    /// delayed messages.
    async fn delayed_of_key(
        pool: &Pool<Self>,
        key: &str,
        limit: i64,
    ) -> Result<Vec<DelayedMessage>>;
}
