//! Building a consumer: its handlers, limits and policies.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::Duration,
};

use sqlx::Pool;
use tokio::sync::Notify;

use super::{
    Action, Consumer, Inner, LINKS,
    compensation::{OnRejected, REJECTED},
    patterns,
};
use crate::{
    BatchHandler, Compensate, Error, Handler, Result, Start, Storage, cap,
    message::{LINK, TopicPattern, check_stream},
    saga::participant::{Participant, SagaHandler},
    said::Places,
    storage::Own,
    transport::FetchMissing,
};

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

/// What is answered to a batch that came before the one it follows, when it is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// The source is told how far was applied, and sends again from there: for sources that can.
    #[default]
    AskAgain,
    /// The stream pauses until what is missing arrives.
    Stop,
}

/// In which order messages are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Strict,
    /// Order per key; the keys of a batch are shared out.
    Lanes(usize),
    None,
}

/// What is done about early messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    pub(super) messages: i64,
    pub(super) bytes: i64,
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
    answer_within: Duration,
    max_parked: i64,
    max_held: i64,
    order: Order,
    versions: Vec<(TopicPattern, RangeInclusive<i32>)>,
    hold: Hold,
    on_gap: OnGap,
    fetch: Vec<(String, Arc<dyn FetchMissing>)>,
    foreign_retention: Duration,
    participates: bool,
    barrier_retention: Duration,
    start: Start,
}

impl<DB: Storage> ConsumerBuilder<DB> {
    pub(super) fn new(name: String, pool: Pool<DB>) -> Self {
        Self {
            name,
            pool,
            actions: Vec::new(),
            compensations: Vec::new(),
            retry: RetryPolicy::default(),
            on_dead: OnDead::default(),
            timeout: Duration::from_secs(30),
            answer_within: Duration::from_secs(30),
            max_parked: 100,
            max_held: 10_000,
            order: Order::Strict,
            versions: Vec::new(),
            hold: Hold { messages: 0, bytes: 0 },
            on_gap: OnGap::default(),
            fetch: Vec::new(),
            foreign_retention: Duration::from_secs(14 * 24 * 3_600),
            participates: false,
            barrier_retention: Duration::from_secs(30 * 24 * 3_600),
            start: Start::Beginning,
        }
    }

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
    /// patterns that match, the first one given counts; one behind a wider one is refused.
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

    /// Takes part in other services' sagas: `handler` is called for commands of `topic`, each time
    /// with the barrier before it, and its answer goes into this service's outbox
    /// ([`saga::participant`](crate::saga::participant)).
    #[must_use]
    pub fn participant(
        mut self,
        topic: impl Into<TopicPattern>,
        handler: impl SagaHandler<DB>,
    ) -> Self {
        self.participates = true;
        self.action(topic, Action::Answer(Arc::new(Participant(handler))))
    }

    /// How long it is remembered what became of a saga's step (30 days unless set). It must be
    /// longer than any saga may take to its very end, an operator's time included: a compensation
    /// that comes later finds nothing to take back, and an action that comes later without a
    /// `not_after` is applied again. Consumers of one database that take part in sagas share the
    /// memory: the shortest retention counts.
    #[must_use]
    pub fn barrier_retention(mut self, retention: Duration) -> Self {
        self.barrier_retention = retention;
        self
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

    /// Limit on an answer of the database between two handlers (30 s unless set). A connection
    /// that has not answered by then is dead: it is closed, and all is done again on a new one. The
    /// consumer has connections of its own for that, made as the pool's are and at most as many;
    /// on SQLite, where no connection can die, it uses the pool.
    #[must_use]
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = limit;
        self
    }

    /// How many keys may be parked (100 unless set): with more the stream pauses, for then
    /// the consumer is broken and not the messages.
    #[must_use]
    pub fn max_parked_keys(mut self, keys: u32) -> Self {
        self.max_parked = i64::from(keys);
        self
    }

    /// How many messages may be held in all (10,000 unless set): with more the stream pauses.
    #[must_use]
    pub fn max_held(mut self, messages: u32) -> Self {
        self.max_held = i64::from(messages);
        self
    }

    /// The schema versions of `topic` that its handler knows (all unless set). A message of
    /// another version is held, unharmed, until a consumer that knows it takes over.
    #[must_use]
    pub fn handler_versions(
        mut self,
        topic: impl Into<TopicPattern>,
        versions: RangeInclusive<i32>,
    ) -> Self {
        self.versions.push((topic.into(), versions));
        self
    }

