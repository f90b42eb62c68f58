//! What is asked of a database for held messages: parked keys, dead letters and their timers.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::Base;
use crate::{
    Result,
    message::{Envelope, Position},
};

/// Why a message is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldReason {
    /// Its handler failed.
    Failed,
    /// Its handler asked for another try later.
    Retry,
    /// An earlier message of its key is held.
    Behind,
}

/// With what a message is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding<'a> {
    /// Why.
    pub reason: HeldReason,
    /// The error of the first try.
    pub error: Option<&'a str>,
    /// Whether it is a dead letter at once.
    pub dead: bool,
}

/// A held message, as its consumer or an operator reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldMessage {
    /// The held table's id.
    pub id: i64,
    /// Who holds it.
    pub consumer: String,
    /// Where it came from.
    pub source: String,
    /// The key that is parked: the message's, or one made of its id when it has none.
    pub key: String,
    /// The message's id.
    pub message_id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its place in the source's log.
    pub position: Position,
    /// The envelope, as one CloudEvents JSON object.
    pub envelope: Vec<u8>,
    /// `failed`, `retry` or `behind`.
    pub reason: String,
    /// Whether it waits for the operator.
    pub dead: bool,
    /// How often it was tried.
    pub attempts: i32,
    /// The last error.
    pub error: Option<String>,
    /// Since when.
    pub held_at: DateTime<Utc>,
}

/// Held messages of parked keys, dead letters, and the timers that retry them.
#[async_trait]
pub trait HeldStore: Base {
    /// The parked keys of (consumer, source): at most `limit`, unlocked.
    async fn parked_keys(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        source: &str,
        limit: i64,
    ) -> Result<Vec<String>>;

    /// Locks one parked key until the transaction ends; false when it is not (any more) parked.
    async fn lock_parked(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        source: &str,
        key: &str,
    ) -> Result<bool>;

    /// Parks a key (if it is not) and sets its timer to `after` from now, or takes the timer
    /// away with `None`.
    async fn park(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        source: &str,
        key: &str,
        after: Option<Duration>,
    ) -> Result<()>;

    /// Takes a key that has no held messages (but dead ones that were skipped) out of the
    /// parked ones, with its timer.
    async fn unpark(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        source: &str,
        key: &str,
    ) -> Result<()>;

    /// Holds a message.
    async fn hold(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        key: &str,
        envelope: &Envelope,
        holding: Holding<'_>,
    ) -> Result<()>;

    /// The first messages of a key in order of position, at most `limit`; without dead ones
    /// unless `dead`.
    async fn held_of_key(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        source: &str,
        key: &str,
        dead: bool,
        limit: i64,
    ) -> Result<Vec<HeldMessage>>;

    /// Counts a try of a held message, and says whether it is dead now.
    async fn tried(tx: &mut Transaction<'_, Self>, id: i64, error: &str, dead: bool) -> Result<()>;

    /// Removes a held message.
    async fn unhold(tx: &mut Transaction<'_, Self>, id: i64) -> Result<()>;

    /// Parked (source, key) whose timer is due, the oldest first.
    async fn due_keys(
        pool: &Pool<Self>,
        consumer: &str,
        limit: i64,
    ) -> Result<Vec<(String, String)>>;

    /// Locks a parked key whose timer is due, and sets the timer `claim` ahead, so that no
    /// other process tries the key meanwhile; false when it is not parked or not due.
    async fn take_due(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        source: &str,
        key: &str,
        claim: Duration,
    ) -> Result<bool>;

    /// A dead letter is to be tried again, now; false when there is no such dead letter.
    async fn revive(tx: &mut Transaction<'_, Self>, id: i64) -> Result<bool>;
}
