//! Results of checks, their causes, and time limits.

use std::{cmp::Ordering, time::Duration};

use clap::ValueEnum;
use syncline::{
    Error,
    storage::{Finding, Level, RouteLag},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use crate::{standing::shard, text};

/// Checks that are made side by side.
const AT_ONCE: usize = 4;
/// To an answer that has not come.
const LOCKED: &str = "it may wait for a lock (see `blocking locks`), be overloaded or frozen";

/// Reasons why something does not move, the worst first; `doctor --fail-if` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Cause {
    /// All that follow
    All,
    /// Sessions that keep others waiting for a lock
    Locks,
    /// There is something to send, and no relay runs
    Relay,
    /// A lease that a dead process has
    Leases,
    /// Processes that have not written for a while and may live
    Silent,
    /// Shards that have something to send and do not move, without a reason that is known
    Still,
    /// A relay has an older definition of a stream than the one in force
    Outdated,
    /// Shards that wait for an operator: refused, trimmed, diverged
    Stopped,
    /// Routes that retention does not wait for any more
    Lost,
    /// Shards whose target has been failing
    Failing,
    /// Routes that an operator paused
    Paused,
    /// Routes that have been standing still for too long
    Alarmed,
    /// Routes that wait for another stream to be sent
    Waits,
    /// Streams that no route carries and nobody pulls
    Unread,
    /// Held messages of a consumer that does not run
    Consumer,
    /// Open sagas that no running engine has
    Engine,
    /// Consumers of one name that take different topics
    Handlers,
    /// Dead letters
    Dead,
    /// Messages that are held because no handler of their consumer takes their topic
    Unhandled,
    /// Messages that are held and not dead
    Held,
    /// Messages that wait for a missing one
    Gaps,
    /// Sagas that wait for an operator
    Stuck,
    /// Sagas that wait for an answer
    Overdue,
    /// Sagas with a step that fails and is tried again
    FailingSagas,
    /// Messages whose topic no stream carries
    Uncarried,
    /// Rows of the log that cannot be sent
    SetAside,
    /// Transactions or routes that keep the log from being trimmed
    Retention,
    /// Problems that running processes tell of themselves
    Processes,
}

/// The result of one check.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    pub(crate) found: String,
    pub(crate) advice: Option<String>,
    /// Causes of a warning, in order, each once.
    pub(crate) causes: Vec<Cause>,
    /// Whether the database has answered.
    pub(crate) known: bool,
}

impl Check {
    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        let (found, causes) = (found.into(), Vec::new());
        Self { name, level: Level::Ok, found, advice: None, causes, known: true }
    }

    pub(crate) fn warning(
        name: &'static str,
        causes: impl IntoIterator<Item = Cause>,
        found: impl Into<String>,
        advice: Option<&str>,
    ) -> Self {
        let mut causes: Vec<Cause> = causes.into_iter().collect();
        causes.sort_unstable();
        causes.dedup();
        let (found, advice) = (found.into(), advice.map(str::to_owned));
        Self { name, level: Level::Warning, found, advice, causes, known: true }
    }

    pub(crate) fn failed(
        name: &'static str,
        found: impl Into<String>,
        advice: Option<&str>,
    ) -> Self {
        let (found, advice) = (found.into(), advice.map(str::to_owned));
        Self { name, level: Level::Failure, found, advice, causes: Vec::new(), known: true }
    }

    /// The database gave no answer in time.
    pub(crate) fn unanswered(name: &'static str) -> Self {
        Self::unknown(name, "the database has not answered in time")
    }

    /// `error` is why it is not known: what passes by itself is no finding about the database.
    pub(crate) fn error(name: &'static str, error: &Error) -> Self {
        match error.is_transient() && !error.is_read_only() {
            true => Self::unknown(name, &error.to_string()),
            false => Self::failed(name, error.to_string(), None),
        }
    }

    fn unknown(name: &'static str, why: &str) -> Self {
        let check = Self::failed(name, format!("not known: {why}"), Some(LOCKED));
        Self { known: false, ..check }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Failure => "failed",
        }
    }

    /// The finding, with what to do.
    pub(crate) fn text(&self) -> String {
        match &self.advice {
            Some(advice) => format!("{} - {advice}", self.found),
            None => self.found.clone(),
        }
    }

    /// Makes a warning about one of `causes` a failure.
    pub(crate) fn fail_if(&mut self, causes: &[Cause]) {
        let meant = |cause: &Cause| causes.contains(cause) || causes.contains(&Cause::All);
        if self.level == Level::Warning && self.causes.iter().any(meant) {
            self.level = Level::Failure;
        }
    }

    /// The worst first.
    pub(crate) fn by_weight(&self, other: &Self) -> Ordering {
        let weight = |check: &Self| match check.level {
            Level::Failure => 0,
            Level::Warning => 1,
            Level::Ok => 2,
        };
        weight(self).cmp(&weight(other)).then_with(|| self.causes.cmp(&other.causes))
    }
}

