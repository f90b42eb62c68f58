//! That a saga does not stand still without a word: what fails is listed and can be hurried, and what
//! keeps commands or replies from arriving is named.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};
use sqlx::Pool;
use uuid::Uuid;

use super::{
    super::support::commit,
    world::{Does, SOURCE, World, slow_engine},
};
use crate::{
    Error, Relay, Storage, Stream, begin,
    saga::{
        Answer, StartError, Why,
        operate::{self, By, GivenUp},
        wire::{Reply, Said},
    },
};

pub(in super::super) async fn an_input_that_a_saga_cannot_read_is_refused_at_its_start<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    let broken = Arc::new(AtomicBool::new(false));
    let sagas = slow_engine(&pool, &broken);
    let mut tx = begin(&pool).await.expect("begin");
    let refused = sagas.start(&mut tx, "slow", "k", &"text").await;
    let Err(StartError::Input { saga, problem }) = refused else { panic!("{refused:?}") };
    let problem = problem.to_string();
    assert_eq!(saga, "slow");
    assert!(problem.contains("`i64`") && problem.contains("\"text\""), "{problem}");
    // Nothing was written, and the transaction goes on.
    let started = sagas.start(&mut tx, "slow", "k", &7).await.expect("it fits");
    assert!(!started.repeated);
    tx.commit().await.expect("commit");
    while sagas.work_off().await.expect("decide") {}
    let shown = operate::show(&pool, started.id).await.expect("show").expect("it is there");
    assert_eq!(shown.summary.status, "completed");
}

pub(in super::super) async fn what_fails_is_listed_and_can_be_hurried<DB: Storage>(pool: Pool<DB>) {
    let broken = Arc::new(AtomicBool::new(true));
    let sagas = slow_engine(&pool, &broken);
    let mut tx = begin(&pool).await.expect("begin");
    let id = sagas.start(&mut tx, "slow", "k", &7).await.expect("started").id;
    tx.commit().await.expect("commit");
    while sagas.work_off().await.expect("decide") {}

    let failing = operate::failing(&pool, 10).await.expect("a list");
    let [one] = &failing[..] else { panic!("{failing:#?}") };
    assert_eq!((one.saga.id, one.step.as_deref()), (id, Some("store")));
    // A reason that people are shown has no colours.
    assert_eq!((one.error.as_str(), one.compensation), ("no room", false));
    assert_eq!((one.attempts, one.left, one.then), (1, Some(4), GivenUp::Rejected));
    let (next, until) = (one.next.expect("a time"), one.until.expect("a time"));
    let minutes = |later: chrono::DateTime<chrono::Utc>| {
        (later - one.saga.updated_at).num_seconds().div_euclid(60)
    };
    // In an hour; and then three more pauses, which end before its deadline of six hours.
    assert!((59..=60).contains(&minutes(next)), "{one:?}");
    assert!((239..=240).contains(&minutes(until)), "{one:?}");
    let trouble = one.saga.trouble.as_deref().expect("it says so");
    assert!(trouble.contains("store: no room"), "{trouble}");
    assert!(one.saga.failing_at.is_some());
    sagas.look_after().await.expect("it looks");
    assert_eq!((sagas.status().failing, sagas.status().stuck), (1, 0));

    broken.store(false, Ordering::SeqCst);
    let by = By { who: "ada".to_owned(), why: "mended".to_owned() };
    let others = operate::retry_failing(&pool, Some("other"), 10, &by).await.expect("asked");
    assert_eq!(others, 0, "those of another saga");
    assert_eq!(operate::retry_failing(&pool, None, 10, &by).await.expect("asked"), 1);
    while sagas.work_off().await.expect("decide") {}
    let shown = operate::show(&pool, id).await.expect("show").expect("it is there");
    assert_eq!((shown.summary.status.as_str(), shown.summary.trouble), ("completed", None));
    assert_eq!(shown.summary.failing_at, None);
    assert!(operate::failing(&pool, 10).await.expect("a list").is_empty());
    assert_eq!(operate::retry_failing(&pool, None, 10, &by).await.expect("asked"), 0);
}

