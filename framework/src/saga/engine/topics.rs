//! Whether commands are carried: one whose topic no stream has is sent nowhere, and its saga waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::Inner;
use crate::{Result, Storage, streams::takeover};

/// The topics of commands: those that steps declare, and those of commands that were sent.
#[derive(Debug, Default)]
pub(super) struct Topics {
    known: Mutex<BTreeMap<String, Told>>,
    /// Number of looks.
    looks: AtomicU32,
}

/// The last news of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It was not looked at yet.
    New,
    Carried,
    Uncarried,
}

/// All of them are looked at so rarely when all were carried: a stream may have been closed.
const RARELY: u32 = 10;

impl Topics {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Told>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, topics: BTreeSet<String>) {
        if topics.is_empty() {
            return;
        }
        let mut known = self.known();
        for topic in topics {
            known.entry(topic).or_insert(Told::New);
        }
    }

    /// All of them, when it is time to look.
    fn to_look_at(&self) -> Option<Vec<String>> {
        let known = self.known();
        let all_carried = known.values().all(|told| *told == Told::Carried);
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        let rest = known.is_empty() || (all_carried && !looks.is_multiple_of(RARELY));
        (!rest).then(|| known.keys().cloned().collect())
    }

    /// Takes note of those that are not carried now: which of them are new, and which are carried again.
    fn learn(&self, uncarried: &[String]) -> (Vec<String>, Vec<String>) {
        let (mut new, mut again) = (Vec::new(), Vec::new());
        for (topic, told) in self.known().iter_mut() {
            let now = if uncarried.contains(topic) { Told::Uncarried } else { Told::Carried };
            match (std::mem::replace(told, now), now) {
                (Told::New | Told::Carried, Told::Uncarried) => new.push(topic.clone()),
                (Told::Uncarried, Told::Carried) => again.push(topic.clone()),
                _ => {}
            }
        }
        (new, again)
    }
}

impl<DB: Storage> Inner<DB> {
    /// Warns of commands that are sent nowhere, once for each topic; how many there are stands in the
    /// status.
    pub(super) async fn look_at_topics(&self) -> Result<()> {
        let Some(topics) = self.topics.to_look_at() else { return Ok(()) };
        let pool = self.pool.now();
        let uncarried = pool.limit(without_stream(&pool, topics)).await?;
        let (new, again) = self.topics.learn(&uncarried);
        for topic in new {
            tracing::warn!(
                source = self.source,
                topic,
                "no stream carries the commands of this topic: they are sent nowhere, and their sagas \
                 wait; give the relay of this source a stream with the topic, and a route of it to the \
                 participant. Commands that wait are sent again then"
            );
        }
        for topic in again {
            tracing::info!(source = self.source, topic, "a stream carries these commands now");
        }
        self.status().uncarried = uncarried;
        Ok(())
    }
}

/// The subset of `topics` that no stream carries now.
async fn without_stream<DB: Storage>(
    pool: &sqlx::Pool<DB>,
    mut topics: Vec<String>,
) -> Result<Vec<String>> {
    let versions = DB::streams(pool).await?;
    // Of a definition from a time when topics were not kept nothing is known.
    if versions.iter().any(|version| version.topics.is_empty() && !version.rests()) {
        return Ok(Vec::new());
    }
    let in_force = |one: &&_| takeover::until(&versions, one).is_none();
    let carried: Vec<_> = versions.iter().filter(in_force).flat_map(takeover::patterns).collect();
    topics.retain(|topic| !carried.iter().any(|one| one.matches(topic)));
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_told_of_once_and_again_when_it_is_lost_again() {
        let topics = Topics::default();
        topics.note(["a", "b"].map(str::to_owned).into());
        let learn = |uncarried: &[&str]| {
            topics.learn(&uncarried.iter().map(|&topic| topic.to_owned()).collect::<Vec<_>>())
        };
        let (none, a) = (Vec::<String>::new(), vec!["a".to_owned()]);
        assert_eq!(learn(&["a"]), (a.clone(), none.clone()));
        // A command of it is sent once more.
        topics.note(["a"].map(str::to_owned).into());
        assert_eq!(learn(&["a"]), (none.clone(), none.clone()));
        assert_eq!(learn(&[]), (none.clone(), a.clone()));
        assert_eq!(learn(&["a"]), (a, none));
        assert_eq!(topics.to_look_at(), Some(vec!["a".to_owned(), "b".to_owned()]));
    }
}
