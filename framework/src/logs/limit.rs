//! A few lines a minute of each kind, and how many were left out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

/// Says when a line may be logged that others can bring about as often as they like. Clones count
/// together.
///
/// ```
/// use syncline::logs::LogLimit;
/// let limit = LogLimit::default(); // five a minute of each kind
/// let logged = (0..100).filter(|_| limit.admit("refused").is_some()).count();
/// assert_eq!(logged, 5);
/// ```
#[derive(Debug, Clone)]
pub struct LogLimit {
    lines: u32,
    every: Duration,
    kinds: Arc<Mutex<BTreeMap<&'static str, Kind>>>,
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    logged: u32,
    left_out: u64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new(5, Duration::from_secs(60))
    }
}

impl LogLimit {
    /// At most `lines` of each kind in each stretch of `every`.
    pub fn new(lines: u32, every: Duration) -> Self {
        Self { lines, every, kinds: Arc::default() }
    }

    /// Whether a line of `kind` may be logged now: how many before it were left out and not told of
    /// yet. When lines are left out, one line at the end of the stretch tells how many (within a
    /// runtime of tokio; else the next line that is admitted does).
    pub fn admit(&self, kind: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut kinds = self.kinds();
        let seen = kinds.entry(kind).or_insert(Kind { since: now, logged: 0, left_out: 0 });
        if now.duration_since(seen.since) >= self.every {
            (seen.since, seen.logged) = (now, 0);
        }
        if seen.logged < self.lines {
            seen.logged += 1;
            return Some(std::mem::take(&mut seen.left_out));
        }
        seen.left_out += 1;
        if seen.left_out == 1 {
            let ends = seen.since + self.every;
            drop(kinds);
            self.tell_at(kind, ends.saturating_duration_since(now));
        }
        None
    }

    fn tell_at(&self, kind: &'static str, after: Duration) {
        let Ok(runtime) = Handle::try_current() else { return };
        let limit = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(after).await;
            let left_out =
                limit.kinds().get_mut(kind).map_or(0, |k| std::mem::take(&mut k.left_out));
            if left_out > 0 {
                tracing::warn!(kind, left_out, "lines of this kind were left out of the log");
            }
        });
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<&'static str, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_lines_and_the_next_one_tells_what_was_left_out() {
        let limit = LogLimit::new(2, Duration::from_secs(3_600));
        assert_eq!([(); 4].map(|()| limit.admit("a")), [Some(0), Some(0), None, None]);
        assert_eq!(limit.admit("b"), Some(0));
        // The stretch is over.
        limit.kinds().get_mut("a").expect("known").since -= Duration::from_secs(3_600);
        assert_eq!([(); 3].map(|()| limit.admit("a")), [Some(2), Some(0), None]);
    }
}
