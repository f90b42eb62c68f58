//! The relay: for each route, read the log, publish, and move the checkpoint over what was
//! acknowledged. It runs inside a service; any number of processes share the work by leases.

mod feed;
mod head;
mod position;
mod route;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use sqlx::Pool;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    Error, Result, Storage, Stream, backoff,
    message::{Origin, Position, check_source, check_stream},
    storage::{PageLimit, check_schema},
    transport::{Feed, Publisher},
};

/// Sends one stream to one target.
pub struct Route {
    name: String,
    stream: String,
    publisher: Arc<dyn Publisher>,
}

impl Route {
    /// The route `name`, which sends `stream` by `publisher`. The name is the checkpoint's
    /// key: it must stay the same.
    pub fn new(
        name: impl Into<String>,
        stream: impl Into<String>,
        publisher: impl Publisher,
    ) -> Self {
        Self { name: name.into(), stream: stream.into(), publisher: Arc::new(publisher) }
    }
}

/// How a relay works; the defaults suit most services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayOptions {
    /// The most messages in one batch (2,000).
    pub batch_messages: u32,
    /// The most payload in one batch, in bytes (4 MiB); a single larger message still goes.
    pub batch_bytes: usize,
    /// How many batches of a route may be under way at once (4).
    pub window: usize,
    /// The most messages that one seal closes (10,000).
    pub seal_messages: u32,
    /// How long a lease lasts (10 s): so long a dead process's work rests.
    pub lease: Duration,
    /// The longest pause between two looks at an idle log (1 s).
    pub idle: Duration,
    /// The longest pause between two tries of a target that fails (30 s).
    pub max_backoff: Duration,
    /// How long a checkpoint may lag behind what was acknowledged (100 ms): after a crash so
    /// much is sent again.
    pub checkpoint_every: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            batch_messages: 2_000,
            batch_bytes: 4 << 20,
            window: 4,
            seal_messages: 10_000,
            lease: Duration::from_secs(10),
            idle: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            checkpoint_every: Duration::from_millis(100),
        }
    }
}

impl RelayOptions {
    fn page(&self) -> PageLimit {
        PageLimit { rows: i64::from(self.batch_messages), bytes: self.batch_bytes }
    }
}

/// What a route is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RouteState {
    /// Another process has the route's lease, or nobody yet.
    Standby,
    /// It has sent everything that it knows of.
    Idle,
    /// Batches are under way.
    Sending,
    /// The target failed; the route waits and tries again.
    Backoff {
        /// So many failures in a row.
        failures: u32,
        /// The last one.
        error: String,
    },
    /// The target has applied what is not in this log: one of the two databases was restored
    /// from a backup. The route looks again now and then, and sends nothing.
    Diverged {
        /// What was found.
        error: String,
    },
}

/// A route, as [`RelayHandle::status`] tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteStatus {
    /// Its name.
    pub route: String,
    /// The last acknowledged position.
    pub position: Position,
    /// What it is doing.
    pub state: RouteState,
}

/// Builds a relay; made by [`Relay::builder`].
pub struct RelayBuilder<DB: Storage> {
    source: String,
    pool: Pool<DB>,
    streams: Vec<Stream>,
    routes: Vec<Route>,
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

