//! Messages that carry no position.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use sqlx::Pool;

use super::{
    support::{Behaviour, effects, eventually, message, number, sealer},
    way::{consumer, effect},
};
use crate::{
    Envelope, RetryPolicy, Storage, begin,
    message::{FOREIGN_ID, ForeignMessage},
    transport::Outcome,
};

fn foreign(id: &str, key: &str, n: i64) -> ForeignMessage {
    ForeignMessage::new(id, message("in", key, n))
}

pub(super) async fn a_foreign_message_is_applied_once_by_its_id<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let named = |message: &Envelope| match message.headers.contains_key(FOREIGN_ID) {
        true => Behaviour::Done,
        false => Behaviour::Fail,
    };
    let build = || consumer(&pool, named).build().expect("a consumer");
    let (one, two) = (build(), build());
    let first = vec![foreign("evt 1", "a", 1), foreign("evt 2", "b", 2), foreign("evt 1", "a", 1)];
    let again = [&one, &two, &one].map(|process| process.receive_foreign("/pay", first.clone()));
    for ack in join_all(again).await {
        assert_eq!(ack.expect("taken in").outcome, Outcome::Complete);
    }
    one.receive_foreign("/pay", vec![foreign("evt 2", "b", 2), foreign("evt 3", "a", 3)])
        .await
        .expect("taken in");
    // Ids are their source's own.
    one.receive_foreign("/other", vec![foreign("evt 1", "c", 4)]).await.expect("taken in");
    let expected = [effect("a", 1), effect("b", 2), effect("a", 3), effect("c", 4)];
    assert_eq!(effects(&pool, &lease).await, expected);
    for bad in [foreign("", "a", 5), foreign("a\0b", "a", 5), foreign("5", "k\0", 5)] {
        one.receive_foreign("/pay", vec![foreign("6", "a", 6), bad]).await.expect_err("refused");
    }
    one.receive_foreign("no source", vec![foreign("7", "a", 7)]).await.expect_err("refused");
    assert_eq!(effects(&pool, &lease).await, expected);
}

pub(super) async fn a_foreign_message_that_fails_parks_its_key<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&broken);
    let behave = move |message: &Envelope| match number(message) {
        2 if switch.load(Ordering::Relaxed) => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let patient = RetryPolicy { max_attempts: 1_000, ..super::way::FAST };
    let consumer = consumer(&pool, behave).retry(patient).build().expect("a consumer");
    let batch = |ids: std::ops::Range<i64>| -> Vec<ForeignMessage> {
        ids.map(|n| foreign(&n.to_string(), ["a", "b"][n as usize % 2], n)).collect()
    };
    for part in [batch(1..5), batch(1..5), batch(4..7)] {
        consumer.receive_foreign("/pay", part).await.expect("taken in");
    }
    assert_eq!(effects(&pool, &lease).await, [effect("b", 1), effect("b", 3), effect("b", 5)]);
    broken.store(false, Ordering::Relaxed);
    let running = consumer.start().await.expect("starts");
    let done = async || (effects(&pool, &lease).await.len() == 6).then_some(());
    eventually("the key is emptied", done).await;
    running.stop().await;
    let rest = effects(&pool, &lease).await.split_off(3);
    assert_eq!(rest, [effect("a", 2), effect("a", 4), effect("a", 6)]);
}

pub(super) async fn a_running_consumer_forgets_ids_by_its_retention<DB: Storage>(pool: Pool<DB>) {
    let build = |retention| {
        let consumer = consumer(&pool, |_| Behaviour::Done).foreign_retention(retention);
        consumer.build().expect("a consumer")
    };
    let (patient, hasty) = (build(Duration::from_secs(3_600)), build(Duration::from_millis(1)));
    patient.receive_foreign("/pay", vec![foreign("evt 1", "a", 1)]).await.expect("taken in");
    let is_forgotten = async || {
        let mut tx = begin(&pool).await.expect("begin");
        let new = DB::mark_seen(&mut tx, "c", "/pay", "evt 1").await.expect("mark");
        tx.rollback().await.expect("roll back");
        new
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    // A start looks for what is old, and a stop waits for that.
    patient.start().await.expect("starts").stop().await;
    assert!(!is_forgotten().await, "it is young");
    hasty.start().await.expect("starts").stop().await;
    assert!(is_forgotten().await);
}

pub(super) async fn foreign_ids_are_forgotten_in_time<DB: Storage>(pool: Pool<DB>) {
    let mut tx = begin(&pool).await.expect("begin");
    for n in 0..5 {
        let new = DB::mark_seen(&mut tx, "c", "/pay", &n.to_string()).await.expect("mark");
        assert!(new);
    }
    assert!(!DB::mark_seen(&mut tx, "c", "/pay", "3").await.expect("mark"));
    assert!(DB::mark_seen(&mut tx, "other", "/pay", "3").await.expect("mark"));
    tx.commit().await.expect("commit");
    let purge = async |age| DB::purge_seen(&pool, "c", age, 3).await.expect("purge");
    assert_eq!(purge(Duration::from_secs(3_600)).await, 0, "they are young");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let old = Duration::from_millis(1);
    assert_eq!([purge(old).await, purge(old).await, purge(old).await], [3, 2, 0]);
    let mut tx = begin(&pool).await.expect("begin");
    assert!(DB::mark_seen(&mut tx, "c", "/pay", "3").await.expect("mark"));
    assert!(!DB::mark_seen(&mut tx, "other", "/pay", "3").await.expect("mark"));
}
