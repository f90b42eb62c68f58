//! Held messages, parked keys, dead letters and their timers.

use std::time::Duration;

use sqlx::{Pool, Transaction};

use super::support::{batch, commit, eventually, message, sealer, whole_log};
use crate::{
    Envelope, Storage, begin,
    held::{ParkedKey, drop_dead, drop_failing, retry_now},
    message::{Position, decode_envelope},
    storage::{DueKey, HeldReason, Holding},
};

const HOUR: Duration = Duration::from_secs(3_600);
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

pub(super) async fn keys_that_nobody_tries_are_known<DB: Storage>(pool: Pool<DB>) {
    let mut tx = begin(&pool).await.expect("begin");
    let keys = [("c", "a", Some(Duration::ZERO)), ("c", "b", Some(Duration::ZERO))];
    let others =
        [("c", "later", Some(HOUR)), ("c", "dead", None), ("d", "k", Some(Duration::ZERO))];
    for (consumer, key, timer) in keys.into_iter().chain(others) {
        DB::park(&mut tx, consumer, "/suite", key, timer).await.expect("park");
    }
    tx.commit().await.expect("commit");
    let overdue =
        async |consumer, late| DB::overdue_keys(&pool, consumer, late).await.expect("overdue keys");
    let soon = async || {
        let all = overdue(None, Duration::from_millis(1)).await;
        (all.len() == 2).then_some(all)
    };
    let all = eventually("their time is over", soon).await;
    let found: Vec<_> = all.iter().map(|keys| (&*keys.consumer, keys.keys)).collect();
    assert_eq!(found, [("c", 2), ("d", 1)]);
    let age = chrono::Utc::now() - all[0].since;
    assert!(age.num_seconds().abs() < 600, "since {}", all[0].since);
    assert_eq!(overdue(Some("d"), Duration::ZERO).await.len(), 1);
    assert!(overdue(Some("x"), Duration::ZERO).await.is_empty());
    assert!(overdue(None, HOUR).await.is_empty(), "they are not late yet");
}

pub(super) async fn what_is_held_is_tried_now_where_no_dead_letter_blocks_it<DB: Storage>(
    pool: Pool<DB>,
) {
    let sent = three(&pool).await;
    let behind = Holding { reason: HeldReason::Behind, error: None, dead: false };
    let dead = Holding { dead: true, ..FAILED };
    let cases = [
        ("failing", Some(HOUR), [FAILED, behind, behind]),
        ("blocked", None, [dead, behind, behind]),
        // Its consumer passes over dead letters.
        ("skipped", Some(HOUR), [dead, FAILED, behind]),
    ];
    let mut tx = begin(&pool).await.expect("begin");
    for (key, timer, holdings) in cases {
        DB::park(&mut tx, "c", "/suite", key, timer).await.expect("park");
        for (message, holding) in sent.iter().zip(holdings) {
            DB::hold(&mut tx, "c", key, message, holding).await.expect("hold");
        }
    }
    DB::park(&mut tx, "d", "/suite", "failing", Some(HOUR)).await.expect("park");
    DB::hold(&mut tx, "d", "failing", &sent[0], FAILED).await.expect("hold");
    tx.commit().await.expect("commit");
    let due = async |consumer| {
        let due = DB::due_keys(&pool, consumer, Duration::ZERO, 9).await.expect("due");
        let mut keys: Vec<_> = due.into_iter().map(|due| due.key).collect();
        keys.sort_unstable();
        keys
    };
    assert!(due("c").await.is_empty() && due("d").await.is_empty());
    assert!(retry_now(&pool, None, Some("x")).await.expect("an answer").is_empty());
    let found = retry_now(&pool, Some("c"), None).await.expect("hurried");
    let found: Vec<_> =
        found.iter().map(|ParkedKey { key, blocked, .. }| (&**key, *blocked)).collect();
    assert_eq!(found, [("blocked", true), ("failing", false), ("skipped", false)]);
    assert_eq!(due("c").await, ["failing", "skipped"]);
    assert!(due("d").await.is_empty(), "another consumer's");
    assert_eq!(retry_now(&pool, None, Some("failing")).await.expect("hurried").len(), 2);
    assert_eq!(due("d").await, ["failing"]);
    let held = DB::held(&pool, true, 0, 99).await.expect("held");
    let tries = held.iter().filter(|held| held.key == "failing" && held.reason == "failed");
    assert!(tries.into_iter().all(|held| held.attempts == 1), "no try is forgotten");
}

