//! The consumer: takes batches in, applies each message once in the consumer's own
//! transaction, parks the key of what fails, and lets all other keys flow on.

mod apply;
mod compensation;
mod invoke;
mod retry;
mod settle;
mod start;
mod stop;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::Pool;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    BatchHandler, Compensate, Error, Handler, Result, Start, Storage,
    message::{Batch, LINK, Origin, Position, TopicPattern, check_stream},
    storage::{InboxRow, check_schema},
    transport::{Ack, Reached, Receive, ReceiveError},
};

pub use compensation::REJECTED;

/// When and how often a failed message is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// After so many tries (at least 1) it becomes a dead letter.
    pub max_attempts: i32,
    /// The pause after the first try; it doubles with each further one.
    pub base: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Default for RetryPolicy {
    /// Eight tries, from one second to five minutes apart.
    fn default() -> Self {
        Self { max_attempts: 8, base: Duration::from_secs(1), max: Duration::from_secs(300) }
    }
}

/// What becomes of a key whose message is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDead {
    /// It stays blocked until somebody redrives or drops the dead letter: order is kept.
    #[default]
    Block,
    /// Its later messages are applied without the dead one.
    Skip,
}

enum Action<DB: Storage> {
    One(Arc<dyn Handler<DB>>),
    Many(Arc<dyn BatchHandler<DB>>),
    Ignore,
}

impl<DB: Storage> Clone for Action<DB> {
    fn clone(&self) -> Self {
        match self {
            Self::One(handler) => Self::One(Arc::clone(handler)),
            Self::Many(handler) => Self::Many(Arc::clone(handler)),
            Self::Ignore => Self::Ignore,
        }
    }
}

/// Builds a [`Consumer`]; made by [`Consumer::builder`].
pub struct ConsumerBuilder<DB: Storage> {
    name: String,
    pool: Pool<DB>,
    actions: Vec<(TopicPattern, Action<DB>)>,
    compensations: Vec<(TopicPattern, Arc<dyn Compensate<DB>>)>,
    retry: RetryPolicy,
    on_dead: OnDead,
    timeout: Duration,
    max_parked: i64,
    start: Start,
}

