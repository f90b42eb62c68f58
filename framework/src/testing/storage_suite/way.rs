//! The whole way: relay and consumer on one database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::support::{
    Behaviour, Direct, Effect, batch, commit, effects, end_of, eventually, linked, message, number,
    open, save, sealer, tail, whole_log,
};
use crate::{
    Compensate, Consumer, Envelope, HandlerError, OnDead, Rejection, Relay, RelayHandle,
    RetryPolicy, Route, Storage, Stream, Verdict,
    consumer::{ConsumerBuilder, REJECTED},
    held::redrive,
    message::{Batch, Link, Position},
    relay::{RelayOptions, RouteState},
    storage::{Lease, NewShard, ShardKey},
    transport::{Ack, Outcome, PublishError, Publisher, Receive},
};

pub(super) const FAST: RetryPolicy =
    RetryPolicy { max_attempts: 3, base: Duration::from_millis(1), max: Duration::from_millis(1) };

pub(super) fn consumer<DB: Storage>(
    pool: &Pool<DB>,
    behave: impl Fn(&Envelope) -> Behaviour + Send + Sync + 'static,
) -> ConsumerBuilder<DB> {
    Consumer::builder("c", pool.clone()).handler("in", Effect(behave)).retry(FAST)
}

/// Commits one message a (key, number) and makes a batch of them.
pub(super) async fn sent<DB: Storage>(
    pool: &Pool<DB>,
    lease: &Lease,
    numbers: &[(&str, i64)],
) -> Batch {
    let messages: Vec<_> = numbers.iter().map(|(key, n)| message("in", key, *n)).collect();
    commit(pool, &messages).await;
    let incarnation = DB::incarnation(pool).await.expect("incarnation");
    batch(whole_log(pool, lease).await, incarnation)
}

pub(super) async fn receive<DB: Storage>(consumer: &Consumer<DB>, batch: &Batch) -> Ack {
    consumer.receive(batch.clone()).await.expect("an answer")
}

pub(super) async fn relay<DB: Storage>(pool: &Pool<DB>, publisher: impl Publisher) -> RelayHandle {
    relay_with(pool, publisher, |_| ()).await
}

pub(super) async fn relay_with<DB: Storage>(
    pool: &Pool<DB>,
    publisher: impl Publisher,
    change: impl FnOnce(&mut RelayOptions),
) -> RelayHandle {
    Relay::builder("/suite", pool.clone())
        .stream(Stream::new("s").topic("in"))
        .route(Route::new("r", "s", publisher))
        .options(|options| {
            options.lease = Duration::from_millis(900);
            options.max_backoff = Duration::from_millis(50);
            change(options);
        })
        .start()
        .await
        .expect("the relay starts")
}

pub(super) fn effect(key: &str, n: i64) -> (String, i64) {
    (key.to_owned(), n)
}

pub(super) async fn every_message_is_applied_once_in_order<DB: Storage>(pool: Pool<DB>) {
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let relay = relay(&pool, Direct(consumer)).await;
    for n in 0..60 {
        commit(&pool, &[message("in", "a", n), message("other", "a", n), message("in", "b", n)])
            .await;
    }
    let done = async || {
        let (head, all) = (DB::head(&pool).await.ok()?, relay.status());
        let lags = DB::route_lags(&pool).await.expect("lags");
        (all[0].state == RouteState::Idle && head.0 >= 300 && lags[0].position == head)
            .then_some(())
    };
    eventually("the checkpoint reaches the head", done).await;
    relay.stop().await;
    let lease = sealer(&pool).await;
    let effects = effects(&pool, &lease).await;
    for key in ["a", "b"] {
        let of_key: Vec<i64> =
            effects.iter().filter(|(k, _)| k == key).map(|(_, number)| *number).collect();
        assert_eq!(of_key, (0..60).collect::<Vec<_>>(), "key {key}");
    }
}

pub(super) async fn a_duplicate_batch_has_no_effect_and_a_gap_is_answered<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2), ("b", 3)]).await;
    // The log was read further, and nothing followed.
    let all = Batch { through: Position(all.through.0 + 5), ..all };
    let gap = receive(&consumer, &tail(&all, 1)).await;
    assert_eq!((gap.outcome, gap.watermark), (Outcome::Gap, Position::START));
    for _ in 0..3 {
        let ack = receive(&consumer, &all).await;
        assert_eq!((ack.outcome, (ack.watermark, ack.last)), (Outcome::Complete, end_of(&all)));
        receive(&consumer, &tail(&all, 2)).await;
    }
    let mut forged = tail(&all, 3);
    forged.through = Position(1_000);
    forged.last = Link { position: Position(999), id: Uuid::now_v7() };
    let gap = receive(&consumer, &forged).await;
    assert_eq!((gap.outcome, gap.watermark), (Outcome::Gap, all.through), "a lost message");
    let progress = Batch { through: Position(1_000), ..tail(&all, 3) };
    assert_eq!(receive(&consumer, &progress).await.watermark, Position(1_000));
    let mut other = all.clone();
    let origin = crate::message::Origin { incarnation: Uuid::max(), ..(*all.origin).clone() };
    other.origin = Arc::new(origin);
    let unknown = receive(&consumer, &other).await;
    let follows = all.origin.incarnation;
    assert_eq!(unknown.outcome, Outcome::Incarnation { follows }, "another incarnation");
    let expected = [effect("a", 1), effect("a", 2), effect("b", 3)];
    assert_eq!(effects(&pool, &lease).await, expected);
}

