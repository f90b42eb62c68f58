//! What is asked of a database for messages that arrive before their predecessor, and for those
//! of foreign producers, which carry no position.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Pool, Transaction};

use super::{Base, InboxRow};
use crate::{
    Result,
    message::{Envelope, Link, Origin, Position},
};

/// A message past the watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AheadRow {
    /// The message.
    pub link: Link,
    /// The message before it.
    pub prev: Link,
    /// The envelope, as one CloudEvents JSON object, of a message that waits; none of one that
    /// was applied.
    pub envelope: Option<Vec<u8>>,
}

/// What lies past the watermark of one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// Whose watermark.
    pub consumer: String,
    /// Where the messages come from.
    pub origin: Origin,
    /// How far was applied.
    pub row: InboxRow,
    /// The first message past it that is here.
    pub first: Position,
    /// How many messages wait to be applied.
    pub waiting: i64,
    /// The bytes of their envelopes.
    pub bytes: i64,
    /// Since when there is one.
    pub since: DateTime<Utc>,
}

/// Messages past the watermark, and the ids of foreign messages.
#[async_trait]
pub trait AheadStore: Base {
    /// Notes that `message` is past the watermark: applied, or waiting with its envelope; false
    /// when it was noted before. Waits for another transaction that notes or removes it.
    async fn add_ahead(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        message: &Envelope,
        waits: bool,
    ) -> Result<bool>;

    /// Takes a message that waits to be applied now; false when it does not wait.
    async fn claim_ahead(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        message: &Envelope,
    ) -> Result<bool>;

    /// The first messages after `after` in order of position, at most `limit`.
    async fn next_ahead(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        origin: &Origin,
        after: Position,
        limit: i64,
    ) -> Result<Vec<AheadRow>>;

    /// As [`next_ahead`](Self::next_ahead), for those who only look: without a transaction.
    async fn look_ahead(
        pool: &Pool<Self>,
        consumer: &str,
        origin: &Origin,
        after: Position,
        limit: i64,
    ) -> Result<Vec<AheadRow>>;

    /// Forgets messages at or below `through`.
    async fn remove_ahead(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        origin: &Origin,
        through: Position,
    ) -> Result<()>;

    /// Forgets messages after `position`: the source has lost them.
    async fn forget_ahead(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        origin: &Origin,
        position: Position,
    ) -> Result<()>;

    /// How many messages of `origin` there are, and the bytes of those that wait.
    async fn ahead_size(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        origin: &Origin,
    ) -> Result<(i64, i64)>;

    /// What lies past the watermarks: of one consumer, or of all.
    async fn ahead(pool: &Pool<Self>, consumer: Option<&str>) -> Result<Vec<Ahead>>;

    /// Reads the inbox row as it is committed now, without locking it.
    async fn peek_inbox(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        origin: &Origin,
    ) -> Result<Option<InboxRow>>;

    /// Remembers a foreign message; false when it was seen before.
    async fn mark_seen(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        source: &str,
        id: &str,
    ) -> Result<bool>;

    /// Forgets at most `limit` foreign messages that were seen longer than `age` ago, and says
    /// how many.
    async fn purge_seen(
        pool: &Pool<Self>,
        consumer: &str,
        age: Duration,
        limit: i64,
    ) -> Result<u64>;
}
