//! Pulls that fail, as subscribers tell of them, until one goes well.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::Instant;

use crate::{cap, transport::PullNote};

/// One that has been failing for less long may be a restart of its source.
const LASTING: Duration = Duration::from_secs(5);
/// The most pulls that are remembered.
const MOST: usize = 1_000;
/// The most that are told of one by one.
const TOLD: usize = 5;

/// Stream, shard, source and target.
type Pull = (String, i32, String, String);

struct Failing {
    since: DateTime<Utc>,
    began: Instant,
    error: String,
}

/// The pulls that fail here.
#[derive(Default)]
pub(super) struct Pulls(Mutex<BTreeMap<Pull, Failing>>);

impl Pulls {
    pub(super) fn note(&self, note: &PullNote<'_>) {
        let PullNote { target, source, stream, shard, error } = *note;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if error.is_none() && all.is_empty() {
            return;
        }
        let pull = (stream.to_owned(), shard, source.to_owned(), without_secrets(target));
        let Some(error) = error.map(cap::text) else {
            all.remove(&pull);
            return;
        };
        if let Some(failing) = all.get_mut(&pull) {
            failing.error = error;
        } else if all.len() < MOST {
            all.insert(pull, Failing { since: Utc::now(), began: Instant::now(), error });
        }
    }

    /// Texts of those that have been failing for a while.
    pub(super) fn problems(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lasting = all.iter().filter(|(_, failing)| failing.began.elapsed() >= LASTING);
        let text = |((stream, shard, source, target), failing): (&Pull, &Failing)| {
            let since = failing.since.to_rfc3339_opts(SecondsFormat::Millis, true);
            let error = &failing.error;
            format!(
                "pull of {stream}/{shard} of {source} from {target} fails since {since}: {error}"
            )
        };
        let mut texts: Vec<_> = lasting.map(text).collect();
        let more = texts.len().saturating_sub(TOLD);
        texts.truncate(TOLD);
        texts.extend((more > 0).then(|| format!("{more} more pulls fail")));
        texts
    }
}

/// A URL without user, password, query and fragment.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = host.rsplit('@').next().unwrap_or_default();
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    format!("{scheme}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(shard: i32, error: Option<&'static str>) -> PullNote<'static> {
        let target = "https://u:secret@host:1/feed?token=secret";
        PullNote { target, source: "/s", stream: "users", shard, error }
    }

    /// Makes all that fail do so for long; false where the clock does not go back so far.
    fn age(pulls: &Pulls) -> bool {
        let mut all = pulls.0.lock().expect("no panic");
        all.values_mut().all(|failing| {
            failing.began.checked_sub(LASTING).map(|began| failing.began = began).is_some()
        })
    }

    #[test]
    fn a_pull_that_fails_is_told_of_after_a_while_until_one_goes_well() {
        let pulls = Pulls::default();
        pulls.note(&note(0, Some("it answered 503")));
        assert!(pulls.problems().is_empty(), "as when the source restarts");
        if !age(&pulls) {
            return;
        }
        pulls.note(&note(0, Some("it answered 401")));
        let told = pulls.problems();
        assert_eq!(told.len(), 1, "{told:?}");
        let begins = told[0].starts_with("pull of users/0 of /s from https://host:1/feed fails");
        assert!(begins && told[0].ends_with(": it answered 401"), "{told:?}");
        assert!(!told[0].contains("secret"), "{told:?}");
        pulls.note(&note(0, None));
        assert!(pulls.problems().is_empty());
    }

    #[test]
    fn many_that_fail_are_counted() {
        let pulls = Pulls::default();
        (0..2_000).for_each(|shard| pulls.note(&note(shard, Some("no"))));
        if !age(&pulls) {
            return;
        }
        let told = pulls.problems();
        assert_eq!(told.len(), TOLD + 1);
        assert_eq!(told[TOLD], format!("{} more pulls fail", MOST - TOLD));
    }
}
