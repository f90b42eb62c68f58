//! Limits of what others say and a database keeps: the one place that cuts and cleans texts, and the
//! one that caps durations.

use std::time::Duration;

use serde::Serializer;

/// The longest reason, error or panic that is kept, in characters.
pub(crate) const MAX_TEXT: usize = 2_000;

/// A hundred years are as good as for ever; every database can add them to its time and subtract them.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// A text that every database can keep: cut, without NUL, which PostgreSQL refuses, and without the
/// colour codes of a terminal (ECMA-48, 5.4: from CSI to a final byte).
pub(crate) fn text(text: &str) -> String {
    let (mut rest, mut kept) = (text.chars().peekable(), String::new());
    let mut room = MAX_TEXT;
    while let (Some(next), true) = (rest.next(), room > 0) {
        let csi = next == '\u{9b}' || next == '\u{1b}' && rest.next_if_eq(&'[').is_some();
        if csi {
            while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
            let _final = rest.next_if(|c| matches!(c, '@'..='~'));
        } else if !matches!(next, '\0' | '\u{1b}') {
            kept.push(next);
            room -= 1;
        }
    }
    kept
}

/// Writes a text that may be missing as [`text`] makes it.
pub(crate) fn optional_text<S: Serializer>(
    value: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_some(&text(value)),
        None => serializer.serialize_none(),
    }
}

/// A duration that can be added to any time of now.
pub(crate) fn duration(duration: Duration) -> Duration {
    duration.min(LONGEST)
}

/// A duration as it is bound, in milliseconds.
pub(crate) fn millis(after: Duration) -> i64 {
    i64::try_from(duration(after).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_and_loses_its_nul() {
        assert_eq!(text("a\0b\u{1f511}"), "ab\u{1f511}");
        assert_eq!(text("a \u{1b}[1;31mred\u{1b}[0m \u{9b}4mline\u{9b}m\u{1b}"), "a red line");
        assert_eq!(text("\u{1b}[31"), "");
        let cut = text(&"\u{1f511}".repeat(1 << 20));
        assert_eq!((cut.chars().count(), cut.len()), (MAX_TEXT, MAX_TEXT * 4));
    }

    #[test]
    fn no_duration_is_longer_than_a_century() {
        assert_eq!(duration(Duration::from_secs(7)), Duration::from_secs(7));
        assert_eq!(duration(Duration::MAX), LONGEST);
        assert_eq!(millis(Duration::MAX), 3_162_240_000_000);
    }
}
