//! Limits of what others say and a database keeps: the one place that cuts and cleans texts, and the
//! one that caps durations.

use std::time::Duration;

use serde::Serializer;

use crate::logs::is_hidden;

/// The longest reason, error or panic that is kept, in characters.
pub(crate) const MAX_TEXT: usize = 2_000;

/// A hundred years are as good as for ever; every database can add them to its time and subtract them.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// A text that every database can keep: cut, without NUL, which PostgreSQL refuses, and without a
/// terminal's colours, which are no part of what it says.
pub(crate) fn text(text: &str) -> String {
    without_sequences(text).filter(|&c| c != '\0').take(MAX_TEXT).collect()
}

/// A text in one line of at most so many characters, for a log or a header: as [`text`] has it, and
/// without what [`is_hidden`].
pub(crate) fn line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for c in without_sequences(text) {
        if c.is_whitespace() || c.is_control() {
            if !line.is_empty() && !line.ends_with(' ') {
                line.push(' ');
            }
        } else if !is_hidden(c) {
            line.push(c);
        }
    }
    line.trim_end().chars().take(most).collect()
}

/// The characters of a text without ESC, and without a terminal's colours and its other sequences
/// (ECMA-48, 5.4: from CSI to a final byte).
fn without_sequences(text: &str) -> impl Iterator<Item = char> {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        loop {
            let c = chars.next()?;
            let csi = c == '\u{9b}' || c == '\u{1b}' && chars.next_if_eq(&'[').is_some();
            if csi {
                while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                chars.next_if(|c| matches!(c, '@'..='~'));
            } else if c != '\u{1b}' {
                return Some(c);
            }
        }
    })
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
    fn a_text_keeps_its_words_and_loses_a_terminals_colours() {
        let coloured = "\u{1b}[1;31merror\u{1b}[0m: \u{9b}4mno\u{9b}0m credit\n[31m is said";
        assert_eq!(text(coloured), "error: no credit\n[31m is said");
        // Text that is no sequence, or is cut off, is no reason to lose the rest.
        assert_eq!(text("a\u{1b}b\u{1b}[\u{e9}c\u{1b}["), "ab\u{e9}c");
    }

    #[test]
    fn a_line_has_nothing_that_a_terminal_or_a_log_could_misread() {
        let line = |text: &str| line(text, 20);
        assert_eq!(line("\r\n a\n\n b\t\u{85}c \u{202e}d\u{2066}\u{1b}[2J\u{7}\0"), "a b c d");
        let long = "\u{1f511}".repeat(50);
        assert_eq!(line(&long).chars().count(), 20);
        assert_eq!(line(""), "");
    }

    #[test]
    fn no_duration_is_longer_than_a_century() {
        assert_eq!(duration(Duration::from_secs(7)), Duration::from_secs(7));
        assert_eq!(duration(Duration::MAX), LONGEST);
        assert_eq!(millis(Duration::MAX), 3_162_240_000_000);
    }
}
