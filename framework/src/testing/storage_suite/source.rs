//! Idempotency keys and delayed messages.

use std::time::Duration;

use chrono::Utc;
use sqlx::Pool;
use uuid::Uuid;

use super::{
    support::{Behaviour, Direct, LEASE, commit, eventually, message, number, sealer, whole_log},
    way::{consumer, relay},
};
use crate::{
    Error, Message, Storage, begin, enqueue,
    outbox::{cancel, enqueue_all},
    storage::Lease,
};

const SOON: Duration = Duration::from_millis(300);

/// A delayed message of key `k`.
fn delayed(n: i64, delay: Duration) -> Message {
    message("in", "k", n).delay(delay)
}

async fn numbers<DB: Storage>(pool: &Pool<DB>, lease: &Lease) -> Vec<i64> {
    whole_log(pool, lease).await.iter().map(|row| number(&row.message)).collect()
}

async fn mover<DB: Storage>(pool: &Pool<DB>) -> Lease {
    let lease = DB::acquire(pool, "delayed", Uuid::now_v7(), LEASE).await.expect("acquire");
    lease.expect("nobody else moves")
}

pub(super) async fn a_repeated_key_gives_the_first_receipt_and_writes_nothing<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let keyed = |n| message("in", "a", n).idempotency_key(format!("key {n}"));
    let mut tx = begin(&pool).await.expect("begin");
    let first = enqueue(&mut tx, &keyed(1)).await.expect("enqueue");
    assert!(!first.repeated && first.appended.is_some());
    let same = enqueue(&mut tx, &keyed(1)).await.expect("the same transaction repeats it");
    assert!(same.repeated && same.id == first.id);
    tx.commit().await.expect("commit");
    // New ones, a known one, plain and delayed ones, and one twice in the same call.
    let mixed = [
        message("in", "a", 2),
        keyed(4),
        keyed(1),
        keyed(3).delay(Duration::ZERO),
        keyed(4),
        message("in", "a", 5),
    ];
    let mut tx = begin(&pool).await.expect("begin");
    let receipts = enqueue_all(&mut tx, &mixed).await.expect("enqueue");
    tx.commit().await.expect("commit");
    let repeated: Vec<bool> = receipts.iter().map(|receipt| receipt.repeated).collect();
    assert_eq!(repeated, [false, false, true, false, true, false]);
    assert_eq!((receipts[2].id, receipts[2].appended), (first.id, first.appended));
    assert_eq!((receipts[4].id, receipts[4].appended), (mixed[1].id, receipts[1].appended));
    assert_eq!(receipts[3].appended, None, "it is not in the outbox yet");
    assert_eq!(numbers(&pool, &lease).await, [1, 2, 4, 5]);
    let mut tx = begin(&pool).await.expect("begin");
    let again = enqueue(&mut tx, &keyed(3)).await.expect("with no delay it is the same content");
    assert!(again.repeated && again.id == mixed[3].id && again.appended.is_none());
    tx.commit().await.expect("commit");
    assert_eq!(DB::delayed(&pool).await.expect("look").waiting, 1);
}

pub(super) async fn a_key_of_another_content_is_an_error_and_the_transaction_goes_on<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let keyed = |n| message("in", "a", n).idempotency_key("one");
    commit(&pool, &[keyed(1)]).await;
    let mut tx = begin(&pool).await.expect("begin");
    for other in [
        keyed(2),
        Message { topic: "other".into(), ..keyed(1) },
        keyed(1).key("b"),
        keyed(1).header("tenant", "north"),
        keyed(1).schema_version(2),
    ] {
        let fresh = message("in", "a", 8).idempotency_key("fresh");
        let refused = enqueue_all(&mut tx, &[message("in", "a", 9), fresh, other]).await;
        assert!(
            matches!(&refused, Err(Error::IdempotencyKey { key, .. }) if key == "one"),
            "{refused:?}"
        );
    }
    let twice = [3, 4].map(|n| message("in", "a", n).idempotency_key("two"));
    assert!(matches!(enqueue_all(&mut tx, &twice).await, Err(Error::IdempotencyKey { .. })));
    assert!(enqueue(&mut tx, &keyed(1)).await.expect("the same").repeated);
    tx.commit().await.expect("commit");
    assert_eq!(numbers(&pool, &lease).await, [1]);
    // A key that was taken in vain is free.
    commit(&pool, &[message("in", "a", 5).idempotency_key("fresh"), twice[1].clone()]).await;
    assert_eq!(numbers(&pool, &lease).await, [1, 5, 4]);
}

