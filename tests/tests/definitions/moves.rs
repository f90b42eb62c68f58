//! Topics that move from one stream to another, and that two streams carry.

use super::*;

pub(crate) async fn a_topic_that_moves_to_another_stream_is_refused_until_it_is_handed_over<
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
pub(crate) fn old_process<DB: Kit>(world: &World<DB>, stream: Stream) -> Process {
    let target = world.target_url.clone();
    let routes = async move {
        let target = DB::connect(&target, 8).await.expect("connect");
        let consumer = noting("c", target).build().expect("a consumer");
        vec![Route::new("r", "old", Direct::to(consumer))]
    };
    Process::start_with::<DB, _>(&world.source_url, stream, routes, |_| {})
}

pub(crate) async fn a_topic_that_moved_at_its_position_takes_effect_once<DB: Kit>(
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
    let begins: Vec<_> = stored.iter().map(|v| (v.name.as_str(), v.version, v.after.0)).collect();
    let end = stored.last().expect("stored").after.0;
    assert_eq!(begins, [("new", 1, 0), ("new", 2, end), ("old", 1, 0), ("old", 2, end)]);
    before.kill();
    after.stop().await;
}

pub(crate) async fn two_streams_that_swap_their_topics_take_effect_once<DB: Kit>(world: World<DB>) {
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
pub(crate) fn numbered(
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

pub(crate) async fn a_stream_that_took_over_waits_for_the_other_and_repeats_nothing_of_it<
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

pub(crate) async fn two_streams_of_one_topic_are_refused_unless_they_say_so<DB: Kit>(
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

/// The text that is told of route `n`, once there is one.
pub(crate) async fn alarm(relay: &RelayHandle) -> String {
    eventually("something is said of the route that waits", async || {
        relay.status().into_iter().find(|shard| shard.route == "n")?.alarm
    })
    .await
}

pub(crate) async fn a_paused_route_holds_up_a_move<DB: Kit>(world: World<DB>) {
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

pub(crate) async fn shards_that_are_not_closed_hold_up_a_move<DB: Kit>(world: World<DB>) {
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
    assert_eq!(super::ways::closed(&world, "old").await, Position(24));
    assert_eq!(applied(&world).await, 24);
    let after = moved().start().await.expect("it takes over");
    check(&world.source, &world.target, &["c"]).await;
    rest.stop().await;
    after.stop().await;
}
