//! Log lines that would say the same at each try.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The same text is logged no sooner than this.
const AGAIN: Duration = Duration::from_secs(600);
/// The most texts that are remembered: a try may fail in more than one way.
const TEXTS: usize = 8;
/// One place logs the same text no sooner than this ...
const MINUTE: Duration = Duration::from_secs(60);
/// ... and so many texts in that time, for one with a number in it is new at each try.
const LINES: usize = 3;

/// Texts that were logged lately, the last one first.
#[derive(Debug, Default)]
pub(crate) struct Said {
    texts: Vec<(String, Instant)>,
    /// Lines that [`Said::admit`] has left out since it let one pass.
    left_out: u64,
}

impl Said {
    /// Whether `text` is to be logged: it was not, or long ago.
    pub(crate) fn is_new(&mut self, text: &str) -> bool {
        self.texts.retain(|(_, at)| at.elapsed() < AGAIN);
        let new = !self.texts.iter().any(|(said, _)| said == text);
        if new {
            self.remember(text);
        }
        new
    }

    /// Whether `text` may be logged where one place logs what fails: how many lines were left out before
    /// it. The same text may once a minute, and three texts at the most, whatever is in them.
    pub(crate) fn admit(&mut self, text: &str) -> Option<u64> {
        self.texts.retain(|(_, at)| at.elapsed() < MINUTE);
        if self.texts.len() >= LINES || self.texts.iter().any(|(said, _)| said == text) {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.remember(text);
        Some(std::mem::take(&mut self.left_out))
    }

    /// As [`Said::is_new`], and no more than three new texts a minute, whatever is in them.
    pub(crate) fn is_news(&mut self, text: &str) -> bool {
        let lately = self.texts.iter().filter(|(_, at)| at.elapsed() < MINUTE).count();
        lately < LINES && self.is_new(text)
    }

    fn remember(&mut self, text: &str) {
        self.texts.truncate(TEXTS - 1);
        self.texts.insert(0, (text.to_owned(), Instant::now()));
    }

    /// All is well again: the next text is logged, whichever it is.
    pub(crate) fn clear(&mut self) {
        self.texts.clear();
    }
}

/// Places of one part of the program, each with its own lines.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<BTreeMap<&'static str, Said>>);

impl Places {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// [`Said::admit`] of `place`.
    pub(crate) fn admit(&self, place: &'static str, text: &str) -> Option<u64> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry(place).or_default().admit(text)
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
            said.texts[0].1 = long_ago;
            assert!(said.is_new("a"));
        }
        for n in 0..TEXTS * 2 {
            assert!(said.is_new(&n.to_string()));
        }
        assert_eq!(said.texts.len(), TEXTS);
    }

    #[test]
    fn a_place_has_three_lines_a_minute_however_its_texts_change() {
        let mut said = Said::default();
        assert_eq!([(); 3].map(|()| said.admit("a")), [Some(0), None, None]);
        assert_eq!(
            ["1", "2", "3", "4"].map(|text| said.admit(text)),
            [Some(2), Some(0), None, None]
        );
        for (_, at) in &mut said.texts {
            *at = at.checked_sub(MINUTE).expect("a time");
        }
        assert_eq!(["a", "a"].map(|text| said.admit(text)), [Some(2), None]);
        let mut said = Said::default();
        let new = ["1", "2", "2", "3", "4"].map(|text| said.is_news(text));
        assert_eq!(new, [true, true, false, true, false]);
        let places = Places::new();
        assert_eq!(
            [places.admit("a", "x"), places.admit("b", "x"), places.admit("a", "x")],
            [Some(0), Some(0), None]
        );
    }
}
