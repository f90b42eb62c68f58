//! The CloudEvents 1.0 JSON batch format: an array with one event a message. The place in
//! the log stands in extension attributes; progress is an event of its own at the end.
//! Positions travel as strings, since CloudEvents integers have 32 bits.

mod event;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::SecondsFormat;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use super::handover::to_text;
use super::{Batch, Continues, Envelope, HandOver, Origin, TopicPattern};
use event::Event;
pub(super) use event::attribute;

/// The content type of an encoded batch.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// The type of the event that carries a batch's progress.
const PROGRESS: &str = "syncline.progress";

/// Why bytes are not a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not the JSON of CloudEvents with Syncline's attributes.
    #[error("not the JSON of CloudEvents: {0}")]
    Json(#[from] serde_json::Error),
    /// An event is not of the batch's origin, out of order, or misses an attribute.
    #[error("event {index} ({id}): {problem}")]
    Event {
        /// Which event of the array, from 0.
        index: usize,
        /// Its id.
        id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A member of an event is not what the JSON event format has there.
    #[error("event {index} ({id}): `{name}` {problem}")]
    Member {
        /// Which event of the array, from 0.
        index: usize,
        /// Its id, as far as it has one.
        id: String,
        /// The member's name, cut to 40 characters.
        name: String,
        /// The problem, to be read after the name.
        problem: &'static str,
    },
    /// The progress event at the end is missing.
    #[error("the last event of a batch must be of type {PROGRESS}")]
    NoProgress,
}

/// Writes a batch as `application/cloudevents-batch+json`.
///
/// # Errors
/// [`DecodeError::Json`] when serde cannot write it.
pub fn encode_batch(batch: &Batch) -> Result<Vec<u8>, DecodeError> {
    let payload: usize = batch.messages.iter().map(|m| m.data.len()).sum();
    let mut out = Vec::with_capacity(payload + 512 * (batch.messages.len() + 1));
    out.push(b'[');
    for envelope in &batch.messages {
        serde_json::to_writer(&mut out, &Written(envelope))?;
        out.push(b',');
    }
    serde_json::to_writer(&mut out, &Progress(batch))?;
    out.push(b']');
    Ok(out)
}

/// Writes one envelope as a CloudEvents JSON object.
///
/// # Errors
/// [`DecodeError::Json`] when serde cannot write it.
pub fn encode_envelope(envelope: &Envelope) -> Result<Vec<u8>, DecodeError> {
    Ok(serde_json::to_vec(&Written(envelope))?)
}

/// Reads what [`encode_batch`] writes, and checks that its events are consecutive messages
/// of one origin.
///
/// # Errors
/// [`DecodeError`] says which event is wrong.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, DecodeError> {
    let mut events: Vec<Event<'_>> = serde_json::from_slice(bytes)?;
    let progress = match events.pop() {
        Some(event) if event.kind == PROGRESS => event,
        _ => return Err(DecodeError::NoProgress),
    };
    let origin = Arc::new(progress.origin());
    let index = events.len();
    let missing = |problem| DecodeError::Event { index, id: progress.id.to_string(), problem };
    let through = progress.through.ok_or_else(|| missing("`through` is missing"))?;
    let last = progress.last.ok_or_else(|| missing("`last` or `lastid` is missing"))?;

    let mut messages: Vec<Envelope> = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        let id = event.id.to_string();
        let fail = |problem| DecodeError::Event { index, id, problem };
        if !event.is_of(&origin) {
            return Err(fail("it is of another source, incarnation, stream, version or shard"));
        }
        let envelope = match event.into_envelope(Arc::clone(&origin)) {
            Ok(envelope) => envelope,
            Err(problem) => return Err(fail(problem)),
        };
        let follows = messages.last().is_none_or(|before| before.link() == envelope.prev);
        if !follows || envelope.prev.position >= envelope.position {
            return Err(fail("it does not follow the event before it"));
        }
        messages.push(envelope);
    }
    let ends = messages.last().is_none_or(|message| message.link() == last);
    if !ends || last.position > through {
        return Err(DecodeError::Event {
            index,
            id: progress.id.to_string(),
            problem: "its `last` is not the last message, or lies past `through`",
        });
    }
    let handover = progress.handover.map(Arc::new);
    let continues = progress.continues.map(Arc::new);
    Ok(Batch { origin, messages, through, last, handover, continues })
}

