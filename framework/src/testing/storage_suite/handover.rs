//! A new version of a stream, batch by batch.

use std::sync::Arc;

use sqlx::Pool;

use super::{
    gaps::cut,
    support::{Behaviour, effects, sealer, tail},
    way::{consumer, effect, receive, sent},
};
use crate::{
    Storage,
    message::{Batch, HandOver, Link, Origin, Position},
    transport::{Outcome, Receive},
};

/// The messages of `all` past `through`, as the second version of the stream sends them.
fn second(all: &Batch, through: Position) -> Batch {
    let origin = Arc::new(Origin { version: 2, ..Origin::clone(&all.origin) });
    let old = all.messages.partition_point(|message| message.position <= through);
    let mut batch = Batch { origin: Arc::clone(&origin), ..tail(all, old) };
    batch.messages.iter_mut().for_each(|message| message.origin = Arc::clone(&origin));
    batch.messages[0].prev = Link::anchor(through);
    let handover = HandOver { shards: 1, topics: vec!["in".into()], through, from: Vec::new() };
    batch.handover = Some(handover.into());
    batch
}

pub(super) async fn a_new_version_waits_for_the_old_one_and_applies_nothing_again<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let numbers = [1, 2, 3, 4, 5, 6];
    let all = sent(&pool, &lease, &numbers.map(|n| ("a", n))).await;
    let new = second(&all, all.messages[2].position);
    receive(&consumer, &cut(&all, 0, 2)).await;
    let early = receive(&consumer, &new).await;
    assert!(matches!(early.outcome, Outcome::Paused { .. }), "{early:?}");
    assert_eq!(effects(&pool, &lease).await, [effect("a", 1), effect("a", 2)]);
    // A relay that has not heard of the new version sends one message past the end of the old one.
    receive(&consumer, &cut(&all, 0, 4)).await;
    let ack = receive(&consumer, &new).await;
    assert_eq!((ack.outcome, ack.last), (Outcome::Complete, all.last));
    assert_eq!(effects(&pool, &lease).await, numbers.map(|n| effect("a", n)));
    // From now on it comes too late.
    let late = consumer.receive(all.clone()).await.expect_err("the version is over").to_string();
    assert!(late.contains("ended at position"), "{late}");
    let silent = Batch { handover: None, ..new };
    let error = consumer.receive(silent).await.expect_err("of which version?").to_string();
    assert!(error.contains("does not say what it took over from"), "{error}");
    assert_eq!(effects(&pool, &lease).await, numbers.map(|n| effect("a", n)));
}
