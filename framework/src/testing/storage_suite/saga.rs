//! Sagas: the engine, a participant and the replies over one database. Messages are carried by
//! hand: the log is handed over from its beginning, as often as a test likes.

mod operator;
mod trouble;
mod world;

use std::time::Duration;

use futures::future::join_all;
use sqlx::Pool;
use uuid::Uuid;

use super::support::commit;
use crate::{
    Message, Storage, begin,
    saga::{
        Answer, StartError,
        operate::{self, Act, By},
        wire::{Reply, Said},
    },
    storage::{Awaited, SagaChanges, SagaTimer},
};
pub(super) use operator::{
    a_compensation_that_fails_waits_for_an_operator,
    a_definition_changed_under_its_instances_makes_them_stuck,
    an_instance_that_no_engine_can_decide_is_ended_by_force,
    an_operator_is_heard_before_replies_that_wait,
    neither_a_reply_nor_an_operators_skip_touches_what_is_done,
};
pub(super) use trouble::{
    a_relay_of_another_source_than_the_engine_is_refused,
    a_reply_to_another_source_is_named_and_not_taken,
    an_engine_of_another_source_than_the_relay_is_refused,
    an_input_that_a_saga_cannot_read_is_refused_at_its_start,
    commands_that_no_stream_carries_are_named, compensations_are_told_why,
    what_fails_is_listed_and_can_be_hurried,
};
use world::{Does, SOURCE, World, engine};

const HAPPY: [&str; 5] = ["+open", "+credit", "+claim", "+approve", "+tell"];
const BACK: [&str; 4] = ["+open", "+credit", "-credit", "-open"];

pub(super) async fn a_saga_goes_through_all_its_steps<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    let id = world.start("a").await;
    world.until(id, &["completed"]).await;
    assert_eq!(world.effects(id).await, HAPPY);
    handle.stop().await;
}

pub(super) async fn a_refusal_compensates_what_was_applied_in_reverse<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    world.script.when("claim", [Does::Refuse]);
    let id = world.start("a").await;
    world.until(id, &["compensated"]).await;
    assert_eq!(world.effects(id).await, BACK);
    handle.stop().await;
}

pub(super) async fn a_local_step_is_tried_again_and_then_given_up<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    // What it wrote before it failed, panicked or hung must not be there.
    world.script.when("open", [Does::Fail, Does::Panic, Does::Work]);
    let again = world.start("again").await;
    world.until(again, &["completed"]).await;
    assert_eq!(world.effects(again).await, HAPPY);
    world.script.when("approve", [Does::Hang, Does::Fail, Does::Panic]);
    let given_up = world.start("given up").await;
    world.until(given_up, &["compensated"]).await;
    let back = ["+open", "+credit", "+claim", "-claim", "-credit", "-open"];
    assert_eq!(world.effects(given_up).await, back);
    handle.stop().await;
}

pub(super) async fn a_local_step_that_spoils_its_transaction_spoils_no_other<DB: Storage>(
    pool: Pool<DB>,
) {
    let (world, handle) = World::new(pool).await;
    // One of them leaves a transaction that takes nothing more, where the database is like that.
    world.script.when("open", [Does::Work, Does::Swallow]);
    world.script.when("approve", [Does::Swallow]);
    for id in join_all(["a", "b", "c"].map(|key| world.start(key))).await {
        world.until(id, &["completed"]).await;
        assert_eq!(world.effects(id).await, HAPPY);
    }
    handle.stop().await;
}

pub(super) async fn sagas_are_found_by_the_key_that_they_began_with<DB: Storage>(pool: Pool<DB>) {
    let world = World::idle(pool.clone()).await;
    let (one, _) = (world.start("first").await, world.start("second").await);
    let other = world.try_start("shipping", "first", "", 1).await.expect("started").id;
    let found = DB::sagas_of_key(&pool, "first", 10).await.expect("look");
    let mut ids: Vec<_> = found.iter().map(|saga| saga.id).collect();
    ids.sort_unstable();
    let mut expected = [one, other];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert_eq!(DB::sagas_of_key(&pool, "first", 1).await.expect("look").len(), 1);
    assert!(DB::sagas_of_key(&pool, "fir%", 10).await.expect("look").is_empty());
    let between = async |low, high, limit| -> Vec<Uuid> {
        let found = DB::sagas_between(&pool, low, high, limit).await.expect("look");
        found.into_iter().map(|saga| saga.id).collect()
    };
    assert_eq!(between(one, one, 10).await, [one], "both ends belong to it");
    let all = between(Uuid::nil(), Uuid::max(), 10).await;
    assert!(all.len() == 3 && all.is_sorted_by(|a, b| a > b), "{all:?}");
    assert_eq!(between(Uuid::nil(), Uuid::max(), 2).await, all[..2]);
    assert!(between(Uuid::nil(), Uuid::from_u128(7), 10).await.is_empty());
}

