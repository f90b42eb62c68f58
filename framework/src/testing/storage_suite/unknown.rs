//! Messages that nobody handles yet, the bound on what is held, and edits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::Pool;

use super::{
    gaps::cut,
    support::{
        Behaviour, Effect, commit, effects, eventually, linked, message, number, sealer, whole_log,
    },
    way::{FAST, consumer, effect, receive, sent},
};
use crate::{
    Consumer, Envelope, RetryPolicy, Storage, begin, held,
    message::{Position, decode_envelope},
    transport::Outcome,
};

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) async fn what_nobody_handles_waits_for_a_consumer_that_does<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    // Version N knows no `in`, nor version 2 of `known`; version N+1 does.
    let old = Consumer::builder("c", pool.clone())
        .handler("known", Effect(|_: &Envelope| Behaviour::Done))
        .handler_versions("known", 1..=1)
        .retry(RetryPolicy { max_attempts: 1, ..FAST })
        .build()
        .expect("a consumer");
    let new = Consumer::builder("c", pool.clone())
        .handler("*", Effect(|_: &Envelope| Behaviour::Done))
        .handler_versions("known", 1..=2)
        .build()
        .expect("a consumer");
    let messages = [
        message("in", "a", 1),
        message("known", "a", 2),
        message("known", "b", 3),
        message("known", "c", 4).schema_version(2),
        message("known", "c", 5),
    ];
    commit(&pool, &messages).await;
    let incarnation = DB::incarnation(&pool).await.expect("incarnation");
    let all = linked(whole_log(&pool, &lease).await, "s", "*", incarnation);
    let ack = receive(&old, &all).await;
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, all.through));
    assert_eq!(effects(&pool, &lease).await, [effect("b", 3)]);
    // Their keys are not due for long: what is tried sooner is so because a program has started.
    let put_off = async || {
        let mut tx = begin(&pool).await.expect("begin");
        for key in ["a", "c"] {
            DB::park(&mut tx, "c", "/suite", key, Some(HOUR)).await.expect("park");
        }
        tx.commit().await.expect("commit");
    };
    let soon = Duration::from_secs(20);
    put_off().await;
    let running = old.start().await.expect("starts");
    let in_vain = async || {
        let due = DB::due_keys(&pool, "c", HOUR * 2, 9).await.expect("due");
        let mut tried = due.iter().map(|due| !due.due_in.is_zero() && due.due_in < HOUR / 2);
        (due.len() == 2 && tried.all(|tried| tried)).then_some(())
    };
    let in_vain = eventually("they are tried in vain", in_vain);
    tokio::time::timeout(soon, in_vain).await.expect("at once");
    let held = DB::held(&pool, true, 0, 9).await.expect("held");
    let reasons: Vec<_> = held.iter().map(|held| held.reason.as_str()).collect();
    assert_eq!(reasons, ["unknown", "behind", "unknown", "behind"]);
    assert!(held.iter().all(|held| held.attempts == 0 && !held.dead), "{held:?}");
    let why = held[0].error.clone().unwrap_or_default();
    assert!(why.contains("no handler for topic \"in\""), "{why}");
    running.stop().await;
    put_off().await;
    let running = new.start().await.expect("starts");
    let empty = async || DB::held(&pool, true, 0, 9).await.expect("held").is_empty().then_some(());
    let applied = eventually("everything is applied", empty);
    tokio::time::timeout(soon, applied).await.expect("at once");
    running.stop().await;
    let effects = effects(&pool, &lease).await;
    for (key, numbers) in [("a", vec![1, 2]), ("b", vec![3]), ("c", vec![4, 5])] {
        let of_key = effects.iter().filter(|(k, _)| k == key).map(|(_, n)| *n);
        assert_eq!(of_key.collect::<Vec<_>>(), numbers, "key {key}");
    }
}

pub(super) async fn what_is_unknown_can_be_given_up<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let all = sent(&pool, &lease, &[("a", 1)]).await;
    let consumer = Consumer::builder("c", pool.clone())
        .handler("known", Effect(|_: &Envelope| Behaviour::Done))
        .build()
        .expect("a consumer");
    receive(&consumer, &all).await;
    let id = DB::held(&pool, true, 0, 9).await.expect("held")[0].id;
    assert!(!held::redrive(&pool, id).await.expect("it is no dead letter"));
    assert!(held::drop_dead(&pool, id).await.expect("dropped"));
    assert!(DB::held(&pool, true, 0, 9).await.expect("held").is_empty());
    let mut tx = begin(&pool).await.expect("begin");
    assert!(DB::parked_keys(&mut tx, "c", "/suite", 9).await.expect("keys").is_empty());
}