pub(super) async fn who_takes_a_key_second_waits_for_the_first<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    for commits in [true, false] {
        let keyed = move |n: i64| {
            message("in", "a", 1).header("try", "same").idempotency_key(format!("{commits} {n}"))
        };
        let mut tx = begin(&pool).await.expect("begin");
        let first = enqueue(&mut tx, &keyed(0)).await.expect("enqueue");
        let others: Vec<_> = (0..4)
            .map(|_| {
                let (pool, keyed) = (pool.clone(), keyed(0));
                tokio::spawn(async move {
                    for _ in 0..20 {
                        let mut tx = begin(&pool).await.expect("begin");
                        match enqueue(&mut tx, &keyed).await {
                            Ok(receipt) => {
                                tx.commit().await.expect("commit");
                                return receipt;
                            }
                            // MySQL: of several that wait for one that rolls back, one goes on.
                            Err(error) => assert!(error.is_transient(), "{error}"),
                        }
                    }
                    panic!("in vain 20 times")
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(others.iter().all(|other| !other.is_finished()), "they wait");
        let mut receipts = Vec::new();
        match commits {
            true => {
                tx.commit().await.expect("commit");
                receipts.push(first);
            }
            false => tx.rollback().await.expect("roll back"),
        }
        for other in others {
            receipts.push(other.await.expect("no panic"));
        }
        let new: Vec<_> = receipts.iter().filter(|receipt| !receipt.repeated).collect();
        assert_eq!(new.len(), 1, "one wrote it: {receipts:?}");
        assert!(receipts.iter().all(|receipt| receipt.id == new[0].id));
        let log = whole_log(&pool, &lease).await;
        let written = log.iter().filter(|row| row.message.id == new[0].id).count();
        assert_eq!((written, log.len()), (1, if commits { 1 } else { 2 }));
    }
}

pub(super) async fn delayed_messages_come_when_they_are_due_in_order<DB: Storage>(pool: Pool<DB>) {
    let (lease, mover) = (sealer(&pool).await, mover(&pool).await);
    let at = Utc::now() + chrono::TimeDelta::milliseconds(-50);
    // Of one time: their order is that of their ids.
    let [low, high] = [1_u128, 2].map(Uuid::from_u128);
    let messages = [
        delayed(5, SOON * 2).header("tenant", "north").schema_version(3),
        message("in", "k", 4).id(high).deliver_at(at),
        message("in", "k", 3).id(low).deliver_at(at),
        message("in", "k", 2).deliver_at(at - chrono::TimeDelta::hours(1)),
        delayed(9, Duration::from_secs(3_600)),
        delayed(10, Duration::MAX),
        message("in", "k", 1),
    ];
    let (soon, others) = messages.split_at(1);
    commit(&pool, others).await;
    assert_eq!(numbers(&pool, &lease).await, [1], "nothing is moved by itself");
    assert_eq!(DB::next_due(&pool).await.expect("look"), Some(Duration::ZERO));
    assert_eq!(DB::delayed(&pool).await.expect("look").waiting, 5);
    assert_eq!(DB::move_due(&pool, &mover, 2).await.expect("move"), 2);
    assert_eq!(DB::move_due(&pool, &mover, 100).await.expect("move"), 1);
    assert_eq!(numbers(&pool, &lease).await, [1, 2, 3, 4]);
    commit(&pool, soon).await;
    let next = DB::next_due(&pool).await.expect("look").expect("one waits");
    assert!(next > Duration::ZERO && next <= SOON * 2, "{next:?}");
    tokio::time::sleep(next.saturating_sub(SOON)).await;
    assert_eq!(DB::move_due(&pool, &mover, 100).await.expect("move"), 0, "it is not due");
    tokio::time::sleep(SOON + Duration::from_millis(20)).await;
    assert_eq!(DB::move_due(&pool, &mover, 100).await.expect("move"), 1);
    let log = whole_log(&pool, &lease).await;
    let last = &log.last().expect("it is there").message;
    let mut sent = messages[0].clone();
    sent.due = None;
    assert_eq!(**last, sent, "with its id and every attribute");
    let left = DB::delayed(&pool).await.expect("look");
    assert!(left.waiting == 2 && left.next.is_some_and(|next| next > Utc::now()), "{left:?}");
}

pub(super) async fn only_the_lease_moves_and_two_movers_move_once<DB: Storage>(pool: Pool<DB>) {
    let (lease, mover) = (sealer(&pool).await, mover(&pool).await);
    let messages: Vec<_> = (0..120).map(|n| delayed(n, Duration::ZERO)).collect();
    for message in &messages {
        commit(&pool, std::slice::from_ref(message)).await;
    }
    let other = Lease { holder: Uuid::now_v7(), ..mover.clone() };
    let former = Lease { epoch: mover.epoch - 1, ..mover.clone() };
    for fenced in [other, former] {
        assert_eq!(DB::move_due(&pool, &fenced, 100).await.expect("move"), 0);
    }
    assert_eq!(numbers(&pool, &lease).await, [0; 0]);
    // One that lost its lease in the midst of a step, and its successor.
    let movers: Vec<_> = (0..4)
        .map(|_| {
            let (pool, mover) = (pool.clone(), mover.clone());
            tokio::spawn(async move {
                let mut all = 0;
                while DB::delayed(&pool).await.expect("look").waiting > 0 {
                    match DB::move_due(&pool, &mover, 7).await {
                        Ok(moved) => all += moved,
                        Err(error) => assert!(error.is_transient(), "{error}"),
                    }
                }
                all
            })
        })
        .collect();
    let mut moved = 0;
    for mover in movers {
        moved += mover.await.expect("no panic");
    }
    assert_eq!(moved, 120);
    let mut all = numbers(&pool, &lease).await;
    all.sort_unstable();
    assert_eq!(all, (0..120).collect::<Vec<_>>());
}

pub(super) async fn a_mover_that_is_cut_off_loses_and_doubles_nothing<DB: Storage>(pool: Pool<DB>) {
    let (lease, mover) = (sealer(&pool).await, mover(&pool).await);
    for n in 0..60 {
        commit(&pool, &[delayed(n, Duration::ZERO)]).await;
    }
    // A twentieth later each time, whatever became of the last: it ends on the slowest disk, and
    // most of the cuts are close to what a step takes on this one.
    let (mut cut, mut limit) = (0, Duration::from_micros(50));
    while DB::delayed(&pool).await.expect("look").waiting > 0 {
        // Before the lease is over: the limits until then are 21 times the last one.
        assert!(limit < LEASE / 21, "{cut} were cut off, {:?}", DB::delayed(&pool).await);
        match tokio::time::timeout(limit, DB::move_due(&pool, &mover, 3)).await {
            Err(_) => cut += 1,
            Ok(Ok(1..)) => {}
            Ok(none) => {
                let error = none.err();
                assert!(error.as_ref().is_none_or(Error::is_transient), "{error:?}");
                // The one that was cut off holds its locks until its session ends.
                tokio::time::sleep(limit).await;
            }
        }
        limit = limit * 21 / 20;
    }
    assert!(cut > 0, "some were cut off");
    assert_eq!(numbers(&pool, &lease).await, (0..60).collect::<Vec<_>>(), "{cut} were cut off");
}

pub(super) async fn a_delayed_message_can_be_cancelled_until_it_is_moved<DB: Storage>(
    pool: Pool<DB>,
) {
    let (lease, mover) = (sealer(&pool).await, mover(&pool).await);
    let [taken, kept, moved] =
        [1, 2, 3].map(|n| delayed(n, Duration::ZERO).idempotency_key(format!("{n}")));
    commit(&pool, &[taken.clone(), kept.clone(), moved.clone()]).await;
    let mut tx = begin(&pool).await.expect("begin");
    assert!(cancel(&mut tx, kept.id).await.expect("cancel"));
    tx.rollback().await.expect("roll back");
    let mut tx = begin(&pool).await.expect("begin");
    assert!(cancel(&mut tx, taken.id).await.expect("cancel"));
    assert!(!cancel(&mut tx, taken.id).await.expect("cancel"), "it is gone");
    tx.commit().await.expect("commit");
    assert_eq!(DB::move_due(&pool, &mover, 100).await.expect("move"), 2);
    let mut tx = begin(&pool).await.expect("begin");
    assert!(!cancel(&mut tx, moved.id).await.expect("cancel"), "it is in the outbox");
    assert!(enqueue(&mut tx, &taken).await.expect("enqueue").repeated, "its key stays used");
    tx.commit().await.expect("commit");
    assert_eq!(numbers(&pool, &lease).await, [2, 3]);
}

pub(super) async fn relays_send_a_delayed_message_once_and_not_before_it_is_due<DB: Storage>(
    pool: Pool<DB>,
) {
    let [one, two] = [(), ()].map(|()| {
        let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
        relay(&pool, Direct(consumer))
    });
    let (one, two) = (one.await, two.await);
    let began = std::time::Instant::now();
    let delay = SOON * 2;
    commit(&pool, &[delayed(2, delay), message("in", "k", 1), delayed(3, delay * 2)]).await;
    let effects = async || {
        let rows = super::support::read_all(&pool, super::support::PAGE).await;
        let out = rows.into_iter().filter(|row| row.message.topic == "out");
        out.map(|row| number(&row.message)).collect::<Vec<_>>()
    };
    let come = async |all: &[i64]| {
        let found = eventually("the effects", async || {
            let found = effects().await;
            (found.len() >= all.len()).then_some(found)
        });
        // On a slow machine the next one may have come by the time of the look.
        assert_eq!(found.await[..all.len()], *all);
    };
    come(&[1]).await;
    come(&[1, 2]).await;
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
    come(&[1, 2, 3]).await;
    assert!(began.elapsed() >= delay * 2, "{:?}", began.elapsed());
    one.stop().await;
    two.stop().await;
    assert_eq!(effects().await, [1, 2, 3]);
}
