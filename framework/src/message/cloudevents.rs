//! The CloudEvents 1.0 JSON batch format: an array with one event a message. The place in
//! the log stands in extension attributes; progress is an event of its own at the end.
//! Positions travel as strings, since CloudEvents integers have 32 bits.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::handover::{from_text, to_text};
use super::{Batch, Continues, Envelope, HandOver, Link, Message, Origin, Position, TopicPattern};

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

/// One event as read, its data still a slice of the input.
struct Event<'a> {
    id: Cow<'a, str>,
    kind: Cow<'a, str>,
    source: Cow<'a, str>,
    incarnation: Uuid,
    stream: Cow<'a, str>,
    version: i32,
    shard: i32,
    key: Option<String>,
    time: Option<DateTime<Utc>>,
    content_type: Option<String>,
    schema_version: i32,
    position: Option<Position>,
    prev: Option<Link>,
    through: Option<Position>,
    last: Option<Link>,
    handover: Option<HandOver>,
    continues: Option<Continues>,
    headers: BTreeMap<String, String>,
    data: Option<Bytes>,
}

impl Event<'_> {
    fn origin(&self) -> Origin {
        Origin {
            source: self.source.to_string(),
            incarnation: self.incarnation,
            stream: self.stream.to_string(),
            version: self.version,
            shard: self.shard,
        }
    }

    fn is_of(&self, origin: &Origin) -> bool {
        self.source == origin.source
            && self.incarnation == origin.incarnation
            && self.stream == origin.stream
            && self.version == origin.version
            && self.shard == origin.shard
    }

    fn into_envelope(self, origin: Arc<Origin>) -> Result<Envelope, &'static str> {
        Ok(Envelope {
            origin,
            position: self.position.ok_or("`position` is missing")?,
            prev: self.prev.ok_or("`prev` or `previd` is missing")?,
            message: Arc::new(Message {
                id: self.id.parse().map_err(|_| "`id` is not a UUID")?,
                topic: self.kind.into_owned(),
                key: self.key,
                time: self.time.ok_or("`time` is missing")?,
                content_type: self.content_type.unwrap_or_else(|| super::JSON.to_owned()),
                schema_version: self.schema_version,
                headers: self.headers,
                data: self.data.ok_or("`data` is missing")?,
                idempotency_key: None,
                due: None,
            }),
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Event<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvents 1.0 JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let (mut id, mut kind, mut source, mut stream) = (None, None, None, None);
        let (mut incarnation, mut version, mut shard) = (None, 1, None);
        let (mut old_shards, mut old_topics, mut old_through) = (None, None, None);
        let (mut former, mut former_agreed, mut from) = (None, None, Vec::new());
        let (mut former_last, mut former_last_id) = (None, None);
        let mut specversion = None;
        let (mut key, mut time, mut content_type, mut schema_version) = (None, None, None, 1);
        let (mut position, mut through) = (None, None);
        let (mut prev, mut prev_id, mut last, mut last_id) = (None, None, None, None);
        let (mut headers, mut data) = (BTreeMap::new(), None);
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "specversion" => specversion = Some(map.next_value::<Text<'de>>()?.0),
                "id" => id = Some(map.next_value::<Text<'de>>()?.0),
                "type" => kind = Some(map.next_value::<Text<'de>>()?.0),
                "source" => source = Some(map.next_value::<Text<'de>>()?.0),
                "stream" => stream = Some(map.next_value::<Text<'de>>()?.0),
                "incarnation" => incarnation = Some(map.next_value()?),
                "shard" => shard = Some(map.next_value()?),
                "streamversion" => version = map.next_value()?,
                "oldshards" => old_shards = Some(map.next_value()?),
                "oldtopics" => old_topics = Some(map.next_value::<Text<'de>>()?.0),
                "oldthrough" => old_through = Some(read_position(&mut map)?),
                "oldstreams" => {
                    from =
                        from_text(&map.next_value::<Text<'de>>()?.0).map_err(de::Error::custom)?;
                }
                "formerincarnation" => former = Some(map.next_value()?),
                "formeragreed" => former_agreed = Some(read_position(&mut map)?),
                "formerlast" => former_last = Some(read_position(&mut map)?),
                "formerlastid" => former_last_id = Some(map.next_value()?),
                "subject" => key = map.next_value()?,
                "time" => time = map.next_value()?,
                "datacontenttype" => content_type = map.next_value()?,
                "schemaversion" => schema_version = map.next_value()?,
                "position" => position = Some(read_position(&mut map)?),
                "through" => through = Some(read_position(&mut map)?),
                "prev" => prev = Some(read_position(&mut map)?),
                "last" => last = Some(read_position(&mut map)?),
                "previd" => prev_id = Some(map.next_value()?),
                "lastid" => last_id = Some(map.next_value()?),
                "data" => {
                    let raw: &'de RawValue = map.next_value()?;
                    data = Some(Bytes::copy_from_slice(raw.get().as_bytes()));
                }
                "data_base64" => {
                    let text = map.next_value::<Text<'de>>()?.0;
                    data = Some(BASE64.decode(&*text).map_err(de::Error::custom)?.into());
                }
                _ => {
                    let value: &'de RawValue = map.next_value()?;
                    headers.insert(name.into_owned(), header_text(value));
                }
            }
        }
        if specversion.as_deref() != Some("1.0") {
            return Err(de::Error::custom("`specversion` must be \"1.0\""));
        }
        let link = |position: Option<Position>, id: Option<Uuid>| {
            Some(Link { position: position?, id: id? })
        };
        let handover = match (old_shards, old_topics, old_through) {
            (Some(shards), Some(topics), Some(through)) => {
                let topics = topics.split_whitespace().map(TopicPattern::from).collect();
                Some(HandOver { shards, topics, through, from })
            }
            _ => None,
        };
        let continues = match (former, former_agreed, link(former_last, former_last_id)) {
            (Some(former), Some(agreed), Some(last)) => Some(Continues { former, agreed, last }),
            _ => None,
        };
        Ok(Event {
            id: id.ok_or_else(|| de::Error::missing_field("id"))?,
            kind: kind.ok_or_else(|| de::Error::missing_field("type"))?,
            source: source.ok_or_else(|| de::Error::missing_field("source"))?,
            incarnation: incarnation.ok_or_else(|| de::Error::missing_field("incarnation"))?,
            stream: stream.ok_or_else(|| de::Error::missing_field("stream"))?,
            version,
            shard: shard.ok_or_else(|| de::Error::missing_field("shard"))?,
            key,
            time,
            content_type,
            schema_version,
            position,
            prev: link(prev, prev_id),
            through,
            last: link(last, last_id),
            handover,
            continues,
            headers,
            data,
        })
    }
}

/// A string, borrowed from the input where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn read_position<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Position, A::Error> {
    let text = map.next_value::<Text<'de>>()?.0;
    match text.parse::<i64>() {
        Ok(position) if position >= 0 => Ok(Position(position)),
        _ => Err(de::Error::custom(format_args!("{text:?} is not a position"))),
    }
}

/// Extension values may also be integers and booleans: they are kept as their text.
fn header_text(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::TakenOver, *};

    fn batch() -> Batch {
        let origin = Arc::new(Origin {
            source: "/shop/orders".into(),
            incarnation: Uuid::from_u128(7),
            stream: "orders".into(),
            version: 2,
            shard: 0,
        });
        let first =
            Message::new("order.placed", "application/json", r#"{"n": 1e400, "s":"\u0000"}"#)
                .key("ключ \"1\" 🔑")
                .header("traceparent", "00-ab-cd-01");
        let second = Message::new("order.noted", "application/octet-stream", vec![0, 255, 3]);
        let prev = Link { position: Position(3), id: Uuid::from_u128(3) };
        let mid = Link { position: Position(5), id: first.id };
        let last = Link { position: Position(9), id: second.id };
        let messages = vec![
            Envelope {
                origin: Arc::clone(&origin),
                position: mid.position,
                prev,
                message: first.into(),
            },
            Envelope {
                origin: Arc::clone(&origin),
                position: last.position,
                prev: mid,
                message: second.into(),
            },
        ];
        let topics = vec![TopicPattern::from("order.*"), TopicPattern::from("note")];
        let (stream, note) = ("all orders".to_owned(), TopicPattern::from("note"));
        let from = vec![TakenOver { stream, version: 3, shards: 2, topics: vec![note] }];
        let handover = Arc::new(HandOver { shards: 4, topics, through: Position(2), from });
        let (former, agreed) = (Uuid::from_u128(6), Position(2));
        let old = Link { position: Position(1), id: Uuid::from_u128(8) };
        let continues = Some(Arc::new(Continues { former, agreed, last: old }));
        let (through, handover) = (Position(12), Some(handover));
        Batch { origin, messages, through, last, handover, continues }
    }

    #[test]
    fn a_batch_reads_back_as_it_was_written_to_the_byte() {
        let batch = batch();
        let bytes = encode_batch(&batch).expect("encodes");
        assert_eq!(decode_batch(&bytes).expect("decodes"), batch);
        let one = encode_envelope(&batch.messages[0]).expect("encodes");
        assert_eq!(decode_envelope(&one).expect("decodes"), batch.messages[0]);
        let events: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_slice(&bytes.replace_huge()).expect("plain JSON");
        assert_eq!(events.len(), 3);
        assert!(events.iter().flat_map(|e| e.keys()).all(|name| {
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        }));
    }

    trait ReplaceHuge {
        fn replace_huge(&self) -> Vec<u8>;
    }
    impl ReplaceHuge for Vec<u8> {
        fn replace_huge(&self) -> Vec<u8> {
            String::from_utf8_lossy(self).replace("1e400", "1").into_bytes()
        }
    }

    #[test]
    fn batches_that_skip_reorder_or_mix_origins_are_refused() {
        let good = batch();
        let broken = |change: fn(&mut Batch)| {
            let mut batch = good.clone();
            change(&mut batch);
            decode_batch(&encode_batch(&batch).expect("encodes")).is_err()
        };
        assert!(!broken(|_| {}));
        assert!(broken(|b| b.messages.swap(0, 1)));
        assert!(broken(|b| b.messages[1].prev.id = Uuid::nil()));
        assert!(broken(|b| b.last = Link::START));
        assert!(broken(|b| b.through = Position(1)));
        assert!(broken(|b| {
            let other = Origin { version: 1, ..(*b.origin).clone() };
            b.messages[0].origin = Arc::new(other);
        }));
        assert!(broken(|b| {
            let other = Origin { source: "/other".into(), ..(*b.origin).clone() };
            b.messages[0].origin = Arc::new(other);
        }));
        for text in ["", "[]", "{}", "[1]", "[{}]", "[{\"specversion\":\"1.0\"}]"] {
            assert!(decode_batch(text.as_bytes()).is_err(), "{text}");
        }
    }
}