impl<DB: Storage> ConsumerBuilder<DB> {
    /// Where a subscription to a stream begins that this consumer has none of yet (at the
    /// beginning of the log, unless set).
    ///
    /// With [`Start::Now`] it begins with the first batch that it is sent, whatever came before
    /// it; with [`Start::Position`] after that position, which is one of the source's log. From
    /// then on a message that is missing is missed, and sent again. Give a new route the same
    /// start ([`Route::start`](crate::Route::start)), so that the source does not read its whole
    /// log for nothing; with `Now` it is the route that says when now is.
    #[must_use]
    pub fn start_at(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Handles messages of `topic` (a topic, `user.*` or `*`) one at a time. Of several
    /// patterns that match, the first one given counts.
    #[must_use]
    pub fn handler(self, topic: impl Into<TopicPattern>, handler: impl Handler<DB>) -> Self {
        self.action(topic, Action::One(Arc::new(handler)))
    }

    /// Handles consecutive messages of `topic` together: the fast way.
    #[must_use]
    pub fn batch_handler(
        self,
        topic: impl Into<TopicPattern>,
        handler: impl BatchHandler<DB>,
    ) -> Self {
        self.action(topic, Action::Many(Arc::new(handler)))
    }

    /// Passes over messages of `topic`. Without it a message that nobody handles is parked:
    /// it may be of a newer version of the source than this consumer knows.
    #[must_use]
    pub fn ignore(self, topic: impl Into<TopicPattern>) -> Self {
        self.action(topic, Action::Ignore)
    }

    /// Takes back what our own messages of `topic` announced when a consumer rejects one.
    #[must_use]
    pub fn compensation(
        mut self,
        topic: impl Into<TopicPattern>,
        compensation: impl Compensate<DB>,
    ) -> Self {
        self.compensations.push((topic.into(), Arc::new(compensation)));
        self
    }

    /// When and how often a failed message is tried again.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// What becomes of a key whose message is a dead letter (blocked unless set).
    #[must_use]
    pub fn on_dead(mut self, on_dead: OnDead) -> Self {
        self.on_dead = on_dead;
        self
    }

    /// The longest that one call of a handler may take (30 s unless set).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many keys may be parked (100 unless set): with more the stream pauses, for then
    /// the consumer is broken and not the messages.
    #[must_use]
    pub fn max_parked_keys(mut self, keys: u32) -> Self {
        self.max_parked = i64::from(keys);
        self
    }

    /// Makes the consumer.
    ///
    /// # Errors
    /// [`Error::Definition`] when its name is not of the allowed form, it handles nothing, or
    /// a limit is nought.
    pub fn build(mut self) -> Result<Consumer<DB>> {
        let problem = if let Err(error) = check_stream(&self.name) {
            Some(error.to_string())
        } else if self.actions.is_empty() && self.compensations.is_empty() {
            Some("it handles no topic: add a handler".to_owned())
        } else if self.retry.max_attempts < 1 || self.timeout.is_zero() || self.max_parked < 1 {
            Some("attempts, the time limit and the parked keys must be at least 1".to_owned())
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(Error::Definition { what: "consumer", name: self.name, problem });
        }
        if !self.compensations.is_empty() {
            let rejected = compensation::OnRejected::new(std::mem::take(&mut self.compensations));
            // First, so that a pattern like `*` does not swallow it.
            self.actions.insert(0, (TopicPattern::from(REJECTED), Action::One(Arc::new(rejected))));
        }
        Ok(Consumer(Arc::new(Inner {
            name: self.name,
            pool: self.pool,
            actions: self.actions,
            retry: self.retry,
            on_dead: self.on_dead,
            timeout: self.timeout,
            max_parked: self.max_parked,
            start: self.start,
            turns: Mutex::default(),
        })))
    }

    fn action(mut self, topic: impl Into<TopicPattern>, action: Action<DB>) -> Self {
        self.actions.push((topic.into(), action));
        self
    }
}

/// Applies messages once. Cheap to clone; hand it to a transport's receiver as an
/// `Arc<dyn Receive>`.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// use syncline::{Consumer, Verdict, handler_fn};
/// let consumer = Consumer::builder("login", pool)
///     .handler("user.registered", handler_fn(|tx, message| Box::pin(async move {
///         sqlx::query("INSERT INTO users (id) VALUES (?)")
///             .bind(message.key.clone()).execute(&mut **tx).await?;
///         Ok(Verdict::Done)
///     })))
///     .build()?;
/// let running = consumer.start().await?;
/// running.stop().await;
/// # Ok(()) }
/// ```
pub struct Consumer<DB: Storage>(Arc<Inner<DB>>);

impl<DB: Storage> Clone for Consumer<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<DB: Storage> {
    name: String,
    pool: Pool<DB>,
    actions: Vec<(TopicPattern, Action<DB>)>,
    retry: RetryPolicy,
    on_dead: OnDead,
    timeout: Duration,
    max_parked: i64,
    start: Start,
    turns: Mutex<HashMap<Origin, Turn>>,
}

/// Batches of one origin are applied one after the other; one that came too early waits a
/// little for the one before it.
#[derive(Clone)]
struct Turn {
    applying: Arc<tokio::sync::Mutex<()>>,
    watermark: watch::Sender<Position>,
}

impl<DB: Storage> Consumer<DB> {
    /// Begins to build the consumer `name`, which applies to `pool`. The name is part of the
    /// inbox's key: it must stay the same.
    pub fn builder(name: impl Into<String>, pool: Pool<DB>) -> ConsumerBuilder<DB> {
        ConsumerBuilder {
            name: name.into(),
            pool,
            actions: Vec::new(),
            compensations: Vec::new(),
            retry: RetryPolicy::default(),
            on_dead: OnDead::default(),
            timeout: Duration::from_secs(30),
            max_parked: 100,
            start: Start::Beginning,
        }
    }

    /// Starts the background work: trying parked keys again when they are due.
    ///
    /// # Errors
    /// [`Error::NotMigrated`] and its kin when the database's tables do not fit this program.
    pub async fn start(&self) -> Result<ConsumerHandle> {
        check_schema(&self.0.pool).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(retry::run(Arc::clone(&self.0), stop.clone()));
        tasks.close();
        Ok(ConsumerHandle { stop, tasks })
    }
}

/// A consumer's background work. Dropping it lets the work go on.
#[derive(Debug)]
pub struct ConsumerHandle {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl ConsumerHandle {
    /// Finishes what was begun and stops.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

#[async_trait]
impl<DB: Storage> Receive for Consumer<DB> {
    async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        // A task of its own: a client that goes away does not stop it half way.
        let inner = Arc::clone(&self.0);
        match tokio::spawn(async move { inner.receive(batch).await }).await {
            Ok(result) => result,
            Err(error) => Err(ReceiveError::Refused(format!("the consumer failed: {error}"))),
        }
    }

    async fn reached(&self, origin: &Origin) -> Result<Option<Reached>, ReceiveError> {
        let Inner { name, pool, .. } = &*self.0;
        // The row's key is without the incarnation, which the row tells.
        let row = DB::inbox(pool, name, origin).await?;
        Ok(row.map(|InboxRow { incarnation, watermark, last, .. }| Reached {
            incarnation,
            watermark,
            last,
        }))
    }
}

impl<DB: Storage> Inner<DB> {
    fn turn(&self, origin: &Origin) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(origin.clone()).or_insert_with(|| Turn {
            applying: Arc::default(),
            watermark: watch::channel(Position::START).0,
        });
        turn.clone()
    }

    fn action(&self, topic: &str) -> Option<&Action<DB>> {
        // It only keeps the messages linked: there is nothing to handle.
        if topic == LINK {
            return Some(&Action::Ignore);
        }
        self.actions.iter().find(|(pattern, _)| pattern.matches(topic)).map(|(_, action)| action)
    }
}
