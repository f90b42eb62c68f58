//! The rows of one consumer, source, stream, version, shard or key are that one's alone.

use std::{sync::Arc, time::Duration};

use sqlx::Pool;

use super::{support::sealer, way::sent};
use crate::{
    Envelope, Storage, begin,
    message::{Link, Origin, Position},
    storage::{HeldReason, Holding, InboxRow},
};

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) async fn what_is_ahead_belongs_to_one_shard_of_one_consumer<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2)]).await;
    let at = |change: fn(&mut Origin)| {
        let mut origin = Origin::clone(&all.origin);
        change(&mut origin);
        Envelope { origin: Arc::new(origin), ..all.messages[1].clone() }
    };
    // The neighbours of the first place differ in one thing each.
    let places = [
        ("c", at(|_| ())),
        ("c", at(|origin| origin.source = "/other".into())),
        ("c", at(|origin| origin.stream = "t".into())),
        ("c", at(|origin| origin.version = 2)),
        ("c", at(|origin| origin.shard = 1)),
        ("other", at(|_| ())),
    ];
    let row = |n: i64| {
        let (incarnation, watermark) = (all.origin.incarnation, Position(n));
        InboxRow { incarnation, watermark, last: Link::anchor(watermark), ended: None }
    };
    let mut tx = begin(&pool).await.expect("begin");
    for (n, (consumer, message)) in (10..).zip(&places) {
        let made = DB::lock_inbox(&mut tx, consumer, &message.origin, row(n)).await;
        assert_eq!(made.expect("lock"), row(n));
        assert!(DB::add_ahead(&mut tx, consumer, message, true).await.expect("add"), "{n}");
    }
    let (consumer, first) = &places[0];
    assert!(DB::claim_ahead(&mut tx, consumer, first).await.expect("claim"));
    DB::save_inbox(&mut tx, consumer, &first.origin, row(50)).await.expect("save");
    let version = DB::lock_version(&mut tx, consumer, &first.origin).await.expect("lock");
    assert_eq!(version, [(0, row(50)), (1, row(14))]);
    tx.commit().await.expect("commit");

    assert_eq!(DB::ahead(&pool, Some("c")).await.expect("ahead").len(), 5);
    let ahead = DB::ahead(&pool, None).await.expect("ahead");
    assert_eq!(ahead.len(), places.len());
    let row_of = |n: i64| if n == 10 { row(50) } else { row(n) };
    for (n, (consumer, message)) in (10..).zip(&places) {
        let name = &message.origin;
        assert_eq!(DB::inbox(&pool, consumer, name).await.expect("inbox"), Some(row_of(n)));
        let own = ahead.iter().find(|own| own.consumer == *consumer && own.origin == **name);
        let own = own.expect("it is there");
        assert_eq!((own.row, own.waiting), (row_of(n), i64::from(n > 10)), "{n}");
    }
    // Removing and forgetting in the first place touches no other.
    for forget in [false, true] {
        let mut tx = begin(&pool).await.expect("begin");
        let origin = &first.origin;
        match forget {
            true => DB::forget_ahead(&mut tx, consumer, origin, Position::START).await,
            false => DB::remove_ahead(&mut tx, consumer, origin, first.position).await,
        }
        .expect("remove");
        for (n, (consumer, message)) in (10..).zip(&places) {
            let origin = &message.origin;
            let left = i64::from(n > 10);
            let (count, _) = DB::ahead_size(&mut tx, consumer, origin).await.expect("size");
            let next = DB::next_ahead(&mut tx, consumer, origin, Position::START, 9).await;
            assert_eq!((count, next.expect("next").len() as i64), (left, left), "{n}");
            let peeked = DB::peek_inbox(&mut tx, consumer, origin).await.expect("peek");
            assert_eq!(peeked, Some(row_of(n)));
        }
        tx.rollback().await.expect("roll back");
    }
}