pub(super) async fn a_failing_message_parks_its_key_and_the_others_flow<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&broken);
    let behave = move |message: &Envelope| match number(message) {
        2 if switch.load(Ordering::Relaxed) => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let patient = RetryPolicy { max_attempts: 1_000, ..FAST };
    let consumer = consumer(&pool, behave).retry(patient).build().expect("a consumer");
    let numbers = [("a", 1), ("b", 2), ("c", 3), ("b", 4), ("a", 5), ("b", 6)];
    let all = sent(&pool, &lease, &numbers).await;
    let all = Batch { through: Position(all.through.0 + 5), ..all };
    let ack = receive(&consumer, &all).await;
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, all.through));
    let flowed = [effect("a", 1), effect("c", 3), effect("a", 5)];
    assert_eq!(effects(&pool, &lease).await, flowed);
    assert_eq!(DB::held(&pool, true, 0, 9).await.expect("held").len(), 3);
    let running = consumer.start().await.expect("retries");
    let tried = async || {
        let held = DB::held(&pool, true, 0, 9).await.expect("held");
        (held[0].attempts > 1).then_some(())
    };
    eventually("another try", tried).await;
    broken.store(false, Ordering::Relaxed);
    let empty = async || DB::held(&pool, true, 0, 9).await.expect("held").is_empty().then_some(());
    eventually("the key is emptied", empty).await;
    running.stop().await;
    let rest = [effect("b", 2), effect("b", 4), effect("b", 6)];
    assert_eq!(effects(&pool, &lease).await, [flowed, rest].concat());
}

pub(super) async fn a_dead_letter_blocks_its_key_until_it_is_redriven<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&broken);
    let behave = move |message: &Envelope| match number(message) {
        1 if switch.load(Ordering::Relaxed) => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let consumer = consumer(&pool, behave).build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2)]).await;
    receive(&consumer, &all).await;
    let running = consumer.start().await.expect("retries");
    let dead = async || DB::held(&pool, false, 0, 9).await.expect("dead").pop();
    let dead = eventually("a dead letter", dead).await;
    assert_eq!((dead.attempts, dead.dead), (FAST.max_attempts, true));
    let within = Duration::from_secs(3_600);
    assert!(DB::due_keys(&pool, "c", within, 9).await.expect("due").is_empty(), "it rests");
    assert!(effects(&pool, &lease).await.is_empty(), "the key is blocked");
    broken.store(false, Ordering::Relaxed);
    assert!(redrive(&pool, dead.id).await.expect("redrive"));
    let empty = async || DB::held(&pool, true, 0, 9).await.expect("held").is_empty().then_some(());
    eventually("the key is emptied", empty).await;
    running.stop().await;
    assert_eq!(effects(&pool, &lease).await, [effect("a", 1), effect("a", 2)]);
}

pub(super) async fn with_skip_a_dead_letter_lets_its_key_go_on<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let behave = |message: &Envelope| match number(message) {
        1 => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let consumer = consumer(&pool, behave).on_dead(OnDead::Skip).build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2)]).await;
    receive(&consumer, &all).await;
    let running = consumer.start().await.expect("retries");
    let one = async || {
        let held = DB::held(&pool, true, 0, 9).await.expect("held");
        (held.len() == 1 && held[0].dead).then_some(())
    };
    eventually("only the dead letter is left", one).await;
    running.stop().await;
    assert_eq!(effects(&pool, &lease).await, [effect("a", 2)]);
}

pub(super) async fn a_handler_that_panics_or_hangs_is_a_failure<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let behave = |message: &Envelope| match number(message) {
        1 => Behaviour::Panic,
        2 => Behaviour::Hang,
        _ => Behaviour::Done,
    };
    let limit = Duration::from_millis(500);
    let consumer = consumer(&pool, behave).timeout(limit).build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1), ("b", 2), ("c", 3)]).await;
    assert_eq!(receive(&consumer, &all).await.watermark, all.through);
    assert_eq!(effects(&pool, &lease).await, [effect("c", 3)]);
    let held = DB::held(&pool, true, 0, 9).await.expect("held");
    let errors: Vec<_> = held.iter().filter_map(|held| held.error.as_deref()).collect();
    assert!(errors[0].contains("panicked") && errors[1].contains("longer than"), "{errors:?}");
}

