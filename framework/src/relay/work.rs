//! How the workers behind a relay's leases get on with their database. A lease is renewed only while
//! its worker gets answers: it is given up for a while, to another process, by one that gets none.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Error, Result};

/// A worker that has waited for so long is told of.
const SAID_AFTER: Duration = Duration::from_secs(5);

/// One worker's last steps.
pub(super) struct Work {
    /// How long a worker may fail before its lease is given up.
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Since when no step has come to its end, if one is under way or has failed.
    since: Option<Instant>,
    error: Option<String>,
    /// Its lease is to be given up.
    tripped: bool,
}

impl Work {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Takes note of what becomes of a step.
    pub(super) async fn step<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        self.state().since.get_or_insert_with(Instant::now);
        let done = step.await;
        match &done {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(error),
        }
        done
    }

    pub(super) fn succeeded(&self) {
        let mut state = self.state();
        (state.since, state.error) = (None, None);
    }

    pub(super) fn failed(&self, error: &Error) {
        let mut state = self.state();
        let since = *state.since.get_or_insert_with(Instant::now);
        state.error = Some(error.to_string());
        state.tripped |= matches!(error, Error::Unanswered { .. }) || since.elapsed() >= self.limit;
    }

    /// Whether the lease is to be given up; said once for each time.
    pub(super) fn take_tripped(&self) -> bool {
        std::mem::take(&mut self.state().tripped)
    }

    /// What keeps the worker from its work.
    pub(super) fn problem(&self) -> Option<String> {
        let state = self.state();
        let waits = state.since.map(|since| since.elapsed()).filter(|waits| *waits >= SAID_AFTER);
        let waits = waits.map(|waits| format!("the database has not answered for {waits:.0?}"));
        state.error.clone().or(waits)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The workers of a process.
pub(super) struct Works {
    pub(super) sealing: Work,
    pub(super) delayed: Work,
    pub(super) leases: Work,
    pub(super) checkpoints: Work,
    pub(super) retention: Work,
}

impl Works {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            sealing: Work::new(limit),
            delayed: Work::new(limit),
            leases: Work::new(limit),
            checkpoints: Work::new(limit),
            retention: Work::new(limit),
        }
    }

    /// What keeps messages from being sent.
    pub(super) fn standstill(&self) -> Option<String> {
        let of =
            |what: &str, work: &Work| work.problem().map(|problem| format!("{what}: {problem}"));
        of("the log is not sealed", &self.sealing)
            .or_else(|| of("leases are not renewed", &self.leases))
            .or_else(|| of("checkpoints are not saved", &self.checkpoints))
    }

    /// Everything that does not get on.
    pub(super) fn problems(&self) -> Vec<String> {
        let of =
            |what: &str, work: &Work| work.problem().map(|problem| format!("{what}: {problem}"));
        let delayed = of("delayed messages are not moved", &self.delayed);
        let retention = of("the log is not trimmed", &self.retention);
        self.standstill().into_iter().chain(delayed).chain(retention).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unanswered() -> Error {
        Error::Unanswered { database: "PostgreSQL", seconds: 20.0 }
    }

    #[tokio::test]
    async fn a_lease_is_given_up_once_when_no_answer_comes_or_nothing_but_errors() {
        let work = Work::new(Duration::from_secs(20));
        assert!(work.step(async { Ok(()) }).await.is_ok() && !work.take_tripped());
        assert!(work.step(async { Err::<(), _>(unanswered()) }).await.is_err());
        assert!(work.take_tripped() && !work.take_tripped());
        assert!(work.problem().is_some_and(|problem| problem.contains("20 s")));
        assert!(work.step(async { Ok(()) }).await.is_ok() && work.problem().is_none());
        work.failed(&Error::ServerChanged);
        assert!(!work.take_tripped(), "one error alone is none of the connection");
        work.state().since = Instant::now().checked_sub(Duration::from_secs(21));
        work.failed(&Error::ServerChanged);
        assert!(work.take_tripped());
    }

    #[tokio::test]
    async fn who_rests_has_no_problem_and_who_waits_for_long_has_one() {
        let work = Work::new(Duration::from_secs(20));
        assert_eq!(work.problem(), None);
        let asks = async {
            assert_eq!(work.problem(), None, "it has only just asked");
            work.state().since = Instant::now().checked_sub(Duration::from_secs(6));
            assert!(work.problem().is_some());
            Ok(())
        };
        assert!(work.step(asks).await.is_ok());
        assert_eq!(work.problem(), None, "it has got its answer");
    }
}
