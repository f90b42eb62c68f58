//! The participant's barrier, by itself.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::Pool;
use uuid::Uuid;

use super::{participant::participant, support::Behaviour, way::consumer};
use crate::{
    Storage, begin,
    storage::{BarrierKey, BarrierRow},
};

async fn claim<DB: Storage>(pool: &Pool<DB>, key: BarrierKey<'_>) -> BarrierRow {
    let mut tx = begin(pool).await.expect("begin");
    let row = DB::claim_barrier(&mut tx, key).await.expect("claim");
    tx.rollback().await.expect("roll back");
    row
}

pub(super) async fn a_steps_claim_waits_for_the_one_before_it<DB: Storage>(pool: Pool<DB>) {
    let key = BarrierKey { source: "/suite", saga: Uuid::now_v7(), step: "s" };
    for commits in [false, true] {
        let mut first = begin(&pool).await.expect("begin");
        assert_eq!(DB::claim_barrier(&mut first, key).await.expect("claim").record, "");
        let other = pool.clone();
        let second = tokio::spawn(async move { claim(&other, key).await });
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(!second.is_finished(), "it waits");
        DB::record_barrier(&mut first, key, "true", true, None).await.expect("record");
        match commits {
            true => first.commit().await.expect("commit"),
            false => first.rollback().await.expect("roll back"),
        }
        let found = second.await.expect("no panic");
        let expected = if commits { ("true", true) } else { ("", false) };
        assert_eq!((found.record.as_str(), found.undone), expected);
    }
    // What is claimed and not recorded leaves no trace; what is recorded stays.
    let mut tx = begin(&pool).await.expect("begin");
    assert!(!DB::leave_barrier(&mut tx, key).await.expect("leave"), "it is recorded");
    let other = BarrierKey { source: "/other", ..key };
    assert_eq!(DB::claim_barrier(&mut tx, other).await.expect("claim").record, "");
    assert!(DB::leave_barrier(&mut tx, other).await.expect("leave"));
    assert!(!DB::leave_barrier(&mut tx, other).await.expect("leave"), "it is gone");
}

pub(super) async fn steps_are_forgotten_in_time_and_not_before_their_deadline<DB: Storage>(
    pool: Pool<DB>,
) {
    let saga = Uuid::now_v7();
    let key = |step: &'static str| BarrierKey { source: "/suite", saga, step };
    let now = claim(&pool, key("a")).await.now;
    let mut tx = begin(&pool).await.expect("begin");
    let past = now - TimeDelta::hours(1);
    let late = now + TimeDelta::hours(1);
    for (step, not_before) in
        [("a", None), ("b", Some(past)), ("c", None), ("d", Some(late)), ("e", Some(past))]
    {
        DB::claim_barrier(&mut tx, key(step)).await.expect("claim");
        DB::record_barrier(&mut tx, key(step), "1", false, not_before).await.expect("record");
    }
    tx.commit().await.expect("commit");
    let purge = async |age| DB::purge_barriers(&pool, age, 3).await.expect("purge");
    assert_eq!(purge(Duration::from_secs(1_800)).await, 0, "they are young");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let old = Duration::from_millis(1);
    assert_eq!([purge(old).await, purge(old).await, purge(old).await], [3, 1, 0]);
    assert_eq!(claim(&pool, key("a")).await.record, "");
    assert_eq!(claim(&pool, key("d")).await.record, "1", "its action may still come");
}

pub(super) async fn a_running_participant_forgets_steps_by_its_retention<DB: Storage>(
    pool: Pool<DB>,
) {
    let key = BarrierKey { source: "/suite", saga: Uuid::now_v7(), step: "s" };
    let mut tx = begin(&pool).await.expect("begin");
    DB::claim_barrier(&mut tx, key).await.expect("claim");
    DB::record_barrier(&mut tx, key, "1", false, None).await.expect("record");
    tx.commit().await.expect("commit");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let short = Duration::from_millis(1);
    let none = consumer(&pool, |_| Behaviour::Done).barrier_retention(short);
    let patient = participant(&pool).barrier_retention(Duration::from_secs(3_600));
    let hasty = participant(&pool).barrier_retention(short);
    // A start looks for what is old, and a stop waits for that.
    for (consumer, left) in [(none, "1"), (patient, "1"), (hasty, "")] {
        let consumer = consumer.build().expect("a consumer");
        consumer.start().await.expect("starts").stop().await;
        assert_eq!(claim(&pool, key).await.record, left);
    }
}
