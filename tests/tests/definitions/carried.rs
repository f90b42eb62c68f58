//! Topics that are not carried: of closed streams, dropped ones, those of routes that are left out, and those
//! of older definitions.

use super::*;

pub(crate) async fn what_a_closed_stream_cannot_send_is_given_up<DB: Kit>(world: World<DB>) {
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

pub(crate) async fn a_stream_that_was_closed_can_be_taken_up_again<DB: Kit>(world: World<DB>) {
    let first = relay(&world, [both()], &[("r", "old", "c")]).await;
    write(&world.source, 24).await;
    check(&world.source, &world.target, &["c"]).await;
    let position = closed(&world, "old").await;
    let unchanged = builder(&world, [both()], &[("r", "old", "c")]);
    eventually("all is sent, and nothing will be", async || unchanged.check().await.err()).await;
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

pub(crate) async fn a_definition_that_drops_unsent_messages_is_refused_by_check_and_start<
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

pub(crate) async fn topics_of_a_service_without_a_stream_are_told<DB: Kit>(world: World<DB>) {
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

pub(crate) async fn a_stored_route_that_is_left_out_with_messages_is_refused_by_check<DB: Kit>(
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

pub(crate) async fn a_late_process_of_an_old_definition_is_outdated_and_only_check_refuses_it<
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

pub(crate) async fn what_only_an_outdated_process_has_is_stored_until_a_newer_one_sends_it<
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