    /// Checks the definitions, the schema and the database's durability, and starts.
    ///
    /// # Errors
    /// [`Error::Definition`], [`Error::NotMigrated`] and its kin, [`Error::NotDurable`], or
    /// [`Error::Database`] when the database cannot be reached.
    pub async fn start(self) -> Result<RelayHandle> {
        self.check()?;
        check_schema(&self.pool).await?;
        DB::check_durable(&self.pool).await?;
        let incarnation = DB::incarnation(&self.pool).await?;
        // Connections of its own: a service that exhausts its pool does not stop the relay.
        let connections =
            3 + 2 * u32::try_from(self.routes.len()).unwrap_or(8).min(8) + feed::READERS as u32;
        let (head, _) = watch::channel(DB::head(&self.pool).await?);
        let shared = Arc::new(Shared {
            pool: DB::relay_pool(&self.pool, connections),
            holder: Uuid::now_v7(),
            options: self.options,
            head,
            stop: CancellationToken::new(),
            status: Mutex::new(Vec::new()),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(head::run(Arc::clone(&shared)));
        let origin = |stream: &Stream| {
            let (source, stream) = (self.source.clone(), stream.name().to_owned());
            Arc::new(Origin { source, incarnation, stream, shard: 0 })
        };
        let lines = self
            .streams
            .iter()
            .map(|stream| feed::Line { stream: stream.clone(), origin: origin(stream) });
        let feed = Arc::new(feed::LogFeed::new(Arc::clone(&shared), lines.collect()));
        for route in self.routes {
            let Some(stream) = self.streams.iter().find(|stream| stream.name() == route.stream)
            else {
                continue;
            };
            let origin = origin(stream);
            shared.tell(&route.name, None, RouteState::Standby);
            let sender = route::Sender::new(Arc::clone(&shared), route, stream.clone(), origin);
            tasks.spawn(sender.run());
        }
        tasks.close();
        let (stop, status) = (shared.stop.clone(), shared as Arc<dyn Status>);
        Ok(RelayHandle { stop, tasks, status, feed })
    }

    fn check(&self) -> Result<()> {
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
            || lease < Duration::from_millis(100)
        {
            let problem = "batches, the window and seals hold at least 1, a lease lasts 100 ms";
            return fail("relay", &self.source, problem.to_owned());
        }
        Ok(())
    }
}

/// What the tasks of one relay share.
struct Shared<DB: Storage> {
    pool: Pool<DB>,
    holder: Uuid,
    options: RelayOptions,
    /// The last position given out, as far as this process knows.
    head: watch::Sender<Position>,
    stop: CancellationToken,
    status: Mutex<Vec<RouteStatus>>,
}

impl<DB: Storage> Shared<DB> {
    /// Tells what a route is doing; `None` keeps the position.
    fn tell(&self, route: &str, position: Option<Position>, state: RouteState) {
        let mut all = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter_mut().find(|status| status.route == route) {
            known.position = position.unwrap_or(known.position);
            known.state = state;
        } else {
            let position = position.unwrap_or_default();
            all.push(RouteStatus { route: route.to_owned(), position, state });
        }
    }
}

trait Status: Send + Sync {
    fn status(&self) -> Vec<RouteStatus>;
}

impl<DB: Storage> Status for Shared<DB> {
    fn status(&self) -> Vec<RouteStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running relay. Dropping it lets the relay go on; [`RelayHandle::stop`] ends it.
#[must_use = "the relay is stopped with `stop()`"]
pub struct RelayHandle {
    stop: CancellationToken,
    tasks: TaskTracker,
    status: Arc<dyn Status>,
    feed: Arc<dyn Feed>,
}

impl RelayHandle {
    /// What each route is doing in this process.
    pub fn status(&self) -> Vec<RouteStatus> {
        self.status.status()
    }

    /// What consumers may pull: every declared stream, routes or not. It serves as long as the
    /// relay runs.
    ///
    /// ```
    /// # #[cfg(feature = "http-feed")]
    /// # fn example(relay: &syncline::RelayHandle, token: syncline::transport::http_feed::Token)
    /// # -> Result<axum::Router, Box<dyn std::error::Error>> {
    /// use syncline::transport::http_feed::{FeedServer, Reader};
    /// let reader = Reader::new(&token, "users", ["user.*"])?;
    /// let feed = FeedServer::new(relay.feed()).reader(reader).router();
    /// # Ok(axum::Router::new().nest("/feed", feed)) }
    /// ```
    pub fn feed(&self) -> Arc<dyn Feed> {
        Arc::clone(&self.feed)
    }

    /// Waits for the batches under way, saves the checkpoints and gives the leases back.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}