impl From<Finding> for Check {
    fn from(finding: Finding) -> Self {
        let Finding { check: name, level, found, advice } = finding;
        let advice = advice.map(str::to_owned);
        Self { name, level, found, advice, causes: Vec::new(), known: true }
    }
}

/// Limits each check, and all together.
pub(crate) struct Clock {
    each: Duration,
    until: Instant,
    places: Semaphore,
}

impl Clock {
    /// All that it limits has `time`, each the half of it; some are made side by side.
    pub(crate) fn start(time: Duration) -> Self {
        let until = Instant::now() + time;
        Self { each: time / 2, until, places: Semaphore::new(AT_ONCE) }
    }

    /// Waits for `work` as long as there is time; none when it is up.
    pub(crate) async fn limit<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let work = async {
            let _place = self.places.acquire().await.ok()?;
            timeout(self.each, work).await.ok()
        };
        timeout_at(self.until, work).await.ok().flatten()
    }

    /// A time after which a check that still runs most likely waits for a lock.
    pub(crate) fn soon(&self) -> Duration {
        self.each / 6
    }

    pub(crate) async fn check(
        &self,
        name: &'static str,
        check: impl Future<Output = Check>,
    ) -> Check {
        self.limit(check).await.unwrap_or_else(|| Check::unanswered(name))
    }
}

/// Causes for which `routes` do not move, one for each that applies.
pub(super) fn causes(routes: &[RouteLag]) -> Vec<Cause> {
    let of = |route: &RouteLag| {
        let kind = route.problem.as_ref().map(|problem| problem.kind.as_str());
        let problem = kind.map(|kind| match kind {
            "refused" | "trimmed" | "diverged" => Cause::Stopped,
            "outdated" => Cause::Outdated,
            _ => Cause::Failing,
        });
        let lost = route.lost.then_some(Cause::Lost);
        let alarmed = route.alarm_at.map(|_| Cause::Alarmed);
        let paused = route.paused.then_some(Cause::Paused);
        [problem, lost, alarmed, paused].into_iter().flatten()
    };
    routes.iter().flat_map(of).collect()
}

/// Lines about routes that are alarmed or lost, escaped.
pub(super) fn alarmed(routes: &[RouteLag]) -> Vec<String> {
    let mut lines = Vec::new();
    for route in routes {
        let (name, shard, behind) = (&route.route, shard(route), route.behind);
        if route.lost {
            lines.push(format!(
                "{name} shard {shard} is lost: retention goes on without it, {} behind; start the \
                 relay that declares it: what is kept is sent",
                text::count(behind, "message")
            ));
        } else if let Some(since) = route.alarm_at {
            let since = text::time(since);
            lines.push(format!(
                "{name} shard {shard} stands still, or is too far behind, since {since}: it is \
                 {} behind, and will be lost; start the relay that declares it, or mend its target",
                text::count(behind, "message")
            ));
        }
    }
    lines.dedup();
    lines.iter().map(|line| text::escape(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_fails_when_it_is_named_and_only_then() {
        let check = Check::warning("held", [Cause::Held, Cause::Dead], "3", None);
        for (named, level) in [
            (vec![], Level::Warning),
            (vec![Cause::Gaps, Cause::Stuck], Level::Warning),
            (vec![Cause::Gaps, Cause::Held], Level::Failure),
            (vec![Cause::All], Level::Failure),
        ] {
            let mut check = check.clone();
            check.fail_if(&named);
            assert_eq!(check.level, level, "{named:?}");
        }
        let mut fine = Check::ok("held", "none");
        fine.fail_if(&[Cause::All]);
        assert_eq!(fine.level, Level::Ok);
    }

    #[test]
    fn the_worst_comes_first() {
        let mut checks = [
            Check::ok("a", ""),
            Check::warning("b", [Cause::Held], "", None),
            Check::warning("c", [Cause::Locks, Cause::Held], "", None),
            Check::failed("d", "", None),
        ];
        checks.sort_by(Check::by_weight);
        assert_eq!(checks.map(|check| check.name), ["d", "c", "b", "a"]);
    }

    /// Without the one limit, or the other, it would wait for an hour.
    #[tokio::test]
    async fn a_check_that_gets_no_answer_fails_and_all_together_have_a_limit() {
        let (short, hour) = (Duration::from_millis(5), Duration::from_secs(3_600));
        for (each, all) in [(short, hour), (hour, short)] {
            let places = Semaphore::new(1);
            let clock = Clock { each, until: Instant::now() + all, places };
            for _ in 0..3 {
                let check = clock.check("log", std::future::pending()).await;
                assert_eq!((check.level, check.name), (Level::Failure, "log"));
            }
        }
    }
}
