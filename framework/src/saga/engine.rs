//! The engine: decides what has happened to the instances of sagas, in local transactions with
//! what follows from it. Any number of processes may run one.

mod aside;
mod changes;
mod keep;
mod learnt;
mod local;
mod over;
mod replies;
mod report;
mod round;
mod say;
pub(crate) mod source;
mod start;
mod step_tx;
mod tell;
mod topics;
mod turn;
mod work;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use sqlx::Pool;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::definition::Saga;
use crate::{
    Error, Result, Storage, cap,
    message::check_source,
    pulse,
    said::Places,
    storage::{self, Own, check_schema, saga_owner},
};

pub use over::Over;
pub use replies::Replies;
pub use start::{StartError, Started};

/// How long ended instances are kept.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How often is looked for work that nobody has told of.
const POLL: Duration = pulse::EVERY;
/// Limit on an answer of the database.
const ANSWER: Duration = Duration::from_secs(20);
/// How many transactions are under way at once.
const AT_ONCE: u32 = 4;
/// How many instances are decided in one transaction.
const BATCH: u32 = 64;

/// Runs sagas. Cheap to clone: one goes where sagas are [started](Sagas::start), one to the
/// consumer that gets the [replies](Sagas::replies).
pub struct Sagas<DB: Storage>(Arc<Inner<DB>>);

impl<DB: Storage> Clone for Sagas<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<DB: Storage> {
    source: String,
    /// The one that the engine was built with: parts that share it share its pulse.
    service: Pool<DB>,
    /// Connections of its own, which have prepared what is asked again and again; each use has a
    /// time limit.
    pool: Own<DB>,
    sagas: Vec<Saga<DB>>,
    /// `saga/version` of each of them.
    owners: Vec<String>,
    retention: Duration,
    poll: Duration,
    batch: u32,
    at_once: u32,
    /// How many engines run in this process.
    running: AtomicUsize,
    /// A signal to other processes is under way.
    signalling: AtomicBool,
    status: Mutex<SagasStatus>,
    waiting: over::Waiting,
    topics: topics::Topics,
    said: Places,
}

/// How the engine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SagasStatus {
    /// Versions that have instances and that no definition here is of: (saga, version, instances).
    pub unknown: Vec<(String, i32, i64)>,
    /// How many instances (at most 1,000) have a command that was sent again and is not answered.
    pub overdue: usize,
    /// Instances (at most 1,000 are counted) with a step whose last attempt has failed.
    pub failing: usize,
    /// Instances (at most 1,000 are counted) that wait for an operator.
    pub stuck: usize,
    /// Topics of commands that no stream carries.
    pub uncarried: Vec<String>,
    /// The source as which this database's relay sends, when it is not the engine's.
    pub relay_source: Option<String>,
    /// Why the last transaction failed; none when it did not.
    pub error: Option<String>,
    /// How many instances are set aside because the database refuses what is decided of them, and why;
    /// none when none is. They go on by themselves once the cause is gone.
    pub aside: Option<String>,
}

impl SagasStatus {
    /// Whether every instance can go on, as far as it is the engine's affair: not whether its steps fail.
    pub fn is_healthy(&self) -> bool {
        self.unknown.is_empty()
            && self.error.is_none()
            && self.aside.is_none()
            && self.uncarried.is_empty()
            && self.relay_source.is_none()
    }
}

/// Builds [`Sagas`].
pub struct SagasBuilder<DB: Storage> {
    source: String,
    pool: Pool<DB>,
    sagas: Vec<Saga<DB>>,
    retention: Duration,
    poll: Duration,
    batch: u32,
    at_once: u32,
}

impl<DB: Storage> Sagas<DB> {
    /// Begins to build the engine of the service `source`, whose database `pool` is. The source is
    /// the one that its relay sends as.
    pub fn builder(source: impl Into<String>, pool: Pool<DB>) -> SagasBuilder<DB> {
        let (retention, poll, batch) = (RETENTION, POLL, BATCH);
        let (source, sagas, at_once) = (source.into(), Vec::new(), AT_ONCE);
        SagasBuilder { source, pool, sagas, retention, poll, batch, at_once }
    }

