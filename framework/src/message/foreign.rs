//! Plain CloudEvents of producers that know nothing of Syncline.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use chrono::{DateTime, SubsecRound};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{DecodeError, JSON, Limits, Message, MessageError, cloudevents::attribute};

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

/// The content type of bytes of which nothing is said.
const BYTES: &str = "application/octet-stream";

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
/// The JSON event format (1.0.2) decides. An attribute is a string, a boolean or an integer, and one that
/// is `null` is not there (section 2.2). `data` may be any JSON, `null` too, unless `datacontenttype` says
/// that it is none: then it is a string. `data_base64` is a string, and excludes `data` (section 3.1).
///
/// # Errors
/// [`DecodeError`] says which event is wrong, and which member of it.
pub fn decode_foreign(bytes: &[u8]) -> Result<Vec<(String, ForeignMessage)>, DecodeError> {
    let array = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let events: Vec<Members<'_>> = match array {
        true => serde_json::from_slice(bytes)?,
        false => vec![serde_json::from_slice(bytes)?],
    };
    let read = |(index, members)| Event { index, members }.read();
    events.into_iter().enumerate().map(read).collect()
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// One event: what stands behind each of its names.
struct Event<'a> {
    index: usize,
    members: Members<'a>,
}

impl Event<'_> {
    fn read(self) -> Result<(String, ForeignMessage), DecodeError> {
        if self.text("specversion")?.as_deref() != Some("1.0") {
            return Err(self.fail("specversion", "must be \"1.0\""));
        }
        let [id, source, kind] = ["id", "source", "type"]
            .map(|name| self.text(name)?.ok_or_else(|| self.fail(name, "is missing")));
        let (id, source, kind) = (id?, source?, kind?);
        let (content_type, data) = self.payload()?;
        let mut message = Message::new(kind, content_type, data);
        message.key = self.text("subject")?;
        if let Some(time) = self.text("time")? {
            let time = DateTime::parse_from_rfc3339(&time);
            let time = time.map_err(|_| self.fail("time", "is no time of RFC 3339"))?;
            message.time = time.to_utc().trunc_subsecs(6);
        }
        // It is read so that one of a wrong type is refused; there is no place for it.
        self.text("dataschema")?;
        for (name, value) in &self.members {
            if CORE.contains(&name.as_str()) {
                continue;
            }
            let value = attribute(value).map_err(|problem| self.fail(name, problem))?;
            match value {
                Some(version) if name == "schemaversion" => {
                    let version = version.parse();
                    message.schema_version =
                        version.map_err(|_| self.fail(name, "is no integer of 32 bits"))?;
                }
                Some(value) => drop(message.headers.insert(name.clone(), value)),
                None => {}
            }
        }
        Ok((source, ForeignMessage { id, message }))
    }

    /// The content type and the bytes. Without `datacontenttype` the data is JSON, and bytes are bytes.
    fn payload(&self) -> Result<(String, Bytes), DecodeError> {
        let content_type = self.text("datacontenttype")?;
        let or = |usual: &str| content_type.clone().unwrap_or_else(|| usual.to_owned());
        match (self.members.get("data"), self.text("data_base64")?) {
            (Some(_), Some(_)) => Err(self.fail("data", "and `data_base64` exclude each other")),
            (None, Some(base64)) => match BASE64.decode(base64) {
                Ok(data) => Ok((or(BYTES), data.into())),
                Err(_) => Err(self.fail("data_base64", "is not base64")),
            },
            (Some(data), None) => {
                let content_type = or(JSON);
                if is_json(&content_type) {
                    return Ok((content_type, data.get().as_bytes().to_vec().into()));
                }
                match serde_json::from_str::<String>(data.get()) {
                    Ok(text) => Ok((content_type, text.into())),
                    Err(_) => {
                        Err(self
                            .fail("data", "must be a string, for `datacontenttype` is not JSON"))
                    }
                }
            }
            (None, None) => Ok((or(BYTES), Bytes::new())),
        }
    }

    /// A member that is a string, unless it is not there.
    fn text(&self, name: &str) -> Result<Option<String>, DecodeError> {
        let value = self.members.get(name).filter(|value| value.get() != "null");
        let text = value.map(|value| serde_json::from_str(value.get())).transpose();
        text.map_err(|_| self.fail(name, "must be a string"))
    }

    fn fail(&self, name: &str, problem: &'static str) -> DecodeError {
        let id = self.members.get("id").and_then(|id| serde_json::from_str(id.get()).ok());
        let name = name.chars().take(40).collect();
        DecodeError::Member { index: self.index, id: id.unwrap_or_default(), name, problem }
    }
}

