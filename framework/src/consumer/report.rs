//! A running consumer's row in the table of processes: the topics that it takes and what it does not
//! get on with, among it another consumer of its name that takes other topics.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use chrono::SecondsFormat;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Action, Inner, LINKS};
use crate::{
    Result, Storage,
    logs::{count, verb},
    message::TopicPattern,
    processes::{self, Defined, Differing, Kind, Reporter, Tell, Told},
    storage::{Current, HeldCount, Unhandled},
};

/// The most messages that are told of as standing.
const STANDING: usize = 5;
/// The most topics without a handler that are looked at, of all consumers.
const TOPICS: i64 = 100;

/// Problems of the consumer, as it has told them last.
pub(super) type Problems = Arc<Mutex<Vec<String>>>;

struct Teller<DB: Storage> {
    consumer: Arc<Inner<DB>>,
    id: Uuid,
    problems: Problems,
    /// The processes that this one differs from, and whether it was said that it lasts.
    said: Mutex<HashMap<Uuid, bool>>,
}

/// Reports until `stop`.
pub(super) async fn run<DB: Storage>(
    consumer: Arc<Inner<DB>>,
    problems: Problems,
    stop: CancellationToken,
) {
    let (id, name, pool) = (Uuid::now_v7(), consumer.name.clone(), consumer.pool.clone());
    let teller = Teller { consumer, id, problems, said: Mutex::default() };
    Reporter::new(id, Kind::Consumer, name, pool).run(teller, stop).await;
}

#[async_trait]
impl<DB: Storage> Tell<DB> for Teller<DB> {
    async fn tell(&self, pool: &Current<DB>) -> Result<Told> {
        let defined = Defined { topics: self.consumer.topics(), ..Defined::default() };
        // A database that answers nothing must not hide what is known without it.
        let others = pool.limit(processes::list(pool)).await;
        let others = others.inspect_err(|_| self.keep(self.known()))?;
        let found = processes::differing(&others);
        let mut problems = self.known();
        problems.extend(self.differs(found.iter().filter(|two| self.is_in(two))));
        let unhandled = pool.limit(DB::unhandled(pool, TOPICS)).await;
        let unhandled = unhandled.inspect_err(|_| self.keep(problems.clone()))?;
        let ours = unhandled.into_iter().filter(|one| one.consumer == self.consumer.name);
        problems.extend(ours.map(|Unhandled { topic, messages, since, .. }| {
            let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
            format!(
                "no handler takes topic {topic:?}: {} held since {since}, until a process of this \
                 consumer has one, or says `ignore`",
                count(messages, "message")
            )
        }));
        let counts = pool.limit(DB::held_counts(pool)).await;
        let counts = counts.inspect_err(|_| self.keep(problems.clone()))?;
        // The row need not say what the database has anyhow.
        let held = counts.into_iter().filter(|count| count.consumer == self.consumer.name);
        let held = held.map(|HeldCount { held, dead, since, .. }| {
            let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
            format!(
                "{} held since {since}, {dead} of them dead letters, which wait for an operator: see \
                 `syncline held list`",
                count(held, "message")
            )
        });
        self.keep(problems.iter().cloned().chain(held).collect());
        Ok(Told { defined, problems })
    }
}

impl<DB: Storage> Teller<DB> {
    fn keep(&self, problems: Vec<String>) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    /// Problems that this process knows without the database.
    fn known(&self) -> Vec<String> {
        let refused = self.consumer.refused.all();
        let mut problems: Vec<String> =
            refused.iter().take(STANDING).map(ToString::to_string).collect();
        problems.extend(self.consumer.pulls.problems());
        let standing = self.consumer.standing.all().into_iter().take(STANDING).map(|one| {
            format!(
                "message {} at position {} (topic {}) meets an error that should pass, {}: {}",
                one.id,
                one.position,
                one.topic,
                count(one.rounds, "round"),
                one.error
            )
        });
        problems.extend(standing);
        // Messages behind those that are refused here are not missing.
        let gaps = self.consumer.known_gaps().into_iter();
        let gaps = gaps.filter(|gap| self.consumer.refused.of(&gap.origin).is_none());
        problems.extend(gaps.map(|gap| {
            format!(
                "messages of {} {} shard {} are missing, up to position {}: {} {} for them",
                gap.origin.source,
                gap.origin.stream,
                gap.origin.shard,
                gap.missing.position,
                gap.held,
                verb(gap.held, "waits", "wait")
            )
        }));
        problems
    }

    fn is_in(&self, two: &Differing) -> bool {
        two.ids.0 == self.id || two.ids.1 == self.id
    }

    /// Logs what is new, and returns what lasts.
    fn differs<'a>(&self, found: impl Iterator<Item = &'a Differing>) -> Vec<String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut still, mut lasting) = (HashMap::new(), Vec::new());
        for two in found {
            let other = if two.ids.0 == self.id { two.ids.1 } else { two.ids.0 };
            let known = said.get(&other).copied();
            match (two.lasts(), known) {
                (true, Some(true)) | (false, Some(_)) => {}
                (true, _) => tracing::warn!(consumer = two.consumer, "{two}"),
                (false, None) => tracing::info!(
                    consumer = two.consumer,
                    "{two} (as while a new version takes over from an old one; it is an alarm after \
                     five minutes)"
                ),
            }
            still.insert(other, two.lasts());
            if two.lasts() {
                lasting.push(two.to_string());
            }
        }
        *said = still;
        lasting
    }
}

impl<DB: Storage> Inner<DB> {
    /// The patterns that it was built with, in order, each once.
    fn topics(&self) -> Vec<String> {
        let topic = |(pattern, action): &(TopicPattern, Action<DB>)| match action {
            Action::Ignore => format!("{pattern} (ignored)"),
            Action::One(_) | Action::Many(_) | Action::Answer(_) => format!("{pattern}"),
        };
        let taken = self.actions.iter().enumerate().filter(|(at, _)| *at != LINKS);
        let mut topics: Vec<String> = taken.map(|(_, action)| topic(action)).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}
