//! What is asked of a database to let a consumer apply again what it has applied.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Pool, Transaction};

use super::{Base, InboxRow};
use crate::{
    Result,
    message::{Origin, Position},
};

/// How far a consumer is in one shard of one version of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox {
    /// The consumer.
    pub consumer: String,
    /// The source, the stream, its version and shard; the incarnation is the row's.
    pub origin: Origin,
    /// Its watermark.
    pub row: InboxRow,
    /// When it last moved.
    pub updated_at: DateTime<Utc>,
}

/// Looks at all of an inbox.
#[async_trait]
pub trait ReapplyStore: Base {
    /// Every watermark of one consumer, or of all, in order of consumer, source, stream, version
    /// and shard; unlocked.
    async fn inboxes(pool: &Pool<Self>, consumer: Option<&str>) -> Result<Vec<Inbox>>;

    /// Number of messages of (source, stream) after `position` `consumer` holds, dead ones too; of one
    /// shard, or of every one.
    async fn held_after(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        source: &str,
        stream: &str,
        shard: Option<i32>,
        position: Position,
    ) -> Result<i64>;

    /// How many steps of sagas of `source` are recorded: their commands are not applied again.
    async fn recorded_steps(tx: &mut Transaction<'_, Self>, source: &str) -> Result<i64>;
}
