//! A message's place in the source's log, and the batches that travel.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{HandOver, Message};

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

    /// Stands for the last message at or below `position`, which is not known: nothing of the
    /// stream that matters lies at or below it, as where a subscription begins.
    pub const fn anchor(position: Position) -> Self {
        Self { position, id: Uuid::nil() }
    }

    /// Whether it names a position and no message.
    pub const fn is_anchor(&self) -> bool {
        self.id.is_nil()
    }
}

/// Where messages come from: links hold within one (source, incarnation, stream, version, shard).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// CloudEvents `source`: the service, as a URI reference such as `/shop/orders`.
    pub source: String,
    /// The life of the source's database; a repaired restore begins a new one.
    pub incarnation: Uuid,
    /// The stream's name.
    pub stream: String,
    /// The version of the stream's definition, from 1.
    pub version: i32,
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
    /// The message, which those who send it to many share.
    pub message: Arc<Message>,
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
    /// From which version of the stream this one took over; none for the first.
    pub handover: Option<Arc<HandOver>>,
    /// What a consumer that follows a former incarnation of the source is to keep; only told
    /// to one that has said so.
    pub continues: Option<Arc<Continues>>,
}

/// How the log of a new incarnation continues what a consumer has applied of a former one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continues {
    /// The incarnation that the consumer follows.
    pub former: Uuid,
    /// Both have the same messages up to here; what the consumer has applied past it, the
    /// source has lost.
    pub agreed: Position,
    /// The stream's last message that the consumer has applied at or below it; an anchor where it
    /// is not known.
    pub last: Link,
}

impl Batch {
    /// The message before the first one of this batch.
    pub fn prev(&self) -> Link {
        self.messages.first().map_or(self.last, |first| first.prev)
    }
}
