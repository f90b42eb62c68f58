//! A consumer that is to apply again what it has applied.

use std::{sync::Arc, time::Duration};

use sqlx::Pool;

use super::{
    gaps::cut,
    support::{
        Behaviour, Direct, PAGE, commit, effects, eventually, message, number, read_all, sealer,
    },
    way::{FAST, consumer, effect, receive, sent},
};
use crate::{
    Consumer, Envelope, Relay, RelayHandle, RetryPolicy, Route, Start, Storage, Stream, begin,
    consumer::ConsumerBuilder,
    held::drop_dead,
    inboxes::{Reapply, Skip, list, reapply, skip},
    message::Position,
    relay::RouteState,
    routes,
    storage::{HeldReason, Holding},
    transport::Outcome,
};

/// Everything of stream `s` after `to`, by consumer `c`.
fn again(to: Position) -> Reapply {
    let [consumer, source, stream] = ["c", "/suite", "s"].map(str::to_owned);
    Reapply { consumer, source, stream, shard: None, to, except_commands: false }
}

pub(super) async fn nothing_is_skipped_that_the_source_may_still_write<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2), ("a", 3)]).await;
    let one = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    receive(&one, &cut(&all, 0, 1)).await;
    let (first, last) = (all.messages[0].position, all.messages[2].position);
    let lost = |to: Position, log_ends| {
        let [consumer, source, stream] = ["c", "/suite", "s"].map(str::to_owned);
        Skip { consumer, source, stream, shard: None, to, log_ends }
    };
    let refused = async |lost: Skip, because: &str| {
        let before = list(&pool, None).await.expect("list");
        let error = skip(&pool, &lost).await.expect_err("it is refused").to_string();
        assert!(error.contains(because), "{error}");
        assert_eq!(list(&pool, None).await.expect("list"), before, "nothing has changed");
    };
    let beyond = Position(last.0 + 1);
    refused(lost(last, None), &format!("which is up to {first}")).await;
    refused(lost(beyond, Some(last)), &format!("is beyond {last}")).await;
    // Another consumer here has seen more of the source.
    let two = Consumer::builder("d", pool.clone()).handler("in", super::support::Effect(done));
    receive(&two.build().expect("a consumer"), &all).await;
    refused(lost(Position(all.through.0 + 1), None), "beyond all that this database has seen")
        .await;
    assert_eq!(skip(&pool, &lost(last, None)).await.expect("skipped").len(), 1);
    // A source that has come further is believed.
    let further = Position(all.through.0 + 9);
    assert_eq!(skip(&pool, &lost(further, Some(further))).await.expect("skipped").len(), 1);
}

fn done(_: &Envelope) -> Behaviour {
    Behaviour::Done
}

async fn refused<DB: Storage>(pool: &Pool<DB>, again: &Reapply, because: &str) {
    let before = list(pool, None).await.expect("list");
    let error = reapply(pool, again).await.expect_err("it is refused").to_string();
    assert!(error.contains(because), "{error}");
    assert_eq!(list(pool, None).await.expect("list"), before, "nothing has changed");
}

async fn relay<DB: Storage>(
    pool: &Pool<DB>,
    stream: Stream,
    consumer: &Consumer<DB>,
) -> RelayHandle {
    Relay::builder("/suite", pool.clone())
        .stream(stream.topic("in"))
        .route(Route::new("r", "s", Direct(consumer.clone())))
        .options(|options| {
            options.lease = Duration::from_millis(900);
            options.max_backoff = Duration::from_millis(50);
        })
        .start()
        .await
        .expect("the relay starts")
}

/// The numbers of the effects that are in the log, in its order.
async fn numbers<DB: Storage>(pool: &Pool<DB>) -> Vec<i64> {
    let effects = read_all(pool, PAGE).await.into_iter().filter(|row| row.message.topic == "out");
    effects.map(|row| number(&row.message)).collect()
}

/// Commits the numbers as messages of one key.
async fn write<DB: Storage>(pool: &Pool<DB>, numbers: impl IntoIterator<Item = i64>) {
    let messages: Vec<_> = numbers.into_iter().map(|n| message("in", "a", n)).collect();
    commit(pool, &messages).await;
}

/// Waits for so many effects, and a little longer: there must be no more.
async fn applied<DB: Storage>(pool: &Pool<DB>, expected: &[i64]) {
    let there = async || (numbers(pool).await.len() >= expected.len()).then_some(());
    eventually("all is applied", there).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(numbers(pool).await, expected);
}

/// Where message `n` stands.
async fn position_of<DB: Storage>(pool: &Pool<DB>, n: i64) -> Position {
    let rows = read_all(pool, PAGE).await;
    let mut ours = rows.iter().filter(|row| row.message.topic == "in");
    let found = ours.find(|row| number(&row.message) == n).expect("it is in the log");
    found.cursor.position
}

