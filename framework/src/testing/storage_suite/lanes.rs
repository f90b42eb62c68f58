//! Applying past the watermark: lanes and unordered consumers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::join_all;
use sqlx::Pool;

use super::{
    gaps::cut,
    support::{Behaviour, batch, commit, effects, eventually, message, number, sealer, whole_log},
    way::{consumer, effect, receive, sent},
};
use crate::{
    Envelope, RetryPolicy, Storage, begin,
    inboxes::{self, Skip},
    message::{Batch, Link, Position},
    storage::InboxRow,
    transport::Outcome,
};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

pub(super) async fn many<DB: Storage>(pool: &Pool<DB>, count: usize) -> Batch {
    let lease = sealer(pool).await;
    let messages: Vec<_> =
        (0..count).map(|n| message("in", KEYS[n % KEYS.len()], n as i64)).collect();
    commit(pool, &messages).await;
    let incarnation = DB::incarnation(pool).await.expect("incarnation");
    let all = batch(whole_log(pool, &lease).await, incarnation);
    DB::release(pool, &lease).await.expect("release");
    all
}

/// Every number once, in order within its key.
async fn check<DB: Storage>(pool: &Pool<DB>, count: usize, ordered: bool) {
    let effects = effects(pool, &sealer(pool).await).await;
    for (at, key) in KEYS.iter().enumerate() {
        let mut of_key: Vec<i64> =
            effects.iter().filter(|(k, _)| k == key).map(|(_, n)| *n).collect();
        if !ordered {
            of_key.sort_unstable();
        }
        let expected: Vec<i64> = (at..count).step_by(KEYS.len()).map(|n| n as i64).collect();
        assert_eq!(of_key, expected, "key {key}");
    }
    assert_eq!(effects.len(), count);
}

pub(super) async fn lanes_apply_once_and_keep_the_order_of_a_key<DB: Storage>(pool: Pool<DB>) {
    let all = many(&pool, 60).await;
    let broken = Arc::new(AtomicBool::new(true));
    let build = |broken: &Arc<AtomicBool>| {
        let broken = Arc::clone(broken);
        let behave = move |message: &Envelope| match number(message) {
            7 if broken.load(Ordering::Relaxed) => Behaviour::Fail,
            _ => Behaviour::Done,
        };
        let patient = RetryPolicy { max_attempts: 1_000, ..super::way::FAST };
        consumer(&pool, behave).lanes(3).retry(patient).build().expect("a consumer")
    };
    let (one, two) = (build(&broken), build(&broken));
    for n in 0..3 {
        let part = cut(&all, n * 20, n * 20 + 20);
        // Both processes at once, and one of them again.
        join_all([receive(&one, &part), receive(&two, &part)]).await;
        let ack = receive(&one, &part).await;
        assert_eq!((ack.outcome, ack.last), (Outcome::Complete, part.last));
    }
    assert!(DB::ahead(&pool, None).await.expect("ahead").is_empty());
    let held = DB::held(&pool, true, 0, 100).await.expect("held");
    assert_eq!(held.len(), 11, "the key of the one that fails waits");
    let running = one.start().await.expect("starts");
    broken.store(false, Ordering::Relaxed);
    let empty = async || DB::held(&pool, true, 0, 9).await.expect("held").is_empty().then_some(());
    eventually("the key is emptied", empty).await;
    running.stop().await;
    check(&pool, 60, true).await;
}

pub(super) async fn lanes_wait_for_the_batch_before<DB: Storage>(pool: Pool<DB>) {
    let all = many(&pool, 20).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).lanes(3).hold_early(100, 1 << 20);
    let consumer = consumer.build().expect("a consumer");
    let ack = receive(&consumer, &cut(&all, 10, 20)).await;
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position::START));
    let running = consumer.start().await.expect("starts");
    receive(&consumer, &cut(&all, 0, 10)).await;
    let done = async || DB::ahead(&pool, None).await.expect("ahead").is_empty().then_some(());
    eventually("what was held is applied", done).await;
    running.stop().await;
    check(&pool, 20, true).await;
}

