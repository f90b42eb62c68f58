//! What comes from a database, made harmless and short for a terminal.

use chrono::{DateTime, SecondsFormat, Utc};
use unicode_width::UnicodeWidthChar;

/// Control characters and those that reorder or hide text, as escapes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        push(&mut escaped, character);
    }
    escaped
}

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

fn push(text: &mut String, character: char) {
    let hidden = matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    match character {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        c if c.is_control() || hidden => text.extend(c.escape_unicode()),
        c => text.push(c),
    }
}

/// A payload as text; bytes that are no text as their number and start.
pub(crate) fn payload(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let mut text = format!("<{} bytes>", data.len());
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

/// How long ago, roughly.
pub(crate) fn ago(at: Option<DateTime<Utc>>) -> String {
    let Some(at) = at else { return "-".to_owned() };
    match (Utc::now() - at).num_seconds() {
        ..=0 => "now".to_owned(),
        s @ 1..=119 => format!("{s} s ago"),
        s @ 120..=7_199 => format!("{} min ago", s / 60),
        s @ 7_200..=172_799 => format!("{} h ago", s / 3_600),
        s => format!("{} days ago", s / 86_400),
    }
}

/// How soon, roughly.
pub(crate) fn until(at: DateTime<Utc>) -> String {
    match (at - Utc::now()).num_seconds() {
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
