//! A source that has begun a new incarnation, at a consumer that has applied what it lost.

use std::sync::Arc;

use sqlx::Pool;
use uuid::Uuid;

use super::{
    gaps::cut,
    lanes::many,
    support::{Behaviour, effects, message, sealer},
    way::{consumer, effect, receive, sent},
};
use crate::{
    Envelope, Storage,
    message::{Batch, Continues, Link, Origin, Position},
    transport::{Outcome, Receive},
};

/// `messages` as a new incarnation of their source sends them, which agrees with the former one up to
/// `agreed`.
fn reborn(former: &Batch, mut messages: Vec<Envelope>, agreed: Position, last: Link) -> Batch {
    let origin = Origin { incarnation: Uuid::from_u128(1), ..Origin::clone(&former.origin) };
    let origin = Arc::new(origin);
    messages.iter_mut().for_each(|message| message.origin = Arc::clone(&origin));
    let end = messages.last().expect("there is one").link();
    let continues = Continues { former: former.origin.incarnation, agreed, last };
    let continues = Some(continues.into());
    Batch { origin, messages, through: end.position, last: end, handover: None, continues }
}

/// Another message, `n`, where `old` was.
fn instead(old: &Envelope, n: i64) -> Envelope {
    Envelope { message: message("in", "a", n).into(), ..old.clone() }
}

pub(super) async fn what_a_source_has_lost_is_applied_as_it_is_now<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2), ("a", 3), ("a", 4)]).await;
    receive(&consumer, &all).await;
    // Its log is the same up to the second message, and has another third one.
    let agreed = all.messages[1].link();
    let now = vec![instead(&all.messages[2], 99)];
    let good = reborn(&all, now.clone(), agreed.position, agreed);
    let mut stranger = good.clone();
    let told = Continues { former: Uuid::max(), agreed: agreed.position, last: agreed };
    stranger.continues = Some(told.into());
    let silent = Batch { continues: None, ..good.clone() };
    for unknown in [stranger, silent] {
        let follows = all.origin.incarnation;
        assert_eq!(receive(&consumer, &unknown).await.outcome, Outcome::Incarnation { follows });
    }
    let torn = reborn(&all, now, agreed.position, all.last);
    let error = consumer.receive(torn).await.expect_err("it contradicts itself").to_string();
    assert!(error.contains("was applied up to"), "{error}");
    for _ in 0..2 {
        let ack = receive(&consumer, &good).await;
        assert_eq!((ack.outcome, ack.last), (Outcome::Complete, good.last));
    }
    let follows = good.origin.incarnation;
    assert_eq!(receive(&consumer, &all).await.outcome, Outcome::Incarnation { follows });
    let expected = [1, 2, 3, 4, 99].map(|n| effect("a", n));
    assert_eq!(effects(&pool, &lease).await, expected);
}

pub(super) async fn what_a_lost_incarnation_had_ahead_is_not_taken_for_applied<DB: Storage>(
    pool: Pool<DB>,
) {
    let all = many(&pool, 20).await;
    let unordered = consumer(&pool, |_| Behaviour::Done).unordered();
    let unordered = unordered.build().expect("a consumer");
    receive(&unordered, &cut(&all, 0, 5)).await;
    receive(&unordered, &cut(&all, 10, 20)).await;
    // Three of the ten past the gap are in the new log as well; the fourth is another one there.
    let mut messages = all.messages[5..13].to_vec();
    messages.push(instead(&all.messages[13], 99));
    let agreed = all.messages[12].position;
    let now = reborn(&all, messages, agreed, all.messages[4].link());
    let ack = receive(&unordered, &now).await;
    assert_eq!((ack.outcome, ack.last), (Outcome::Complete, now.last));
    assert!(DB::ahead(&pool, None).await.expect("ahead").is_empty());
    let lease = sealer(&pool).await;
    let mut numbers: Vec<_> = effects(&pool, &lease).await.into_iter().map(|(_, n)| n).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).chain([99]).collect::<Vec<_>>());
}
