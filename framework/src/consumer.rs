//! The consumer: takes batches in, applies each message once in the consumer's own
//! transaction, parks the key of what fails, and lets all other keys flow on.

mod ahead;
mod apply;
mod builder;
mod compensation;
mod foreign;
mod forget;
mod gaps;
mod handover;
mod incarnation;
mod invoke;
mod patterns;
mod pulls;
mod refusal;
mod repeat;
mod report;
mod retry;
mod settle;
mod standing;
mod start;
mod stop;
mod unseen;

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use tokio::sync::{MutexGuard, Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    BatchHandler, Handler, Result, Start, Storage,
    message::{Batch, Envelope, ForeignMessage, HandOver, LINK, Origin, Position, TopicPattern},
    saga::participant::AnswerCommand,
    said::Places,
    storage::{self, Cause, InboxRow, Lent, Opening, Own, begin_as, check_schema},
    transport::{Ack, FetchMissing, PullNote, Reached, Receive, ReceiveError},
};
use builder::{Hold, Order};
use pulls::Pulls;
use standing::AllStanding;
use unseen::{Unseen, Working};

pub use builder::{ConsumerBuilder, OnDead, OnGap, RetryPolicy};
pub use compensation::REJECTED;
pub use gaps::Gap;
pub(crate) use invoke::text as panic_text;
pub use refusal::Refused;
pub use standing::Standing;
pub use unseen::{ConsumerStatus, Unattended};

/// A transaction may rest for longer than a handler may take, by this.
const MARGIN: Duration = Duration::from_secs(5);
/// No transaction may rest for longer.
const LONGEST_REST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The place of the action for bare links, which only keep a feed's messages linked.
const LINKS: usize = 0;

enum Action<DB: Storage> {
    One(Arc<dyn Handler<DB>>),
    Many(Arc<dyn BatchHandler<DB>>),
    /// Takes part in sagas.
    Answer(Arc<dyn AnswerCommand<DB>>),
    Ignore,
}

impl<DB: Storage> Clone for Action<DB> {
    fn clone(&self) -> Self {
        match self {
            Self::One(handler) => Self::One(Arc::clone(handler)),
            Self::Many(handler) => Self::Many(Arc::clone(handler)),
            Self::Answer(handler) => Self::Answer(Arc::clone(handler)),
            Self::Ignore => Self::Ignore,
        }
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
    /// The one that the consumer was built with: parts that share it share its pulse.
    service: Pool<DB>,
    /// Connections of its own, each use with a time limit.
    pool: Own<DB>,
    actions: Vec<(TopicPattern, Action<DB>)>,
    retry: RetryPolicy,
    on_dead: OnDead,
    timeout: Duration,
    max_parked: i64,
    max_held: i64,
    order: Order,
    versions: Vec<(TopicPattern, RangeInclusive<i32>)>,
    hold: Hold,
    on_gap: OnGap,
    fetch: Vec<(String, Arc<dyn FetchMissing>)>,
    foreign_retention: Duration,
    /// How long steps of sagas are remembered, if it takes part in any.
    barriers: Option<Duration>,
    start: Start,
    turns: Mutex<HashMap<Origin, Turn>>,
    /// Lines about what fails again and again.
    said: Places,
    gaps: Mutex<HashMap<Origin, Gap>>,
    standing: AllStanding,
    pulls: Pulls,
    refused: refusal::AllRefused,
    /// It has rejected a message since it was built.
    rejects: AtomicBool,
    unseen: Unseen,
    /// A key was parked: the retry task looks when it is due.
    parked: Notify,
    /// There is a gap, or what was missing has come.
    gap: Notify,
    /// Versions of streams that took over, with a watermark by which they had.
    handed: Mutex<HashMap<Origin, Position>>,
}

/// Batches of one origin are applied one after the other; one that came too early waits a
/// little for the one before it.
#[derive(Clone)]
struct Turn {
    applying: Arc<tokio::sync::Mutex<()>>,
    watermark: watch::Sender<Position>,
    /// What this version of the stream took over from, as far as a batch has told.
    handover: Arc<Mutex<Option<Arc<HandOver>>>>,
}

impl Turn {
    /// Waits for the batch before this one, each of whose handlers has a time limit.
    async fn begin(&self, limit: Duration) -> Result<MutexGuard<'_, ()>, ReceiveError> {
        let busy = |_| ReceiveError::Busy { seconds: limit.as_secs_f64() };
        tokio::time::timeout(limit, self.applying.lock()).await.map_err(busy)
    }

