//! A source and two consumers, either of which is restored.

use super::*;

/// A source whose relay runs, and two consumers.
pub(crate) struct World<DB: Restore> {
    pub(crate) source_url: String,
    pub(crate) target_url: String,
    pub(crate) source: Pool<DB>,
    pub(crate) target: Pool<DB>,
    pub(crate) relay: Option<RelayHandle>,
}

impl<DB: Restore> World<DB> {
    pub(crate) async fn new(source_url: String, target_url: String) -> Self {
        let source = DB::connect(&source_url, 8).await.expect("connect");
        let target = DB::connect(&target_url, 8).await.expect("connect");
        for pool in [&source, &target] {
            syncline::migrate(pool).await.expect("migrate");
            DB::prepare(pool).await.expect("prepare");
        }
        let mut world = Self { source_url, target_url, source, target, relay: None };
        world.start().await;
        world
    }

    pub(crate) async fn start(&mut self) {
        let route = |name: &str| {
            let consumer = noting(name, self.target.clone()).build().expect("a consumer");
            Route::new(name, "counts", Direct::to(consumer))
        };
        let stream = Stream::new("counts").topic("counter.*");
        let routes = vec![route("near"), route("far")];
        let options = |options: &mut RelayOptions| options.ask_every = ASK;
        self.relay = Some(start(&self.source, stream, routes, options).await);
    }

    /// Restores the database of one side from `backup`. Services stay up where they can.
    pub(crate) async fn restore(&mut self, source: bool, backup: &str) {
        let url = if source { self.source_url.clone() } else { self.target_url.clone() };
        if DB::LIVE {
            return DB::restore(&url, backup).await;
        }
        let ran = self.relay.is_some();
        self.stop().await;
        self.source.close().await;
        self.target.close().await;
        DB::restore(&url, backup).await;
        self.source = DB::connect(&self.source_url, 8).await.expect("connect");
        self.target = DB::connect(&self.target_url, 8).await.expect("connect");
        if ran {
            self.start().await;
        }
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.stop().await;
        }
    }

    pub(crate) fn state(&self, route: &str) -> RouteState {
        let all = self.relay.as_ref().expect("it runs").status();
        all.into_iter().find(|status| status.route == route).expect("a route").state
    }

    /// What `consumer` has applied of each message, in order.
    pub(crate) async fn applied(&self, consumer: &str) -> Vec<(String, i64)> {
        let applied =
            eventually("the target answers", async || DB::applied(&self.target).await.ok());
        let named = |(key, n): (String, i64)| {
            key.strip_prefix(consumer).map(|key| (key.trim_start().to_owned(), n))
        };
        applied.await.into_iter().filter_map(named).collect()
    }

    pub(crate) async fn await_applied(&self, consumer: &str, count: usize) {
        let what = format!("{consumer} has applied {count}");
        eventually(&what, async || (self.applied(consumer).await.len() >= count).then_some(()))
            .await;
        assert_eq!(self.applied(consumer).await.len(), count, "{consumer}");
    }

    pub(crate) async fn write(&self, times: i64) {
        eventually("the source answers", async || begin(&self.source).await.ok()).await;
        write(&self.source, times).await;
    }
}

/// Messages of no stream.
pub(crate) async fn write_other<DB: Kit>(pool: &Pool<DB>, times: usize) {
    for _ in 0..times {
        let mut tx = begin(pool).await.expect("begin");
        let message = Message::new("other", "text/plain", "x");
        enqueue(&mut tx, &message).await.expect("enqueue").committed();
        tx.commit().await.expect("commit");
    }
}

/// Raises counters from what they are now; what it writes is what the consumers must get.
pub(crate) async fn write_and_tell<DB: Restore>(
    world: &World<DB>,
    times: i64,
) -> Vec<(String, i64)> {
    eventually("the source answers", async || DB::counters(&world.source).await.ok()).await;
    let mut counters: Vec<(String, i64)> = DB::counters(&world.source).await.expect("counters");
    let mut told = Vec::new();
    for n in 0..times {
        let key = format!("key {}", n % KEYS);
        let counter = counters.iter_mut().find(|(name, _)| *name == key).expect("a counter");
        counter.1 += 1;
        told.push((key, counter.1));
    }
    world.write(times).await;
    told
}

pub(crate) async fn database_time() -> DateTime<Utc> {
    Utc::now()
}
