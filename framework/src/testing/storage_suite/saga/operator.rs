//! An operator's hand on instances, and what it cannot touch.

use std::time::Duration;

use serde_json::json;
use sqlx::Pool;
use uuid::Uuid;

use super::{
    super::support::commit,
    BACK, HAPPY, ordered, shipped,
    world::{self, Does, SOURCE, World},
};
use crate::{
    Storage, begin,
    saga::{
        Answer,
        operate::{self, Act, By},
        wire::{Reply, Said},
    },
    storage::SagaTimer,
};

pub(in super::super) async fn neither_a_reply_nor_an_operators_skip_touches_what_is_done<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    let world = World::idle(pool).await;
    let id = ordered(&world, "a").await;
    world.pump_commands().await;
    world.pump_replies().await;
    assert!(world.sagas.work_off().await.expect("`credit` is done, `claim` is sent"));
    let before = operate::show(&world.pool, id).await.expect("show").expect("it is there");
    let reply = |attempt, answer| {
        let (to, step, said) = (SOURCE.to_owned(), "credit".to_owned(), Said::Applied(answer));
        Reply { to, saga: id, step, attempt, said }.message().expect("a reply")
    };
    let late = [
        reply(1, Answer::Applied(json!("other"))),
        reply(2, Answer::Applied(json!("other"))),
        reply(1, Answer::Refused("too late".to_owned())),
        reply(1, Answer::Barred),
    ];
    // Nor does a reply to somebody else touch what is under way.
    let said = Said::Applied(Answer::Refused("not yours".to_owned()));
    let (to, step) = ("/somebody-else".to_owned(), "claim".to_owned());
    let foreign = Reply { to, saga: id, step, attempt: 1, said }.message().expect("a reply");
    commit(&world.pool, &late).await;
    commit(&world.pool, &[foreign]).await;
    world.pump_replies().await;
    let by = By { who: "ada".to_owned(), why: "by mistake".to_owned() };
    for step in ["credit", "claim", "approve"] {
        let skip = Act::Skip(step.to_owned());
        assert!(operate::act(&world.pool, id, skip, &by).await.expect("act"));
    }
    assert!(world.sagas.work_off().await.expect("decide"));
    let after = operate::show(&world.pool, id).await.expect("show").expect("it is there");
    assert_eq!(after.state, before.state);
    let ignored = after.log.iter().filter(|line| line.what == "ignored");
    let ignored: Vec<_> = ignored.filter_map(|line| line.detail.as_deref()).collect();
    let count = |what: &str| ignored.iter().filter(|line| line.starts_with(what)).count();
    let counts = [count("applied:"), count("refused:"), count("barred:"), count("skipped:")];
    assert_eq!(counts, [2, 1, 1, 3], "{ignored:#?}");
    world.drive(id, "completed").await;
    assert_eq!(world.effects(id).await, HAPPY);
}

pub(in super::super) async fn an_operator_is_heard_before_replies_that_wait<DB: Storage>(
    pool: Pool<DB>,
) {
    let world = World::idle(pool).await;
    let by = By { who: "ada".to_owned(), why: "rain".to_owned() };
    let cancel = async |id| {
        assert!(operate::act(&world.pool, id, Act::Cancel, &by).await.expect("act"));
    };
    let id = ordered(&world, "a").await;
    world.pump_commands().await;
    // The reply is stored first, and nobody has decided it.
    world.pump_replies().await;
    cancel(id).await;
    assert!(world.sagas.work_off().await.expect("decide"));
    let shown = operate::show(&world.pool, id).await.expect("show").expect("it is there");
    let heard: Vec<_> = shown.log.iter().map(|line| line.what.as_str()).collect();
    let heard: Vec<_> = heard.into_iter().skip_while(|what| *what != "operator").collect();
    assert_eq!(heard, ["operator", "cancelled", "compensating", "ignored"], "{shown:#?}");
    world.drive(id, "compensated").await;
    assert_eq!(world.effects(id).await, BACK);

    // One that has not begun: it begins, and goes back.
    let early = world.start("b").await;
    cancel(early).await;
    world.drive(early, "compensated").await;
    assert_eq!(world.effects(early).await, BACK);
}

