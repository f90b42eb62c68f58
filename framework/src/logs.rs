//! What a log or a terminal may be given: texts of others made harmless, and lines that a stranger
//! can bring about only a few times a minute. Numbers of things stand as people write them.

mod limit;

use std::{
    fmt::Display,
    io::{self, Write},
};

pub use limit::LogLimit;

/// Whether a terminal or an editor obeys `character` instead of showing it: controls (newlines and
/// U+009B among them), and those that reorder or hide text.
///
/// ```
/// use syncline::logs::is_hidden;
/// assert!(is_hidden('\n') && is_hidden('\u{9b}') && is_hidden('\u{202e}'));
/// assert!(!is_hidden('é') && !is_hidden('漢'));
/// ```
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// `text` on one line, with what [`is_hidden`] as escapes. What was escaped before stays as it is.
///
/// ```
/// use syncline::logs::escape;
/// assert_eq!(escape("a\n\u{1b}[2J\u{202e}é"), "a\\n\\u{1b}[2J\\u{202e}é");
/// ```
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|character| push(&mut escaped, character));
    escaped
}

/// Adds `character` to `text`, escaped where it [`is_hidden`].
pub fn push(text: &mut String, character: char) {
    match character {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        c if is_hidden(c) => text.extend(c.escape_unicode()),
        c => text.push(c),
    }
}

/// The start of `text`, of at most `most` characters, escaped.
#[cfg(feature = "http")]
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut escaped = String::new();
    text.chars().take(most).for_each(|character| push(&mut escaped, character));
    escaped
}

/// A number of things, as it is written: the noun's last word stands in the singular for one, and in the
/// plural for none or several.
///
/// ```
/// use syncline::logs::count;
/// assert_eq!([count(1, "message"), count(0, "message")], ["1 message", "0 messages"]);
/// assert_eq!([count(2, "try"), count(2, "parked key")], ["2 tries", "2 parked keys"]);
/// ```
pub fn count<N: Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let mut chars = noun.chars().rev();
    match (chars.next(), chars.next()) {
        _ if number == N::from(1) => format!("{number} {noun}"),
        (Some('y'), Some(before)) if !"aeiou".contains(before) => {
            format!("{number} {}ies", noun.strip_suffix('y').unwrap_or(noun))
        }
        (Some('s' | 'x'), _) | (Some('h'), Some('c' | 's')) => format!("{number} {noun}es"),
        _ => format!("{number} {noun}s"),
    }
}

/// The form of a verb that goes with `number` things.
///
/// ```
/// use syncline::logs::verb;
/// assert_eq!([verb(1, "is", "are"), verb(0, "is", "are")], ["is", "are"]);
/// ```
pub fn verb<'a, N: PartialEq + From<u8>>(number: N, one: &'a str, several: &'a str) -> &'a str {
    if number == N::from(1) { one } else { several }
}

/// A writer for a log: each write is one event, which becomes one line, whatever it quotes.
///
/// ```no_run
/// use std::io;
/// use syncline::logs::Lines;
/// let mut log = Lines::new(io::stderr());
/// io::Write::write_all(&mut log, b"refused: a\nb\n")?; // refused: a\nb
/// # Ok::<(), io::Error>(())
/// ```
///
/// For `tracing_subscriber::fmt`: `.with_ansi(false).with_writer(|| Lines::new(io::stderr()))`.
#[derive(Debug)]
pub struct Lines<W> {
    to: W,
    colours: bool,
}

impl<W: Write> Lines<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self { to, colours: false }
    }

    /// Lets the escape sequences of a formatter pass that colours its lines. It must escape those of
    /// others itself, as `tracing_subscriber` does from version 0.3.20 on.
    #[must_use]
    pub fn colours(mut self, colours: bool) -> Self {
        self.colours = colours;
        self
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (&*text, ""),
        };
        let mut clean = String::with_capacity(text.len());
        for character in line.chars() {
            match character {
                '\u{1b}' if self.colours => clean.push(character),
                character => push(&mut clean, character),
            }
        }
        clean.push_str(end);
        self.to.write_all(clean.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_it_quotes() {
        let event =
            "WARN a\nERROR forged\r\u{1b}[2J \u{9b}31m\u{202e}\u{2066}\u{200b}\u{7f}é漢🙂\n";
        let written = |colours| {
            let mut log = Lines::new(Vec::new()).colours(colours);
            log.write_all(event.as_bytes()).expect("writes");
            String::from_utf8(log.to).expect("text")
        };
        let clean = "WARN a\\nERROR forged\\r\\u{1b}[2J \
                     \\u{9b}31m\\u{202e}\\u{2066}\\u{200b}\\u{7f}é漢🙂\n";
        assert_eq!(written(false), clean);
        assert_eq!(written(true), clean.replace("\\u{1b}", "\u{1b}"));
        assert_eq!(escape(&escape(event)), escape(event), "escaped twice is escaped once");
    }
}