pub(super) async fn what_is_held_belongs_to_one_key_of_one_consumer<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let all = sent(&pool, &lease, &[("k", 1)]).await;
    let [message] = &all.messages[..] else { panic!("one message") };
    let places =
        [("c", "/suite", "k"), ("other", "/suite", "k"), ("c", "/far", "k"), ("c", "/suite", "l")];
    let unknown = Holding { reason: HeldReason::Unknown, error: None, dead: false };
    let mut tx = begin(&pool).await.expect("begin");
    for (consumer, source, key) in places {
        let origin = Origin { source: source.to_owned(), ..Origin::clone(&all.origin) };
        let message = Envelope { origin: Arc::new(origin), ..message.clone() };
        DB::park(&mut tx, consumer, source, key, Some(Duration::ZERO)).await.expect("park");
        DB::hold(&mut tx, consumer, key, &message, unknown).await.expect("hold");
    }
    for (consumer, source, key) in places {
        let held = DB::held_of_key(&mut tx, consumer, source, key, true, 9).await.expect("held");
        let names: Vec<_> =
            held.iter().map(|held| (&*held.consumer, &*held.source, &*held.key)).collect();
        assert_eq!(names, [(consumer, source, key)]);
    }
    for (consumer, count) in [("c", 3), ("other", 1), ("nobody", 0)] {
        assert_eq!(DB::held_count(&mut tx, consumer, 9).await.expect("count"), count);
    }
    for (consumer, source, stream, after, count) in [
        ("c", "/suite", "s", Position::START, 2),
        ("c", "/far", "s", Position::START, 1),
        ("other", "/suite", "s", Position::START, 1),
        ("c", "/suite", "t", Position::START, 0),
        ("c", "/suite", "s", message.position, 0),
    ] {
        let held =
            DB::held_after(&mut tx, consumer, source, stream, None, after).await.expect("held");
        assert_eq!(held, count, "{consumer} {source} {stream} {after}");
    }
    tx.commit().await.expect("commit");
    let of = |consumer: &str| {
        let all = places.iter().filter(|(of, ..)| *of == consumer);
        let mut keys: Vec<_> =
            all.map(|(_, source, key)| ((*source).to_owned(), (*key).to_owned())).collect();
        keys.sort();
        keys
    };
    for consumer in ["c", "other"] {
        let mut keys = DB::unknown_keys(&pool, consumer).await.expect("keys");
        keys.sort();
        assert_eq!(keys, of(consumer));
    }
    let due = async |consumer: &str| {
        let due = DB::due_keys(&pool, consumer, Duration::ZERO, 9).await.expect("due");
        let mut keys: Vec<_> = due.into_iter().map(|due| (due.source, due.key)).collect();
        keys.sort();
        keys
    };
    assert_eq!((due("c").await, due("other").await), (of("c"), of("other")));

    // Taking and freeing the first key touches no other.
    let mut rest = of("c");
    rest.retain(|key| *key != ("/suite".to_owned(), "k".to_owned()));
    let mut tx = begin(&pool).await.expect("begin");
    assert!(DB::take_due(&mut tx, "c", "/suite", "k", HOUR).await.expect("take"));
    tx.commit().await.expect("commit");
    assert_eq!((due("c").await, due("other").await), (rest.clone(), of("other")));
    let mut tx = begin(&pool).await.expect("begin");
    DB::unpark(&mut tx, "c", "/suite", "k").await.expect("unpark");
    assert!(!DB::lock_parked(&mut tx, "c", "/suite", "k").await.expect("lock"), "it is free");
    for (consumer, source, keys) in
        [("c", "/suite", vec!["l"]), ("c", "/far", vec!["k"]), ("other", "/suite", vec!["k"])]
    {
        assert_eq!(DB::parked_keys(&mut tx, consumer, source, 9).await.expect("keys"), keys);
    }
    tx.commit().await.expect("commit");
    let far = DB::due_keys(&pool, "c", HOUR * 2, 9).await.expect("due").len();
    assert_eq!((far, due("c").await, due("other").await), (2, rest, of("other")));
}