/// Reads what [`encode_envelope`] writes.
///
/// # Errors
/// [`DecodeError`] says what is wrong.
pub fn decode_envelope(bytes: &[u8]) -> Result<Envelope, DecodeError> {
    let event: Event<'_> = serde_json::from_slice(bytes)?;
    let (origin, id) = (Arc::new(event.origin()), event.id.to_string());
    event.into_envelope(origin).map_err(|problem| DecodeError::Event { index: 0, id, problem })
}

struct Written<'a>(&'a Envelope);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Envelope { origin, position, prev, message } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &message.id)?;
        map.serialize_entry("type", &message.topic)?;
        write_origin(&mut map, origin)?;
        if let Some(key) = &message.key {
            map.serialize_entry("subject", key)?;
        }
        let time = message.time.to_rfc3339_opts(SecondsFormat::Micros, true);
        map.serialize_entry("time", &time)?;
        map.serialize_entry("position", &position.to_string())?;
        map.serialize_entry("prev", &prev.position.to_string())?;
        map.serialize_entry("previd", &prev.id)?;
        map.serialize_entry("schemaversion", &message.schema_version)?;
        for (name, value) in &message.headers {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("datacontenttype", &message.content_type)?;
        // White space around a JSON value would be lost in the event; base64 keeps it.
        // So it does what a plain INSERT calls JSON and is not: its handler gets it, and refuses.
        let trimmed = message.data.trim_ascii().len() == message.data.len();
        let json = (message.is_json() && trimmed).then(|| serde_json::from_slice(&message.data));
        match json {
            Some(Ok(data)) => map.serialize_entry::<_, &RawValue>("data", &data)?,
            _ => map.serialize_entry("data_base64", &BASE64.encode(&message.data))?,
        }
        map.end()
    }
}

struct Progress<'a>(&'a Batch);

impl Serialize for Progress<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Batch { origin, through, last, handover, continues, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &format_args!("{}:{}:{}", origin.stream, origin.shard, through))?;
        map.serialize_entry("type", PROGRESS)?;
        write_origin(&mut map, origin)?;
        map.serialize_entry("through", &through.to_string())?;
        map.serialize_entry("last", &last.position.to_string())?;
        map.serialize_entry("lastid", &last.id)?;
        if let Some(HandOver { shards, topics, through, from }) = handover.as_deref() {
            let topics: Vec<&str> = topics.iter().map(TopicPattern::as_str).collect();
            map.serialize_entry("oldshards", shards)?;
            map.serialize_entry("oldtopics", &topics.join(" "))?;
            map.serialize_entry("oldthrough", &through.to_string())?;
            if !from.is_empty() {
                map.serialize_entry("oldstreams", &to_text(from))?;
            }
        }
        if let Some(Continues { former, agreed, last }) = continues.as_deref() {
            map.serialize_entry("formerincarnation", former)?;
            map.serialize_entry("formeragreed", &agreed.to_string())?;
            map.serialize_entry("formerlast", &last.position.to_string())?;
            map.serialize_entry("formerlastid", &last.id)?;
        }
        map.end()
    }
}

fn write_origin<M: SerializeMap>(map: &mut M, origin: &Origin) -> Result<(), M::Error> {
    map.serialize_entry("source", &origin.source)?;
    map.serialize_entry("incarnation", &origin.incarnation)?;
    map.serialize_entry("stream", &origin.stream)?;
    // Absent for the first version: a peer from before there were versions knows no other.
    if origin.version != 1 {
        map.serialize_entry("streamversion", &origin.version)?;
    }
    map.serialize_entry("shard", &origin.shard)
}
