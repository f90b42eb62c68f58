//! Relay processes in one test: each has a runtime of its own, so that it can be frozen or
//! killed without a chance to clean up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Message, Relay, RelayHandle, Route, Stream, Verdict,
    begin,
    consumer::ConsumerBuilder,
    enqueue,
    message::Batch,
    relay::{RelayOptions, RouteState},
    transport::{Ack, PublishError, Publisher, Receive},
};
use tokio::runtime::Runtime;

use crate::kit::{KEYS, Kit, check_applied};

/// How long leases last in these tests.
pub const LEASE: Duration = Duration::from_millis(900);

/// Hands batches straight to a consumer, and counts them.
#[derive(Clone)]
pub struct Direct {
    consumer: Arc<dyn Receive>,
    /// Batches with messages.
    pub sent: Arc<AtomicUsize>,
    /// Batches without.
    pub progress: Arc<AtomicUsize>,
}

impl Direct {
    /// To `consumer`.
    pub fn to(consumer: impl Receive) -> Self {
        Self { consumer: Arc::new(consumer), sent: Arc::default(), progress: Arc::default() }
    }
}

#[async_trait]
impl Publisher for Direct {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        let count = if batch.messages.is_empty() { &self.progress } else { &self.sent };
        count.fetch_add(1, Ordering::Relaxed);
        self.consumer.receive(batch.clone()).await.map_err(|error| PublishError::Unavailable {
            target: "the test's consumer".into(),
            reason: error.to_string(),
            retry_after: None,
        })
    }
}

struct Noting(String);

#[async_trait]
impl<DB: Kit> Handler<DB> for Noting {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let key = format!("{} {}", self.0, message.key.clone().unwrap_or_default());
        DB::note(tx, &key, message.decode()?).await?;
        Ok(Verdict::Done)
    }
}

/// A consumer that notes "name key" and the count of each message.
pub fn noting<DB: Kit>(name: &str, pool: Pool<DB>) -> ConsumerBuilder<DB> {
    Consumer::builder(name, pool).handler("*", Noting(name.to_owned()))
}

/// A relay with quick leases.
pub async fn start<DB: Kit>(
    pool: &Pool<DB>,
    stream: Stream,
    routes: Vec<Route>,
    change: impl FnOnce(&mut RelayOptions),
) -> RelayHandle {
    let relay = Relay::builder("/tests", pool.clone()).stream(stream).options(|options| {
        options.lease = LEASE;
        options.max_backoff = Duration::from_millis(100);
        options.progress_every = Duration::from_millis(200);
        change(options);
    });
    let relay = routes.into_iter().fold(relay, |relay, route| relay.route(route));
    relay.start().await.expect("the relay starts")
}

/// A relay process.
pub struct Process {
    runtime: Runtime,
    relay: RelayHandle,
}

impl Process {
    /// A process that carries `stream` to each of `consumers` at `target`, by a route of the
    /// same name.
    pub fn start<DB: Kit>(source: &str, target: &str, stream: Stream, consumers: &[&str]) -> Self {
        let target = target.to_owned();
        let consumers: Vec<String> = consumers.iter().map(|&name| name.to_owned()).collect();
        let name = stream.name().to_owned();
        let routes = async move {
            let target = DB::connect(&target, 8).await.expect("connect");
            let route = |consumer: &String| {
                let direct = noting(consumer, target.clone()).build().expect("a consumer");
                Route::new(consumer.as_str(), name.as_str(), Direct::to(direct))
            };
            consumers.iter().map(route).collect()
        };
        Self::start_with::<DB, _>(source, stream, routes, |_| {})
    }

    /// A process that carries `stream` by `routes`, which are made in it.
    pub fn start_with<DB: Kit, F>(
        source: &str,
        stream: Stream,
        routes: F,
        change: impl FnOnce(&mut RelayOptions) + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Vec<Route>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let source = source.to_owned();
        let starting = runtime.spawn(async move {
            let source = DB::connect(&source, 8).await.expect("connect");
            start(&source, stream, routes.await, change).await
        });
        let (sender, relay) = std::sync::mpsc::channel();
        runtime.spawn(async move { sender.send(starting.await) });
        let relay = relay.recv().expect("an answer").expect("the relay starts");
        Self { runtime, relay }
    }

    /// How many shards it sends.
    pub fn share(&self) -> usize {
        let standby = |state: &RouteState| *state == RouteState::Standby;
        self.relay.status().iter().filter(|status| !standby(&status.state)).count()
    }

    /// What it says of each shard.
    pub fn relay(&self) -> &RelayHandle {
        &self.relay
    }

    /// Nothing in it moves for so long, as after SIGSTOP.
    pub fn freeze(&self, time: Duration) {
        self.runtime.spawn(async move { std::thread::sleep(time) });
    }

    /// It ends without cleaning up, as after SIGKILL.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// Raises counters `times` times, each with its message.
pub async fn write<DB: Kit>(pool: &Pool<DB>, times: i64) {
    for n in 0..times {
        let key = format!("key {}", n % KEYS);
        let mut tx = begin(pool).await.expect("begin");
        let count = DB::raise(&mut tx, &key).await.expect("raise");
        let message = Message::json("counter.raised", &count).expect("JSON").key(key);
        let receipt = enqueue(&mut tx, &message).await.expect("enqueue");
        tx.commit().await.expect("commit");
        receipt.committed();
    }
}

/// Waits until `target` holds as much as was written for each of `consumers`, and checks that
/// nothing is lost or twice and every key is in order.
pub async fn check<DB: Kit>(source: &Pool<DB>, target: &Pool<DB>, consumers: &[&str]) {
    let counters = DB::counters(source).await.expect("counters");
    let all: i64 = counters.iter().map(|(_, n)| n).sum::<i64>() * consumers.len() as i64;
    eventually(&format!("{all} messages are applied"), async || {
        (DB::applied(target).await.expect("applied").len() as i64 >= all).then_some(())
    })
    .await;
    let applied = DB::applied(target).await.expect("applied");
    for consumer in consumers {
        let named: Vec<_> =
            counters.iter().map(|(key, n)| (format!("{consumer} {key}"), *n)).collect();
        check_applied(&named, &applied).unwrap_or_else(|error| panic!("{consumer}: {error}"));
    }
    assert_eq!(applied.len() as i64, all);
}

/// Waits until `probe` gives something.
///
/// # Panics
/// After a minute.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited a minute in vain: {what}")
}
