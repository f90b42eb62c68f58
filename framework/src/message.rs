//! Messages: pure data. What a service enqueues is a [`Message`]; what travels is an
//! [`Envelope`], the message with its place in the source's log.

mod cloudevents;
mod envelope;
mod foreign;
mod shard;
mod topic;
mod validate;

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

pub use cloudevents::{BATCH_CONTENT_TYPE, DecodeError, decode_batch, encode_batch};
pub use cloudevents::{decode_envelope, encode_envelope};
pub use envelope::{Batch, Continues, Envelope, HandOver, Link, Origin, Position};
pub use foreign::{FOREIGN_ID, ForeignMessage, decode_foreign};
pub(crate) use shard::{hash, place};
pub use shard::{key_hash, shard_of};
pub use topic::{LINK, REJECTED, SAGA_REPLY, TopicPattern};
pub use validate::{Limits, MessageError, check_source, check_stream};

/// The content type of a JSON payload.
pub const JSON: &str = "application/json";

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
        let data = serde_json::to_vec(payload).map_err(MessageError::Payload)?;
        Ok(Self::new(topic, JSON, data))
    }

    /// Stands for hidden messages up to the one with this id: nothing else of them is told.
    pub(crate) fn link(id: Uuid) -> Self {
        Self { time: DateTime::UNIX_EPOCH, ..Self::new(LINK, "text/plain", "").id(id) }
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

    /// Reads the payload as JSON.
    ///
    /// # Errors
    /// [`MessageError::Payload`] when the payload is not the JSON of a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, MessageError> {
        serde_json::from_slice(&self.data).map_err(MessageError::Payload)
    }
}
