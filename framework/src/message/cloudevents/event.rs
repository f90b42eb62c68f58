//! One event as the array holds it, read member by member.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::{
    Continues, Envelope, HandOver, JSON, Link, Message, Origin, Position, TopicPattern,
    handover::from_text,
};

/// One event as read, its data still a slice of the input.
pub(super) struct Event<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) kind: Cow<'a, str>,
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
    pub(super) through: Option<Position>,
    pub(super) last: Option<Link>,
    pub(super) handover: Option<HandOver>,
    pub(super) continues: Option<Continues>,
    headers: BTreeMap<String, String>,
    data: Option<Bytes>,
}

impl Event<'_> {
    pub(super) fn origin(&self) -> Origin {
        Origin {
            source: self.source.to_string(),
            incarnation: self.incarnation,
            stream: self.stream.to_string(),
            version: self.version,
            shard: self.shard,
        }
    }

    pub(super) fn is_of(&self, origin: &Origin) -> bool {
        self.source == origin.source
            && self.incarnation == origin.incarnation
            && self.stream == origin.stream
            && self.version == origin.version
            && self.shard == origin.shard
    }

    pub(super) fn into_envelope(self, origin: Arc<Origin>) -> Result<Envelope, &'static str> {
        Ok(Envelope {
            origin,
            position: self.position.ok_or("`position` is missing")?,
            prev: self.prev.ok_or("`prev` or `previd` is missing")?,
            message: Arc::new(Message {
                id: self.id.parse().map_err(|_| "`id` is not a UUID")?,
                topic: self.kind.into_owned(),
                key: self.key,
                time: self.time.ok_or("`time` is missing")?,
                content_type: self.content_type.unwrap_or_else(|| JSON.to_owned()),
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
        let (mut headers, mut data, mut binary) = (BTreeMap::new(), None, None);
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
                    binary = Some(BASE64.decode(&*text).map_err(de::Error::custom)?.into());
                }
                _ => {
                    let value: &'de RawValue = map.next_value()?;
                    let text = attribute(value)
                        .map_err(|problem| de::Error::custom(format_args!("`{name}` {problem}")))?;
                    if let Some(text) = text {
                        headers.insert(name.into_owned(), text);
                    }
                }
            }
        }
        if specversion.as_deref() != Some("1.0") {
            return Err(de::Error::custom("`specversion` must be \"1.0\""));
        }
        if data.is_some() && binary.is_some() {
            return Err(de::Error::custom("`data` and `data_base64` exclude each other"));
        }
        let data = data.or(binary);
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

/// The text of an attribute by the type system of the JSON event format (1.0.2, section 2.2): a
/// string, a boolean or an integer of 32 bits. Null is an attribute that is not set.
///
/// # Errors
/// The problem, to be read after the attribute's name.
pub(in super::super) fn attribute(value: &RawValue) -> Result<Option<String>, &'static str> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let text = serde_json::from_str(text).map_err(|_| "is no Unicode text")?;
            Ok(Some(text))
        }
        Some(b'n') => Ok(None),
        Some(b't' | b'f') => Ok(Some(text.to_owned())),
        _ => match text.parse::<i32>() {
            Ok(_) => Ok(Some(text.to_owned())),
            Err(_) => Err("must be a string, a boolean or an integer of 32 bits"),
        },
    }
}
