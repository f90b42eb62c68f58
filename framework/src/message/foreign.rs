//! Plain CloudEvents of producers that know nothing of Syncline.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use chrono::{SubsecRound, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{DecodeError, JSON, Limits, Message, MessageError};

/// The header in which a foreign message's own id is found: it need not be a UUID.
pub const FOREIGN_ID: &str = "foreignid";

/// The attributes that are no extensions.
const CORE: [&str; 10] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];

/// A message of a producer that is not Syncline's: it has an id and no place in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignMessage {
    /// CloudEvents `id`: any text of 1 to 255 bytes, once for each event of its source.
    pub id: String,
    /// The message; its own `id` is made of the foreign one.
    pub message: Message,
}

impl ForeignMessage {
    /// A message with the id `id`.
    ///
    /// ```
    /// use syncline::{Message, message::ForeignMessage};
    /// let paid = Message::new("payment.received", "application/json", r#"{"cents": 1200}"#);
    /// let foreign = ForeignMessage::new("evt_1042", paid);
    /// assert_eq!(foreign.id, "evt_1042");
    /// ```
    pub fn new(id: impl Into<String>, message: Message) -> Self {
        Self { id: id.into(), message }
    }

    /// The message as handlers get it, with a UUID of its own and the foreign id in the header
    /// [`FOREIGN_ID`].
    pub(crate) fn into_message(self, limits: &Limits) -> Result<Message, MessageError> {
        let Self { id, mut message } = self;
        message.validate(limits)?;
        let good = (1..=255).contains(&id.len()) && !id.chars().any(char::is_control);
        if !good {
            return Err(MessageError::Name {
                what: "id",
                value: id.chars().take(80).collect(),
                rule: "1 to 255 bytes without control characters",
            });
        }
        message.id = id.parse().unwrap_or_else(|_| uuid_of(&id));
        message.headers.insert(FOREIGN_ID.to_owned(), id);
        Ok(message)
    }
}

/// A UUID that is always the same for one text: FNV-1a. Nothing is told apart by it alone.
fn uuid_of(text: &str) -> Uuid {
    let hash = text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid()
}

/// Reads plain CloudEvents: one JSON object, or an array of them. Returns each event's source
/// with the message.
///
/// # Errors
/// [`DecodeError`] says which event is wrong.
pub fn decode_foreign(bytes: &[u8]) -> Result<Vec<(String, ForeignMessage)>, DecodeError> {
    type Object<'a> = BTreeMap<String, &'a RawValue>;
    let array = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let events: Vec<Object<'_>> = match array {
        true => serde_json::from_slice(bytes)?,
        false => vec![serde_json::from_slice(bytes)?],
    };
    let mut messages = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        let text =
            |name: &str| -> Option<String> { serde_json::from_str(event.get(name)?.get()).ok() };
        let id = text("id").unwrap_or_default();
        let fail = |problem| DecodeError::Event { index, id: id.clone(), problem };
        if text("specversion").as_deref() != Some("1.0") {
            return Err(fail("`specversion` must be \"1.0\""));
        }
        let source = text("source").ok_or_else(|| fail("`source` is missing"))?;
        let kind = text("type").ok_or_else(|| fail("`type` is missing"))?;
        let data: Bytes = match (event.get("data"), text("data_base64")) {
            (_, Some(base64)) => match BASE64.decode(base64) {
                Ok(data) => data.into(),
                Err(_) => return Err(fail("`data_base64` is not base64")),
            },
            (Some(data), None) => data.get().as_bytes().to_vec().into(),
            (None, None) => Bytes::new(),
        };
        let json = if data.is_empty() { "application/octet-stream" } else { JSON };
        let content_type = text("datacontenttype").unwrap_or_else(|| json.to_owned());
        let mut message = Message::new(kind, content_type, data);
        // A JSON string as the data of a type that is not JSON is the text itself.
        if !message.is_json()
            && let Some(plain) = text("data")
        {
            message.data = plain.into();
        }
        message.key = text("subject").filter(|subject| !subject.is_empty());
        if let Some(time) = event.get("time") {
            let time: Result<chrono::DateTime<Utc>, _> = serde_json::from_str(time.get());
            message.time = time.map_err(|_| fail("`time` is no time"))?.trunc_subsecs(6);
        }
        for (name, value) in &event {
            if name == "schemaversion" {
                let version = value.get().trim_matches('"').parse();
                message.schema_version =
                    version.map_err(|_| fail("`schemaversion` is no number"))?;
            } else if !CORE.contains(&name.as_str()) {
                let value = text(name).unwrap_or_else(|| value.get().to_owned());
                message.headers.insert(name.clone(), value);
            }
        }
        messages.push((source, ForeignMessage { id, message }));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_events_are_read_one_or_many() {
        let one = r#" {"specversion":"1.0","id":"evt 1","source":"/pay","type":"paid",
            "subject":"k","time":"2026-01-02T03:04:05Z","n":7,"data":{"a": 1e400}}"#;
        let many = format!(
            r#"[{one},{{"specversion":"1.0","id":"2","source":"/pay","type":"note",
            "datacontenttype":"text/plain","data":"hé"}},{{"specversion":"1.0","id":"3",
            "source":"/pay","type":"bytes","data_base64":"AP8="}}]"#
        );
        let read = decode_foreign(many.as_bytes()).expect("decodes");
        let bodies: Vec<&[u8]> = read.iter().map(|(_, m)| &m.message.data[..]).collect();
        assert_eq!(bodies, [&br#"{"a": 1e400}"#[..], "hé".as_bytes(), &[0, 255]]);
        let mut single = decode_foreign(one.as_bytes()).expect("decodes");
        // Our id is made from the producer's when the message is taken, not when it is read.
        single[0].1.message.id = read[0].1.message.id;
        assert_eq!(single[0], read[0]);
        let (source, foreign) = single.into_iter().next().expect("one");
        let message = foreign.clone().into_message(&Limits::DEFAULT).expect("valid");
        assert_eq!((source.as_str(), message.key.as_deref()), ("/pay", Some("k")));
        assert_eq!(message.headers.get("n").map(String::as_str), Some("7"));
        assert_eq!(message.headers.get(FOREIGN_ID).map(String::as_str), Some("evt 1"));
        assert_eq!(message.id, foreign.into_message(&Limits::DEFAULT).expect("valid").id);
        for bad in ["", "{}", "[1]", r#"{"specversion":"0.3","id":"1","source":"/","type":"t"}"#] {
            assert!(decode_foreign(bad.as_bytes()).is_err(), "{bad}");
        }
        let nul = ForeignMessage::new("a\0b", Message::new("t", "text/plain", "x"));
        assert!(nul.into_message(&Limits::DEFAULT).is_err());
    }
}