pub(super) async fn a_running_consumer_applies_again_from_a_position<DB: Storage>(pool: Pool<DB>) {
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let relay = relay(&pool, Stream::new("s"), &consumer).await;
    write(&pool, 0..10).await;
    applied(&pool, &(0..10).collect::<Vec<_>>()).await;
    let to = position_of(&pool, 6).await;
    let moved = reapply(&pool, &again(to)).await.expect("it goes back");
    assert_eq!((moved.len(), moved[0].consumer.as_str()), (1, "c"));
    assert!(moved[0].row.watermark > to);
    let now = list(&pool, Some("c")).await.expect("list");
    assert_eq!((now.len(), now[0].row.watermark), (1, to));
    // The relay learns of it with the next message.
    write(&pool, [10]).await;
    let expected: Vec<i64> = (0..10).chain(7..11).collect();
    applied(&pool, &expected).await;
    // Nothing is left of it: the next one comes once, and the route stands as before.
    write(&pool, [11]).await;
    applied(&pool, &expected.into_iter().chain([11]).collect::<Vec<_>>()).await;
    assert_eq!(relay.status()[0].state, RouteState::Idle);
    // From the very beginning, by a route that is told to send at once.
    reapply(&pool, &again(Position::START)).await.expect("it goes back");
    assert!(routes::rewind(&pool, "r", Position::START).await.expect("rewind"));
    let there = async || (numbers(&pool).await.len() >= 27).then_some(());
    eventually("all of it is applied again", there).await;
    relay.stop().await;
    assert_eq!(numbers(&pool).await[15..], (0..12).collect::<Vec<_>>());
}

/// Reapplies from the seventh of ten messages, and sends the eleventh.
async fn without_order<DB: Storage>(
    pool: Pool<DB>,
    order: impl Fn(ConsumerBuilder<DB>) -> ConsumerBuilder<DB>,
) {
    let consumer = order(consumer(&pool, |_| Behaviour::Done)).build().expect("a consumer");
    let relay = relay(&pool, Stream::new("s"), &consumer).await;
    write(&pool, 0..10).await;
    let sorted = async |expected: Vec<i64>| {
        let there = async || (numbers(&pool).await.len() >= expected.len()).then_some(());
        eventually("all is applied", there).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut found = numbers(&pool).await;
        found.sort_unstable();
        assert_eq!(found, expected);
    };
    sorted((0..10).collect()).await;
    let moved = reapply(&pool, &again(position_of(&pool, 6).await)).await;
    assert_eq!(moved.expect("it goes back").len(), 1);
    write(&pool, [10]).await;
    sorted((0..7).chain([7, 7, 8, 8, 9, 9, 10]).collect()).await;
    relay.stop().await;
}

pub(super) async fn lanes_apply_again_from_a_position<DB: Storage>(pool: Pool<DB>) {
    without_order(pool, |builder| builder.lanes(3)).await;
}

pub(super) async fn an_unordered_consumer_applies_again_from_a_position<DB: Storage>(
    pool: Pool<DB>,
) {
    without_order(pool, ConsumerBuilder::unordered).await;
}

pub(super) async fn what_was_applied_past_the_watermark_is_applied_again<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let unordered = consumer(&pool, |_| Behaviour::Done).unordered();
    let unordered = unordered.build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 0), ("b", 1), ("c", 2), ("d", 3)]).await;
    receive(&unordered, &cut(&all, 0, 2)).await;
    receive(&unordered, &cut(&all, 3, 4)).await;
    assert_eq!(DB::ahead(&pool, Some("c")).await.expect("ahead").len(), 1);
    reapply(&pool, &again(all.messages[0].position)).await.expect("it goes back");
    assert!(DB::ahead(&pool, Some("c")).await.expect("ahead").is_empty());
    assert_eq!(receive(&unordered, &all).await.last, all.last);
    let mut found = effects(&pool, &lease).await;
    found.sort_unstable();
    let expected = [("a", 0), ("b", 1), ("b", 1), ("c", 2), ("d", 3), ("d", 3)];
    assert_eq!(found, expected.map(|(key, n)| effect(key, n)));
}

