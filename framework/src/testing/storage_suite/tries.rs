//! Messages that are tried again: how long that is put off, and what comes of it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Pool, Transaction};

use super::{
    support::{Behaviour, batch, commit, effects, eventually, message, number, sealer, whole_log},
    way::{FAST, consumer, effect, receive, sent},
};
use crate::{
    BatchHandler, Consumer, Envelope, Handler, HandlerError, Message, RetryPolicy, Storage,
    Verdict, consumer::REJECTED, held,
};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// Writes the number that it reads, by itself or with others.
struct Reading;

#[async_trait]
impl<DB: Storage> Handler<DB> for Reading {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        read: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let key = read.key.clone().unwrap_or_default();
        DB::append(tx, &[message("out", &key, read.decode()?)]).await?;
        Ok(Verdict::Done)
    }
}

#[async_trait]
impl<DB: Storage> BatchHandler<DB> for Reading {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        messages: &[Envelope],
    ) -> Result<Verdict, HandlerError> {
        for message in messages {
            Handler::handle(self, tx, message).await?;
        }
        Ok(Verdict::Done)
    }
}

pub(super) async fn a_payload_that_does_not_decode_is_dead_at_once_and_can_be_edited<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let text = Message::json("in", "no number").expect("a text").key("a");
    commit(&pool, &[message("in", "b", 1), text, message("in", "a", 2)]).await;
    let incarnation = DB::incarnation(&pool).await.expect("incarnation");
    let all = batch(whole_log(&pool, &lease).await, incarnation);
    // Many tries are allowed, a second apart.
    let retry = RetryPolicy { base: Duration::from_secs(1), ..FAST };
    let one = Consumer::builder("c", pool.clone()).handler("in", Reading).retry(retry);
    let many = Consumer::builder("d", pool.clone()).batch_handler("in", Reading).retry(retry);
    for builder in [one, many] {
        let consumer = builder.build().expect("a consumer");
        assert_eq!(receive(&consumer, &all).await.watermark, all.through);
    }
    let dead = DB::held(&pool, false, 0, 9).await.expect("dead letters");
    let found: Vec<_> = dead.iter().map(|dead| (&*dead.consumer, dead.attempts)).collect();
    assert_eq!(found, [("c", 1), ("d", 1)]);
    let due = DB::due_keys(&pool, "c", HOUR * 9, 9).await.expect("due");
    assert!(due.is_empty(), "it is not tried again by itself");
    for dead in &dead {
        let why = dead.error.clone().unwrap_or_default();
        assert!(why.contains("does not fit its type"), "{why}");
        // Not even when an operator has it tried, as it is.
        assert!(held::redrive(&pool, dead.id).await.expect("redriven"));
    }
    let consumer = Consumer::builder("c", pool.clone()).handler("in", Reading).retry(retry);
    let consumer = consumer.build().expect("a consumer");
    let running = consumer.start().await.expect("retries");
    let again = async || {
        let dead = DB::held(&pool, false, 0, 9).await.expect("dead letters");
        dead.into_iter().find(|dead| dead.consumer == "c")
    };
    let again = eventually("it is dead again", again).await;
    assert_eq!(again.attempts, 1);
    assert!(held::edit(&pool, again.id, "7", "Ada").await.expect("edited"));
    assert!(held::redrive(&pool, again.id).await.expect("redriven"));
    let empty = async || {
        let held = DB::held(&pool, true, 0, 9).await.expect("held");
        held.iter().all(|held| held.consumer != "c").then_some(())
    };
    eventually("the key is emptied", empty).await;
    running.stop().await;
    // The one alone, the other's, and what was held behind the text.
    let expected = [effect("b", 1), effect("b", 1), effect("a", 7), effect("a", 2)];
    assert_eq!(effects(&pool, &lease).await, expected);
}

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