pub(super) async fn one_key_is_one_instance<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    let starts = join_all((0..4).map(|_| world.try_start("order", "same", "", 1))).await;
    let started: Vec<_> = starts.into_iter().map(|start| start.expect("started")).collect();
    assert_eq!(started.iter().filter(|start| !start.repeated).count(), 1, "{started:?}");
    assert!(started.iter().all(|start| start.id == started[0].id), "{started:?}");
    match world.try_start("order", "same", "", 2).await {
        Err(StartError::OtherInput { id, .. }) => assert_eq!(id, started[0].id),
        other => panic!("another input under the same key: {other:?}"),
    }
    world.until(started[0].id, &["completed"]).await;
    assert_eq!(world.effects(started[0].id).await, HAPPY);
    handle.stop().await;
}

pub(super) async fn the_pulse_tells_of_a_start_that_nobody_has_told_of<DB: Storage>(
    pool: Pool<DB>,
) {
    let world = World::idle(pool.clone()).await;
    let sagas = ["nobody/1".to_owned(), "order/1".to_owned()].into();
    let awaited = Awaited { sagas, within: Duration::from_secs(1), ..Awaited::default() };
    let found = async || DB::pulse(&pool, &awaited).await.expect("the pulse").sagas;
    assert_eq!(found().await, None);
    let _ = world.try_start("order", "key", "", 1).await.expect("started");
    assert_eq!(found().await, Some(Duration::ZERO));
}

pub(super) async fn a_locked_entity_is_free_when_its_saga_has_ended<DB: Storage>(pool: Pool<DB>) {
    let world = World::idle(pool).await;
    let start = async |key: &str| world.try_start("order", key, "customer/1", 1).await;
    let first = start("first").await.expect("started").id;
    match start("second").await {
        Err(StartError::Locked { entity, by }) => {
            assert_eq!((entity.as_str(), by), ("customer/1", first));
        }
        other => panic!("a locked entity was locked again: {other:?}"),
    }
    // The transaction of a start that was refused can go on, and has nothing of it.
    let mut tx = begin(&world.pool).await.expect("begin");
    let refused = world.sagas.start(&mut tx, "order", "second", &("customer/1", 1)).await;
    assert!(matches!(refused, Err(StartError::Locked { .. })), "{refused:?}");
    tx.commit().await.expect("commit");
    assert_eq!(operate::locks(&world.pool, 9).await.expect("locks").len(), 1);
    let handle = world.sagas.run().await.expect("run");
    world.until(first, &["completed"]).await;
    let second = start("second").await.expect("started");
    assert!(!second.repeated, "nothing was left of the refused start");
    world.until(second.id, &["completed"]).await;
    assert!(operate::locks(&world.pool, 9).await.expect("locks").is_empty());

    // However it ends; but not while it goes back, or waits for an operator.
    world.script.when("claim", [Does::Refuse]);
    let third = start("third").await.expect("started").id;
    world.until(third, &["compensated"]).await;
    assert!(operate::locks(&world.pool, 9).await.expect("locks").is_empty());
    world.script.when("claim", [Does::Refuse]);
    world.script.when("-credit", [Does::Fail; 3]);
    let fourth = start("fourth").await.expect("started").id;
    world.until(fourth, &["stuck"]).await;
    match start("fifth").await {
        Err(StartError::Locked { by, .. }) => assert_eq!(by, fourth),
        other => panic!("the entity of a stuck saga was locked again: {other:?}"),
    }
    let by = By { who: "ada".to_owned(), why: "settled by phone".to_owned() };
    assert!(operate::act(&world.pool, fourth, Act::Resolve, &by).await.expect("act"));
    world.until(fourth, &["resolved"]).await;
    assert!(operate::locks(&world.pool, 9).await.expect("locks").is_empty());
    handle.stop().await;
}

pub(super) async fn a_start_that_is_rolled_back_is_none<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    let mut tx = begin(&world.pool).await.expect("begin");
    let started = world.sagas.start(&mut tx, "order", "gone", &("", 1)).await.expect("started");
    let id = started.id;
    started.committed();
    tx.rollback().await.expect("roll back");
    let again = world.try_start("order", "gone", "", 2).await.expect("the key is free");
    world.until(again.id, &["completed"]).await;
    assert!(operate::show(&world.pool, id).await.expect("show").is_none());
    assert!(world.effects(id).await.is_empty());
    handle.stop().await;
}

