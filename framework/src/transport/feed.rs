//! What a feed serves: pages of one shard of a stream, to readers that say how far they are.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::message::{Batch, Envelope, LINK, Link, Message, Position, TopicPattern};

/// How much a page holds at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize {
    /// So many messages of the log, those of other streams among them.
    pub messages: u32,
    /// So many bytes of payload; a single larger message still goes.
    pub bytes: usize,
}

/// What a reader asks for, and what it may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRequest {
    /// The stream's name.
    pub stream: String,
    /// The version of the stream's definition, from 1.
    pub version: i32,
    /// The stream's virtual shard.
    pub shard: i32,
    /// The incarnation that the reader knows; none at its first request.
    pub incarnation: Option<Uuid>,
    /// The reader's watermark.
    pub after: Position,
    /// The last message that the reader has, at or below its watermark.
    pub last: Link,
    /// The topics that the reader may read.
    pub allowed: Vec<TopicPattern>,
    /// The topics that it wants; empty for all.
    pub wanted: Vec<TopicPattern>,
    /// The page is no larger, and perhaps smaller.
    pub most: PageSize,
    /// How long to wait for something to show.
    pub wait: Duration,
}

impl FeedRequest {
    /// Whether the reader sees messages of `topic`.
    pub fn shows(&self, topic: &str) -> bool {
        let any = |patterns: &[TopicPattern]| patterns.iter().any(|p| p.matches(topic));
        topic != LINK && any(&self.allowed) && (self.wanted.is_empty() || any(&self.wanted))
    }

    /// Adds the next message to a page: as it is, or as a bare link without topic, key and
    /// payload. Links in a row become one, from before the first to the last.
    pub fn add(&self, page: &mut Vec<Envelope>, next: Envelope) {
        if self.shows(&next.topic) {
            page.push(next);
            return;
        }
        let id = next.message.id;
        match page.last_mut().filter(|before| before.topic == LINK) {
            Some(before) => {
                (before.position, before.message) = (next.position, Message::link(id).into());
            }
            None => page.push(Envelope { message: Message::link(id).into(), ..next }),
        }
    }
}

/// One answer of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// What follows the reader's last message.
    pub batch: Batch,
    /// The page has reached its size: the same request gets the same page at any later time, but for
    /// messages that were erased since, for which links stand.
    pub full: bool,
}

/// Why a feed has no page for a reader. Nothing is ever skipped instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// There is no such stream or shard.
    #[error("there is no shard {shard} of version {version} of a stream {stream:?} here")]
    Unknown {
        /// The stream that was asked for.
        stream: String,
        /// The version that was asked for.
        version: i32,
        /// The shard that was asked for.
        shard: i32,
    },
    /// The reader has all of this version of the stream; the next one goes on.
    #[error("this version of the stream is at its end; version {next} goes on")]
    Closed {
        /// The version that goes on.
        next: i32,
    },
    /// The reader's place is not a place in this log: one of the two databases was restored.
    #[error("{0}")]
    Diverged(String),
    /// What follows the reader's place is no longer kept.
    #[error("{0}")]
    Trimmed(String),
    /// The log cannot be read now.
    #[error("the log cannot be read now: {0}")]
    Unavailable(#[source] crate::Error),
}

impl From<crate::Error> for FeedError {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Trimmed { .. } => Self::Trimmed(error.to_string()),
            error => Self::Unavailable(error),
        }
    }
}

/// Serves a source's log to readers that ask for it.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// What follows the reader's place; when there is nothing to show, whatever there is after
    /// the request's time. Safe to drop.
    ///
    /// # Errors
    /// [`FeedError`]: the reader's place was held against the log, by position and id.
    async fn page(&self, request: FeedRequest) -> Result<FeedPage, FeedError>;
}
