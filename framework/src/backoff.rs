//! Pauses between tries: doubling, with jitter, bounded; and the circuit breaker over them.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const SHORTEST: Duration = Duration::from_millis(50);
/// After so many failures in a row the breaker is open: one batch at a time probes the target.
const OPENS_AT: u32 = 5;

/// Counts failures in a row.
pub(crate) struct Backoff {
    longest: Duration,
    pauses: ExponentialBackoff,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(longest: Duration) -> Self {
        Self { longest, pauses: pauses(longest), failures: 0 }
    }

    /// How long to wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.pauses.next().unwrap_or(self.longest).min(self.longest)
    }

    pub(crate) fn succeeded(&mut self) {
        if self.failures > 0 {
            *self = Self::new(self.longest);
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
}