    /// Begins to work. A process that only starts sagas need not. Warns of declared topics of commands
    /// that no stream of this database carries.
    ///
    /// # Errors
    /// [`Error::NotMigrated`] and its kin when the database's tables do not fit this program;
    /// [`Error::Definition`] when a relay works on this database as another source: its replies would not
    /// reach this engine.
    pub async fn run(&self) -> Result<SagasHandle> {
        let pool = self.0.pool.now();
        pool.limit(DB::check_session(&pool)).await?;
        pool.limit(check_schema(&pool)).await?;
        pool.limit(source::check(&pool, storage::SourceRole::Sagas, &self.0.source)).await?;
        self.0.look_at_versions().await?;
        // Before the first relay of all has started there is no stream.
        if !pool.limit(DB::streams(&pool)).await?.is_empty() {
            self.0.look_at_topics().await?;
        }
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(work::run(Arc::clone(&self.0), stop.clone()));
        tasks.spawn(keep::run(Arc::clone(&self.0), stop.clone()));
        let of = format!("the saga engine of {}", self.0.source);
        tasks.spawn(storage::watch(self.0.pool.clone(), of, stop.clone()));
        tasks.spawn(report::run(Arc::clone(&self.0), stop.clone()));
        tasks.close();
        Ok(SagasHandle { stop, tasks })
    }

    /// Works in the caller's task: dropping it is a crash.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) async fn run_here(&self) {
        work::run(Arc::clone(&self.0), CancellationToken::new()).await;
    }

    /// How the engine of this process is.
    pub fn status(&self) -> SagasStatus {
        self.0.status().clone()
    }

    /// The handler of the replies: `consumer.batch_handler(wire::REPLY, sagas.replies())`.
    pub fn replies(&self) -> Replies<DB> {
        Replies(Arc::clone(&self.0))
    }
}

impl<DB: Storage> Inner<DB> {
    fn status(&self) -> std::sync::MutexGuard<'_, SagasStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn definition(&self, saga: &str, version: i32) -> Option<&Saga<DB>> {
        let same = |one: &&Saga<DB>| one.plan.name() == saga && one.plan.version() == version;
        self.sagas.iter().find(same)
    }
}

impl<DB: Storage> SagasBuilder<DB> {
    /// Adds a definition. Older versions are added, too, as long as they have instances; new ones
    /// are started with the newest.
    #[must_use]
    pub fn saga(mut self, saga: Saga<DB>) -> Self {
        self.sagas.push(saga);
        self
    }

    /// How long instances that are over are kept with their log (30 days). Until then a repeated
    /// start finds the first one.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How often is looked for work of which this process was not told (1.2 s).
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = cap::duration(poll);
        self
    }

    /// How many instances at the most are decided in one transaction (64).
    #[must_use]
    pub fn batch(mut self, instances: u32) -> Self {
        self.batch = instances;
        self
    }

    /// How many transactions at the most decide at the same time, each other instances (4 on
    /// PostgreSQL, on connections of the engine's own, which are made as the pool's are; elsewhere
    /// it is 1, whatever is said). Where local steps of different instances write the same rows, one
    /// may be better: after a deadlock it is one for a minute.
    #[must_use]
    pub fn at_once(mut self, transactions: u32) -> Self {
        self.at_once = transactions;
        self
    }

    /// Checks it.
    ///
    /// # Errors
    /// [`Error::Definition`]: the source is not of the allowed form, there is no definition, one is
    /// there twice, or a number is nought.
    pub fn build(self) -> Result<Sagas<DB>> {
        let Self { source, pool, sagas, retention, poll, batch, at_once } = self;
        let fail = |problem: String| {
            Err(Error::Definition { what: "saga engine", name: source.clone(), problem })
        };
        if let Err(error) = check_source(&source) {
            return fail(error.to_string());
        }
        if sagas.is_empty() {
            return fail("it has no definition: add one with `saga`".to_owned());
        }
        if poll.is_zero() || batch == 0 || at_once == 0 {
            return fail("`poll`, `batch` and `at_once` must be more than nought".to_owned());
        }
        let at_once = at_once.min(DB::ENGINE_AT_ONCE);
        let mut owners = Vec::new();
        for Saga { plan, .. } in &sagas {
            owners.push(saga_owner(plan.name(), plan.version()));
        }
        if owners.iter().collect::<HashSet<_>>().len() < owners.len() {
            return fail(format!("a version of a saga is there twice: {}", owners.join(", ")));
        }
        let (running, signalling, status, waiting) = Default::default();
        let topics = topics::Topics::default();
        let steps = sagas.iter().flat_map(|saga| saga.plan.steps());
        topics.note(steps.filter_map(|step| step.topic.clone()).collect());
        // One more asks what there is, and one listens.
        let make = move |pool: &_| DB::own_pool(pool, at_once.saturating_add(2));
        let own = Own::new(format!("the saga engine of {source}"), &pool, ANSWER, make);
        Ok(Sagas(Arc::new(Inner {
            source,
            service: pool,
            pool: own,
            sagas,
            owners,
            retention,
            poll,
            batch,
            at_once,
            running,
            signalling,
            status,
            waiting,
            topics,
            said: Places::new(),
        })))
    }
}

/// A running engine. Dropping it lets it run on.
#[derive(Debug)]
pub struct SagasHandle {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl SagasHandle {
    /// Finishes the transaction that is under way, and stops.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}
