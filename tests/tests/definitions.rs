//! Changed definitions of streams: topics that move from one stream to another, that two streams
//! carry, and that none carries any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use syncline::{
    Envelope, Error, Message, Relay, RelayHandle, Route, Stream,
    message::{Batch, HandOver, Link, Origin, Position, TakenOver, TopicPattern},
    relay::{RelayBuilder, RouteState},
    routes, streams,
    transport::{Outcome, Receive},
};
use syncline_tests::{
    kit::Kit,
    on_each,
    relays::{Direct, LEASE, Process, check, eventually, noting, write},
    world::World,
};
use tokio::task::JoinHandle;

on_each!(
    a_topic_that_moves_to_another_stream_is_refused_until_it_is_handed_over,
    a_topic_that_moved_at_its_position_takes_effect_once,
    two_streams_that_swap_their_topics_take_effect_once,
    a_stream_that_took_over_waits_for_the_other_and_repeats_nothing_of_it,
    two_streams_of_one_topic_are_refused_unless_they_say_so,
    a_paused_route_holds_up_a_move,
    shards_that_are_not_closed_hold_up_a_move,
    what_a_closed_stream_cannot_send_is_given_up,
    a_stream_that_was_closed_can_be_taken_up_again,
    a_definition_that_drops_unsent_messages_is_refused_by_check_and_start,
    topics_of_a_service_without_a_stream_are_told,
    a_stored_route_that_is_left_out_with_messages_is_refused_by_check,
    a_late_process_of_an_old_definition_is_outdated_and_only_check_refuses_it,
    what_only_an_outdated_process_has_is_stored_until_a_newer_one_sends_it,
);

/// What `write` writes, and what nobody writes.
fn both() -> Stream {
    Stream::new("old").topic("counter.*").topic("other.*")
}

fn other() -> Stream {
    Stream::new("old").topic("other.*")
}

fn new() -> Stream {
    Stream::new("new").topic("counter.*").shards(4)
}

mod case {
    use super::*;

    fn builder<DB: Kit>(
        world: &World<DB>,
        streams: impl IntoIterator<Item = Stream>,
        routes: &[(&str, &str, &str)],
    ) -> RelayBuilder<DB> {
        let mut relay = Relay::builder("/tests", world.source.clone()).options(|options| {
            options.lease = LEASE;
            options.max_backoff = Duration::from_millis(100);
            options.progress_every = Duration::from_millis(200);
        });
        for stream in streams {
            relay = relay.stream(stream);
        }
        for (route, stream, consumer) in routes {
            let consumer = noting(consumer, world.target.clone()).build().expect("a consumer");
            relay = relay.route(Route::new(*route, *stream, Direct::to(consumer)));
        }
        relay
    }

    async fn relay<DB: Kit>(
        world: &World<DB>,
        streams: impl IntoIterator<Item = Stream>,
        routes: &[(&str, &str, &str)],
    ) -> RelayHandle {
        builder(world, streams, routes).start().await.expect("the relay starts")
    }

    /// What is said of a definition that is refused.
    fn refused<T>(result: syncline::Result<T>, name: &str) -> String {
        match result {
            Err(Error::Definition { name: said, problem, .. }) => {
                assert_eq!(said, name, "{problem}");
                problem
            }
            Err(other) => panic!("not the definition of {name}: {other}"),
            Ok(_) => panic!("the definition of {name} is not refused"),
        }
    }

    fn says(problem: &str, parts: &[&str]) {
        for part in parts {
            assert!(problem.contains(part), "{part:?} is not in: {problem}");
        }
    }

