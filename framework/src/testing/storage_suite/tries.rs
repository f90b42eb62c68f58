//! Messages that are tried again: how long that is put off, and what comes of it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sqlx::Pool;

use super::{
    support::{Behaviour, effects, eventually, number, sealer, whole_log},
    way::{consumer, effect, receive, sent},
};
use crate::{Envelope, RetryPolicy, Storage, Verdict, consumer::REJECTED};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) async fn a_failed_key_rests_for_the_longest_pause_at_most<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let retry = RetryPolicy { max_attempts: 9, base: HOUR, max: MINUTE };
    let consumer = consumer(&pool, |_| Behaviour::Fail).retry(retry).build().expect("valid");
    receive(&consumer, &sent(&pool, &lease, &[("k", 1)]).await).await;
    let due = DB::due_keys(&pool, "c", HOUR * 2, 9).await.expect("due");
    let [due] = &due[..] else { panic!("one key is parked: {due:?}") };
    assert!(due.due_in <= MINUTE && due.due_in > MINUTE / 2, "{due:?}");
}

pub(super) async fn a_rejection_at_a_later_try_is_told_once_and_frees_the_key<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let failed = AtomicBool::new(false);
    let behave = move |message: &Envelope| match number(message) {
        1 if failed.swap(true, Ordering::Relaxed) => {
            Behaviour::Verdict(Verdict::Reject("no".into()))
        }
        1 => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let consumer = consumer(&pool, behave).build().expect("a consumer");
    // One message alone, so that it is tried once.
    receive(&consumer, &sent(&pool, &lease, &[("a", 1)]).await).await;
    receive(&consumer, &sent(&pool, &lease, &[("a", 2)]).await).await;
    assert_eq!(DB::held(&pool, true, 0, 9).await.expect("held").len(), 2);
    let running = consumer.start().await.expect("retries");
    let empty = async || DB::held(&pool, true, 0, 9).await.expect("held").is_empty().then_some(());
    eventually("the key is emptied", empty).await;
    running.stop().await;
    assert_eq!(effects(&pool, &lease).await, [effect("a", 2)]);
    let rejected = whole_log(&pool, &lease).await;
    assert_eq!(rejected.iter().filter(|row| row.message.topic == REJECTED).count(), 1);
}
