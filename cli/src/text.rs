//! What comes from a database, made harmless and short for a terminal.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;
use unicode_width::UnicodeWidthChar;

pub(crate) use syncline::logs::{count, escape, verb};
use syncline::logs::{is_hidden, push};

/// The start of `text`, escaped, in at most `columns` columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let mut escaped = String::new();
    let (mut used, mut fits, mut next) = (0, 0, String::new());
    for character in text.chars() {
        next.clear();
        push(&mut next, character);
        used += next.chars().filter_map(UnicodeWidthChar::width).sum::<usize>();
        if used > columns {
            escaped.truncate(fits);
            escaped.push('…');
            return escaped;
        }
        escaped.push_str(&next);
        // Where the mark for what was cut off still has room.
        if used < columns {
            fits = escaped.len();
        }
    }
    escaped
}

/// JSON whose strings hold nothing that a terminal obeys: it means the same.
pub(crate) fn json(document: &impl Serialize, pretty: bool) -> serde_json::Result<String> {
    let text = match pretty {
        true => serde_json::to_string_pretty(document)?,
        false => serde_json::to_string(document)?,
    };
    // Below U+0080 all but U+007F is escaped already, or stands between the values.
    let spoils = |c: char| c >= '\u{7f}' && is_hidden(c);
    if !text.chars().any(spoils) {
        return Ok(text);
    }
    let mut clean = String::with_capacity(text.len() + 64);
    for character in text.chars() {
        if !spoils(character) {
            clean.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            clean.push_str(&format!("\\u{unit:04x}"));
        }
    }
    Ok(clean)
}

/// A payload as text; bytes that are no text as their number and start.
pub(crate) fn payload(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let mut text = format!("<{}>", count(data.len(), "byte"));
            for byte in data.iter().take(32) {
                text.push_str(&format!(" {byte:02x}"));
            }
            text
        }
    }
}

/// A moment, in UTC.
pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A moment for programs, in the one form that all have; null for none.
pub(crate) fn at(at: impl Into<Option<DateTime<Utc>>>) -> Value {
    at.into().map_or(Value::Null, |at| Value::String(time(at)))
}

/// Milliseconds by which the database's clock is ahead of this machine's.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// Takes the database's clock, which tells `now`, for the one that times are held against.
pub(crate) fn set_clock(now: DateTime<Utc>) {
    AHEAD.store((now - Utc::now()).num_milliseconds(), Ordering::Relaxed);
}

/// The time by the database's clock, once it was asked.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now() + TimeDelta::milliseconds(AHEAD.load(Ordering::Relaxed))
}

/// How long ago, roughly.
pub(crate) fn ago(at: Option<DateTime<Utc>>) -> String {
    let Some(at) = at else { return "-".to_owned() };
    match (now() - at).num_seconds() {
        ..=0 => "now".to_owned(),
        s @ 1..=119 => format!("{s} s ago"),
        s @ 120..=7_199 => format!("{} min ago", s / 60),
        s @ 7_200..=172_799 => format!("{} h ago", s / 3_600),
        s => format!("{} days ago", s / 86_400),
    }
}

/// The time until then, roughly.
pub(crate) fn until(at: DateTime<Utc>) -> String {
    match (at - now()).num_seconds() {
        ..=0 => "now".to_owned(),
        s @ 1..=7_199 => format!("in {s} s"),
        s => format!("in {} h", s / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let bad = "a\u{1b}[2J\u{7}\r\n\t\u{9b}31m\u{202e}\u{2066}\u{200b}\u{7f}é漢🙂";
        let good = escape(bad);
        assert_eq!(
            good,
            "a\\u{1b}[2J\\u{7}\\r\\n\\t\\u{9b}31m\\u{202e}\\u{2066}\\u{200b}\\u{7f}é漢🙂"
        );
    }

    #[test]
    fn json_holds_no_control_characters_and_means_the_same() {
        let bad = "a\u{1b}\u{7}\n\u{7f}\u{9b}31m\u{202e}\u{2066}\u{feff}\u{e0041}\\é漢🙂";
        let document = serde_json::json!({ bad: [bad, 7, null] });
        for pretty in [true, false] {
            let text = json(&document, pretty).expect("JSON");
            let hidden = text.chars().find(|c| *c != '\n' && is_hidden(*c));
            assert_eq!(hidden, None, "{text:?}");
            assert!(pretty || !text.contains('\n'));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), document);
        }
    }

    #[test]
    fn text_is_cut_to_columns() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("a\u{1b}b", 4), "a…");
        assert_eq!(cut("abc", 0), "…");
    }

    #[test]
    fn bytes_are_shown_as_such() {
        assert_eq!(payload("héllo".as_bytes()), "héllo");
        assert_eq!(payload(&[0xff, 0]), "<2 bytes> ff 00");
    }
}