pub(super) async fn what_fails_can_be_given_up_before_it_is_dead<DB: Storage>(pool: Pool<DB>) {
    let sent = three(&pool).await;
    let behind = Holding { reason: HeldReason::Behind, error: None, dead: false };
    let mut tx = begin(&pool).await.expect("begin");
    DB::park(&mut tx, "c", "/suite", "k", Some(HOUR)).await.expect("park");
    for (message, holding) in sent.iter().zip([FAILED, behind]) {
        DB::hold(&mut tx, "c", "k", message, holding).await.expect("hold");
    }
    let held = DB::held_of_key(&mut tx, "c", "/suite", "k", true, 9).await.expect("held");
    tx.commit().await.expect("commit");
    let [first, second] = [held[0].id, held[1].id];
    assert!(!drop_dead(&pool, first).await.expect("an answer"), "it is not dead");
    assert!(!drop_failing(&pool, second).await.expect("an answer"), "it waits for the other one");
    assert!(drop_failing(&pool, first).await.expect("dropped"));
    assert!(!drop_failing(&pool, first).await.expect("an answer"), "it is gone");
    let due = DB::due_keys(&pool, "c", Duration::ZERO, 9).await.expect("due");
    assert_eq!(due.len(), 1, "what is behind it goes on");
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
    let [first, second] = [held[0].id, held[1].id];
    let pages = [(0, 1, first), (first, 9, second)];
    for (after, limit, id) in pages {
        let page = DB::held(&pool, true, after, limit).await.expect("list");
        assert_eq!(page.iter().map(|h| h.id).collect::<Vec<_>>(), [id]);
    }
    let mut tx = begin(&pool).await.expect("begin");
    assert!(!DB::revive(&mut tx, second).await.expect("revive"), "it is not dead");
    tx.rollback().await.expect("roll back");
    assert!(crate::held::redrive(&pool, held[0].id).await.expect("redrive"));
    let now = DB::held(&pool, true, 0, 1).await.expect("list");
    assert_eq!((now[0].dead, now[0].attempts), (false, 0), "its attempts count from nought");
    assert!(!crate::held::redrive(&pool, held[0].id).await.expect("redrive"), "it lives");
    assert_eq!(DB::due_keys(&pool, "c", Duration::ZERO, 9).await.expect("due").len(), 1);
}

pub(super) async fn a_try_is_counted_and_what_is_unknown_is_no_try<DB: Storage>(pool: Pool<DB>) {
    let sent = three(&pool).await;
    let mut tx = begin(&pool).await.expect("begin");
    DB::park(&mut tx, "c", "/suite", "k", Some(HOUR)).await.expect("park");
    for message in &sent {
        DB::hold(&mut tx, "c", "k", message, FAILED).await.expect("hold");
    }
    let held = async |tx: &mut Transaction<'static, DB>| {
        let mut held = DB::held_of_key(tx, "c", "/suite", "k", true, 9).await.expect("held");
        for other in held.drain(1..) {
            let text = other.error.as_deref();
            assert_eq!(
                (&*other.reason, other.attempts, text, other.dead),
                ("failed", 1, Some("e"), false)
            );
        }
        held.remove(0)
    };
    let id = held(&mut tx).await.id;
    DB::mark_unknown(&mut tx, id, "nobody").await.expect("note");
    let now = held(&mut tx).await;
    assert_eq!((&*now.reason, now.attempts, now.error.as_deref()), ("unknown", 1, Some("nobody")));
    for (attempts, error, dead) in [(2, "again", false), (3, "for good", true)] {
        DB::tried(&mut tx, id, error, dead).await.expect("count");
        let now = held(&mut tx).await;
        let found = (&*now.reason, now.attempts, now.error.as_deref(), now.dead);
        assert_eq!(found, ("failed", attempts, Some(error), dead));
    }
    tx.commit().await.expect("commit");
    assert!(DB::unknown_keys(&pool, "c").await.expect("keys").is_empty());
}

pub(super) async fn of_two_dead_letters_one_is_dropped<DB: Storage>(pool: Pool<DB>) {
    let sent = three(&pool).await;
    let behind = Holding { reason: HeldReason::Behind, error: None, dead: false };
    let dead = Holding { dead: true, ..FAILED };
    // One key rests until an operator comes; the other one has a timer all the same.
    for (key, timer) in [("k", None), ("l", Some(HOUR))] {
        let mut tx = begin(&pool).await.expect("begin");
        DB::park(&mut tx, "c", "/suite", key, timer).await.expect("park");
        for (message, holding) in sent.iter().zip([dead, dead, behind]) {
            DB::hold(&mut tx, "c", key, message, holding).await.expect("hold");
        }
        let held = DB::held_of_key(&mut tx, "c", "/suite", key, true, 9).await.expect("held");
        tx.commit().await.expect("commit");
        let due = async || {
            let due = DB::due_keys(&pool, "c", HOUR * 9, 9).await.expect("due");
            due.into_iter().find(|due| due.key == key).map(|due| due.due_in)
        };
        assert!(drop_dead(&pool, held[0].id).await.expect("drop"));
        let left = due().await;
        assert_eq!(left.is_some(), timer.is_some(), "{left:?}");
        assert!(left.is_none_or(|left| left > HOUR / 2), "its timer is as it was: {left:?}");
        let mut tx = begin(&pool).await.expect("begin");
        assert!(DB::lock_parked(&mut tx, "c", "/suite", key).await.expect("lock"), "it is blocked");
        tx.rollback().await.expect("roll back");
        assert!(drop_dead(&pool, held[1].id).await.expect("drop"));
        assert_eq!(due().await, Some(Duration::ZERO), "what is behind them goes on");
        assert!(!drop_dead(&pool, held[2].id).await.expect("it is no dead letter"));
    }
}

pub(super) async fn who_frees_a_key_is_waited_for<DB: Storage>(pool: Pool<DB>) {
    if DB::LABEL == "SQLite" {
        return; // It has one writer.
    }
    let mut tx = begin(&pool).await.expect("begin");
    DB::park(&mut tx, "c", "/suite", "k", None).await.expect("park");
    tx.commit().await.expect("commit");
    let mut first = begin(&pool).await.expect("begin");
    DB::unpark(&mut first, "c", "/suite", "k").await.expect("unpark");
    let other = pool.clone();
    let second = tokio::spawn(async move {
        let mut tx = begin(&other).await.expect("begin");
        DB::lock_parked(&mut tx, "c", "/suite", "k").await.expect("lock")
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.commit().await.expect("commit");
    assert!(!second.await.expect("no panic"), "what is held behind a free key is never tried");
}