    fn set_handover(&self, handover: &Arc<HandOver>) {
        let mut known = self.handover.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Arc::clone(handover));
    }

    fn handover(&self) -> Option<Arc<HandOver>> {
        self.handover.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<DB: Storage> Consumer<DB> {
    /// Begins to build the consumer `name`, which applies to `pool`. The name is part of the
    /// inbox's key: it must stay the same.
    pub fn builder(name: impl Into<String>, pool: Pool<DB>) -> ConsumerBuilder<DB> {
        ConsumerBuilder::new(name.into(), pool)
    }

    /// What is missing of each stream now, as far as this process has noticed.
    pub fn gaps(&self) -> Vec<Gap> {
        self.0.known_gaps()
    }

    /// Messages whose handlers meet errors that should pass by themselves, as far as this process has
    /// noticed: time-outs, locks, lost connections. The key of one that goes on so is parked.
    pub fn standing(&self) -> Vec<Standing> {
        self.0.standing.all()
    }

    /// Applies messages of a producer that is not Syncline's: each id of `source` once, in the
    /// order in which they arrive, for as long as the id is remembered
    /// ([`ConsumerBuilder::foreign_retention`]).
    ///
    /// # Errors
    /// [`ReceiveError`]: not all of them were taken in; send them again.
    pub async fn receive_foreign(
        &self,
        source: &str,
        messages: Vec<ForeignMessage>,
    ) -> Result<Ack, ReceiveError> {
        self.0.be_watched();
        let (inner, source) = (Arc::clone(&self.0), source.to_owned());
        let done = tokio::spawn(async move { inner.receive_foreign(&source, messages).await });
        done.await.unwrap_or_else(|error| Err(panicked(&error)))
    }

    /// Starts the background work: trying parked keys again when they are due, closing gaps, and
    /// forgetting foreign messages' ids and sagas' steps in time. **A consumer that takes messages in
    /// must be started**, in each process: without, a message that failed is never tried again. Where
    /// that holds something up, the log says so within a minute, and so do [`Consumer::status`],
    /// `syncline doctor` and `syncline held list`.
    ///
    /// # Errors
    /// [`Error::NotMigrated`](crate::Error::NotMigrated) and its kin when the database's tables do
    /// not fit this program.
    pub async fn start(&self) -> Result<ConsumerHandle> {
        let pool = self.0.pool.now();
        pool.limit(DB::check_session(&pool)).await?;
        pool.limit(check_schema(&pool)).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (working, retries) =
            (Working::new(&self.0), retry::run(Arc::clone(&self.0), stop.clone()));
        tasks.spawn(async move {
            let _working = working;
            retries.await;
        });
        tasks.spawn(gaps::run(Arc::clone(&self.0), stop.clone()));
        tasks.spawn(forget::run(Arc::clone(&self.0), stop.clone()));
        let of = format!("the consumer {}", self.0.name);
        tasks.spawn(storage::watch(self.0.pool.clone(), of, stop.clone()));
        let problems = report::Problems::default();
        tasks.spawn(report::run(Arc::clone(&self.0), Arc::clone(&problems), stop.clone()));
        tasks.close();
        Ok(ConsumerHandle { stop, tasks, problems })
    }
}

/// A consumer's background work. Dropping it lets the work go on.
#[derive(Debug)]
pub struct ConsumerHandle {
    stop: CancellationToken,
    tasks: TaskTracker,
    problems: report::Problems,
}

impl ConsumerHandle {
    /// Problems of the consumer, as found within the last 15 seconds: pulls that fail, messages
    /// that are held, stand or are missing, and another running consumer of its name that has taken
    /// other topics for five minutes or more. Empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finishes what was begun and stops.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

#[async_trait]
impl<DB: Storage> Receive for Consumer<DB> {
    async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        self.0.be_watched();
        // A task of its own: a client that goes away does not stop it half way.
        let inner = Arc::clone(&self.0);
        let done = tokio::spawn(async move { inner.receive(batch).await }).await;
        done.unwrap_or_else(|error| Err(panicked(&error)))
    }

    async fn receive_foreign(
        &self,
        source: &str,
        messages: Vec<ForeignMessage>,
    ) -> Result<Ack, ReceiveError> {
        Self::receive_foreign(self, source, messages).await
    }

    fn note_pull(&self, note: &PullNote<'_>) {
        self.0.pulls.note(note);
    }

    async fn reached(&self, origin: &Origin) -> Result<Option<Reached>, ReceiveError> {
        self.0.be_watched();
        let (name, pool) = (&self.0.name, self.0.pool.now());
        // The row's key is without the incarnation, which the row tells.
        let row = pool.limit(DB::inbox(&pool, name, origin)).await?;
        Ok(row.map(|InboxRow { incarnation, watermark, last, .. }| Reached {
            incarnation,
            watermark,
            last,
        }))
    }
}

impl<DB: Storage> Inner<DB> {
    /// Begins a transaction; it is part of what [`Inner::limited`] limits.
    async fn begin(&self) -> Result<Transaction<'static, DB>> {
        begin_as(&self.pool.now(), self.opening()).await
    }

    fn opening(&self) -> Opening {
        let rest = self.patience();
        Opening::Bounded(u32::try_from(rest.as_secs()).unwrap_or(u32::MAX))
    }

    /// The longest that one handler may take, and what is around it.
    fn patience(&self) -> Duration {
        self.timeout.saturating_add(MARGIN).min(LONGEST_REST)
    }

    /// A connection for a transaction in which handlers run; a `fresh` one after an error that comes
    /// from what a connection remembers.
    async fn lend(&self, fresh: bool) -> Result<Lent<DB>> {
        Lent::of(&self.pool.now(), fresh).await
    }

    /// Waits for `work`, of one transaction at the most, as long as the database may take to answer.
    async fn limited<T, E: Cause>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.pool.now().limit(work).await
    }

    async fn inbox(&self, origin: &Origin) -> Result<Option<InboxRow>> {
        let pool = self.pool.now();
        pool.limit(DB::inbox(&pool, &self.name, origin)).await
    }

    fn turn(&self, origin: &Origin) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(origin.clone()).or_insert_with(|| Turn {
            applying: Arc::default(),
            watermark: watch::channel(Position::START).0,
            handover: Arc::default(),
        });
        turn.clone()
    }

    /// Which handler takes `message`, as its place in the list; none for a topic or a schema
    /// version that nobody here knows.
    fn handler_of(&self, message: &Envelope) -> Option<usize> {
        let topic = &message.topic;
        if topic == LINK {
            return Some(LINKS);
        }
        let versions = self.versions.iter().find(|(pattern, _)| pattern.matches(topic));
        if versions.is_some_and(|(_, known)| !known.contains(&message.schema_version)) {
            return None;
        }
        self.actions.iter().position(|(pattern, _)| pattern.matches(topic))
    }

    /// In which order messages of `origin` are applied. Where a stream's definition was changed,
    /// the hand-over is told by positions: in order.
    fn order_of(&self, origin: &Origin) -> Order {
        if origin.version > 1 { Order::Strict } else { self.order }
    }

    /// The key that is parked with a message: its own, or one that no other message has.
    fn key_of(&self, message: &Envelope) -> String {
        match &message.key {
            Some(key) if self.order != Order::None => key.clone(),
            _ => format!("~{}", message.id),
        }
    }
}

fn panicked(error: &tokio::task::JoinError) -> ReceiveError {
    ReceiveError::Refused(format!("the consumer failed: {error}"))
}