    /// Applies messages in no order, any number of batches at once, in this process and in
    /// others: for handlers to which order does not matter. A message that fails holds up no
    /// other.
    ///
    /// Stop every process of this consumer before you change between ordered and unordered:
    /// an ordered one does not look for what an unordered one has applied meanwhile. Later
    /// versions of a stream whose definition was changed are applied in order nevertheless.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.order = Order::None;
        self
    }

    /// Applies the keys of a batch in up to `lanes` transactions at once, each key in order: for
    /// slow handlers. [`unordered`](Self::unordered) says what to mind when this is changed.
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.order = Order::Lanes(lanes);
        self
    }

    /// Holds messages that come before the ones they follow, so many and so many bytes for each
    /// stream and shard (none unless set), and applies them in order when the missing ones are
    /// there: for transports that cannot send again from a position, such as brokers. A relay
    /// that pushes does it without.
    #[must_use]
    pub fn hold_early(mut self, messages: u32, bytes: usize) -> Self {
        self.hold =
            Hold { messages: i64::from(messages), bytes: i64::try_from(bytes).unwrap_or(i64::MAX) };
        self
    }

    /// What is answered to an early batch that is not held.
    #[must_use]
    pub fn on_gap(mut self, on_gap: OnGap) -> Self {
        self.on_gap = on_gap;
        self
    }

    /// Fetches messages of `source` that a transport has lost from `feed`. Early messages are
    /// held meanwhile: 10,000 and 16 MiB unless [`hold_early`](Self::hold_early) says otherwise.
    #[must_use]
    pub fn repair_from(mut self, source: impl Into<String>, feed: impl FetchMissing) -> Self {
        self.fetch.push((source.into(), Arc::new(feed)));
        if self.hold.messages == 0 {
            self.hold = Hold { messages: 10_000, bytes: 16 << 20 };
        }
        self
    }

    /// How long the ids of foreign messages are remembered (14 days unless set): one that comes
    /// again later is applied again.
    #[must_use]
    pub fn foreign_retention(mut self, retention: Duration) -> Self {
        self.foreign_retention = retention;
        self
    }

    /// Makes the consumer.
    ///
    /// # Errors
    /// [`Error::Definition`] when its name is not of the allowed form, it handles nothing, a
    /// pattern matches no topic, a handler would never be called (it is the second one for its topic
    /// or stands behind a wider one: both are named), or a limit is nought.
    pub fn build(mut self) -> Result<Consumer<DB>> {
        let problem = if let Err(error) = check_stream(&self.name) {
            Some(error.to_string())
        } else if self.actions.is_empty() && self.compensations.is_empty() {
            Some("it handles no topic: add a handler".to_owned())
        } else if self.retry.max_attempts < 1
            || self.timeout.is_zero()
            || self.answer_within.is_zero()
            || self.max_parked < 1
            || self.max_held < 1
            || self.order == Order::Lanes(0)
        {
            let limits = "attempts, the time limits, the parked keys, the held messages and the \
                          lanes must be at least 1";
            Some(limits.to_owned())
        } else {
            patterns::of_all("the compensation", self.compensations.iter().map(|(topic, _)| topic))
        };
        if !self.compensations.is_empty() {
            let rejected = OnRejected::new(std::mem::take(&mut self.compensations));
            // First, so that a pattern like `*` does not swallow it.
            self.actions.insert(0, (TopicPattern::from(REJECTED), Action::One(Arc::new(rejected))));
        }
        let versions = || self.versions.iter().map(|(topic, _)| topic);
        let problem = problem
            .or_else(|| patterns::of_actions(&self.actions))
            .or_else(|| patterns::of_all("`handler_versions`", versions()))
            .or_else(|| patterns::without_handler(versions(), &self.actions));
        if let Some(problem) = problem {
            return Err(Error::Definition { what: "consumer", name: self.name, problem });
        }
        self.actions.insert(LINKS, (TopicPattern::from(LINK), Action::Ignore));
        Ok(Consumer(Arc::new(Inner {
            pool: Own::new(
                format!("the consumer {}", self.name),
                &self.pool,
                self.answer_within,
                |pool| DB::own_pool(pool, pool.options().get_max_connections()),
            ),
            name: self.name,
            service: self.pool,
            actions: self.actions,
            retry: self.retry,
            on_dead: self.on_dead,
            timeout: cap::duration(self.timeout),
            max_parked: self.max_parked,
            max_held: self.max_held,
            order: self.order,
            versions: self.versions,
            hold: self.hold,
            on_gap: self.on_gap,
            fetch: self.fetch,
            foreign_retention: self.foreign_retention,
            barriers: self.participates.then_some(self.barrier_retention),
            start: self.start,
            turns: Mutex::default(),
            said: Places::new(),
            handed: Mutex::default(),
            gaps: Mutex::default(),
            standing: Default::default(),
            pulls: Default::default(),
            refused: Default::default(),
            rejects: Default::default(),
            unseen: Default::default(),
            parked: Notify::new(),
            gap: Notify::new(),
        })))
    }

    fn action(mut self, topic: impl Into<TopicPattern>, action: Action<DB>) -> Self {
        self.actions.push((topic.into(), action));
        self
    }
}