pub(super) async fn the_stream_pauses_when_too_much_is_held<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&broken);
    let behave = move |_: &Envelope| match switch.load(Ordering::Relaxed) {
        true => Behaviour::Fail,
        false => Behaviour::Done,
    };
    let patient = RetryPolicy { max_attempts: 1_000, ..FAST };
    let consumer = consumer(&pool, behave).max_held(4).retry(patient).build().expect("valid");
    // One key fails, and everything behind it would have to be held.
    let mut all = sent(&pool, &lease, &[("a", 1)]).await;
    receive(&consumer, &all).await;
    for n in 2..10 {
        all = sent(&pool, &lease, &[("a", n)]).await;
        let ack = receive(&consumer, &all).await;
        let paused = matches!(ack.outcome, Outcome::Paused { .. });
        assert_eq!(paused, n > 4, "{n}: {ack:?}");
        assert_eq!(ack.watermark == all.through, n <= 4, "{n}: {ack:?}");
    }
    assert_eq!(DB::held(&pool, true, 0, 99).await.expect("held").len(), 4);
    broken.store(false, Ordering::Relaxed);
    let running = consumer.start().await.expect("starts");
    let empty = async || DB::held(&pool, true, 0, 9).await.expect("held").is_empty().then_some(());
    eventually("the key is emptied", empty).await;
    running.stop().await;
    assert_eq!(receive(&consumer, &all).await.watermark, all.through);
    let expected: Vec<_> = (1..10).map(|n| effect("a", n)).collect();
    assert_eq!(effects(&pool, &lease).await, expected);
}

pub(super) async fn many_held_at_once_do_not_pass_the_bound<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let behave = |message: &Envelope| match number(message) {
        1 => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let one = consumer(&pool, behave).max_held(4).build().expect("a consumer");
    let first = sent(&pool, &lease, &[("a", 1)]).await;
    receive(&one, &first).await;
    let all = sent(&pool, &lease, &[("a", 2), ("a", 3), ("a", 4), ("a", 5)]).await;
    // Behind the one that has failed there is room for three, not for four.
    let held = async |of: &str| {
        let held = DB::held(&pool, true, 0, 99).await.expect("held");
        held.iter().filter(|held| held.consumer == of).count()
    };
    for (batch, paused, count) in [(&all, true, 1), (&cut(&all, 0, 4), false, 4), (&all, true, 4)] {
        let ack = receive(&one, batch).await;
        assert_eq!(matches!(ack.outcome, Outcome::Paused { .. }), paused, "{ack:?}");
        assert_eq!(ack.watermark, all.messages[count - 1].position);
        assert_eq!(held("c").await, count);
    }
    // Messages that fail themselves count as well, and ones of other consumers do not.
    let behave = |message: &Envelope| match number(message) {
        6.. => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let two = Consumer::builder("d", pool.clone()).handler("in", Effect(behave)).retry(FAST);
    let two = two.max_held(2).build().expect("a consumer");
    let all = sent(&pool, &lease, &[("x", 6), ("y", 7), ("z", 8)]).await;
    let ack = receive(&two, &all).await;
    assert!(matches!(ack.outcome, Outcome::Paused { .. }), "{ack:?}");
    assert_eq!((ack.watermark, held("d").await), (all.messages[6].position, 2));
}

pub(super) async fn an_edited_message_is_applied_as_edited<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let behave = |message: &Envelope| match number(message) {
        1 => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let once = RetryPolicy { max_attempts: 1, ..FAST };
    let consumer = consumer(&pool, behave).retry(once).build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2)]).await;
    receive(&consumer, &all).await;
    let dead = DB::held(&pool, false, 0, 9).await.expect("dead").remove(0);
    assert_eq!((dead.position, dead.edited), (Position(1), None));
    let edit = async |id, payload: &'static str, by| held::edit(&pool, id, payload, by).await;
    edit(dead.id, "{", "Ada").await.expect_err("no JSON");
    edit(dead.id, "7", "").await.expect_err("by nobody");
    assert!(!edit(dead.id + 100, "7", "Ada").await.expect("an answer"));
    assert!(edit(dead.id, "6", "Ada").await.expect("edited"));
    assert!(edit(dead.id, "7", "Bob").await.expect("edited again"));
    let edited = DB::held(&pool, false, 0, 9).await.expect("dead").remove(0);
    assert_eq!(edited.edited.as_ref().map(|edited| edited.by.as_str()), Some("Bob"));
    let message = decode_envelope(&edited.envelope).expect("decodes");
    assert_eq!(number(&message), 7);
    assert_eq!((message.id, message.prev), (all.messages[0].id, all.messages[0].prev));
    assert!(held::redrive(&pool, dead.id).await.expect("redrive"));
    let running = consumer.start().await.expect("starts");
    let empty = async || DB::held(&pool, true, 0, 9).await.expect("held").is_empty().then_some(());
    eventually("the key is emptied", empty).await;
    running.stop().await;
    assert_eq!(effects(&pool, &lease).await, [effect("a", 7), effect("a", 2)]);
}
