//! Pauses between tries: doubling, with jitter, bounded; and the circuit breaker over them.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

const SHORTEST: Duration = Duration::from_millis(50);
/// After so many failures in a row the breaker is open: one batch at a time probes the target.
const OPENS_AT: u32 = 5;
/// A target that was away is tried again after this part of that time at the latest.
const PART: u32 = 10;

/// Counts failures in a row.
pub(crate) struct Backoff {
    longest: Duration,
    pauses: ExponentialBackoff,
    failures: u32,
    /// Whether pauses follow how long the failures have lasted.
    follows: bool,
    /// When the first failure in a row was.
    since: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(longest: Duration) -> Self {
        Self { longest, pauses: pauses(longest), failures: 0, follows: false, since: None }
    }

    /// One whose pauses are not longer than a tenth of what the failures have lasted: a target that
    /// returns is not waited for through the whole backoff.
    pub(crate) fn of_target(longest: Duration) -> Self {
        Self { follows: true, ..Self::new(longest) }
    }

    /// How long to wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let away = self.since.get_or_insert_with(Instant::now).elapsed();
        let most = if self.follows { parted((away / PART).max(SHORTEST)) } else { self.longest };
        self.pauses.next().unwrap_or(self.longest).min(self.longest).min(most)
    }

    pub(crate) fn succeeded(&mut self) {
        if self.failures > 0 {
            *self = Self { follows: self.follows, ..Self::new(self.longest) };
        }
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How many batches may be under way: only a probe while the breaker is open.
    pub(crate) fn window(&self, closed: usize) -> usize {
        if self.failures >= OPENS_AT { 1 } else { closed }
    }
}

/// From three quarters of `pause` to all of it, by chance: those that failed together do not come again
/// together.
fn parted(pause: Duration) -> Duration {
    let chance = (RandomState::new().build_hasher().finish() % 256) as u32;
    pause / 1024 * (768 + chance)
}

fn pauses(longest: Duration) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(SHORTEST.min(longest))
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_again_after_a_success() {
        let longest = Duration::from_secs(2);
        let mut backoff = Backoff::new(longest);
        let first = backoff.failed();
        assert!(first >= SHORTEST && first <= SHORTEST * 2, "{first:?}");
        let late: Vec<_> = (0..50).map(|_| backoff.failed()).collect();
        assert!(late.iter().all(|pause| *pause <= longest));
        assert!(late[10..].iter().all(|pause| *pause >= longest / 2));
        assert_eq!(backoff.window(4), 1);
        backoff.succeeded();
        assert_eq!((backoff.failures(), backoff.window(4)), (0, 4));
    }

    #[test]
    fn a_target_is_waited_for_a_tenth_of_what_it_was_away_at_the_most() {
        let longest = Duration::from_secs(30);
        let mut backoff = Backoff::of_target(longest);
        let mut fails_after = |seconds: u64| {
            let away = Duration::from_secs(seconds);
            backoff.since = Some(Instant::now().checked_sub(away).expect("a clock of an hour"));
            (0..20).map(|_| backoff.failed()).max().expect("pauses")
        };
        assert!(fails_after(0) <= SHORTEST);
        // The clock goes on between the tries.
        let slack = Duration::from_secs(5);
        for (seconds, most) in [(20, 2), (100, 10)] {
            let pause = fails_after(seconds);
            let most = Duration::from_secs(most);
            assert!(pause >= most / 2 && pause < most + slack, "{seconds} s: {pause:?}");
        }
        assert!(fails_after(1_000) >= longest / 2);
        assert!(fails_after(1_000) <= longest);
        backoff.succeeded();
        assert!(backoff.failed() <= SHORTEST);
    }
}
