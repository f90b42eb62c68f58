//! Streams of several shards: shared by relay processes, read once, started where one says.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{Pool, Postgres, Sqlite};
use syncline::{
    Route, Start, Stream,
    message::Batch,
    relay::RouteState,
    transport::{Ack, PublishError, Publisher},
};
use syncline_tests::{
    kit::{KEYS, Kit},
    relays::{Direct, LEASE, Process, check, eventually, noting, start, write},
    servers::{postgres_database, sqlite_database},
};

/// A source and a target.
struct World<DB: Kit> {
    source_url: String,
    target_url: String,
    source: Pool<DB>,
    target: Pool<DB>,
}

impl<DB: Kit> World<DB> {
    async fn new(source_url: String, target_url: String) -> Self {
        let source = DB::connect(&source_url, 8).await.expect("connect");
        let target = DB::connect(&target_url, 8).await.expect("connect");
        for pool in [&source, &target] {
            syncline::migrate(pool).await.expect("migrate");
            DB::prepare(pool).await.expect("prepare");
        }
        Self { source_url, target_url, source, target }
    }

    fn process(&self, stream: &Stream, consumers: &[&str]) -> Process {
        Process::start::<DB>(&self.source_url, &self.target_url, stream.clone(), consumers)
    }
}

/// Runs each case on both databases.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {$(
        mod $case {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                if let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) {
                    super::case::$case::<Postgres>(World::new(a, b).await).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
                super::case::$case::<Sqlite>(World::new(a, b).await).await;
            }
        }
    )*};
}

on_both!(
    processes_share_shards_and_take_over_from_the_frozen_and_the_dead,
    sixteen_shards_read_the_log_as_often_as_one,
    a_slow_route_delays_no_other,
    a_subscription_begins_where_it_says,
    a_consumer_that_wants_the_beginning_gets_it_from_a_route_that_began_now,
    an_idle_stream_carries_progress_without_a_storm,
);

fn sharded() -> Stream {
    Stream::new("s").topic("counter.*").shards(16)
}

/// A target that takes its time.
struct Slow(Direct);

#[async_trait]
impl Publisher for Slow {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        tokio::time::sleep(Duration::from_secs(3)).await;
        self.0.publish(batch).await
    }
}

mod case {
    use super::*;