pub(super) async fn reapplying_is_refused_where_it_could_go_wrong<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let behave = |message: &Envelope| match number(message) {
        3 => Behaviour::Fail,
        _ => Behaviour::Done,
    };
    let once = RetryPolicy { max_attempts: 1, ..FAST };
    let consumer = consumer(&pool, behave).retry(once).hold_early(10, 1 << 20);
    let consumer = consumer.build().expect("a consumer");
    let numbers = [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("b", 5), ("b", 6)];
    let all = sent(&pool, &lease, &numbers).await;
    refused(&pool, &again(Position::START), "nothing of /suite s").await;
    let at = |n: usize| all.messages[n].position;
    receive(&consumer, &cut(&all, 0, 2)).await;
    refused(&pool, &again(at(1)), "it has applied up to position").await;
    refused(&pool, &again(at(4)), "it has applied up to position").await;
    refused(&pool, &again(Position(-1)), "at least 0").await;
    let other = |change: fn(&mut Reapply)| {
        let mut other = again(Position::START);
        change(&mut other);
        other
    };
    let other_stream = other(|again| again.stream = "t".to_owned());
    let other_shard = other(|again| again.shard = Some(1));
    for other in [&other_stream, &other_shard] {
        refused(&pool, other, "nothing of /suite").await;
    }

    receive(&consumer, &cut(&all, 2, 4)).await;
    refused(&pool, &again(at(0)), "1 message of the stream after").await;
    // After the one that is held it is no matter.
    let back = reapply(&pool, &again(at(2))).await;
    assert_eq!(back.expect("it goes back").len(), 1);
    assert_eq!(receive(&consumer, &cut(&all, 0, 4)).await.outcome, Outcome::Complete);
    let held = DB::held(&pool, true, 0, 9).await.expect("held");
    assert!(drop_dead(&pool, held[0].id).await.expect("drop"));

    // The fifth one is missing.
    let ack = receive(&consumer, &cut(&all, 5, 6)).await;
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, at(3)));
    refused(&pool, &again(at(0)), "wait for a missing one").await;
    let effects = effects(&pool, &lease).await;
    assert_eq!(effects, [("a", 1), ("b", 2), ("b", 4), ("b", 4)].map(|(k, n)| effect(k, n)));
}

pub(super) async fn what_another_shard_holds_keeps_no_shard_from_being_applied_again<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let all = sent(&pool, &lease, &[("a", 1), ("a", 2), ("b", 3)]).await;
    receive(&consumer, &cut(&all, 0, 2)).await;
    // The third one is of shard 1, and dead there.
    let mut other = all.messages[2].clone();
    Arc::make_mut(&mut other.origin).shard = 1;
    let mut tx = begin(&pool).await.expect("begin");
    DB::park(&mut tx, "c", "/suite", "b", None).await.expect("park");
    let holding = Holding { reason: HeldReason::Failed, error: None, dead: true };
    DB::hold(&mut tx, "c", "b", &other, holding).await.expect("hold");
    tx.commit().await.expect("commit");
    refused(&pool, &again(Position::START), "1 message of the stream after").await;
    let one = Reapply { shard: Some(0), ..again(Position::START) };
    let before = list(&pool, None).await.expect("list");
    assert_eq!(one.preview(&pool).await.expect("it would go back"), before);
    assert_eq!(list(&pool, None).await.expect("list"), before, "a preview changes nothing");
    assert_eq!(reapply(&pool, &one).await.expect("it goes back").len(), 1);
    assert_eq!(list(&pool, None).await.expect("list")[0].row.watermark, Position::START);
}

pub(super) async fn a_consumer_sent_back_before_a_new_version_of_the_stream_gets_both<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    // Its own beginning is not asked again.
    let consumer = consumer(&pool, |_| Behaviour::Done).start_at(Start::Now);
    let consumer = consumer.build().expect("a consumer");
    let mut versions = Vec::new();
    // Three versions, of one, two and three shards.
    for version in 1..=3 {
        let stream = Stream::new("s").shards(version);
        let relay = relay(&pool, stream, &consumer).await;
        let first = i64::from(version) * 10;
        write(&pool, first..first + 5).await;
        versions.extend(first..first + 5);
        applied(&pool, &versions).await;
        if version == 3 {
            in_three_versions(&pool, &versions).await;
        }
        relay.stop().await;
    }
}

/// The consumer runs, and all three versions were applied.
async fn in_three_versions<DB: Storage>(pool: &Pool<DB>, first: &[i64]) {
    let to = position_of(pool, 12).await;
    let one = Reapply { shard: Some(0), ..again(to) };
    refused(pool, &one, "another definition").await;
    let moved = reapply(pool, &again(to)).await.expect("it goes back");
    let mut versions: Vec<_> = moved.iter().map(|inbox| inbox.origin.version).collect();
    versions.dedup();
    assert_eq!(versions, [1, 2, 3]);
    write(pool, [40]).await;
    let mut expected = [first, &[13, 14], &first[5..], &[40]].concat();
    applied(pool, &expected).await;
    // Within the newest version the older ones are not asked again.
    let to = position_of(pool, 32).await;
    reapply(pool, &again(to)).await.expect("it goes back");
    write(pool, [41]).await;
    expected.extend([33, 34, 40, 41]);
    applied(pool, &expected).await;
}
