//! Transports: two traits of one method each, and what passes through them.
//!
//! A [`Publisher`] hands a [`Batch`] to the other side and returns an [`Ack`]: how far the
//! other side has *durably* got. A [`Subscriber`] takes batches off the wire and hands each
//! to a [`Receive`] (the consumer), acknowledging only after it returned. Transports give
//! at-least-once delivery in any order; the inbox makes one effect of it.
//!
//! Where the consumer asks for what it wants, a [`Feed`] is what the other side serves, and the
//! [`Subscriber`] goes there.
//!
//! `docs/adding-a-transport.md` has the checklist; `testing::transport_suite` is the proof.

mod feed;
#[cfg(any(feature = "http-feed", feature = "http-push"))]
pub mod http;
#[cfg(feature = "http-feed")]
pub mod http_feed;
#[cfg(feature = "http-push")]
pub mod http_push;
pub mod in_process;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    error::Trouble,
    message::{Batch, ForeignMessage, Link, Origin, Position},
};

pub use feed::{Feed, FeedError, FeedPage, FeedRequest, PageSize};

/// How far the receiving side has durably got, and whether it wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Everything of the stream up to here was applied, or is held durably.
    pub watermark: Position,
    /// The last message at or below the watermark.
    pub last: Link,
    /// What became of the batch.
    pub outcome: Outcome,
}

impl Ack {
    /// Whether the watermark has gone over `position`, and no message at or after it was applied.
    pub(crate) fn has_passed(&self, position: Position) -> bool {
        position > self.last.position && position <= self.watermark
    }
}

/// What became of a batch.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// All of it is done.
    Complete,
    /// It starts past the watermark: send again from there.
    Gap,
    /// The consumer follows another incarnation of the source: nothing was applied. Send again,
    /// and say how this one continues that one ([`Batch::continues`]).
    Incarnation {
        /// The one that it follows.
        follows: Uuid,
    },
    /// The consumer cannot go on now (its database is away, or too many keys fail): send
    /// again from the watermark, not before this time has passed.
    Paused {
        /// In milliseconds.
        retry_after_ms: u64,
        /// The consumer's database refuses it, and why; none when it pauses for another reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<Trouble>,
    },
}

/// Why a consumer asks to be sent the batch later.
pub(crate) fn paused(trouble: Option<Trouble>) -> String {
    match trouble {
        Some(trouble) => refused_by(trouble),
        None => "the consumer pauses".to_owned(),
    }
}

/// That a receiver's database refuses, as its peers are told.
pub(crate) fn refused_by(trouble: Trouble) -> String {
    format!("refused by the receiver: its database {trouble}")
}

/// Why a batch could not be handed over. Nothing is known of its effects.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The target could not be reached, or answered that it cannot serve now.
    #[error("{target} is unavailable: {reason}")]
    Unavailable {
        /// The target's name, without secrets.
        target: String,
        /// What happened.
        reason: String,
        /// How long the target asked to be left alone, if it did.
        retry_after: Option<Duration>,
    },
    /// The target did not answer in time.
    #[error("{target} did not answer within {limit:?}")]
    Timeout {
        /// The target's name, without secrets.
        target: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The target refuses the batch; sending the same again will not help until somebody
    /// changes a secret, a binding or a limit.
    #[error("{target} refused the batch: {reason}")]
    Refused {
        /// The target's name, without secrets.
        target: String,
        /// Its answer, cut.
        reason: String,
    },
}

/// Sends batches of one route.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Hands `batch` over and returns how far the other side has durably got. A broker that
    /// stored the batch answers with the batch's own end.
    ///
    /// The relay may call it again before the last call returned (windowed publishing), and
    /// again with the same batch. After
    /// [`RelayOptions::publish_within`](crate::relay::RelayOptions::publish_within) it drops the future
    /// at whatever await it stands.
    ///
    /// # Errors
    /// [`PublishError`]; must return within the publisher's own time limit.
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError>;
}

/// Why a batch was not taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It is not for this consumer, or its origin is not what it was.
    #[error("the batch was refused: {0}")]
    Refused(String),
    /// The consumer's database did not answer as it should; nothing was acknowledged.
    #[error("the batch was not taken in: {0}")]
    Storage(#[from] crate::Error),
    /// The consumer is still at work on an earlier batch of the shard; nothing was acknowledged.
    #[error(
        "an earlier batch of this shard has been at work for {seconds:.0} s: look at what its \
         handlers wait for"
    )]
    Busy {
        /// Seconds that the batch waited for its turn.
        seconds: f64,
    },
}

/// How far a receiver has durably got in one shard of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The life of the source's database that the watermark belongs to.
    pub incarnation: Uuid,
    /// Everything up to here was applied, or is held durably.
    pub watermark: Position,
    /// The last message at or below the watermark.
    pub last: Link,
}

/// Outcome of a pull of one shard of a stream, as a subscriber tells its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullNote<'a> {
    /// Where it pulls from: a URL, without secrets.
    pub target: &'a str,
    /// The source.
    pub source: &'a str,
    /// The stream.
    pub stream: &'a str,
    /// The shard.
    pub shard: i32,
    /// Why it failed, without secrets; none when it went well, or has ended.
    pub error: Option<&'a str>,
}

/// What takes batches in: a consumer.
#[async_trait]
pub trait Receive: Send + Sync + 'static {
    /// Applies `batch` and returns only after the commit that did.
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing may be acknowledged then.
    async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError>;

    /// How far this origin has durably got, in whatever incarnation; none before its first
    /// message. A subscriber that pulls asks it where to go on.
    ///
    /// # Errors
    /// [`ReceiveError::Storage`] when it cannot be told now.
    async fn reached(&self, origin: &Origin) -> Result<Option<Reached>, ReceiveError>;

    /// Takes note that a pull went well or failed. A consumer tells of one that fails on and on in its
    /// database, so that it is seen there and not only in the log of the process that pulls.
    fn note_pull(&self, note: &PullNote<'_>) {
        let _ = note;
    }

    /// Applies messages of a producer that is not Syncline's, each id of `source` once.
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing may be acknowledged then.
    async fn receive_foreign(
        &self,
        source: &str,
        messages: Vec<ForeignMessage>,
    ) -> Result<Ack, ReceiveError> {
        let _ = (source, messages);
        Err(ReceiveError::Refused("foreign messages are not taken here".to_owned()))
    }
}

/// Fetches messages that a transport has lost from where they can be read again: the source's
/// feed.
#[async_trait]
pub trait FetchMissing: Send + Sync + 'static {
    /// The next messages of `origin` after `watermark`, up to which `last` is the last message
    /// that was applied; without messages when there are none.
    ///
    /// # Errors
    /// Whatever kept it from answering; it is asked again later.
    async fn fetch(
        &self,
        origin: &Origin,
        watermark: Position,
        last: Link,
    ) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>>;
}

/// Takes batches off the wire.
#[async_trait]
pub trait Subscriber: Send + 'static {
    /// Hands every batch to `receiver` and acknowledges it after that returned, until `stop`
    /// is cancelled; then finishes what it has begun and returns.
    ///
    /// # Errors
    /// [`SubscribeError`] when it cannot start or go on.
    async fn run(
        self: Box<Self>,
        receiver: Arc<dyn Receive>,
        stop: CancellationToken,
    ) -> Result<(), SubscribeError>;
}

/// Why a subscriber ended.
#[derive(Debug, thiserror::Error)]
#[error("the subscriber of {target} ended: {reason}")]
pub struct SubscribeError {
    /// What it listened to, without secrets.
    pub target: String,
    /// What happened.
    pub reason: String,
}
