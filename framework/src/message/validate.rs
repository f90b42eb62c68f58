//! The form of a message, checked at enqueue: the same answer on every database.

use std::ops::Range;

use chrono::Datelike;
use serde_json::value::RawValue;

use super::{
    Due, Message,
    topic::{REJECTED, RESERVED_PREFIX, SAGA_REPLY},
};

/// What a message may be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest payload with its headers, in bytes (1 MiB unless changed, and never more than
    /// 4 MiB, which is what the outbox takes).
    pub max_bytes: usize,
    /// The deepest nesting of a JSON payload (64 unless changed).
    pub max_json_depth: usize,
}

impl Limits {
    /// 1 MiB, 64 levels.
    pub const DEFAULT: Self = Self { max_bytes: 1 << 20, max_json_depth: 64 };

    /// Other limits on size (bytes) and on the nesting of JSON.
    pub const fn new(max_bytes: usize, max_json_depth: usize) -> Self {
        Self { max_bytes, max_json_depth }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A name is not of the allowed form.
    #[error("{what} {value:?} is not allowed: {rule}")]
    Name {
        /// Which attribute.
        what: &'static str,
        /// What was given, cut to 80 characters.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// The payload with its headers is too large.
    #[error(
        "the message has {bytes} bytes; at most {limit} are allowed: send a reference to the data instead"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The payload says that it is JSON and is not.
    #[error("the payload is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// The JSON payload is nested too deeply.
    #[error("the JSON payload is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The payload could not be written as JSON.
    #[error("the payload does not fit its type: {0}")]
    Payload(#[source] serde_json::Error),
    /// The payload could not be read: it is not what the reader expects, and never will be. A handler
    /// that fails with it, anywhere in the chain of its error's sources, is not tried again: its
    /// message is a dead letter at once.
    #[error("the payload does not fit its type: {0}")]
    Undecodable(#[source] serde_json::Error),
}

/// What the outbox takes, whatever the limits: larger ones would not fit through every transport.
const MAX_BYTES: usize = 4 << 20;

/// The longest topic, in bytes.
pub(super) const MAX_TOPIC: usize = 120;

/// The years that every database and every transport can write.
const YEARS: Range<i32> = 1_000..9_999;

const TOPIC_RULE: &str = "1 to 120 of A-Z a-z 0-9 . _ - with no empty part between dots";
const TOPIC_RESERVED: &str = "topics that begin with `syncline.` are Syncline's own";
const ERASED_RULE: &str = "it marks what was erased and is Syncline's own";
const KEY_RULE: &str = "1 to 255 bytes without control characters";
const HEADER_RULE: &str =
    "names are 1 to 20 of a-z 0-9 and not reserved by CloudEvents or Syncline";
const HEADER_VALUE_RULE: &str = "at most 4,096 bytes without control characters";
const CONTENT_TYPE_RULE: &str = "1 to 120 visible ASCII characters and spaces";
const TIME_RULE: &str = "times are of the years 1000 to 9998";
const VERSION_RULE: &str = "schema versions count from 1";
const SOURCE_RULE: &str = "1 to 120 of A-Z a-z 0-9 . _ - : / ";
const STREAM_RULE: &str = "1 to 60 of A-Z a-z 0-9 . _ -";

const RESERVED: &[&str] = &[
    "id",
    "source",
    "specversion",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
    "schemaversion",
    "stream",
    "shard",
    "position",
    "prev",
    "previd",
    "incarnation",
    "through",
    "last",
    "lastid",
    "foreignid",
    "streamversion",
    "oldshards",
    "oldtopics",
    "oldthrough",
    "formerincarnation",
    "formeragreed",
    "formerlast",
    "formerlastid",
];

fn refuse(what: &'static str, value: &str, rule: &'static str) -> MessageError {
    MessageError::Name { what, value: value.chars().take(80).collect(), rule }
}

pub(super) fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn check(
    what: &'static str,
    value: &str,
    rule: &'static str,
    good: impl FnOnce(&str) -> bool,
) -> Result<(), MessageError> {
    if good(value) { Ok(()) } else { Err(refuse(what, value, rule)) }
}

/// Checks the name and the value of a header.
pub(crate) fn check_header(name: &str, value: &str) -> Result<(), MessageError> {
    check("header", name, HEADER_RULE, |n| {
        (1..=20).contains(&n.len())
            && n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && !RESERVED.contains(&n)
    })?;
    check("header value", value, HEADER_VALUE_RULE, |v| {
        v.len() <= 4096 && !v.chars().any(char::is_control)
    })
}

fn check_topic(topic: &str) -> Result<(), MessageError> {
    check("topic", topic, TOPIC_RULE, |t| {
        (1..=MAX_TOPIC).contains(&t.len())
            && t.bytes().all(word)
            && t.split('.').all(|p| !p.is_empty())
    })?;
    check("topic", topic, TOPIC_RESERVED, |t| {
        !t.starts_with(RESERVED_PREFIX) || [REJECTED, SAGA_REPLY].contains(&t)
    })
}

/// Checks the name of a source.
///
/// # Errors
/// [`MessageError::Name`].
pub fn check_source(source: &str) -> Result<(), MessageError> {
    check("source", source, SOURCE_RULE, |s| {
        (1..=120).contains(&s.len()) && s.bytes().all(|b| word(b) || matches!(b, b':' | b'/'))
    })
}

/// Checks the name of a stream, a route or a consumer.
///
/// # Errors
/// [`MessageError::Name`].
pub fn check_stream(name: &str) -> Result<(), MessageError> {
    check("name", name, STREAM_RULE, |s| (1..=60).contains(&s.len()) && s.bytes().all(word))
}

impl Message {
    /// Checks the form of this message; `enqueue` does it for every one.
    ///
    /// # Errors
    /// [`MessageError`] says which attribute is wrong and what is allowed.
    pub fn validate(&self, limits: &Limits) -> Result<(), MessageError> {
        self.validate_attributes()?;
        if self.is_erased() {
            return Err(refuse("content type", &self.content_type, ERASED_RULE));
        }
        if let Some(Due::At(due)) = self.due
            && !YEARS.contains(&due.year())
        {
            return Err(refuse("time to deliver at", &due.to_rfc3339(), TIME_RULE));
        }
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let bytes = self.data.len() + headers.sum::<usize>();
        let limit = limits.max_bytes.min(MAX_BYTES);
        if bytes > limit {
            return Err(MessageError::TooLarge { bytes, limit });
        }
        if self.is_json() {
            check_json(&self.data, limits.max_json_depth)?;
        }
        Ok(())
    }

    /// Checks all but the payload and the size: what the envelope is made of.
    pub(crate) fn validate_attributes(&self) -> Result<(), MessageError> {
        check_topic(&self.topic)?;
        for (what, key) in [("key", &self.key), ("idempotency key", &self.idempotency_key)] {
            let Some(key) = key else { continue };
            check(what, key, KEY_RULE, |k| {
                (1..=255).contains(&k.len()) && !k.chars().any(char::is_control)
            })?;
        }
        check("content type", &self.content_type, CONTENT_TYPE_RULE, |c| {
            (1..=120).contains(&c.len()) && c.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        })?;
        if !YEARS.contains(&self.time.year()) {
            return Err(refuse("time", &self.time.to_rfc3339(), TIME_RULE));
        }
        if self.schema_version < 1 {
            return Err(refuse("schema version", &self.schema_version.to_string(), VERSION_RULE));
        }
        self.headers.iter().try_for_each(|(name, value)| check_header(name, value))
    }

    /// Whether the content type is `application/json` or ends in `+json`.
    pub fn is_json(&self) -> bool {
        let essence = self.content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(super::JSON) || essence.to_ascii_lowercase().ends_with("+json")
    }
}

/// Checks the syntax of a JSON text and its depth, without building it.
fn check_json(data: &[u8], max_depth: usize) -> Result<(), MessageError> {
    // The depth first: what follows must never meet a deeply nested text.
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in data {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > max_depth {
                    return Err(MessageError::TooDeep { limit: max_depth });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    serde_json::from_slice::<&RawValue>(data).map(drop).map_err(MessageError::NotJson)
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, NaiveTime};

    use super::*;

    fn refused(message: &Message) -> bool {
        message.validate(&Limits::DEFAULT).is_err()
    }

    #[test]
    fn names_that_a_broker_or_a_header_could_misread_are_refused() {
        for topic in
            ["", " ", "a b", "a\r\nb", "a.*", "a.>", "#", "a..b", ".a", "a.", "ü", &"x".repeat(121)]
        {
            assert!(refused(&Message::new(topic, "text/plain", "x")), "{topic:?}");
        }
        for key in ["", "a\0b", "a\nb", "\u{7f}", &"k".repeat(256)] {
            assert!(refused(&Message::new("t", "text/plain", "x").key(key)), "{key:?}");
        }
        for name in ["", "A", "a-b", "source", "prev", "a b", &"n".repeat(21)] {
            assert!(refused(&Message::new("t", "text/plain", "x").header(name, "v")), "{name:?}");
        }
        assert!(refused(&Message::new("t", "text/plain", "x").header("n", "a\r\nb")));
        assert!(refused(&Message::new("t", "text\r\n", "x")));
        let timed = |year| {
            let time =
                NaiveDate::from_ymd_opt(year, 12, 31).expect("a day").and_time(NaiveTime::MIN);
            refused(&Message { time: time.and_utc(), ..Message::new("t", "text/plain", "x") })
        };
        assert_eq!([-5, 999, 1_000, 9_998, 9_999].map(timed), [true, true, false, false, true]);
        assert!(!refused(
            &Message::new("a.b-c_D", "text/plain", "x").key("ключ 🔑 *>#").header("n", "v")
        ));
    }

    #[test]
    fn only_syncline_gives_topics_with_its_prefix() {
        let topic = |topic: &str| Message::new(topic, "text/plain", "x").validate(&Limits::DEFAULT);
        for own in ["syncline.link", "syncline.progress", "syncline.rejected.too", "syncline.x"] {
            let error = topic(own).expect_err(own).to_string();
            assert!(error.contains(own) && error.contains("Syncline's own"), "{error}");
        }
        for free in ["syncline", "synclines.link", "my.syncline.link", REJECTED, SAGA_REPLY] {
            topic(free).expect(free);
        }
    }

    #[test]
    fn json_is_checked_for_syntax_and_depth_and_kept_as_written() {
        let json = |text: &str| Message::new("t", JSON_TYPE, text.to_owned());
        const JSON_TYPE: &str = "application/json; charset=utf-8";
        assert!(!refused(&json(r#"{"big":1e400,"nul":"\u0000","dup":1,"dup":2}"#)));
        assert!(!refused(&json(&format!("{}{}", "[".repeat(64), "]".repeat(64)))));
        assert!(!refused(&json(&format!("\"{}\\\"[\"", "[".repeat(100)))));
        for bad in ["", "{", "nan", "\"\u{0}\"", "{\"a\":}", "[1] 2"] {
            assert!(refused(&json(bad)), "{bad:?}");
        }
        assert!(refused(&json(&"[".repeat(1_000_000))));
        assert!(refused(&Message::new("t", "application/json", vec![b'"', 0xff, b'"'])));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_with_both_sizes() {
        let message = Message::new("t", "text/plain", vec![0; 11]);
        let error = message.validate(&Limits::new(10, 64)).expect_err("11 bytes");
        assert!(error.to_string().contains("11 bytes") && error.to_string().contains("at most 10"));
    }
}
