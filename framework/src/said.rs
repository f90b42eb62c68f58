//! Log lines that would say the same at each try.

use std::time::Duration;

use tokio::time::Instant;

/// The same text is logged no sooner than this.
const AGAIN: Duration = Duration::from_secs(600);
/// The most texts that are remembered: a try may fail in more than one way.
const TEXTS: usize = 8;

/// Texts that were logged lately, the last one first.
#[derive(Debug, Default)]
pub(crate) struct Said(Vec<(String, Instant)>);

impl Said {
    /// Whether `text` is to be logged: it was not, or long ago.
    pub(crate) fn is_new(&mut self, text: &str) -> bool {
        self.0.retain(|(_, at)| at.elapsed() < AGAIN);
        let new = !self.0.iter().any(|(said, _)| said == text);
        if new {
            self.0.truncate(TEXTS - 1);
            self.0.insert(0, (text.to_owned(), Instant::now()));
        }
        new
    }

    /// All is well again: the next text is logged, whichever it is.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_said_once_until_all_is_well_or_long_ago() {
        let mut said = Said::default();
        let new = ["a", "b", "a", "b"].map(|text| said.is_new(text));
        assert_eq!(new, [true, true, false, false]);
        said.clear();
        assert!(said.is_new("a"));
        if let Some(long_ago) = Instant::now().checked_sub(AGAIN) {
            said.0[0].1 = long_ago;
            assert!(said.is_new("a"));
        }
        for n in 0..TEXTS * 2 {
            assert!(said.is_new(&n.to_string()));
        }
        assert_eq!(said.0.len(), TEXTS);
    }
}
