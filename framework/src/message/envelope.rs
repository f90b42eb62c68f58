//! A message's place in the source's log, and the batches that travel.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Message;

/// A place in a source's log: dense and increasing from 1; 0 is before the first message.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub i64);

impl Position {
    /// Before the first message.
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message named by its position and its id. After a database was restored from a backup a
/// position may belong to another message; the id tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Link {
    /// Where the message stands in the source's log.
    pub position: Position,
    /// The message's id; nil before the first message.
    pub id: Uuid,
}

impl Link {
    /// Before the first message of a stream.
    pub const START: Self = Self { position: Position::START, id: Uuid::nil() };
}

/// Where messages come from: links hold within one (source, incarnation, stream, shard).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// CloudEvents `source`: the service, as a URI reference such as `/shop/orders`.
    pub source: String,
    /// The life of the source's database; a repaired restore begins a new one.
    pub incarnation: Uuid,
    /// The stream's name.
    pub stream: String,
    /// The stream's virtual shard, from 0.
    pub shard: i32,
}

/// A message as it travels: the same however often and over whatever transport it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where it comes from.
    pub origin: Arc<Origin>,
    /// Its place in the source's log.
    pub position: Position,
    /// The message before it in the same stream and shard.
    pub prev: Link,
    /// The message.
    pub message: Message,
}

impl Envelope {
    /// This message, named by position and id.
    pub fn link(&self) -> Link {
        Link { position: self.position, id: self.message.id }
    }
}

impl std::ops::Deref for Envelope {
    type Target = Message;
    fn deref(&self) -> &Message {
        &self.message
    }
}

/// Consecutive messages of one origin, and how far the log was looked at.
///
/// `messages` may be empty: then the batch only carries progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where the messages come from.
    pub origin: Arc<Origin>,
    /// The messages in order of position.
    pub messages: Vec<Envelope>,
    /// The log was looked at up to here; no message of the stream lies between `last` and it.
    pub through: Position,
    /// The stream's last message at or below `through`.
    pub last: Link,
}

impl Batch {
    /// The message before the first one of this batch.
    pub fn prev(&self) -> Link {
        self.messages.first().map_or(self.last, |first| first.prev)
    }
}