    /// Writes until it is told to end.
    fn writer<DB: Kit>(world: &World<DB>) -> (Arc<AtomicBool>, JoinHandle<()>) {
        let (end, pool) = (Arc::new(AtomicBool::new(false)), world.source.clone());
        let ending = Arc::clone(&end);
        let writing = tokio::spawn(async move {
            while !ending.load(Ordering::Relaxed) {
                write(&pool, 5).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        (end, writing)
    }

    async fn end((end, writing): (Arc<AtomicBool>, JoinHandle<()>)) {
        end.store(true, Ordering::Relaxed);
        writing.await.expect("the writer ends well");
    }

    async fn applied<DB: Kit>(world: &World<DB>) -> usize {
        DB::applied(&world.target).await.expect("applied").len()
    }

    async fn closed<DB: Kit>(world: &World<DB>, stream: &str) -> Position {
        eventually("the stream is sent to its end", async || {
            let closed = streams::close(&world.source, stream).await.expect("close");
            let closed = closed.expect("there is such a stream");
            closed.open.is_empty().then_some(closed.position)
        })
        .await
    }

    pub(super) async fn a_topic_that_moves_to_another_stream_is_refused_until_it_is_handed_over<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let before = relay(&world, [both()], &[("r", "old", "c")]).await;
        write(&world.source, 200).await;
        check(&world.source, &world.target, &["c"]).await;
        let moved = || builder(&world, [new()], &[("n", "new", "c")]);
        let parts = ["\"old\"", "counter.*", "syncline stream close old", "shares_topics"];
        says(&refused(moved().leaves("old").check().await, "new"), &parts);
        says(&refused(moved().start().await, "new"), &parts);
        let stored = DB::streams(&world.source).await.expect("streams");
        assert_eq!(stored.len(), 1, "nothing of it was stored: {stored:?}");

        let writing = writer(&world);
        let position = streams::close(&world.source, "old").await.expect("close").expect("known");
        assert_eq!(closed(&world, "old").await, position.position, "once is enough");
        let after = moved().start().await.expect("it takes over");
        let stored = DB::streams(&world.source).await.expect("streams");
        let new = stored.iter().rfind(|version| version.name == "new").expect("it is stored");
        assert_eq!((new.version, new.after), (2, position.position));
        tokio::time::sleep(LEASE).await;
        end(writing).await;
        check(&world.source, &world.target, &["c"]).await;
        before.stop().await;
        write(&world.source, 24).await;
        check(&world.source, &world.target, &["c"]).await;
        after.stop().await;
    }

    /// A process of its own that carries both topics to consumer `c` by route `r`.
    fn old_process<DB: Kit>(world: &World<DB>, stream: Stream) -> Process {
        let target = world.target_url.clone();
        let routes = async move {
            let target = DB::connect(&target, 8).await.expect("connect");
            let consumer = noting("c", target).build().expect("a consumer");
            vec![Route::new("r", "old", Direct::to(consumer))]
        };
        Process::start_with::<DB, _>(&world.source_url, stream, routes, |_| {})
    }

    pub(super) async fn a_topic_that_moved_at_its_position_takes_effect_once<DB: Kit>(
        world: World<DB>,
    ) {
        let before = old_process(&world, both().shards(2));
        let writing = writer(&world);
        eventually("it flows", async || (applied(&world).await > 50).then_some(())).await;
        // Frozen while the topic moves, it goes on with what it had in its hands.
        before.freeze(LEASE * 2);
        let streams = [other().shards(2), new()];
        let after = relay(&world, streams, &[("r", "old", "c"), ("n", "new", "c")]).await;
        tokio::time::sleep(LEASE * 3).await;
        end(writing).await;
        check(&world.source, &world.target, &["c"]).await;
        let stored = DB::streams(&world.source).await.expect("streams");
        let begins: Vec<_> =
            stored.iter().map(|v| (v.name.as_str(), v.version, v.after.0)).collect();
        let end = stored.last().expect("stored").after.0;
        assert_eq!(begins, [("new", 1, 0), ("new", 2, end), ("old", 1, 0), ("old", 2, end)]);
        before.kill();
        after.stop().await;
    }

    pub(super) async fn two_streams_that_swap_their_topics_take_effect_once<DB: Kit>(
        world: World<DB>,
    ) {
        let (one, two) = (|| Stream::new("one"), || Stream::new("two"));
        let routes = [("r", "one", "c"), ("s", "two", "c")];
        let streams = [one().topic("counter.*"), two().topic("other.*")];
        let before = relay(&world, streams, &routes).await;
        let writing = writer(&world);
        eventually("it flows", async || (applied(&world).await > 50).then_some(())).await;
        let streams = [one().topic("other.*"), two().topic("counter.*")];
        let after = relay(&world, streams, &routes).await;
        tokio::time::sleep(LEASE).await;
        end(writing).await;
        check(&world.source, &world.target, &["c"]).await;
        before.stop().await;
        after.stop().await;
    }

    /// Messages of one key as a batch of `stream`, at positions of the same number; an empty one
    /// tells only that the log was looked at up to `range`'s end.
    fn numbered(
        (stream, version): (&str, i32),
        range: std::ops::RangeInclusive<i64>,
        handover: Option<HandOver>,
        empty: bool,
    ) -> Batch {
        let link = |n: i64| Link { position: Position(n), id: uuid::Uuid::from_u128(n as u128) };
        let (source, stream) = ("/tests".to_owned(), stream.to_owned());
        let incarnation = uuid::Uuid::from_u128(7);
        let origin = Arc::new(Origin { source, incarnation, stream, version, shard: 0 });
        let began = handover.as_ref().map_or(Link::START, |old| Link::anchor(old.through));
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
        let through = Position(*range.end());
        let (messages, last) = match empty {
            true => (Vec::new(), began),
            false => (range.map(message).collect(), link(through.0)),
        };
        let handover = handover.map(Arc::new);
        Batch { messages, origin, through, last, handover, continues: None }
    }

    pub(super) async fn a_stream_that_took_over_waits_for_the_other_and_repeats_nothing_of_it<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let consumer = |name| noting(name, world.target.clone()).build().expect("a consumer");
        let topics = || vec![TopicPattern::from("counter.*")];
        let through = Position(3);
        let after = HandOver { shards: 1, topics: topics(), through, from: Vec::new() };
        let stream = "old".to_owned();
        let old = TakenOver { stream, version: 1, shards: 1, topics: topics() };
        let moved = HandOver { shards: 0, topics: Vec::new(), through, from: vec![old] };
        let of = async |name: &str| {
            let applied = DB::applied(&world.target).await.expect("applied");
            let of = applied.into_iter().filter(|(key, _)| key.starts_with(name));
            of.map(|(_, n)| n).collect::<Vec<_>>()
        };
        let c = consumer("c");
        let first = numbered(("old", 1), 1..=2, None, false);
        c.receive(first).await.expect("an answer");
        let new = || numbered(("new", 2), 4..=6, Some(moved.clone()), false);
        let early = c.receive(new()).await.expect("an answer");
        assert!(matches!(early.outcome, Outcome::Paused { .. }), "{early:?}");
        // It goes on past its end, whatever the other stream says, until it tells itself.
        let past = c.receive(numbered(("old", 1), 1..=5, None, false)).await.expect("an answer");
        assert_eq!((past.outcome, past.watermark), (Outcome::Complete, Position(5)));
        let early = c.receive(new()).await.expect("an answer");
        assert!(matches!(early.outcome, Outcome::Paused { .. }), "{early:?}");
        assert_eq!(of("c ").await, [1, 2, 3, 4, 5]);
        let ended = numbered(("old", 2), 3..=3, Some(after), true);
        let ended = c.receive(ended).await.expect("an answer");
        assert_eq!(ended.outcome, Outcome::Complete);
        let ack = c.receive(new()).await.expect("an answer");
        assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position(6)));
        assert_eq!(of("c ").await, [1, 2, 3, 4, 5, 6]);
        let late = c.receive(numbered(("old", 1), 6..=6, None, false)).await;
        let late = late.expect_err("the other stream is over").to_string();
        assert!(late.contains("ended at position 5"), "{late}");