pub(super) async fn a_retry_verdict_comes_back_in_order<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let left = AtomicI64::new(2);
    let behave = move |message: &Envelope| match number(message) {
        1 if left.fetch_sub(1, Ordering::Relaxed) > 0 => {
            Behaviour::Verdict(Verdict::Retry(Duration::from_millis(1)))
        }
        _ => Behaviour::Done,
    };
    let consumer = consumer(&pool, behave).build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1)]).await;
    receive(&consumer, &all).await;
    let all = sent(&pool, &lease, &[("a", 2)]).await;
    receive(&consumer, &all).await;
    let running = consumer.start().await.expect("retries");
    let done = async || (effects(&pool, &lease).await.len() == 2).then_some(());
    eventually("both are applied", done).await;
    running.stop().await;
    assert_eq!(effects(&pool, &lease).await, [effect("a", 1), effect("a", 2)]);
}

struct Undo;

#[async_trait]
impl<DB: Storage> Compensate<DB> for Undo {
    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        rejection: &Rejection,
    ) -> Result<(), HandlerError> {
        let key = rejection.key.clone().unwrap_or_default();
        DB::append(tx, &[message("out", &format!("{key}: {}", rejection.reason), -1)]).await?;
        Ok(())
    }
}

pub(super) async fn a_rejection_is_compensated_once_at_the_source<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let behave = |message: &Envelope| match number(message) {
        2 => Behaviour::Verdict(Verdict::Reject("no".into())),
        _ => Behaviour::Done,
    };
    // Two consumers reject the same message.
    let one = consumer(&pool, behave).build().expect("a consumer");
    let two = Consumer::builder("c2", pool.clone()).handler("in", Effect(behave));
    let two = two.build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1), ("b", 2), ("b", 3)]).await;
    for consumer in [&one, &two, &one] {
        assert_eq!(receive(consumer, &all).await.outcome, Outcome::Complete);
    }
    let source = Consumer::builder("source", pool.clone()).compensation("in", Undo).build();
    let source = source.expect("a consumer");
    let rows = whole_log(&pool, &lease).await;
    let rejected = linked(rows, "rejections", REJECTED, all.origin.incarnation);
    assert_eq!(rejected.messages.len(), 2);
    for _ in 0..2 {
        assert_eq!(receive(&source, &rejected).await.outcome, Outcome::Complete);
    }
    let effects = effects(&pool, &lease).await;
    let undone: Vec<_> = effects.iter().filter(|(_, number)| *number == -1).collect();
    assert_eq!(undone, [&effect("b: no", -1)]);
    assert_eq!(effects.iter().filter(|(_, number)| *number == 3).count(), 2, "the key goes on");
}

pub(super) async fn many_failing_keys_pause_the_stream<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let consumer = consumer(&pool, |_| Behaviour::Fail).max_parked_keys(3);
    let consumer = consumer.build().expect("a consumer");
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    let numbers: Vec<(&str, i64)> = keys.iter().map(|key| (key.as_str(), 1)).collect();
    let all = sent(&pool, &lease, &numbers).await;
    for _ in 0..2 {
        let ack = receive(&consumer, &all).await;
        assert!(matches!(ack.outcome, Outcome::Paused { .. }), "{ack:?}");
        assert_eq!(ack.watermark, Position(3));
    }
    assert_eq!(DB::held(&pool, true, 0, 100).await.expect("held").len(), 3);
}

/// A target that is down, then answers and forgets to say so, then works.
struct Flaky<DB: Storage>(Direct<DB>, AtomicI64);

#[async_trait]
impl<DB: Storage> Publisher for Flaky<DB> {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        let call = self.1.fetch_add(1, Ordering::Relaxed);
        let answer = if call % 3 == 0 { None } else { Some(self.0.publish(batch).await?) };
        let lost = || PublishError::Unavailable {
            target: "flaky".into(),
            reason: "lost".into(),
            retry_after: None,
        };
        answer.filter(|_| call % 3 == 2).ok_or_else(lost)
    }
}

