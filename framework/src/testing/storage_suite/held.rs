//! Held messages, parked keys, dead letters and their timers.

use std::time::Duration;

use sqlx::Pool;

use super::support::{batch, commit, message, sealer, whole_log};
use crate::{
    Envelope, Storage, begin,
    message::{Position, decode_envelope},
    storage::{DueKey, HeldReason, Holding},
};

const FAILED: Holding<'static> =
    Holding { reason: HeldReason::Failed, error: Some("e"), dead: false };

/// Three messages of key `k`, in order.
async fn three<DB: Storage>(pool: &Pool<DB>) -> Vec<Envelope> {
    let lease = sealer(pool).await;
    commit(pool, &[message("in", "k", 1), message("in", "k", 2), message("in", "k", 3)]).await;
    let incarnation = DB::incarnation(pool).await.expect("incarnation");
    batch(whole_log(pool, &lease).await, incarnation).messages
}

pub(super) async fn held_messages_of_a_key_come_in_order_and_leave_one_by_one<DB: Storage>(
    pool: Pool<DB>,
) {
    let sent = three(&pool).await;
    let mut tx = begin(&pool).await.expect("begin");
    DB::park(&mut tx, "c", "/suite", "k", Some(Duration::ZERO)).await.expect("park");
    for message in sent.iter().rev() {
        DB::hold(&mut tx, "c", "k", message, FAILED).await.expect("hold");
        DB::hold(&mut tx, "c", "k", message, FAILED).await.expect("again: no effect");
    }
    tx.commit().await.expect("commit");
    let mut tx = begin(&pool).await.expect("begin");
    assert_eq!(DB::parked_keys(&mut tx, "c", "/suite", 9).await.expect("keys"), ["k"]);
    assert!(DB::parked_keys(&mut tx, "other", "/suite", 9).await.expect("keys").is_empty());
    assert!(DB::lock_parked(&mut tx, "c", "/suite", "k").await.expect("lock"));
    assert!(!DB::lock_parked(&mut tx, "c", "/suite", "x").await.expect("lock"));
    for expected in &sent {
        let held = DB::held_of_key(&mut tx, "c", "/suite", "k", true, 1).await.expect("held");
        assert_eq!(decode_envelope(&held[0].envelope).expect("decodes"), *expected);
        assert_eq!((held[0].attempts, held[0].error.as_deref()), (1, Some("e")));
        DB::unhold(&mut tx, held[0].id).await.expect("unhold");
    }
    assert!(DB::held_of_key(&mut tx, "c", "/suite", "k", true, 1).await.expect("held").is_empty());
    DB::unpark(&mut tx, "c", "/suite", "k").await.expect("unpark");
    tx.commit().await.expect("commit");
    assert!(DB::due_keys(&pool, "c", Duration::ZERO, 9).await.expect("due").is_empty());
}

pub(super) async fn a_due_key_is_taken_by_one<DB: Storage>(pool: Pool<DB>) {
    let mut tx = begin(&pool).await.expect("begin");
    let hour = Duration::from_secs(3_600);
    DB::park(&mut tx, "c", "/suite", "key with spaces", Some(Duration::ZERO)).await.expect("park");
    DB::park(&mut tx, "c", "/suite", "later", Some(hour)).await.expect("park");
    DB::park(&mut tx, "other", "/suite", "k", Some(Duration::ZERO)).await.expect("park");
    tx.commit().await.expect("commit");
    let due = DB::due_keys(&pool, "c", Duration::ZERO, 9).await.expect("due");
    let (source, key) = ("/suite".to_owned(), "key with spaces".to_owned());
    assert_eq!(due, [DueKey { source, key, due_in: Duration::ZERO }]);
    let take = async |key| {
        let mut tx = begin(&pool).await.expect("begin");
        let taken = DB::take_due(&mut tx, "c", "/suite", key, hour).await.expect("take");
        tx.commit().await.expect("commit");
        taken
    };
    assert!(take("key with spaces").await);
    assert!(!take("key with spaces").await, "it is taken until its claim runs out");
    assert!(!take("later").await, "it is not due");
    assert!(!take("unknown").await);
}

pub(super) async fn a_dead_letter_is_revived_once<DB: Storage>(pool: Pool<DB>) {
    let sent = three(&pool).await;
    let mut tx = begin(&pool).await.expect("begin");
    DB::park(&mut tx, "c", "/suite", "k", None).await.expect("park");
    DB::hold(&mut tx, "c", "k", &sent[0], Holding { dead: true, ..FAILED }).await.expect("hold");
    let behind = Holding { reason: HeldReason::Behind, error: None, dead: false };
    DB::hold(&mut tx, "c", "k", &sent[1], behind).await.expect("hold");
    let held = DB::held_of_key(&mut tx, "c", "/suite", "k", true, 9).await.expect("held");
    let alive = DB::held_of_key(&mut tx, "c", "/suite", "k", false, 9).await.expect("held");
    tx.commit().await.expect("commit");
    assert_eq!(
        held.iter().map(|h| (h.dead, h.attempts)).collect::<Vec<_>>(),
        [(true, 1), (false, 0)]
    );
    assert_eq!(alive.iter().map(|h| h.position).collect::<Vec<_>>(), [Position(2)]);
    let dead = DB::held(&pool, false, 0, 9).await.expect("list");
    assert_eq!(dead.iter().map(|h| h.id).collect::<Vec<_>>(), [held[0].id]);
    assert_eq!(DB::held(&pool, true, 0, 9).await.expect("list").len(), 2);
    assert!(
        DB::due_keys(&pool, "c", Duration::ZERO, 9).await.expect("due").is_empty(),
        "a dead key rests"
    );
    assert!(crate::held::redrive(&pool, held[0].id).await.expect("redrive"));
    assert!(!crate::held::redrive(&pool, held[0].id).await.expect("redrive"), "it lives");
    assert_eq!(DB::due_keys(&pool, "c", Duration::ZERO, 9).await.expect("due").len(), 1);
}
