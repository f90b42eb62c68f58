//! Streams of several shards: shared by relay processes, read once, started where one says.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use syncline::{
    Envelope, Error, Message, Route, Start, Stream,
    message::{Batch, HandOver, Link, Origin, Position},
    relay::RouteState,
    transport::{
        Ack, Outcome, PublishError, Publisher, Receive, Subscriber,
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use syncline_tests::{
    kit::{KEYS, Kit},
    on_each,
    relays::{Direct, LEASE, Process, check, eventually, noting, start, write},
    world::World,
};
use tokio_util::sync::CancellationToken;

on_each!(
    processes_share_shards_and_take_over_from_the_frozen_and_the_dead,
    sixteen_shards_read_the_log_as_often_as_one,
    a_slow_route_delays_no_other,
    a_subscription_begins_where_it_says,
    a_consumer_that_wants_the_beginning_gets_it_from_a_route_that_began_now,
    an_idle_stream_carries_progress_without_a_storm,
    a_changed_definition_takes_over_in_order_from_processes_that_have_the_old_one,
    a_new_version_waits_for_the_old_one_and_repeats_nothing_of_it,
    a_route_moves_to_another_transport_without_double_effects,
    tables_from_before_there_were_shards_go_on_where_they_were,
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
        // Past its lease, wherever it is.
        a.freeze(LEASE * 4);
        let began = Instant::now();
        eventually("the other one takes over", async || (b.share() == 32).then_some(())).await;
        assert!(began.elapsed() < LEASE * 3, "after {:?}", began.elapsed());
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
        for (stream, name) in
            [(Stream::new("plain").topic("*"), "plain"), (sharded().shares_topics(), "many")]
        {
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
        let third = Start::Position(Position(2 * KEYS));
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
                let origin = Origin { source, incarnation, stream, version: 1, shard };
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

    fn outdated(process: &Process) -> bool {
        let outdated = |state: &RouteState| matches!(state, RouteState::Outdated { .. });
        process.relay().status().iter().all(|shard| outdated(&shard.state))
    }

    pub(super) async fn a_changed_definition_takes_over_in_order_from_processes_that_have_the_old_one<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let plain = Stream::new("s").topic("counter.*");
        let (routes, all) =
            (["one", "two"], async || DB::streams(&world.source).await.expect("streams"));
        let a = world.process(&plain, &routes);
        write(&world.source, 60).await;
        tokio::time::sleep(LEASE / 2).await;
        a.freeze(LEASE * 2);
        write(&world.source, 24).await;
        let b = world.process(&sharded(), &routes);
        write(&world.source, 60).await;
        eventually("the old process stands aside", async || outdated(&a).then_some(())).await;
        write(&world.source, 60).await;
        check(&world.source, &world.target, &routes).await;
        let versions = all().await;
        assert_eq!(
            versions.iter().map(|v| (v.version, v.shards)).collect::<Vec<_>>(),
            [(1, 1), (2, 16)]
        );
        assert!(versions[1].after.0 >= 60, "{versions:?}");

        // A process of the old program that starts now changes nothing, but on purpose.
        let late = world.process(&plain, &routes);
        eventually("it stands aside", async || outdated(&late).then_some(())).await;
        assert_eq!(all().await.len(), 2);
        let back = world.process(&plain.clone().replaces(2), &routes);
        eventually("it takes over", async || outdated(&b).then_some(())).await;
        write(&world.source, 60).await;
        check(&world.source, &world.target, &routes).await;
        assert_eq!(all().await.last().map(|v| (v.version, v.shards)), Some((3, 1)));
        for process in [a, b, late, back] {
            process.kill();
        }
    }

    /// Messages 1, 2, .. of one key as a batch, at positions of the same number.
    fn numbered(version: i32, range: std::ops::RangeInclusive<i64>, end: Option<i64>) -> Batch {
        let link = |n: i64| Link { position: Position(n), id: uuid::Uuid::from_u128(n as u128) };
        let (source, stream) = ("/tests".to_owned(), "s".to_owned());
        let incarnation = uuid::Uuid::from_u128(7);
        let origin = Arc::new(Origin { source, incarnation, stream, version, shard: 0 });
        let began = end.map_or(Link::START, |end| Link::anchor(Position(end)));
        let prev = |n: i64| if n - 1 > began.position.0 { link(n - 1) } else { began };
        let message = |n: i64| Envelope {
            origin: Arc::clone(&origin),
            position: Position(n),
            prev: prev(n),
            message: Message::json("counter.raised", &n)
                .expect("JSON")
                .key("key 0")
                .id(link(n).id)
                .into(),
        };
        let (through, last) = (Position(*range.end()), link(*range.end()));
        let handover = end.map(|end| {
            let topics = vec!["counter.*".into()];
            Arc::new(HandOver { shards: 1, topics, through: Position(end), from: Vec::new() })
        });
        Batch {
            messages: range.map(message).collect(),
            origin,
            through,
            last,
            handover,
            continues: None,
        }
    }

    pub(super) async fn a_new_version_waits_for_the_old_one_and_repeats_nothing_of_it<DB: Kit>(
        world: World<DB>,
    ) {
        let consumer = noting("c", world.target.clone()).build().expect("a consumer");
        let receive = async |batch: Batch| consumer.receive(batch).await;
        let applied = async || {
            let applied = DB::applied(&world.target).await.expect("applied");
            applied.into_iter().map(|(_, n)| n).collect::<Vec<_>>()
        };
        // The new version begins after 3; the old one has brought 2, and then goes on past 3.
        receive(numbered(1, 1..=2, None)).await.expect("an answer");
        let early = receive(numbered(2, 4..=6, Some(3))).await.expect("an answer");
        assert!(matches!(early.outcome, Outcome::Paused { .. }), "{early:?}");
        assert_eq!(early.watermark, Position(3));
        assert_eq!(applied().await, [1, 2]);
        receive(numbered(1, 1..=4, None)).await.expect("a paused relay sends past the end");
        let ack = receive(numbered(2, 4..=6, Some(3))).await.expect("an answer");
        assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position(6)));
        assert_eq!(applied().await, [1, 2, 3, 4, 5, 6]);
        let late = receive(numbered(1, 5..=6, None)).await.expect_err("the old version is over");
        assert!(late.to_string().contains("ended at position 4"), "{late}");
        receive(numbered(2, 4..=7, Some(3))).await.expect("an answer");
        assert_eq!(applied().await, [1, 2, 3, 4, 5, 6, 7]);
    }

    pub(super) async fn a_route_moves_to_another_transport_without_double_effects<DB: Kit>(
        world: World<DB>,
    ) {
        let consumer = noting("c", world.target.clone()).build().expect("a consumer");
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let principal = Principal::new("/tests", "s", [secret.clone()]).expect("a principal");
        let principal = principal.shards(16);
        let setup = |receiver| PushReceiver::new(receiver).principal(principal);
        let listener = PushListener::bind("127.0.0.1:0", setup).await.expect("listens");
        let url = listener.url();
        let stop = CancellationToken::new();
        let server = Box::new(listener).run(Arc::new(consumer.clone()), stop.clone());
        let server = tokio::spawn(server);
        let push = || {
            let push = PushPublisher::builder(url.clone()).secret(secret.clone());
            push.build().expect("a publisher")
        };

        let routes = vec![Route::new("r", "s", Direct::to(consumer))];
        let before = start(&world.source, sharded(), routes, |_| {}).await;
        write(&world.source, 60).await;
        // The same route by push, and another one beside it, from the beginning: the one in
        // process still runs.
        let routes = vec![Route::new("r", "s", push()), Route::new("beside", "s", push())];
        let after = start(&world.source, sharded(), routes, |_| {}).await;
        write(&world.source, 60).await;
        before.stop().await;
        write(&world.source, 60).await;
        check(&world.source, &world.target, &["c"]).await;
        let head = DB::head(&world.source).await.expect("head");
        let sent = |route: &str| {
            let all = after.status();
            all.iter().filter(|s| s.route == route).all(|shard| shard.position >= head)
        };
        eventually("both have sent all", async || (sent("r") && sent("beside")).then_some(()))
            .await;
        after.stop().await;
        check(&world.source, &world.target, &["c"]).await;
        stop.cancel();
        server.await.expect("no panic").expect("it ends well");
    }

    pub(super) async fn tables_from_before_there_were_shards_go_on_where_they_were<DB: Kit>(
        world: World<DB>,
    ) {
        let plain = Stream::new("s").topic("counter.*");
        let consumer = noting("c", world.target.clone()).build().expect("a consumer");
        let direct = Direct::to(consumer);
        let sent = direct.sent.clone();
        let routes = || vec![Route::new("r", "s", direct.clone())];
        let relay = start(&world.source, plain.clone(), routes(), |_| {}).await;
        write(&world.source, 60).await;
        check(&world.source, &world.target, &["c"]).await;
        relay.stop().await;
        // Back to the older tables, with everything that stands in them, and up again.
        for pool in [&world.source, &world.target] {
            syncline::storage::migrate_down(pool, 3, false).await.expect("down");
            syncline::migrate(pool).await.expect("up");
        }
        let batches = sent.load(Ordering::Relaxed);
        let relay = start(&world.source, plain, routes(), |_| {}).await;
        tokio::time::sleep(LEASE).await;
        assert_eq!(sent.load(Ordering::Relaxed), batches, "nothing is sent again");
        write(&world.source, 24).await;
        check(&world.source, &world.target, &["c"]).await;
        relay.stop().await;
        // The same program may change the stream at once.
        let relay = start(&world.source, sharded(), routes(), |_| {}).await;
        write(&world.source, 24).await;
        check(&world.source, &world.target, &["c"]).await;
        relay.stop().await;
        // What the older tables cannot name keeps them from coming back unasked.
        let error = syncline::storage::migrate_down(&world.source, 3, false).await;
        assert!(matches!(error, Err(Error::WouldLose { version: 4, .. })), "{error:?}");
    }
}