pub(in super::super) async fn compensations_are_told_why<DB: Storage>(pool: Pool<DB>) {
    let (world, handle) = World::new(pool).await;
    world.script.when("claim", [Does::Refuse]);
    let id = world.start("a").await;
    world.until(id, &["compensated"]).await;
    let why = Why { step: Some("claim".to_owned()), reason: "as it was told to".to_owned() };
    let mut heard = world.script.heard();
    // One whose transaction was rolled back was told before.
    heard.dedup();
    assert_eq!(heard, [Some(why)]);
    assert!(world.script.heard().len() >= 2, "the participant's, and the local one");
    handle.stop().await;
}

pub(in super::super) async fn a_reply_to_another_source_is_named_and_not_taken<DB: Storage>(
    pool: Pool<DB>,
) {
    let world = World::idle(pool.clone()).await;
    let id = world.start("a").await;
    while world.sagas.work_off().await.expect("decide") {}
    let reply = |saga: Uuid| {
        let said = Said::Applied(Answer::Applied(json!("credit")));
        let (to, step) = ("/renamed".to_owned(), "credit".to_owned());
        Reply { to, saga, step, attempt: 1, said }.message().expect("JSON")
    };
    // The second one is that of another orchestrator: that is as it should be.
    commit(&pool, &[reply(id), reply(Uuid::now_v7())]).await;
    world.pump_replies().await;
    while world.sagas.work_off().await.expect("decide") {}
    let shown = operate::show(&pool, id).await.expect("show").expect("it is there");
    let state = shown.state.expect("a state");
    assert_eq!(state.output("credit"), None::<&Value>, "it was not taken");
    let line = shown.log.iter().find(|line| line.what == "ignored").expect("a line of its log");
    let detail = line.detail.as_deref().expect("a detail");
    assert!(detail.contains("\"/renamed\"") && detail.contains(SOURCE), "{detail}");
    assert_eq!(line.step.as_deref(), Some("credit"));
}

pub(in super::super) async fn an_engine_of_another_source_than_the_relay_is_refused<DB: Storage>(
    pool: Pool<DB>,
) {
    let relay = Relay::builder("/renamed", pool.clone()).start().await.expect("the relay starts");
    let sagas = slow_engine(&pool, &Arc::new(AtomicBool::new(false)));
    match sagas.run().await {
        Err(Error::Definition { what: "saga engine", name, problem }) => {
            assert_eq!(name, SOURCE);
            assert!(problem.contains("/renamed") && problem.contains("same source"), "{problem}");
        }
        other => panic!("{other:?}"),
    }
    relay.stop().await;
}

pub(in super::super) async fn a_relay_of_another_source_than_the_engine_is_refused<DB: Storage>(
    pool: Pool<DB>,
) {
    let sagas = slow_engine(&pool, &Arc::new(AtomicBool::new(false)));
    let running = sagas.run().await.expect("nobody is there");
    match Relay::builder("/renamed", pool.clone()).start().await.map(drop) {
        Err(Error::Definition { what: "relay", name, problem }) => {
            assert_eq!(name, "/renamed");
            assert!(problem.contains(SOURCE), "{problem}");
        }
        other => panic!("{other:?}"),
    }
    let relay = Relay::builder(SOURCE, pool.clone()).start().await.expect("the same source");
    let again = sagas.run().await.expect("the same source");
    again.stop().await;
    running.stop().await;
    relay.stop().await;
}

pub(in super::super) async fn commands_that_no_stream_carries_are_named<DB: Storage>(
    pool: Pool<DB>,
) {
    let world = World::idle(pool.clone()).await;
    world.start("a").await;
    while world.sagas.work_off().await.expect("decide") {}
    world.sagas.look_after().await.expect("it looks");
    assert_eq!(world.sagas.status().uncarried, ["cmd.credit"], "it was sent");
    assert!(!world.sagas.status().is_healthy());

    let stream = Stream::new("commands").topic("cmd.credit");
    let relay = Relay::builder(SOURCE, pool.clone()).stream(stream).start().await;
    relay.expect("the relay starts").stop().await;
    world.sagas.look_after().await.expect("it looks");
    assert!(world.sagas.status().uncarried.is_empty() && world.sagas.status().is_healthy());

    // A declared one is known at the start, before any instance waits.
    let declares = slow_engine(&pool, &Arc::new(AtomicBool::new(false)));
    let running = declares.run().await.expect("it runs");
    assert_eq!(declares.status().uncarried, ["cmd.declared"]);
    running.stop().await;
}
