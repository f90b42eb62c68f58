//! Sagas: the engine, a participant and the replies over one database. Messages are carried by
//! hand: the log is read and handed over from its beginning each time, as often as a test likes.

mod world;

use std::time::Duration;

use futures::future::join_all;
use sqlx::Pool;
use uuid::Uuid;

use crate::{
    Storage, begin,
    saga::{Sagas, StartError},
};
use world::{Does, LOCAL, Steps, World, order};

const HAPPY: [&str; 5] = ["+open", "+credit", "+claim", "+approve", "+tell"];

pub(super) async fn a_saga_goes_through_all_its_steps<DB: Storage>(pool: Pool<DB>) {
    let world = World::new(pool).await;
    let id = world.start("a").await;
    world.until(id, "completed").await;
    assert_eq!(world.effects(id).await, HAPPY);
    world.stop().await;
}

pub(super) async fn a_refusal_compensates_what_was_applied_in_reverse_order<DB: Storage>(
    pool: Pool<DB>,
) {
    let world = World::new(pool).await;
    world.when("claim", [Does::Refuse]);
    let id = world.start("a").await;
    world.until(id, "compensated").await;
    assert_eq!(world.effects(id).await, ["+open", "+credit", "-credit", "-open"]);
    world.stop().await;
}

pub(super) async fn a_local_step_is_tried_again_and_then_given_up<DB: Storage>(pool: Pool<DB>) {
    let world = World::new(pool).await;
    // The pivot: what it wrote before it failed, panicked or hung must not be there.
    world.when("approve", [Does::Fail, Does::Panic, Does::Work]);
    let again = world.start("again").await;
    world.until(again, "completed").await;
    assert_eq!(world.effects(again).await, HAPPY);
    world.when("approve", [Does::Fail, Does::Hang, Does::Panic]);
    let given_up = world.start("given up").await;
    world.until(given_up, "compensated").await;
    let back = ["+open", "+credit", "+claim", "-claim", "-credit", "-open"];
    assert_eq!(world.effects(given_up).await, back);
    world.stop().await;
}

pub(super) async fn one_key_is_one_instance<DB: Storage>(pool: Pool<DB>) {
    let world = World::new(pool).await;
    let starts = join_all((0..4).map(|_| world.try_start("same", "same", 1))).await;
    let started: Vec<_> = starts.into_iter().map(|start| start.expect("started")).collect();
    assert_eq!(started.iter().filter(|start| !start.repeated).count(), 1, "{started:?}");
    assert!(started.iter().all(|start| start.id == started[0].id), "{started:?}");
    match world.try_start("same", "same", 2).await {
        Err(StartError::OtherInput { id, .. }) => assert_eq!(id, started[0].id),
        other => panic!("another input under the same key: {other:?}"),
    }
    world.until(started[0].id, "completed").await;
    assert_eq!(world.effects(started[0].id).await, HAPPY);
    world.stop().await;
}

pub(super) async fn a_locked_entity_is_free_again_when_its_saga_ends<DB: Storage>(pool: Pool<DB>) {
    let world = World::idle(pool).await;
    let first = world.try_start("first", "customer/1", 1).await.expect("started").id;
    match world.try_start("second", "customer/1", 1).await {
        Err(StartError::Locked { entity, by }) => {
            assert_eq!((entity.as_str(), by), ("customer/1", first));
        }
        other => panic!("a locked entity was locked again: {other:?}"),
    }
    let other = world.try_start("other", "customer/2", 1).await.expect("started").id;
    let handle = world.sagas.run().await.expect("run");
    world.until(first, "completed").await;
    world.until(other, "completed").await;
    let second = world.try_start("second", "customer/1", 1).await.expect("started").id;
    world.until(second, "completed").await;
    handle.stop().await;
}

pub(super) async fn a_start_that_is_rolled_back_is_none<DB: Storage>(pool: Pool<DB>) {
    let world = World::new(pool).await;
    let mut tx = begin(&world.pool).await.expect("begin");
    let input = ("gone".to_owned(), 1);
    drop(world.sagas.start(&mut tx, "order", "gone", &input).await.expect("started"));
    tx.rollback().await.expect("roll back");
    let started = world.try_start("gone", "gone", 2).await.expect("the key is free");
    assert!(!started.repeated);
    world.until(started.id, "completed").await;
    world.stop().await;
}

pub(super) async fn replies_that_are_lost_doubled_or_late_change_nothing<DB: Storage>(
    pool: Pool<DB>,
) {
    let world = World::new(pool).await;
    world.lose_replies(3);
    world.double_replies();
    let ids = [world.start("a").await, world.start("b").await];
    for id in ids {
        world.until(id, "completed").await;
        assert_eq!(world.effects(id).await, HAPPY);
    }
    // Once more, when all is over; and for an instance that never was.
    world.reply_again(Uuid::now_v7()).await;
    world.stop().await;
}

pub(super) async fn two_engines_share_the_work<DB: Storage>(pool: Pool<DB>) {
    let world = World::new(pool).await;
    let second = world.sagas_again().run().await.expect("run");
    let ids = join_all((0..30).map(|n| world.start_owned(format!("key {n}")))).await;
    for id in ids {
        world.until(id, "completed").await;
        assert_eq!(world.effects(id).await, HAPPY);
    }
    second.stop().await;
    world.stop().await;
}

pub(super) async fn a_saga_goes_on_wherever_its_engine_died<DB: Storage>(pool: Pool<DB>) {
    let world = World::idle(pool).await;
    world.when("claim", [Does::Work, Does::Refuse]);
    let ids = join_all((0..8).map(|n| world.start_owned(format!("key {n}")))).await;
    // Each engine is cut off in the middle of whatever it does.
    for n in 0..40_u64 {
        let engine: Sagas<DB> = world.sagas_again();
        let mut work = tokio::spawn(async move { engine.work_until_dropped().await });
        let pause = Duration::from_millis(3 + n * 7 % 23);
        drop(tokio::time::timeout(pause, &mut work).await);
        work.abort();
        drop(work.await);
        world.pump().await;
    }
    let handle = world.sagas.run().await.expect("run");
    for id in ids {
        let status = world.until_over(id).await;
        let expected: &[&str] = match status.as_str() {
            "completed" => &HAPPY,
            _ => &["+open", "+credit", "-credit", "-open"],
        };
        assert_eq!(world.effects(id).await, expected, "{status}");
    }
    handle.stop().await;
}

pub(super) async fn a_pivot_in_doubt_is_asked_and_its_answer_decides<DB: Storage>(pool: Pool<DB>) {
    let world = World::new(pool).await;
    for (does, status) in [(Does::Late, "completed"), (Does::Never, "compensated")] {
        world.when("ship", [does]);
        let id = world.start_saga("shipping", "key").await;
        world.until(id, status).await;
        let expected: &[&str] = match status {
            "completed" => &["+credit", "+ship", "+tell"],
            _ => &["+credit", "-credit"],
        };
        assert_eq!(world.effects(id).await, expected);
        world.forget_key().await;
    }
    world.stop().await;
}