pub(super) async fn a_target_that_fails_and_comes_back_gets_everything<DB: Storage>(
    pool: Pool<DB>,
) {
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let relay = relay(&pool, Flaky(Direct(consumer), AtomicI64::new(0))).await;
    for n in 0..20 {
        commit(&pool, &[message("in", "a", n)]).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let idle = async || {
        let all = relay.status();
        let head = DB::head(&pool).await.ok()?;
        (head.0 >= 40 && all[0].position == head && all[0].state == RouteState::Idle).then_some(())
    };
    eventually("everything is acknowledged", idle).await;
    relay.stop().await;
    let lease = sealer(&pool).await;
    let expected: Vec<_> = (0..20).map(|n| effect("a", n)).collect();
    assert_eq!(effects(&pool, &lease).await, expected);
}

pub(super) async fn a_consumer_restored_from_a_backup_is_sent_what_it_lacks<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2), ("a", 3)]).await;
    DB::release(&pool, &lease).await.expect("release");
    // The route has sent everything; the consumer knows only the first message.
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let first = Batch {
        messages: all.messages[..1].to_vec(),
        through: all.messages[0].position,
        last: all.messages[0].link(),
        ..all.clone()
    };
    receive(&consumer, &first).await;
    let holder = Uuid::now_v7();
    let route = DB::acquire(&pool, "route/r", holder, Duration::from_secs(9)).await;
    let route = route.expect("acquire").expect("free");
    open(&pool).await;
    let cursor = DB::locate(&pool, all.through).await.expect("locate");
    let sent_all = crate::storage::Checkpoint { cursor, last: all.last };
    assert!(save(&pool, &route, sent_all).await);
    DB::release(&pool, &route).await.expect("release");
    let relay = relay(&pool, Direct(consumer)).await;
    commit(&pool, &[message("in", "a", 4)]).await;
    let name = crate::message::Origin::clone(&all.origin);
    let applied = async || {
        let row = DB::inbox(&pool, "c", &name).await.expect("inbox")?;
        (row.last.position > all.through).then_some(())
    };
    eventually("the lost ones and the new one are applied", applied).await;
    relay.stop().await;
    let lease = sealer(&pool).await;
    let expected: Vec<_> = (1..=4).map(|n| effect("a", n)).collect();
    assert_eq!(effects(&pool, &lease).await, expected);
}

/// A consumer that has applied what this log does not hold.
struct Ahead(Ack);

#[async_trait]
impl Publisher for Ahead {
    async fn publish(&self, _batch: &Batch) -> Result<Ack, PublishError> {
        Ok(self.0)
    }
}

pub(super) async fn a_source_restored_from_a_backup_stops_its_route<DB: Storage>(pool: Pool<DB>) {
    commit(&pool, &[message("in", "a", 1), message("in", "a", 2)]).await;
    let far = Link { position: Position(900), id: Uuid::now_v7() };
    let here = Link { position: Position(1), id: Uuid::now_v7() };
    for last in [far, here] {
        let ack = Ack { watermark: last.position, last, outcome: Outcome::Gap };
        let relay = relay(&pool, Ahead(ack)).await;
        let diverged = async || {
            let state = relay.status().remove(0).state;
            matches!(state, RouteState::Diverged { .. }).then_some(())
        };
        eventually("the route stops", diverged).await;
        relay.stop().await;
        assert_eq!(open(&pool).await, Default::default());
    }
}

/// Takes everything, and says that it has applied what no log holds.
struct Boasting;

#[async_trait]
impl Publisher for Boasting {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        let watermark = Position(batch.through.0 + 900);
        Ok(Ack { watermark, last: batch.last, outcome: Outcome::Complete })
    }
}

pub(super) async fn what_lies_past_the_end_of_the_log_is_not_believed<DB: Storage>(pool: Pool<DB>) {
    commit(&pool, &[message("in", "a", 1)]).await;
    let diverges = async |relay: &RelayHandle| {
        let diverged = async || {
            let state = relay.status().remove(0).state;
            matches!(state, RouteState::Diverged { .. }).then_some(())
        };
        eventually("the route stops", diverged).await;
    };
    let boasting = relay(&pool, Boasting).await;
    diverges(&boasting).await;
    boasting.stop().await;
    let key = ShardKey::new("r", 1, 0);
    let past = NewShard { key, at: Position(900), closed: false };
    DB::rewind(&pool, &[past]).await.expect("moved");
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let relay = relay(&pool, Direct(consumer)).await;
    diverges(&relay).await;
    commit(&pool, &[message("in", "a", 2)]).await;
    assert!(crate::routes::rewind(&pool, "r", Position::START).await.expect("rewound"));
    let all = async || {
        let (head, lags) = (DB::head(&pool).await.ok()?, DB::route_lags(&pool).await.ok()?);
        let idle = relay.status()[0].state == RouteState::Idle;
        (idle && head >= Position(2) && lags[0].position == head).then_some(())
    };
    eventually("the route goes on", all).await;
    relay.stop().await;
    let lease = sealer(&pool).await;
    assert_eq!(effects(&pool, &lease).await, [effect("a", 1), effect("a", 2)]);
}
