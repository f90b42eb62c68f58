//! Looks for standstills that nothing else reports: keys that nobody tries again, because the consumer was
//! built and never started, and topics of its own that its service sends nowhere.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};

use super::{Consumer, Gap, Inner, REJECTED, Refused, Standing};
use crate::{
    Result, Storage,
    message::SAGA_REPLY,
    storage::{Ahead, OverdueKeys, StreamVersion},
    streams::takeover,
};

/// The time between two looks, from the first batch on.
const LOOK: Duration = Duration::from_secs(10);
/// A key that a running consumer has not tried for so long after its time is behind, or forgotten.
const LATE: Duration = Duration::from_secs(20);
/// The time until the log says the same again.
const AGAIN: Duration = Duration::from_secs(600);

/// State of a consumer, as far as this process knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerStatus {
    /// Whether its background work runs here ([`Consumer::start`]): without, and where no other
    /// process does it, parked keys are never tried again.
    pub running: bool,
    /// Held messages that should have been taken up again and were not, while the background work does not run here.
    pub unattended: Option<Unattended>,
    /// Topics of messages that this consumer has written, or will, and that no stream of its service
    /// carries: rejections, and answers to sagas.
    pub uncarried: Vec<String>,
    /// As [`Consumer::gaps`] has them.
    pub gaps: Vec<Gap>,
    /// As [`Consumer::standing`] has them.
    pub standing: Vec<Standing>,
    /// Messages that came and that the consumer itself refuses, for its database takes no writes or it
    /// pauses; the first one refused comes first. Gaps behind them close with them: skip nothing.
    pub refused: Vec<Refused>,
}

/// Messages that are held and that nobody takes up again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unattended {
    /// Number of parked keys whose time has come.
    pub keys: i64,
    /// Number of early messages that are held.
    pub early: i64,
    /// Since when the first of them waits.
    pub since: DateTime<Utc>,
}

/// Result of the last look.
#[derive(Default)]
pub(super) struct Unseen {
    /// Background works that run here.
    works: AtomicUsize,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    /// A look-out is there, which lives as long as the consumer.
    watched: bool,
    unattended: Option<Unattended>,
    uncarried: BTreeSet<&'static str>,
}

impl Unseen {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> bool {
        self.works.load(Ordering::Relaxed) > 0
    }
}

/// Background work that runs, until it is dropped.
pub(super) struct Working<DB: Storage>(Arc<Inner<DB>>);

impl<DB: Storage> Working<DB> {
    pub(super) fn new(consumer: &Arc<Inner<DB>>) -> Self {
        consumer.unseen.works.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(consumer))
    }
}

