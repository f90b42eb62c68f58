//! How soon retention looks again: rarely at a log that rests.

use std::time::Duration;

use super::retain::Retention;

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There is more to do at once.
    More,
    /// Something may be to be done soon, or it is another process's to look.
    Open,
    /// Every route has sent the whole log, and nothing was to be removed.
    Rest,
}

/// The longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(600);

/// The pause between two looks. It grows while the log rests: what is left then is a matter of
/// ages, and is seen soon enough by their own measure.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    longest: Duration,
    next: Duration,
}

impl Pace {
    pub(super) fn new(retention: &Retention, shortest: Duration) -> Self {
        let every = retention.every.max(shortest);
        Self { every, longest: gap(retention).max(every), next: every }
    }

    /// How soon it is looked again once the log has moved.
    pub(super) fn every(&self) -> Duration {
        self.every
    }

    /// The pause after a look that found this; `moved` when the log has moved since the one before.
    pub(super) fn after(&mut self, found: Found, moved: bool) -> Duration {
        let rests = found == Found::Rest && !moved;
        let pause = if rests { self.next } else { self.every };
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

/// How far the notes of where the log ended lie apart: often enough for the ages that are asked for.
pub(super) fn gap(retention: &Retention) -> Duration {
    let shortest = retention.keep_for.min(retention.lost_after / 2);
    (shortest / 50).clamp(Duration::from_millis(50), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(retention: &Retention, looks: &[(Found, bool)]) -> Vec<u64> {
        let mut pace = Pace::new(retention, Duration::ZERO);
        looks.iter().map(|&(found, moved)| pace.after(found, moved).as_secs()).collect()
    }

    #[test]
    fn a_log_that_rests_is_looked_at_ever_more_rarely_and_one_that_moves_is_not() {
        let rests = [(Found::Rest, false); 9];
        let all = pauses(&Retention::default(), &rests);
        assert_eq!(all, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        let looks = [
            (Found::Rest, false),
            (Found::Rest, false),
            (Found::Rest, true),
            (Found::Rest, false),
            (Found::Open, false),
            (Found::Rest, false),
        ];
        assert_eq!(pauses(&Retention::default(), &looks), [5, 10, 5, 10, 5, 10]);
    }

    #[test]
    fn the_pause_stays_short_against_the_ages_that_are_asked_for() {
        let mut retention = Retention::default();
        retention.keep_for = Duration::from_secs(500);
        assert_eq!(pauses(&retention, &[(Found::Rest, false); 4]), [5, 10, 10, 10]);
        retention.keep_for = Duration::ZERO;
        assert_eq!(pauses(&retention, &[(Found::Rest, false); 4]), [5, 5, 5, 5]);
    }
}