pub(super) async fn unordered_batches_are_applied_once_in_any_order<DB: Storage>(pool: Pool<DB>) {
    let all = many(&pool, 60).await;
    let build = || consumer(&pool, |_| Behaviour::Done).unordered().build().expect("a consumer");
    let (one, two) = (build(), build());
    let parts: Vec<Batch> = (0..12).map(|n| cut(&all, n * 5, n * 5 + 5)).collect();
    let backwards = parts.iter().rev().chain(&parts).enumerate();
    let receives = backwards.map(|(n, part)| receive(if n % 2 == 0 { &one } else { &two }, part));
    for ack in join_all(receives).await {
        assert_eq!(ack.outcome, Outcome::Complete);
    }
    let ack = receive(&one, &parts[11]).await;
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, all.through));
    assert!(DB::ahead(&pool, None).await.expect("ahead").is_empty());
    assert!(one.gaps().is_empty() && two.gaps().is_empty());
    check(&pool, 60, false).await;
}

pub(super) async fn an_unordered_consumer_says_what_is_missing<DB: Storage>(pool: Pool<DB>) {
    let all = many(&pool, 20).await;
    let unordered = consumer(&pool, |_| Behaviour::Done).unordered().max_held(10);
    let unordered = unordered.build().expect("a consumer");
    receive(&unordered, &cut(&all, 0, 5)).await;
    let ack = receive(&unordered, &cut(&all, 10, 20)).await;
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, all.messages[4].position));
    let gaps = unordered.gaps();
    assert_eq!(
        (gaps[0].applied, gaps[0].missing),
        (all.messages[4].link(), all.messages[9].link())
    );
    assert_eq!(receive(&unordered, &cut(&all, 5, 10)).await.last, all.last);
    assert!(unordered.gaps().is_empty());
    check(&pool, 20, false).await;
}

pub(super) async fn an_unordered_consumer_far_ahead_pauses<DB: Storage>(pool: Pool<DB>) {
    let all = many(&pool, 4).await;
    let unordered = consumer(&pool, |_| Behaviour::Done).unordered().max_held(1);
    let unordered = unordered.build().expect("a consumer");
    receive(&unordered, &cut(&all, 0, 1)).await;
    // Two are ahead of the missing one.
    let ack = receive(&unordered, &cut(&all, 2, 4)).await;
    assert!(matches!(ack.outcome, Outcome::Paused { .. }), "{ack:?}");
    assert_eq!((ack.last, unordered.gaps().len()), (all.messages[0].link(), 1));
    let ack = receive(&unordered, &cut(&all, 1, 2)).await;
    assert_eq!((ack.outcome, ack.last), (Outcome::Complete, all.last));
    check(&pool, 4, false).await;
}

pub(super) async fn an_unordered_consumer_does_not_forget_what_it_skipped<DB: Storage>(
    pool: Pool<DB>,
) {
    let all = many(&pool, 20).await;
    let unordered = consumer(&pool, |_| Behaviour::Done).unordered();
    let unordered = unordered.build().expect("a consumer");
    let first = cut(&all, 0, 5);
    receive(&unordered, &first).await;
    let skip = Skip {
        consumer: "c".to_owned(),
        source: all.origin.source.to_string(),
        stream: all.origin.stream.to_string(),
        shard: None,
        to: all.messages[9].position,
        log_ends: Some(all.through),
    };
    assert_eq!(inboxes::skip(&pool, &skip).await.expect("skip").len(), 1);
    // The source is not there yet, and says so.
    let progress = Batch { messages: Vec::new(), ..first };
    assert_eq!(receive(&unordered, &progress).await.watermark, all.messages[9].position);
    assert_eq!(receive(&unordered, &cut(&all, 10, 20)).await.watermark, all.through);
    assert!(unordered.gaps().is_empty());
    assert_eq!(effects(&pool, &sealer(&pool).await).await.len(), 15);
}

