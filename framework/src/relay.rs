//! The relay: for each route, read the log, publish, and move the checkpoint over what was
//! acknowledged. It runs inside a service; any number of processes share the work by leases.

mod assign;
mod carried;
mod define;
mod feed;
mod handle;
mod head;
mod life;
mod mover;
mod options;
mod pace;
mod pages;
mod position;
mod report;
mod retain;
mod route;
mod saver;
mod share;
mod status;
mod window;
mod work;

use std::{
    collections::HashSet,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::Pool;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    Error, Result, Start, Storage, Stream, backoff, cap,
    message::{Position, check_source, check_stream},
    pulse::Pulse,
    saga::source,
    storage::{Own, SourceRole, check_schema, check_writable, close},
    streams::Uncarried,
    transport::Publisher,
};

pub use handle::RelayHandle;
use handle::Status;
use life::Life;
pub use options::RelayOptions;
use pages::Pages;
pub use retain::{Plan, Retention, trim, trim_telling};
use saver::Saver;
use share::{Kept, Line, Share};
use status::Board;
pub use status::{RouteState, RouteStatus};
use work::Works;

/// Progress of idle shards is told no faster than this, all routes of a process together.
const PROGRESS_GAP: Duration = Duration::from_millis(100);

/// Shards that start ask where their consumers are no faster than this, all of a process together.
const ASK_GAP: Duration = Duration::from_millis(20);

/// How long a lease may last. What the database holds for longer is of a time when its clock was
/// ahead, and is taken over: the statements say so, too.
const LEASES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(10);

/// Sends one stream to one target.
pub struct Route {
    name: String,
    stream: String,
    publisher: Arc<dyn Publisher>,
    start: Start,
}

impl Route {
    /// The route `name`, which sends `stream` by `publisher`. The name is the checkpoint's
    /// key: it must stay the same.
    pub fn new(
        name: impl Into<String>,
        stream: impl Into<String>,
        publisher: impl Publisher,
    ) -> Self {
        let (name, stream, publisher) = (name.into(), stream.into(), Arc::new(publisher));
        Self { name, stream, publisher, start: Start::Beginning }
    }

    /// Where the route begins when it is new; one that was there goes on at its checkpoint.
    ///
    /// It saves reading what nobody wants. What the consumer applies is its own to say
    /// ([`ConsumerBuilder::start_at`](crate::consumer::ConsumerBuilder::start_at)): one that
    /// wants the log from its beginning gets it, wherever the route began.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }
}

/// Builds a relay; made by [`Relay::builder`].
pub struct RelayBuilder<DB: Storage> {
    source: String,
    pool: Pool<DB>,
    streams: Vec<Stream>,
    routes: Vec<Route>,
    leaves: HashSet<String>,
    options: RelayOptions,
}

/// Publishes what a service enqueued. Start it with [`Relay::builder`].
#[derive(Debug)]
pub struct Relay;

impl Relay {
    /// Begins to build the relay of the service `source` (CloudEvents `source`, such as
    /// `/shop/orders`), whose outbox is in `pool`'s database.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
    /// use syncline::{Relay, Route, Stream, transport::in_process};
    /// let (publisher, _subscriber) = in_process::channel(16);
    /// let relay = Relay::builder("/demo/register", pool)
    ///     .stream(Stream::new("users").topic("user.*"))
    ///     .route(Route::new("login", "users", publisher))
    ///     .start()
    ///     .await?;
    /// relay.stop().await;
    /// # Ok(()) }
    /// ```
    pub fn builder<DB: Storage>(source: impl Into<String>, pool: Pool<DB>) -> RelayBuilder<DB> {
        RelayBuilder {
            source: source.into(),
            pool,
            streams: Vec::new(),
            routes: Vec::new(),
            leaves: HashSet::new(),
            options: RelayOptions::default(),
        }
    }
}

impl<DB: Storage> RelayBuilder<DB> {
    /// Declares a stream.
    #[must_use]
    pub fn stream(mut self, stream: Stream) -> Self {
        self.streams.push(stream);
        self
    }