    pub(super) async fn processes_share_shards_and_take_over_from_the_frozen_and_the_dead<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let routes = ["one", "two"];
        let a = world.process(&sharded(), &routes);
        eventually("the first takes all", async || (a.share() == 32).then_some(())).await;
        write(&world.source, 60).await;
        let b = world.process(&sharded(), &routes);
        let halves = async || ((a.share(), b.share()) == (16, 16)).then_some(());
        eventually("the second gets its half", halves).await;
        write(&world.source, 60).await;
        // Past its lease; it wakes up with batches in its hands.
        write(&world.source, 10).await;
        a.freeze(LEASE * 6);
        eventually("the other takes over", async || (b.share() == 32).then_some(())).await;
        write(&world.source, 50).await;
        eventually("both share again", halves).await;
        write(&world.source, 60).await;
        b.kill();
        write(&world.source, 60).await;
        check(&world.source, &world.target, &routes).await;
        assert_eq!(a.share(), 32);
        a.kill();
    }

    pub(super) async fn sixteen_shards_read_the_log_as_often_as_one<DB: Kit>(world: World<DB>) {
        write(&world.source, 300).await;
        let mut pages = Vec::new();
        for (stream, name) in [(Stream::new("plain").topic("*"), "plain"), (sharded(), "many")] {
            let consumer = noting(name, world.target.clone()).build().expect("a consumer");
            let route = Route::new(name, stream.name(), Direct::to(consumer));
            let small = |options: &mut syncline::relay::RelayOptions| options.batch_messages = 20;
            let relay = start(&world.source, stream, vec![route], small).await;
            let head = DB::head(&world.source).await.expect("head");
            eventually("all is sent", async || {
                let head = DB::head(&world.source).await.expect("head").max(head);
                relay
                    .status()
                    .iter()
                    .all(|shard| shard.position == head && head.0 == 300)
                    .then_some(())
            })
            .await;
            pages.push(relay.pages_read());
            relay.stop().await;
        }
        check(&world.source, &world.target, &["plain", "many"]).await;
        println!("{}: pages read by 1 shard and by 16 shards: {pages:?}", DB::LABEL);
        assert!(pages[1] <= pages[0] + 3, "{pages:?}");
    }

    pub(super) async fn a_slow_route_delays_no_other<DB: Kit>(world: World<DB>) {
        let direct = |name| Direct::to(noting(name, world.target.clone()).build().expect("good"));
        let routes = vec![
            Route::new("slow", "s", Slow(direct("slow"))),
            Route::new("quick", "s", direct("quick")),
        ];
        let relay = start(&world.source, sharded(), routes, |_| {}).await;
        let began = Instant::now();
        write(&world.source, 48).await;
        eventually("the quick one has all", async || {
            let applied = DB::applied(&world.target).await.expect("applied");
            let quick = applied.iter().filter(|(key, _)| key.starts_with("quick")).count();
            (quick == 48).then_some(())
        })
        .await;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        check(&world.source, &world.target, &["slow", "quick"]).await;
        relay.stop().await;
    }

    /// How many messages a consumer gets that begins at `start`, on a route that does, too.
    async fn from<DB: Kit>(world: &World<DB>, name: &str, start_at: Start) -> usize {
        let consumer = noting(name, world.target.clone()).start_at(start_at).build();
        let direct = Direct::to(consumer.expect("a consumer"));
        let route = Route::new(name, "s", direct).start(start_at);
        let relay = start(&world.source, sharded(), vec![route], |_| {}).await;
        write(&world.source, KEYS).await;
        let head = eventually("everything is sealed", async || {
            let counters = DB::counters(&world.source).await.expect("counters");
            let all: i64 = counters.iter().map(|(_, n)| n).sum();
            DB::head(&world.source).await.ok().filter(|head| head.0 == all)
        })
        .await;
        eventually("all is sent", async || {
            relay.status().iter().all(|shard| shard.position >= head).then_some(())
        })
        .await;
        relay.stop().await;
        let applied = DB::applied(&world.target).await.expect("applied");
        applied.iter().filter(|(key, _)| key.starts_with(name)).count()
    }

    pub(super) async fn a_subscription_begins_where_it_says<DB: Kit>(world: World<DB>) {
        let keys = KEYS as usize;
        write(&world.source, 2 * KEYS).await;
        assert_eq!(from(&world, "first", Start::Beginning).await, 3 * keys);
        assert_eq!(from(&world, "now", Start::Now).await, keys);
        // The log holds 4 rounds; the third begins after two.
        let third = Start::Position(syncline::message::Position(2 * KEYS));
        assert_eq!(from(&world, "third", third).await, 3 * keys);
        // Once begun it goes on from there, whatever the start says.
        assert_eq!(from(&world, "now", Start::Now).await, 3 * keys);
        assert_eq!(from(&world, "third", Start::Beginning).await, 5 * keys);
    }

    pub(super) async fn a_consumer_that_wants_the_beginning_gets_it_from_a_route_that_began_now<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        write(&world.source, 30).await;
        from(&world, "now", Start::Now).await;
        let consumer = noting("all", world.target.clone()).build().expect("a consumer");
        let route = Route::new("all", "s", Direct::to(consumer)).start(Start::Now);
        let relay = start(&world.source, sharded(), vec![route], |_| {}).await;
        write(&world.source, 2 * KEYS).await;
        eventually("it gets what came before, too", async || {
            let applied = DB::applied(&world.target).await.expect("applied");
            let all = applied.iter().filter(|(key, _)| key.starts_with("all")).count();
            (all as i64 == 30 + 3 * KEYS).then_some(())
        })
        .await;
        relay.stop().await;
    }

    pub(super) async fn an_idle_stream_carries_progress_without_a_storm<DB: Kit>(world: World<DB>) {
        let idle = Stream::new("idle").topic("nothing.ever").shards(16);
        let consumer = noting("idle", world.target.clone()).build().expect("a consumer");
        let direct = Direct::to(consumer);
        let route = Route::new("idle", "idle", direct.clone());
        let relay = start(&world.source, idle, vec![route], |_| {}).await;
        write(&world.source, 10).await;
        let head = eventually("the head", async || {
            DB::head(&world.source).await.ok().filter(|head| head.0 == 10)
        })
        .await;
        let incarnation = DB::incarnation(&world.source).await.expect("incarnation");
        eventually("every shard's watermark follows", async || {
            for shard in 0..16 {
                let (source, stream) = ("/tests".into(), "idle".into());
                let origin =
                    syncline::message::Origin { source, incarnation, stream, version: 1, shard };
                let row = DB::inbox(&world.target, "idle", &origin).await.expect("inbox")?;
                if row.watermark < head {
                    return None;
                }
            }
            Some(())
        })
        .await;
        let told = direct.progress.load(Ordering::Relaxed);
        assert!(told <= 64, "{told} empty batches for 16 shards");
        // Nothing moves, and so nothing is told.
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert_eq!(direct.progress.load(Ordering::Relaxed), told);
        assert!(relay.status().iter().all(|shard| shard.state == RouteState::Idle));
        assert_eq!(direct.sent.load(Ordering::Relaxed), 0);
        relay.stop().await;
    }
}