/// Whether data of this type stands in an event as JSON: `*/json`, or `*/*+json`.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
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

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/pay","type":"paid"}"#;

    /// Reads an event with one more member, alone and as the second of an array.
    fn with(members: &str) -> Result<Message, String> {
        let event = EVENT.replacen('}', &format!(",{members}}}"), 1);
        let read = |text: String| {
            let read = decode_foreign(text.as_bytes()).map_err(|error| error.to_string());
            read.map(|mut events| events.pop().expect("an event").1.message)
        };
        let (one, many) = (read(event.clone()), read(format!("[{EVENT},{event}]")));
        match (&one, &many) {
            (Ok(one), Ok(many)) => {
                let alike = Message { id: many.id, time: many.time, ..one.clone() };
                assert_eq!(&alike, many, "{members}");
            }
            (Err(one), Err(many)) => {
                assert!(
                    one.starts_with("event 0 (1): ") && many.starts_with("event 1 (1): "),
                    "{one}"
                );
            }
            other => panic!("{members}: {other:?}"),
        }
        one
    }

    #[test]
    fn a_null_attribute_is_one_that_is_not_there() {
        let plain = with("\"x\":null").expect("taken");
        for unset in [
            r#""subject":null"#,
            r#""time":null"#,
            r#""datacontenttype":null"#,
            r#""dataschema":null"#,
            r#""data_base64":null"#,
            r#""schemaversion":null"#,
            r#""traceparent":null"#,
            r#""Position":null"#,
        ] {
            let message = with(unset).expect(unset);
            let alike = Message { id: plain.id, time: plain.time, ..message };
            assert_eq!(alike, plain, "{unset}");
        }
        // A payload is no attribute.
        let null = with(r#""data":null"#).expect("taken");
        assert_eq!((&null.data[..], null.content_type.as_str()), (&b"null"[..], JSON));
        let data = with(r#""data":1,"data_base64":null"#).expect("taken");
        assert_eq!(&data.data[..], b"1");
        for required in ["specversion", "id", "source", "type"] {
            let event = EVENT.replacen(
                &format!(r#""{required}":"#),
                &format!(r#""{required}":null,"x":"#),
                1,
            );
            let error = decode_foreign(event.as_bytes()).expect_err(required).to_string();
            assert!(error.contains(required), "{error}");
        }
    }

    #[test]
    fn members_of_types_that_the_format_does_not_have_are_refused_by_name() {
        for (name, value) in [
            ("data_base64", "12"),
            ("data_base64", "true"),
            ("data_base64", "[]"),
            ("data_base64", "\"A\""),
            ("subject", "5"),
            ("subject", "{}"),
            ("time", "1767225600"),
            ("time", "\"today\""),
            ("time", "false"),
            ("datacontenttype", "1"),
            ("dataschema", "[]"),
            ("schemaversion", "1.5"),
            ("schemaversion", "\"one\""),
            ("schemaversion", "{}"),
            ("traceparent", "{}"),
            ("traceparent", "[1]"),
            ("n", "1.5"),
            ("n", "1e3"),
            ("n", "2147483648"),
            ("n", "\"\\ud800\""),
        ] {
            let error = with(&format!("\"{name}\":{value}")).expect_err(value);
            assert!(error.contains(&format!("`{name}`")), "{name} {value}: {error}");
        }
        for both in [r#""data":1,"data_base64":"MQ==""#, r#""data":null,"data_base64":"MQ==""#] {
            assert!(with(both).expect_err(both).contains("exclude each other"));
        }
        for not_text in ["5", "{}", "null"] {
            let members = format!(r#""datacontenttype":"text/plain","data":{not_text}"#);
            assert!(with(&members).expect_err(not_text).contains("`data` must be a string"));
        }
        for name in ["id", "source", "type", "specversion"] {
            let event = EVENT.replacen(&format!(r#""{name}":"#), &format!(r#""{name}":7,"x":"#), 1);
            let error = decode_foreign(event.as_bytes()).expect_err(name).to_string();
            assert!(error.contains(&format!("`{name}` must be")), "{error}");
        }
    }

    #[test]
    fn what_the_format_has_is_taken() {
        let message =
            with(r#""b":true,"n":-2147483648,"s":"7","schemaversion":"3""#).expect("taken");
        let headers = ["b", "n", "s"].map(|name| message.headers[name].as_str());
        assert_eq!((headers, message.schema_version), (["true", "-2147483648", "7"], 3));
        let bytes = with(r#""data_base64":"AP8=""#).expect("taken");
        assert_eq!((&bytes.data[..], bytes.content_type.as_str()), (&[0, 255][..], BYTES));
        let json = with(r#""datacontenttype":"text/json","data":{"a": "b"}"#).expect("taken");
        assert_eq!(&json.data[..], br#"{"a": "b"}"#);
        let quoted = with(r#""datacontenttype":"text/xml","data":"<a/>""#).expect("taken");
        assert_eq!(&quoted.data[..], b"<a/>");
        // An empty subject is no key: it is refused as everywhere.
        let empty = with(r#""subject":"""#).expect("read");
        assert!(ForeignMessage::new("1", empty).into_message(&Limits::DEFAULT).is_err());
    }
}