pub(super) async fn replies_twice_late_or_of_nobody_change_nothing<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    let id = world.start("a").await;
    world.until(id, &["completed"]).await;
    let reply = |saga: Uuid, to: &str, step: &str| {
        let said = Said::Applied(Answer::Refused("too late".to_owned()));
        let reply = Reply { to: to.to_owned(), saga, step: step.to_owned(), attempt: 1, said };
        reply.message().expect("a reply")
    };
    let running = world.start("b").await;
    let late = [
        reply(id, SOURCE, "claim"),
        reply(Uuid::now_v7(), SOURCE, "claim"),
        reply(running, "/somebody-else", "credit"),
        reply(running, SOURCE, "no-such-step"),
        reply(running, SOURCE, "approve"),
    ];
    commit(&world.pool, &late).await;
    world.until(running, &["completed"]).await;
    assert_eq!(world.effects(running).await, HAPPY);
    assert_eq!(world.status(id).await, "completed");
    assert!(world.has_logged(id, "late").await && world.has_logged(running, "ignored").await);
    handle.stop().await;
}

/// An instance of `order` whose first remote step was just sent; no engine runs.
async fn ordered<DB: Storage>(world: &World<DB>, key: &str) -> Uuid {
    let id = world.start(key).await;
    assert!(world.sagas.work_off().await.expect("it begins"));
    id
}

pub(super) async fn a_timer_that_is_set_again_is_due_at_its_new_time<DB: Storage>(pool: Pool<DB>) {
    let world = World::idle(pool).await;
    let id = ordered(&world, "a").await;
    let owners = ["order/1".to_owned()];
    let timer = |after| {
        let subject = format!("{} retry open", id.simple());
        SagaTimer { owner: owners[0].clone(), subject, after }
    };
    let set = async |after: Option<i64>| {
        let mut changes = SagaChanges::default();
        match after {
            Some(_) => changes.armed.push(timer(after)),
            None => changes.cleared.push(timer(None)),
        }
        let mut tx = begin(&world.pool).await.expect("begin");
        DB::save_sagas(&mut tx, &changes).await.expect("save");
        tx.commit().await.expect("commit");
    };
    let due = async || {
        let mut tx = begin(&world.pool).await.expect("begin");
        let pending = DB::pending(&mut tx, &[], &[timer(None)]).await.expect("pending").len();
        tx.rollback().await.expect("roll back");
        let soon = DB::saga_due(&world.pool, &owners, Duration::from_secs(1)).await;
        (pending, soon.expect("due"))
    };
    assert_eq!(due().await, (0, None), "those that it has set are due later");
    for _ in 0..2 {
        set(Some(0)).await;
        assert_eq!(due().await, (1, Some(Duration::ZERO)));
        set(Some(3_600_000)).await;
        assert_eq!(due().await, (0, None));
    }
    set(Some(0)).await;
    set(None).await;
    assert_eq!(due().await, (0, None));
}

pub(super) async fn an_instance_keeps_the_version_it_began_with<DB: Storage>(pool: Pool<DB>) {
    let world = World::idle(pool).await;
    let id = world.start("a").await;
    let newer = engine(&world.pool, &world.script, 2);
    let handle = newer.run().await.expect("run");
    assert_eq!(newer.status().unknown, [("order".to_owned(), 1, 1)]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.status(id).await, "new");
    let older = world.sagas.run().await.expect("run");
    world.until(id, &["completed"]).await;
    handle.stop().await;
    older.stop().await;
}

pub(super) async fn two_engines_share_the_work<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    let second = engine(&world.pool, &world.script, 1).run().await.expect("run");
    let keys: Vec<_> = (0..20).map(|n| format!("key {n}")).collect();
    let ids = join_all(keys.iter().map(|key| world.start(key))).await;
    for id in ids {
        world.until(id, &["completed"]).await;
        assert_eq!(world.effects(id).await, HAPPY);
    }
    second.stop().await;
    handle.stop().await;
}