        // Another consumer never had the other stream.
        let ack = consumer("d").receive(new()).await.expect("an answer");
        assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position(6)));
        assert_eq!(of("d ").await, [4, 5, 6]);
    }

    pub(super) async fn two_streams_of_one_topic_are_refused_unless_they_say_so<DB: Kit>(
        world: World<DB>,
    ) {
        let all = || Stream::new("all").topic("*");
        let routes = [("r", "old", "one"), ("all", "all", "two")];
        let twice = || builder(&world, [both(), all()], &routes);
        says(&refused(twice().check().await, "old"), &["\"all\"", "counter.*", "shares_topics"]);
        refused(twice().start().await, "old");
        assert!(DB::streams(&world.source).await.expect("streams").is_empty());
        let shared = || builder(&world, [both(), all().shares_topics()], &routes);
        shared().check().await.expect("it says so");
        let running = shared().start().await.expect("it says so");
        write(&world.source, 60).await;
        check(&world.source, &world.target, &["one", "two"]).await;
        // Another program that has one of the two need not know of the other.
        relay(&world, [both()], &[("r", "old", "one")]).await.stop().await;
        running.stop().await;
    }

    /// What is said of route `n`, once something is.
    async fn alarm(relay: &RelayHandle) -> String {
        eventually("something is said of the route that waits", async || {
            relay.status().into_iter().find(|shard| shard.route == "n")?.alarm
        })
        .await
    }

    pub(super) async fn a_paused_route_holds_up_a_move<DB: Kit>(world: World<DB>) {
        let before = relay(&world, [both()], &[("r", "old", "c")]).await;
        write(&world.source, 24).await;
        check(&world.source, &world.target, &["c"]).await;
        assert!(routes::pause(&world.source, "r").await.expect("pause"));
        let paused = |state: &RouteState| *state == RouteState::Paused;
        eventually("it pauses", async || {
            before.status().iter().all(|shard| paused(&shard.state)).then_some(())
        })
        .await;
        write(&world.source, 24).await;
        let sealed = async || DB::head(&world.source).await.ok().filter(|head| head.0 >= 48);
        eventually("the log holds them", sealed).await;
        before.stop().await;
        let routes = [("r", "old", "c"), ("n", "new", "c")];
        let after = relay(&world, [other(), new()], &routes).await;
        write(&world.source, 24).await;
        let parts = ["\"old\"", "\"r\"", "position 24", "syncline route resume r"];
        says(&alarm(&after).await, &parts);
        let waiting = streams::waiting(&world.source).await.expect("waiting");
        assert!(waiting.iter().all(|(key, _)| key.route == "n"), "{waiting:?}");
        assert_eq!(waiting.len(), 4);
        assert_eq!(applied(&world).await, 24, "in order: nothing before what stands before it");
        assert!(routes::resume(&world.source, "r").await.expect("resume"));
        check(&world.source, &world.target, &["c"]).await;
        assert_eq!(streams::waiting(&world.source).await.expect("waiting"), []);
        eventually("nothing is said any more", async || {
            after.status().iter().all(|shard| shard.alarm.is_none()).then_some(())
        })
        .await;
        after.stop().await;
    }

    /// Leaves stream `old` with `times` messages that its route has not sent.
    async fn unsent<DB: Kit>(world: &World<DB>, times: i64) {
        relay(world, [both()], &[("r", "old", "c")]).await.stop().await;
        let sealing = builder(world, [], &[]).start().await.expect("it seals");
        write(&world.source, times).await;
        eventually("they are sealed", async || {
            DB::head(&world.source).await.ok().filter(|head| head.0 >= times)
        })
        .await;
        sealing.stop().await;
    }

    pub(super) async fn shards_that_are_not_closed_hold_up_a_move<DB: Kit>(world: World<DB>) {
        unsent(&world, 24).await;
        let closed = streams::close(&world.source, "old").await.expect("close").expect("known");
        assert_eq!((closed.position, closed.open.len()), (Position(24), 2), "{closed:?}");
        let moved = || builder(&world, [new()], &[("n", "new", "c")]);
        let parts = ["\"old\"", "ended at position 24", "\"r\"", "is at position 0"];
        says(&refused(moved().check().await, "new"), &parts);
        says(&refused(moved().start().await, "new"), &parts);
        // A relay that still declares it sends the rest, and no more.
        let rest = relay(&world, [both()], &[("r", "old", "c")]).await;
        write(&world.source, 24).await;
        assert_eq!(super::case::closed(&world, "old").await, Position(24));
        assert_eq!(applied(&world).await, 24);
        let after = moved().start().await.expect("it takes over");
        check(&world.source, &world.target, &["c"]).await;
        rest.stop().await;
        after.stop().await;
    }

    pub(super) async fn what_a_closed_stream_cannot_send_is_given_up<DB: Kit>(world: World<DB>) {
        unsent(&world, 24).await;
        assert_eq!(streams::give_up(&world.source, "old").await.expect("give up"), 0, "it is open");
        streams::close(&world.source, "old").await.expect("close").expect("known");
        assert_eq!(streams::give_up(&world.source, "old").await.expect("give up"), 24);
        // Nor is there anybody who tells that it has ended.
        let moved = builder(&world, [new()], &[("n", "new", "c")]);
        says(&refused(moved.start().await, "new"), &["version 2 is at position 24"]);
        assert_eq!(streams::give_up(&world.source, "old").await.expect("give up"), 0);
        let after = relay(&world, [new()], &[("n", "new", "c")]).await;
        write(&world.source, 24).await;
        eventually("what came after it is applied", async || {
            (applied(&world).await == 24).then_some(())
        })
        .await;
        after.stop().await;
        assert_eq!(streams::close(&world.source, "none").await.expect("close"), None);
    }

    pub(super) async fn a_stream_that_was_closed_can_be_taken_up_again<DB: Kit>(world: World<DB>) {
        let first = relay(&world, [both()], &[("r", "old", "c")]).await;
        write(&world.source, 24).await;
        check(&world.source, &world.target, &["c"]).await;
        let position = closed(&world, "old").await;
        let unchanged = builder(&world, [both()], &[("r", "old", "c")]);
        eventually("all is sent, and nothing will be", async || unchanged.check().await.err())
            .await;
        let problem = refused(unchanged.check().await, "old");
        says(&problem, &["it was closed at position 24", "`replaces` version 2"]);
        let replacing = || builder(&world, [both().replaces(2)], &[("r", "old", "c")]);
        replacing().check().await.expect("it would be carried");
        let again = replacing().start().await.expect("the relay starts");
        write(&world.source, 24).await;
        check(&world.source, &world.target, &["c"]).await;
        assert_eq!(position, Position(24));
        first.stop().await;
        again.stop().await;
    }

    pub(super) async fn a_definition_that_drops_unsent_messages_is_refused_by_check_and_start<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let before = relay(&world, [both()], &[("r", "old", "c")]).await;
        write(&world.source, 24).await;
        check(&world.source, &world.target, &["c"]).await;
        before.stop().await;
        // Committed, and without a position yet where a relay gives it.
        write(&world.source, 24).await;
        let route = [("r", "old", "c")];
        let parts = ["version 1", "counter.*", "Stream::drops", "after position "];
        says(&refused(builder(&world, [other()], &route).check().await, "old"), &parts);
        says(&refused(builder(&world, [other()], &route).start().await, "old"), &parts);
        assert_eq!(DB::streams(&world.source).await.expect("streams").len(), 1);
        let dropping = || builder(&world, [other().drops("counter.*")], &route);
        dropping().check().await.expect("it says so");
        let after = dropping().start().await.expect("it says so");
        write(&world.source, 24).await;
        let dropped = DB::streams(&world.source).await.expect("streams")[1].after;
        let found = eventually("what nobody carries is counted", async || {
            let found = streams::uncarried(&world.source, 1_000).await.expect("uncarried");
            found.into_iter().find(|topic| topic.last == Position(72))
        })
        .await;
        assert_eq!(found.topic, "counter.raised");
        assert_eq!((found.first.0, found.messages as i64), (dropped.0 + 1, 72 - dropped.0));
        let before = async || (applied(&world).await as i64 == dropped.0).then_some(());
        eventually("the rest is applied", before).await;
        after.stop().await;
        // A new stream carries what nobody did, from where it was dropped.
        let routes = [("r", "old", "c"), ("n", "new", "c")];
        let carried = relay(&world, [other(), new()], &routes).await;
        check(&world.source, &world.target, &["c"]).await;
        assert_eq!(streams::uncarried(&world.source, 1_000).await.expect("uncarried"), []);
        carried.stop().await;
    }

    pub(super) async fn topics_of_a_service_without_a_stream_are_told<DB: Kit>(world: World<DB>) {
        write(&world.source, 3).await;
        // It gives the messages their positions, and carries none.
        let first = relay(&world, [], &[]).await;
        let found = eventually("they are told", async || {
            let found = streams::uncarried(&world.source, 1_000).await.expect("uncarried");
            found.into_iter().find(|topic| topic.messages == 3)
        })
        .await;
        assert_eq!(found.topic, "counter.raised");
        assert_eq!((found.first, found.last), (Position(1), Position(3)));
        first.stop().await;
        // Its own look finds all of them: it looks first when it starts.
        let second = relay(&world, [], &[]).await;
        let told = eventually("the handle tells", async || second.uncarried().pop()).await;
        assert_eq!((told.topic.as_str(), told.messages), ("counter.raised", 3));
        second.stop().await;
    }

    pub(super) async fn a_stored_route_that_is_left_out_with_messages_is_refused_by_check<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        unsent(&world, 24).await;
        let elsewhere = || {
            let stream = Stream::new("more").topic("more.*");
            builder(&world, [stream], &[("m", "more", "c")])
        };
        let parts = ["\"old\"", "position 0", "leaves", "24 messages"];
        says(&refused(elsewhere().check().await, "r"), &parts);
        says(&refused(builder(&world, [both()], &[]).check().await, "r"), &parts);
        for left in ["r", "old"] {
            elsewhere().leaves(left).check().await.expect("it says so");
        }
        // Two programs that each send some of it may start in any order.
        elsewhere().start().await.expect("it starts").stop().await;
        let running = relay(&world, [both()], &[("r", "old", "c")]).await;
        check(&world.source, &world.target, &["c"]).await;
        eventually("nothing is left", async || elsewhere().check().await.ok()).await;
        running.stop().await;
    }

    pub(super) async fn a_late_process_of_an_old_definition_is_outdated_and_only_check_refuses_it<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        relay(&world, [both()], &[("r", "old", "c")]).await.stop().await;
        let routes = [("r", "old", "c"), ("n", "new", "c")];
        let after = relay(&world, [other(), new()], &routes).await;
        let old = || builder(&world, [both()], &[("r", "old", "c")]);
        let problem = refused(old().check().await, "old");
        says(&problem, &["version 2 of it is in force", "an older one", "replaces"]);
        let late = old().start().await.expect("it is not refused");
        let outdated = |state: &RouteState| matches!(state, RouteState::Outdated { .. });
        eventually("it stands aside", async || {
            let status = late.status();
            status.iter().any(|shard| outdated(&shard.state)).then_some(())
        })
        .await;
        write(&world.source, 24).await;
        check(&world.source, &world.target, &["c"]).await;
        assert_eq!(DB::streams(&world.source).await.expect("streams").len(), 4);
        late.stop().await;
        after.stop().await;
    }
    pub(super) async fn what_only_an_outdated_process_has_is_stored_until_a_newer_one_sends_it<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let route = [("r", "old", "c")];
        let outdated = async || {
            let lags = DB::route_lags(&world.source).await.expect("lags");
            let mut problems = lags.into_iter().filter_map(|lag| lag.problem);
            problems.find(|problem| problem.kind == "outdated")
        };
        relay(&world, [both()], &route).await.stop().await;
        let wider = || both().topic("more.*");
        let newer = relay(&world, [wider()], &route).await;
        let late = relay(&world, [both()], &route).await;
        eventually("it stands aside", async || {
            let aside = |state: &RouteState| matches!(state, RouteState::Outdated { .. });
            late.status().iter().any(|shard| aside(&shard.state)).then_some(())
        })
        .await;
        // Another process sends the route: nothing stands still.
        write(&world.source, 12).await;
        check(&world.source, &world.target, &["c"]).await;
        assert_eq!(outdated().await, None);
        newer.stop().await;
        let found = eventually("it is stored", outdated).await;
        says(&found.text, &["version 2", "start its newer program"]);
        write(&world.source, 12).await;
        let newer = relay(&world, [wider()], &route).await;
        check(&world.source, &world.target, &["c"]).await;
        eventually("it is stored no more", async || outdated().await.is_none().then_some(())).await;
        late.stop().await;
        newer.stop().await;
    }
}
