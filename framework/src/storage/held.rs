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
    /// This consumer knows no handler for it; one that does may be on its way.
    Unknown,
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
    /// `failed`, `retry`, `behind` or `unknown`.
    pub reason: String,
    /// Whether it waits for the operator.
    pub dead: bool,
    /// How often it was tried.
    pub attempts: i32,
    /// The last error.
    pub error: Option<String>,
    /// Since when.
    pub held_at: DateTime<Utc>,
    /// Who changed its payload last, if somebody did.
    pub edited: Option<Edited>,
}

/// Who changed a held message's payload, and when; the database keeps what it was at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// Who.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A parked key whose timer is due, or soon will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueKey {
    /// Whose key.
    pub source: String,
    /// The key.
    pub key: String,
    /// How long until it is due; nought when it is.
    pub due_in: Duration,
}

/// Parked keys of a consumer that are due and were not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverdueKeys {
    /// Whose.
    pub consumer: String,
    /// How many.
    pub keys: i64,
    /// When the first of them was due, by the database's clock.
    pub since: DateTime<Utc>,
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

    /// Notes that nobody here handles a held message.
    async fn mark_unknown(tx: &mut Transaction<'_, Self>, id: i64, error: &str) -> Result<()>;

    /// The (source, key) of held messages that nobody here handled.
    async fn unknown_keys(pool: &Pool<Self>, consumer: &str) -> Result<Vec<(String, String)>>;

    /// How many messages `consumer` holds; counts no further than `limit`.
    async fn held_count(tx: &mut Transaction<'_, Self>, consumer: &str, limit: i64) -> Result<i64>;

    /// Replaces a held message's envelope and keeps the one it had at first.
    async fn edit(tx: &mut Transaction<'_, Self>, id: i64, envelope: &[u8], by: &str)
    -> Result<()>;

    /// Parked keys whose timer is due `within` a time from now, the oldest first.
    async fn due_keys(
        pool: &Pool<Self>,
        consumer: &str,
        within: Duration,
        limit: i64,
    ) -> Result<Vec<DueKey>>;

    /// Parked keys, by consumer (of one, or of all), whose timers have been due for longer than
    /// `late`: a running consumer would have tried them, or is far behind.
    async fn overdue_keys(
        pool: &Pool<Self>,
        consumer: Option<&str>,
        late: Duration,
    ) -> Result<Vec<OverdueKeys>>;

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