pub(super) async fn a_remote_pivot_in_doubt_is_asked<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    for applied in [true, false] {
        let key = format!("{applied}");
        let id = world.try_start("shipping", &key, "", 1).await.expect("started").id;
        let wait = async |step: &str| {
            for _ in 0..12_000 {
                if world.has_logged(id, step).await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("waited in vain: {step}");
        };
        wait("sent").await;
        world.pump_commands().await;
        world.pump_replies().await;
        wait("applied").await;
        if applied {
            // It is applied, and its reply does not come.
            while world.effects(id).await.len() < 2 {
                world.pump_commands().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        wait("barring").await;
        let expected: &[&str] = match applied {
            true => &["+credit", "+ship", "+tell"],
            false => &["+credit", "-credit"],
        };
        let status = if applied { "completed" } else { "compensated" };
        world.until(id, &[status]).await;
        assert_eq!(world.effects(id).await, expected);
    }
    handle.stop().await;
}

pub(super) async fn what_is_over_is_forgotten_in_time<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    let id = world.start("a").await;
    world.until(id, &["completed"]).await;
    let kept = DB::forget_sagas(&world.pool, Duration::from_secs(60), 10).await.expect("forget");
    assert_eq!(kept, 0);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let open = world.try_start("order", "b", "", 1).await.expect("started").id;
    assert_eq!(DB::forget_sagas(&world.pool, Duration::ZERO, 10).await.expect("forget"), 1);
    assert!(operate::show(&world.pool, id).await.expect("show").is_none());
    assert!(DB::saga_log(&world.pool, id).await.expect("log").is_empty());
    world.until(open, &["completed"]).await;
    commit(&world.pool, &[Message::json("other", &1).expect("a message")]).await;
    handle.stop().await;
}

pub(super) async fn a_saga_goes_on_wherever_its_engine_was_cut_off<DB: Storage>(pool: Pool<DB>) {
    let world = World::idle(pool).await;
    world.script.when("claim", [Does::Work, Does::Refuse, Does::Work, Does::Refuse]);
    let keys: Vec<_> = (0..8).map(|n| format!("key {n}")).collect();
    let ids = join_all(keys.iter().map(|key| world.start(key))).await;
    // Its task is dropped at whatever it waits for: a statement, a commit, a local step.
    for n in 0..60_u64 {
        let sagas = engine(&world.pool, &world.script, 1);
        let cut = tokio::time::timeout(Duration::from_micros(700 + n * 977 % 9_000), async {
            sagas.run_here().await;
        });
        drop(cut.await);
        if n % 3 == 0 {
            world.pump_commands().await;
            world.pump_replies().await;
        }
    }
    let handle = world.sagas.run().await.expect("run");
    for id in ids {
        let status = world.until(id, &["completed", "compensated"]).await;
        let expected: &[&str] = if status == "completed" { &HAPPY } else { &BACK };
        assert_eq!(world.effects(id).await, expected, "{status}");
    }
    handle.stop().await;
}

/// An instance of `shipping` whose pivot was just sent; no engine runs.
async fn shipped<DB: Storage>(world: &World<DB>) -> Uuid {
    let id = world.try_start("shipping", "shipped", "", 1).await.expect("started").id;
    assert!(world.sagas.work_off().await.expect("it begins"));
    world.pump_commands().await;
    world.pump_replies().await;
    assert!(world.sagas.work_off().await.expect("the pivot is sent"));
    id
}

/// Waits for the end of an instance of `shipping`: it has one, and its effects agree with it.
async fn one_end<DB: Storage>(world: &World<DB>, id: Uuid) -> String {
    let status = world.until(id, &["completed", "compensated"]).await;
    let expected: &[&str] = match status.as_str() {
        "completed" => &["+credit", "+ship", "+tell"],
        _ => &["+credit", "-credit"],
    };
    assert_eq!(world.effects(id).await, expected, "{status}");
    let shown = operate::show(&world.pool, id).await.expect("show").expect("it is there");
    assert_eq!(shown.log.iter().filter(|line| line.what == "ended").count(), 1, "{shown:#?}");
    status
}

pub(super) async fn a_deadline_and_an_answer_at_once_have_one_end<DB: Storage>(pool: Pool<DB>) {
    let world = World::idle(pool).await;
    // Both are there when an engine looks: the answer counts, and nobody asks whether it is applied.
    let id = shipped(&world).await;
    world.pump_commands().await;
    world.pump_replies().await;
    tokio::time::sleep(world::SHIPPING).await;
    let first = world.sagas.run().await.expect("run");
    let second = engine(&world.pool, &world.script, 1).run().await.expect("run");
    assert_eq!(one_end(&world, id).await, "completed");
    assert!(!world.has_logged(id, "barring").await);

    // Two engines, and messages that come in somewhere around the deadline.
    let mut ids = Vec::new();
    for n in 0..8 {
        let key = format!("key {n}");
        ids.push(world.try_start("shipping", &key, "", 1).await.expect("started").id);
        world.pump_commands().await;
        world.pump_replies().await;
        tokio::time::sleep(world::SHIPPING / 4).await;
    }
    for &id in &ids {
        one_end(&world, id).await;
    }
    for id in ids {
        let before = world.status(id).await;
        world.pump_commands().await;
        world.pump_replies().await;
        assert_eq!(one_end(&world, id).await, before);
    }
    first.stop().await;
    second.stop().await;
}
