//! Messages: pure data. What a service enqueues is a [`Message`]; what travels is an
//! [`Envelope`], the message with its place in the source's log.

mod cloudevents;
mod envelope;
mod exact;
mod foreign;
mod handover;
mod shard;
mod topic;
mod validate;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

pub use cloudevents::{BATCH_CONTENT_TYPE, DecodeError, decode_batch, encode_batch};
pub use cloudevents::{decode_envelope, encode_envelope};
pub use envelope::{Batch, Continues, Envelope, Link, Origin, Position};
pub(crate) use exact::check_finite;
pub use foreign::{FOREIGN_ID, ForeignMessage, decode_foreign};
pub use handover::{HandOver, TakenOver};
pub(crate) use shard::{hash, place};
pub use shard::{key_hash, shard_of};
pub use topic::{LINK, REJECTED, SAGA_REPLY, SET_ASIDE, TopicPattern};
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub(crate) use validate::check_header;
pub use validate::{Limits, MessageError, check_source, check_stream};

/// The content type of a JSON payload.
pub const JSON: &str = "application/json";

/// The content type of a message whose payload was [erased](crate::erasure). It stays in the log, with its
/// place, id, topic and key, and travels as a bare link.
pub const ERASED: &str = "application/vnd.syncline.erased";

/// One message, as a service writes it: CloudEvents 1.0 attributes and a payload.
///
/// Its form (see [`Limits`]) is checked when it is enqueued, so that no database or
/// broker ever sees a bad one.
///
/// ```
/// use syncline::Message;
/// # #[derive(serde::Serialize)] struct Registered { email: &'static str }
/// let message = Message::json("user.registered", &Registered { email: "a@example.org" })?
///     .key("user-1")
///     .schema_version(2)
///     .header("tenant", "north");
/// assert_eq!(message.key.as_deref(), Some("user-1"));
/// # Ok::<(), syncline::message::MessageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// CloudEvents `id`: a UUIDv7 unless it is set.
    pub id: Uuid,
    /// CloudEvents `type`: what happened, such as `user.registered`.
    pub topic: String,
    /// CloudEvents `subject`: the ordering key. Messages of one key are applied in commit
    /// order; messages without one are in no order towards each other.
    pub key: Option<String>,
    /// CloudEvents `time`, in microseconds.
    pub time: DateTime<Utc>,
    /// CloudEvents `datacontenttype`.
    pub content_type: String,
    /// The version of the payload's schema, from 1; extension `schemaversion`.
    pub schema_version: i32,
    /// CloudEvents extension attributes (`[a-z0-9]`, at most 20 characters a name), such as
    /// `traceparent`.
    pub headers: BTreeMap<String, String>,
    /// The payload's bytes.
    pub data: Bytes,
    /// The key under which it is enqueued once, if any. It is kept at the source and does not
    /// travel.
    pub idempotency_key: Option<String>,
    /// When it is put into the outbox, if not at once. It does not travel.
    pub due: Option<Due>,
}

/// When a delayed message is put into the outbox, by the database's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// So long after it was enqueued.
    After(Duration),
    /// At a time; at once when that has passed.
    At(DateTime<Utc>),
}

impl Message {
    /// A message with a payload of any content type.
    pub fn new(
        topic: impl Into<String>,
        content_type: impl Into<String>,
        data: impl Into<Bytes>,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            topic: topic.into(),
            key: None,
            time: Utc::now().trunc_subsecs(6),
            content_type: content_type.into(),
            schema_version: 1,
            headers: BTreeMap::new(),
            data: data.into(),
            idempotency_key: None,
            due: None,
        }
    }

    /// A message whose payload is `payload` as JSON.
    ///
    /// # Errors
    /// [`MessageError::Payload`] when serde cannot write `payload` as JSON.
    pub fn json<T: Serialize + ?Sized>(
        topic: impl Into<String>,
        payload: &T,
    ) -> Result<Self, MessageError> {
        exact::check_finite(payload).map_err(MessageError::Payload)?;
        let data = serde_json::to_vec(payload).map_err(MessageError::Payload)?;
        Ok(Self::new(topic, JSON, data))
    }

    /// Stands for hidden messages up to the one with this id: nothing else of them is told.
    pub(crate) fn link(id: Uuid) -> Self {
        Self { time: DateTime::UNIX_EPOCH, ..Self::new(LINK, "text/plain", "").id(id) }
    }

    /// Stands for a row that cannot be read or sent; its payload is the problem.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(crate) fn set_aside(id: Uuid, problem: String) -> Self {
        let time = DateTime::UNIX_EPOCH;
        Self { time, ..Self::new(SET_ASIDE, "text/plain", problem).id(id) }
    }

    /// Sets the ordering key (1 to 255 bytes, no control characters).
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the id; two messages with one id are one message to a consumer that remembers ids.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// Sets the version of the payload's schema (from 1).
    #[must_use]
    pub fn schema_version(mut self, version: i32) -> Self {
        self.schema_version = version;
        self
    }

    /// Adds an extension attribute; a second one of the same name replaces the first.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Enqueues it once under `key` (1 to 255 bytes, no control characters), however often that is
    /// tried: when the outcome of a COMMIT is unknown, run the whole transaction again. A repeated
    /// key writes nothing and gives the first [`Receipt`](crate::Receipt), marked so; with another
    /// topic, key, content type, schema version, headers or payload it is an error. Keys are the
    /// whole outbox's, whatever the topic: begin one with what it is for, such as `order-17/paid`.
    ///
    /// ```
    /// # use syncline::Message;
    /// let message = Message::json("order.paid", &17)?.idempotency_key("order-17/paid");
    /// # Ok::<(), syncline::message::MessageError>(())
    /// ```
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Puts it into the outbox not before `delay` after it was enqueued, by the database's clock.
    /// It is in order with other messages by when it was put there.
    ///
    /// ```
    /// # use {std::time::Duration, syncline::Message};
    /// let reminder = Message::json("order.unpaid", &17)?.delay(Duration::from_secs(86_400));
    /// # Ok::<(), syncline::message::MessageError>(())
    /// ```
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.due = Some(Due::After(delay));
        self
    }

    /// As [`Message::delay`], but not before a time.
    #[must_use]
    pub fn deliver_at(mut self, time: DateTime<Utc>) -> Self {
        self.due = Some(Due::At(time));
        self
    }

    /// Whether its payload was [erased](crate::erasure).
    pub fn is_erased(&self) -> bool {
        self.content_type == ERASED
    }

    /// As it travels: one that was erased as a bare link.
    pub(crate) fn sent(message: Arc<Self>) -> Arc<Self> {
        if message.is_erased() { Self::link(message.id).into() } else { message }
    }

    /// Whether it goes straight into the outbox.
    pub(crate) fn is_plain(&self) -> bool {
        self.idempotency_key.is_none() && self.due.is_none()
    }

    /// Reads the payload as JSON.
    ///
    /// # Errors
    /// [`MessageError::Undecodable`] when the payload is not the JSON of a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, MessageError> {
        serde_json::from_slice(&self.data).map_err(MessageError::Undecodable)
    }
}