pub(super) async fn what_failed_holds_up_no_other_without_an_order<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let behave = |message: &Envelope| match number(message) {
        1 => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let unordered = consumer(&pool, behave).unordered().build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2), ("b", 3)]).await;
    assert_eq!(receive(&unordered, &all).await.watermark, all.through);
    assert_eq!(DB::held(&pool, true, 0, 9).await.expect("held").len(), 1);
    assert_eq!(effects(&pool, &lease).await, [effect("a", 2), effect("b", 3)]);
}

pub(super) async fn a_message_past_the_watermark_is_noted_once<DB: Storage>(pool: Pool<DB>) {
    let all = many(&pool, 3).await;
    let [one, two, three] = &all.messages[..] else { panic!("three messages") };
    let mut tx = begin(&pool).await.expect("begin");
    assert!(DB::peek_inbox(&mut tx, "c", &all.origin).await.expect("peek").is_none());
    for (message, waits) in [(two, false), (three, true)] {
        assert!(DB::add_ahead(&mut tx, "c", message, waits).await.expect("add"));
        assert!(!DB::add_ahead(&mut tx, "c", message, false).await.expect("again"));
    }
    assert!(DB::add_ahead(&mut tx, "other", two, false).await.expect("another consumer"));
    assert!(!DB::claim_ahead(&mut tx, "c", two).await.expect("it does not wait"));
    assert!(!DB::claim_ahead(&mut tx, "c", one).await.expect("it is not there"));
    let (count, bytes) = DB::ahead_size(&mut tx, "c", &all.origin).await.expect("size");
    assert!(count == 2 && bytes > 100, "{count} {bytes}");
    let rows = DB::next_ahead(&mut tx, "c", &all.origin, Position::START, 9).await.expect("next");
    let links: Vec<_> = rows.iter().map(|row| (row.prev, row.link)).collect();
    assert_eq!(links, [(one.link(), two.link()), (two.link(), three.link())]);
    assert_eq!(rows.iter().map(|row| row.envelope.is_some()).collect::<Vec<_>>(), [false, true]);
    for (after, limit, expected) in [(Position::START, 1, two), (two.position, 9, three)] {
        let rows = DB::next_ahead(&mut tx, "c", &all.origin, after, limit).await.expect("next");
        assert_eq!(rows.iter().map(|row| row.link).collect::<Vec<_>>(), [expected.link()]);
    }
    assert!(DB::claim_ahead(&mut tx, "c", three).await.expect("claim"));
    assert!(!DB::claim_ahead(&mut tx, "c", three).await.expect("claim"), "it is applied now");
    let first = InboxRow {
        incarnation: all.origin.incarnation,
        watermark: Position::START,
        last: Link::START,
        ended: None,
    };
    let row = DB::lock_inbox(&mut tx, "c", &all.origin, first).await.expect("lock");
    assert_eq!(DB::peek_inbox(&mut tx, "c", &all.origin).await.expect("peek"), Some(row));
    tx.commit().await.expect("commit");
    let ahead = DB::ahead(&pool, Some("c")).await.expect("ahead");
    assert_eq!((ahead.len(), ahead[0].waiting, ahead[0].first), (1, 0, two.position));
    assert_eq!((&ahead[0].origin, ahead[0].row), (&*all.origin, row));
    let mut tx = begin(&pool).await.expect("begin");
    DB::remove_ahead(&mut tx, "c", &all.origin, two.position).await.expect("remove");
    let left = DB::next_ahead(&mut tx, "c", &all.origin, Position::START, 9).await.expect("next");
    assert_eq!(left.iter().map(|row| row.link).collect::<Vec<_>>(), [three.link()]);
}