    /// Adds a route of a declared stream.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Works otherwise than by the default options.
    #[must_use]
    pub fn options(mut self, change: impl FnOnce(&mut RelayOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Says that this relay does not send the stored route or stream `name`: another program does,
    /// or nobody is to any more.
    ///
    /// Only [`RelayBuilder::check`] asks for it.
    #[must_use]
    pub fn leaves(mut self, name: impl Into<String>) -> Self {
        self.leaves.insert(name.into());
        self
    }

    /// Checks what [`RelayBuilder::start`] checks, that no stored route with messages which were
    /// not sent is left out ([`RelayBuilder::leaves`]), and that each stream would be carried: that
    /// no newer definition is in force, nor the stream closed and sent. Begins nothing and changes
    /// nothing.
    ///
    /// # Errors
    /// As [`RelayBuilder::start`].
    pub async fn check(&self) -> Result<()> {
        self.check_start().await?;
        let pool = Own::service(&self.source, &self.pool, self.options.answer_within).now();
        let stored = pool.limit(define::Stored::read(&pool)).await?;
        define::check(&stored, &self.streams, &self.routes)?;
        for (name, problem, left) in define::not_in_force(&stored, &self.streams) {
            if !left {
                return Err(Error::Definition { what: "stream", name, problem });
            }
        }
        pool.limit(define::left_behind(&pool, &stored, &self.routes, &self.leaves)).await
    }

    async fn check_start(&self) -> Result<()> {
        self.check_definitions()?;
        let pool = Own::service(&self.source, &self.pool, self.options.answer_within).now();
        pool.limit(DB::check_durable(&pool)).await?;
        pool.limit(check_schema(&pool)).await?;
        // Its own connections have settings that the service's have not, and look whether they hold.
        let own = DB::relay_pool(&self.pool, 1, Arc::new(|_| ()));
        let fit = pool.limit(async {
            DB::head(&own).await?;
            check_writable(&own).await
        });
        let fit = fit.await;
        close(&own).await;
        fit
    }

    /// Checks the definitions, the schema and the database's durability, and starts.
    ///
    /// # Errors
    /// [`Error::Definition`], [`Error::NotMigrated`] and its kin, [`Error::NotDurable`], or
    /// [`Error::Database`] when the database cannot be reached.
    pub async fn start(self) -> Result<RelayHandle> {
        self.check_start().await?;
        let limit = self.options.answer_within;
        let pool = Own::service(&self.source, &self.pool, limit).now();
        pool.limit(source::check(&pool, SourceRole::Relay, &self.source)).await?;
        let incarnation = pool.limit(DB::incarnation(&pool)).await?;
        let life = Life::new();
        // Whoever is frozen while it stores a definition must not keep its locks, either.
        let own = |connections| {
            let life = life.clone();
            let make = move |pool: &_| Some(DB::relay_pool(pool, connections, life.met()));
            Own::new(&self.source, &self.pool, limit, make)
        };
        let defining = own(1).now();
        let stored = pool.limit(define::Stored::read(&pool)).await?;
        define::check(&stored, &self.streams, &self.routes)?;
        for (stream, problem, _) in define::not_in_force(&stored, &self.streams) {
            tracing::warn!(stream, "the stream is not carried as it is declared: {problem}");
        }
        let defined = defining.limit(define::define(&defining, &self.streams)).await?;
        let rows = pool.limit(DB::shards(&pool)).await?;
        let (mut lines, mut shards) = (Vec::new(), 0);
        for route in self.routes {
            let Some(defined) = defined.get(route.stream.as_str()).cloned() else { continue };
            defining.limit(define::open(&defining, &route, &defined, &rows)).await?;
            shards += defined.versions.last().map_or(1, |version| version.shards.unsigned_abs());
            lines.push(Line { route, defined });
        }
        close(&defining).await;
        // Connections of its own: a service that exhausts its pool does not stop the relay.
        let (head, _) = watch::channel(pool.limit(DB::head(&pool)).await?);
        let sealing = own(1);
        let shared = Arc::new(Shared {
            pool: own(2 + feed::READERS),
            ready: own(1 + 2 * shards.clamp(1, 8)),
            pulse: Pulse::of(&self.pool),
            holder: Uuid::now_v7(),
            options: self.options,
            head,
            works: Works::new(limit),
            kept: watch::channel(Kept::nothing()).0,
            renew: Notify::new(),
            pages: Arc::new(Pages::new(self.options.page(), self.options.cache_bytes)),
            saver: Saver::default(),
            progress: Mutex::new(Instant::now()),
            asks: Mutex::new(Instant::now()),
            stop: CancellationToken::new(),
            saved: CancellationToken::new(),
            board: Board::default(),
            uncarried: Mutex::default(),
            resting: Mutex::default(),
            life: life.clone(),
        });
        let pool = shared.pool.now();
        for row in pool.limit(DB::shards(&pool)).await? {
            let ours = lines.iter().any(|line| line.route.name == row.key.route);
            if ours && !row.closed {
                let position = Some(row.checkpoint.cursor.position);
                shared.board.tell(&row.key, position, RouteState::Standby);
            }
        }
        let tasks = TaskTracker::new();
        tasks.spawn(head::run(Arc::clone(&shared), sealing));
        tasks.spawn(retain::run(Arc::clone(&shared)));
        tasks.spawn(mover::run(Arc::clone(&shared)));
        let (known, stop) = (self.source.clone(), shared.stop.clone());
        tasks.spawn(source::keep(shared.pool.clone(), known, stop));
        let names = self.streams.iter().map(|stream| stream.name().to_owned()).collect();
        let feed = feed::LogFeed::new(Arc::clone(&shared), self.source.clone(), names);
        let save = Arc::clone(&shared);
        tasks.spawn(async move {
            save.saver.run(&save).await;
        });
        let routes = lines.iter().map(|line| &line.route);
        let declared = report::Declared::new(&shared, self.streams, routes);
        tasks.spawn(declared.report(self.source.clone()));
        let share = Share::new(Arc::clone(&shared), self.source, incarnation, lines);
        tasks.spawn(share.run());
        tasks.close();
        let (stop, status) = (shared.stop.clone(), shared as Arc<dyn Status>);
        Ok(RelayHandle { stop, tasks, status, feed })
    }

    fn check_definitions(&self) -> Result<()> {
        let fail = |what, name: &str, problem: String| {
            Err(Error::Definition { what, name: name.to_owned(), problem })
        };
        if let Err(error) = check_source(&self.source) {
            return fail("relay", &self.source, error.to_string());
        }
        let mut streams = HashSet::new();
        for stream in &self.streams {
            stream.check()?;
            if !streams.insert(stream.name()) {
                return fail("stream", stream.name(), "it is declared twice".to_owned());
            }
        }
        let mut routes = HashSet::new();
        for route in &self.routes {
            if let Err(error) = check_stream(&route.name) {
                return fail("route", &route.name, error.to_string());
            }
            if !routes.insert(&route.name) {
                return fail("route", &route.name, "it is defined twice".to_owned());
            }
            if !streams.contains(route.stream.as_str()) {
                let problem = format!("its stream {:?} is not declared", route.stream);
                return fail("route", &route.name, problem);
            }
        }
        let RelayOptions { batch_messages, batch_bytes, window, seal_messages, lease, .. } =
            self.options;
        if [batch_messages as usize, batch_bytes, window, seal_messages as usize].contains(&0)
            || !LEASES.contains(&lease)
            || self.options.answer_within < *LEASES.start()
            || self.options.publish_within < *LEASES.start()
            || self.options.ask_every < *LEASES.start()
        {
            let problem = "batches, the window and seals hold at least 1, a lease lasts 100 ms to \
                           10 min, the database and a publisher have at least 100 ms to answer, and \
                           a consumer is asked where it is every 100 ms at the most";
            return fail("relay", &self.source, problem.to_owned());
        }
        Ok(())
    }
}

/// What the tasks of one relay share.
struct Shared<DB: Storage> {
    pool: Own<DB>,
    /// Few connections for what is asked again and again: reading, and saving checkpoints. A
    /// connection plans a statement five times anew before it keeps the plan.
    ready: Own<DB>,
    works: Works,
    pulse: Arc<Pulse<DB>>,
    life: Life,
    holder: Uuid,
    options: RelayOptions,
    /// The last position given out, as far as this process knows.
    head: watch::Sender<Position>,
    /// The leases that are the process's own, not a route's.
    kept: watch::Sender<Kept>,
    /// The leases are to be renewed at once.
    renew: Notify,
    pages: Arc<Pages>,
    saver: Saver,
    /// When progress was told last, or will be.
    progress: Mutex<Instant>,
    /// When a shard that starts asked last, or will.
    asks: Mutex<Instant>,
    stop: CancellationToken,
    /// The senders have ended: nothing is left to be saved.
    saved: CancellationToken,
    board: Board,
    /// What was found last that no stream carries.
    uncarried: Mutex<Vec<Uncarried>>,
    /// Routes that stand still for another's sake, as they were found last.
    resting: Mutex<Vec<String>>,
}

impl<DB: Storage> Shared<DB> {
    /// When a shard may tell its progress.
    fn progress_slot(&self) -> Instant {
        let mut last = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        *last =
            (Instant::now() + cap::duration(self.options.progress_every)).max(*last + PROGRESS_GAP);
        *last
    }

    /// When a shard that starts may ask where its consumer is.
    fn ask_slot(&self) -> Instant {
        let mut last = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Instant::now().max(*last + ASK_GAP);
        *last
    }
}