impl<DB: Storage> Drop for Working<DB> {
    fn drop(&mut self) {
        self.0.unseen.works.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<DB: Storage> Consumer<DB> {
    /// The consumer as this process knows it; for a health check. Things found by looking now and
    /// then is there within a minute of the first batch.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # fn example(consumer: syncline::Consumer<sqlx::Sqlite>) {
    /// let status = consumer.status();
    /// let healthy = status.running && status.unattended.is_none() && status.uncarried.is_empty();
    /// # drop(healthy); }
    /// ```
    pub fn status(&self) -> ConsumerStatus {
        let unseen = &self.0.unseen;
        let (unattended, uncarried) = {
            let found = unseen.found();
            let uncarried = found.uncarried.iter().map(|topic| (*topic).to_owned()).collect();
            (found.unattended.clone(), uncarried)
        };
        let running = unseen.running();
        let unattended = unattended.filter(|_| !running);
        ConsumerStatus {
            running,
            unattended,
            uncarried,
            gaps: self.gaps(),
            standing: self.standing(),
            refused: self.0.refused.all(),
        }
    }
}

impl<DB: Storage> Inner<DB> {
    /// Sees to it that somebody looks. The first batch comes in a runtime; `build` need not be in one.
    pub(super) fn be_watched(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.unseen.found().watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    async fn look_for_unattended(&self) -> Result<Option<Unattended>> {
        let pool = self.pool.now();
        let keys = pool.limit(DB::overdue_keys(&pool, Some(&self.name), LATE)).await?;
        let early = pool.limit(DB::ahead(&pool, Some(&self.name))).await?;
        Ok(unattended(&keys, &early, Utc::now()))
    }

    /// Topics that its own messages have.
    fn writes(&self) -> impl Iterator<Item = &'static str> {
        let rejects = self.rejects.load(Ordering::Relaxed).then_some(REJECTED);
        rejects.into_iter().chain(self.barriers.map(|_| SAGA_REPLY))
    }

    async fn look_for_uncarried(&self) -> Result<BTreeSet<&'static str>> {
        let written: Vec<_> = self.writes().collect();
        if written.is_empty() {
            return Ok(BTreeSet::new());
        }
        let pool = self.pool.now();
        let streams = pool.limit(DB::streams(&pool)).await?;
        Ok(written.into_iter().filter(|topic| !carries(&streams, topic)).collect())
    }
}

/// Sums up what is overdue; early messages only once they have waited for as long.
fn unattended(keys: &[OverdueKeys], early: &[Ahead], now: DateTime<Utc>) -> Option<Unattended> {
    let late = now - LATE;
    let early: Vec<_> = early.iter().filter(|one| one.waiting > 0 && one.since <= late).collect();
    let since =
        keys.iter().map(|keys| keys.since).chain(early.iter().map(|one| one.since)).min()?;
    let early = early.iter().map(|one| one.waiting).sum();
    Some(Unattended { keys: keys.iter().map(|keys| keys.keys).sum(), early, since })
}

/// Whether a stream carries what is written of `topic` now.
fn carries(streams: &[StreamVersion], topic: &str) -> bool {
    streams.iter().any(|version| {
        let in_force = takeover::until(streams, version).is_none();
        // Of a definition from a time when topics were not kept nothing is known.
        let unknown = version.topics.is_empty() && !version.rests();
        let carries = || takeover::patterns(version).iter().any(|pattern| pattern.matches(topic));
        in_force && (unknown || carries())
    })
}

/// Time of the last log event, so that not every look repeats it.
#[derive(Default)]
struct Said(Option<Instant>);

impl Said {
    fn again(&mut self) -> bool {
        let again = self.0.is_none_or(|at| at.elapsed() >= AGAIN);
        if again {
            self.0 = Some(Instant::now());
        }
        again
    }
}

async fn watch<DB: Storage>(consumer: Weak<Inner<DB>>) {
    let (mut unattended, mut uncarried) = (Said::default(), Said::default());
    loop {
        sleep(LOOK).await;
        let Some(consumer) = consumer.upgrade() else { return };
        let name = &consumer.name;
        match consumer.unseen.running() {
            true => {
                unattended = Said::default();
                consumer.unseen.found().unattended = None;
            }
            false => match consumer.look_for_unattended().await {
                Ok(found) => tell_unattended(&consumer, found, &mut unattended),
                // A database that is away is reported where messages are applied.
                Err(error) => {
                    tracing::debug!(consumer = name, %error, "what waits could not be read");
                }
            },
        }
        match consumer.look_for_uncarried().await {
            Ok(found) => tell_uncarried(&consumer, found, &mut uncarried),
            Err(error) => tracing::debug!(consumer = name, %error, "streams could not be read"),
        }
    }
}

fn tell_unattended<DB: Storage>(consumer: &Inner<DB>, found: Option<Unattended>, said: &mut Said) {
    match &found {
        None => *said = Said::default(),
        Some(Unattended { keys, early, since }) => {
            if said.again() {
                tracing::warn!(
                    consumer = consumer.name, keys, early, %since,
                    "held messages wait and nobody takes them up: this consumer was built and not \
                     started here, or was stopped; call `Consumer::start`, and keep what it returns, in \
                     each process that takes messages in"
                );
            }
        }
    }
    consumer.unseen.found().unattended = found;
}

fn tell_uncarried<DB: Storage>(
    consumer: &Inner<DB>,
    found: BTreeSet<&'static str>,
    said: &mut Said,
) {
    if consumer.unseen.found().uncarried != found {
        *said = Said::default();
    }
    if !found.is_empty() && said.again() {
        let topics: Vec<_> = found.iter().copied().collect();
        tracing::warn!(
            consumer = consumer.name,
            topics = topics.join(", "),
            "no stream of this service carries what the consumer tells the source: it does not learn of \
             rejections (syncline.rejected) or answers to sagas (syncline.saga.reply); give the service a \
             relay with a stream of the topic and a route to the source"
        );
    }
    consumer.unseen.found().uncarried = found;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Position;

    fn stream(name: &str, version: i32, topics: &[&str]) -> StreamVersion {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let (name, after, created_at) = (name.to_owned(), Position::START, Utc::now());
        StreamVersion { name, version, topics, shards: 1, after, created_at }
    }

    #[test]
    fn a_topic_is_carried_by_what_is_in_force() {
        let carried = |streams: &[StreamVersion]| carries(streams, REJECTED);
        assert!(!carried(&[]));
        assert!(!carried(&[stream("s", 1, &["user.*"])]));
        assert!(carried(&[stream("s", 1, &["user.*"]), stream("back", 1, &[REJECTED])]));
        assert!(carried(&[stream("s", 1, &["*"])]));
        assert!(!carried(&[stream("s", 1, &["*"]), stream("s", 2, &["user.*"])]), "an old version");
        assert!(!carried(&[stream("s", 1, &["*"]), stream("s", 2, &["!"])]), "it was closed");
        assert!(carried(&[stream("s", 1, &[])]), "nothing is known of its topics");
    }

    #[test]
    fn what_was_found_is_said_once_in_a_while() {
        let mut said = Said::default();
        assert!(said.again() && !said.again());
        said = Said(Instant::now().checked_sub(AGAIN));
        assert!(said.again() && !said.again());
    }
}