pub(in super::super) async fn a_compensation_that_fails_waits_for_an_operator<DB: Storage>(
    pool: Pool<DB>,
) {
    let (world, handle) = World::new(pool).await;
    world.script.when("claim", [Does::Refuse]);
    world.script.when("-credit", [Does::Fail, Does::Fail, Does::Fail]);
    let id = world.start("a").await;
    world.until(id, &["stuck"]).await;
    // The others have run all the same.
    assert_eq!(world.effects(id).await, ["+open", "+credit", "-open"]);
    let by = By { who: "ada".to_owned(), why: "it is mended".to_owned() };
    let retry = Act::Retry(Some("credit".to_owned()));
    assert!(operate::act(&world.pool, id, retry, &by).await.expect("act"));
    world.until(id, &["compensated"]).await;
    assert_eq!(world.effects(id).await, ["+open", "+credit", "-open", "-credit"]);
    assert!(!operate::act(&world.pool, id, Act::Resolve, &by).await.expect("it is over"));
    handle.stop().await;
}

pub(in super::super) async fn a_definition_changed_under_its_instances_makes_them_stuck<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    let world = World::idle(pool).await;
    let id = world.start("a").await;
    let changed = world::changed_engine(&world.pool);
    let handle = changed.run().await.expect("run");
    world.until(id, &["stuck"]).await;
    handle.stop().await;
    // The right definition is there again: an operator has it looked at, and nothing is lost.
    let handle = world.sagas.run().await.expect("run");
    let by = By { who: "ada".to_owned(), why: "the deployment is taken back".to_owned() };
    assert!(operate::act(&world.pool, id, Act::Retry(None), &by).await.expect("act"));
    world.until(id, &["completed"]).await;
    assert_eq!(world.effects(id).await, HAPPY);
    handle.stop().await;
}

pub(in super::super) async fn an_instance_that_no_engine_can_decide_is_ended_by_force<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    let world = World::idle(pool).await;
    let by = By { who: "ada".to_owned(), why: "settled by phone".to_owned() };
    let end = async |id: Uuid, idle| operate::end(&world.pool, id, &by, idle).await.expect("end");
    // It waits for an answer, and then for an engine.
    let id = shipped(&world).await;
    assert!(!end(id, Duration::ZERO).await, "nothing of it is due");
    tokio::time::sleep(world::SHIPPING).await;
    let timers = async || {
        let subject = format!("{} deadline ship", id.simple());
        let timer = SagaTimer { owner: "shipping/1".to_owned(), subject, after: None };
        let mut tx = begin(&world.pool).await.expect("begin");
        let due = DB::pending(&mut tx, &[id], &[timer]).await.expect("pending").len();
        tx.rollback().await.expect("roll back");
        due
    };
    assert_eq!(timers().await, 1);
    assert!(!operate::force_resolve(&world.pool, id, &by).await.expect("not for a minute"));
    assert!(end(id, Duration::ZERO).await);
    assert_eq!(timers().await, 0);
    assert!(!end(id, Duration::ZERO).await, "it is over");

    // Its steps are not those of its definition: it is stuck, and is over at once.
    let stuck = world.try_start("order", "b", "customer/1", 1).await.expect("started").id;
    let handle = world::changed_engine(&world.pool).run().await.expect("run");
    world.until(stuck, &["stuck"]).await;
    handle.stop().await;
    assert!(operate::force_resolve(&world.pool, stuck, &by).await.expect("force"));
    assert!(operate::locks(&world.pool, 1).await.expect("locks").is_empty());
    assert!(operate::stuck(&world.pool, 1).await.expect("stuck").is_empty());
    // No engine takes it up again, and what comes late is noted.
    let handle = world.sagas.run().await.expect("run");
    let other = world.start("c").await;
    world.until(other, &["completed"]).await;
    for (id, effects) in [(id, &["+credit"][..]), (stuck, &[])] {
        assert_eq!(world.status(id).await, "resolved");
        assert_eq!(world.effects(id).await, effects);
        assert!(world.has_logged(id, "operator").await);
    }
    assert!(world.has_logged(id, "late").await);
    handle.stop().await;
}
