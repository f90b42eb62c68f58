//! The universal transport suite: what every transport has to keep.
//!
//! A transport passes when [`transport_suite!`](crate::transport_suite) does: the macro makes
//! one test of each promise below. It takes an async function that makes a fresh, connected
//! publisher and subscriber; the publisher's time limit is the function's argument, and what
//! travels is of the source [`SOURCE`] and the stream [`STREAM`].
//!
//! ```
//! use std::time::Duration;
//! use syncline::transport::{Publisher, Subscriber, in_process};
//!
//! async fn connect(limit: Duration) -> (impl Publisher, impl Subscriber) {
//!     let (publisher, subscriber) = in_process::channel(4);
//!     (publisher.timeout(limit), subscriber)
//! }
//! syncline::transport_suite!(connect);
//! ```

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{ReferenceReceiver, SampleSource, Temper};
use crate::{
    message::{Batch, Message},
    transport::{Ack, Outcome, PublishError, Publisher, SubscribeError, Subscriber},
};

/// The source of everything that the suite sends.
pub const SOURCE: &str = "/suite/source";
/// The stream of everything that the suite sends.
pub const STREAM: &str = "suite";

/// Long enough for every step on a busy machine.
const AMPLE: Duration = Duration::from_secs(30);
/// For what must not happen.
const BRIEF: Duration = Duration::from_millis(300);

/// Makes one `#[tokio::test]` of each promise of the
/// [suite](crate::testing::transport_suite). The crate that uses it needs tokio with the
/// features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! transport_suite {
    ($factory:path) => {
        $crate::transport_suite!(@tests $factory;
            delivers_in_order_and_to_the_byte,
            carries_large_and_empty_batches,
            acknowledges_only_what_was_received,
            passes_every_outcome_on,
            delivers_a_repeated_batch_again,
            never_acknowledges_what_failed,
            gives_up_in_time,
            takes_concurrent_publishes,
            finishes_what_it_began_when_stopped,
            refuses_after_the_stop,
        );
    };
    (@tests $factory:path; $($test:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $crate::testing::transport_suite::$test($factory).await;
        }
    )+};
}

struct Link<P> {
    publisher: Arc<P>,
    receiver: Arc<ReferenceReceiver>,
    stop: CancellationToken,
    subscriber: JoinHandle<Result<(), SubscribeError>>,
    source: SampleSource,
}

impl<P: Publisher> Link<P> {
    async fn new<S: Subscriber>(
        connect: impl AsyncFn(Duration) -> (P, S),
        limit: Duration,
    ) -> Self {
        let (publisher, subscriber) = connect(limit).await;
        let (receiver, stop) = (ReferenceReceiver::new(), CancellationToken::new());
        let subscriber = tokio::spawn(Box::new(subscriber).run(receiver.clone(), stop.clone()));
        let source = SampleSource::new(SOURCE, STREAM);
        Self { publisher: Arc::new(publisher), receiver, stop, subscriber, source }
    }

    async fn publish(&self, batch: &Batch) -> Ack {
        let result = timeout(AMPLE, self.publisher.publish(batch)).await;
        result.expect("publish hangs").expect("the batch is taken")
    }

    fn publish_aside(&self, batch: &Batch) -> JoinHandle<Result<Ack, PublishError>> {
        let (publisher, batch) = (Arc::clone(&self.publisher), batch.clone());
        tokio::spawn(async move { publisher.publish(&batch).await })
    }

    async fn end(self) {
        self.stop.cancel();
        let ended = timeout(AMPLE, self.subscriber).await.expect("the subscriber does not stop");
        ended.expect("the subscriber panicked").expect("the subscriber ends without an error");
    }
}

fn complete(batch: &Batch) -> Ack {
    Ack { watermark: batch.through, last: batch.last, outcome: Outcome::Complete }
}

/// Batches arrive in the order in which they were published, every attribute as it was.
pub async fn delivers_in_order_and_to_the_byte<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let mut link = Link::new(connect, AMPLE).await;
    let awkward = [
        Message::new(
            "user.registered",
            "application/json",
            r#"{"n": 1e400,"s":"\u0000","d":1,"d":2}"#,
        )
        .key("ключ 🔑 \"'*>#%2F")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .header("note", "日本語 😀 \\ \" = ,"),
        Message::new("a.b-c_D", "application/vnd.x+json; charset=utf-8", "[1.10, -0.0, 1E+2]")
            .schema_version(i32::MAX),
        Message::new("t", "application/json", r#""\ud83d\ude00 <script>""#).header("empty", ""),
        Message::new("spaced", "application/json", "\t{\"a\" : 1}\r\n"),
        Message::new("binary", "application/octet-stream", (0..=255).collect::<Vec<u8>>()).key("k"),
        Message::new("text", "text/plain", "a\r\nb\0c"),
        Message::new("nothing", "text/plain", ""),
    ];
    let mut sent = vec![link.source.batch(awkward)];
    sent.extend((1..=20).map(|count| link.source.next(count)));
    for batch in &sent {
        assert_eq!(link.publish(batch).await, complete(batch));
    }
    assert_eq!(link.receiver.arrived(), sent);
    link.end().await;
}

/// Payloads of 1 MiB, and batches that carry only progress.
pub async fn carries_large_and_empty_batches<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let mut link = Link::new(connect, AMPLE).await;
    let bytes: Vec<u8> =
        (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let text = format!("\"{}\"", "é".repeat((1 << 19) - 1));
    let large = [
        Message::new("large", "application/octet-stream", bytes),
        Message::new("large", "application/json", text),
    ];
    let first = link.source.batch([]);
    let second = link.source.batch(large);
    let third = link.source.batch([]);
    for batch in [first, second, third] {
        assert_eq!(link.publish(&batch).await, complete(&batch));
        let arrived = link.receiver.arrived();
        assert!(arrived.last() == Some(&batch), "a batch through {} changed", batch.through);
    }
    link.end().await;
}

/// The acknowledgement comes after the receiver has returned, not before.
pub async fn acknowledges_only_what_was_received<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let mut link = Link::new(connect, AMPLE).await;
    link.receiver.set(Temper::Stuck);
    let batch = link.source.next(3);
    let mut publish = link.publish_aside(&batch);
    timeout(AMPLE, link.receiver.wait_for(1)).await.expect("the batch arrives");
    let early = timeout(BRIEF, &mut publish).await;
    assert!(early.is_err(), "acknowledged before it was received: {early:?}");
    link.receiver.set(Temper::Willing);
    let ack = publish.await.expect("no panic").expect("the batch is taken");
    assert_eq!(ack, complete(&batch));
    link.end().await;
}

/// Watermark, last link and outcome arrive as the receiver gave them.
pub async fn passes_every_outcome_on<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let mut link = Link::new(connect, AMPLE).await;
    let first = link.source.next(2);
    assert_eq!(link.publish(&first).await, complete(&first));
    let lost = link.source.next(2);
    let third = link.source.next(2);
    let gap = Ack { outcome: Outcome::Gap, ..complete(&first) };
    assert_eq!(link.publish(&third).await, gap);
    for retry_after_ms in [0, 1, 1_500, u64::from(u32::MAX)] {
        link.receiver.set(Temper::Paused(retry_after_ms));
        let paused =
            Ack { outcome: Outcome::Paused { retry_after_ms, trouble: None }, ..complete(&first) };
        assert_eq!(link.publish(&lost).await, paused);
    }
    link.receiver.set(Temper::Willing);
    assert_eq!(link.publish(&lost).await, complete(&lost));
    assert_eq!(link.publish(&third).await, complete(&third));
    assert_eq!(link.publish(&first).await, complete(&third));
    link.end().await;
}

/// A batch that is published again arrives again: only the inbox makes one effect of it.
pub async fn delivers_a_repeated_batch_again<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let mut link = Link::new(connect, AMPLE).await;
    let batch = link.source.next(5);
    for _ in 0..3 {
        assert_eq!(link.publish(&batch).await, complete(&batch));
    }
    assert_eq!(link.receiver.arrived(), vec![batch.clone(); 3]);
    assert_eq!(link.receiver.applied(), batch.messages);
    link.end().await;
}

/// What the receiver refuses, cannot store, or panics at is an error at the publisher; the
/// next batch passes.
pub async fn never_acknowledges_what_failed<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let mut link = Link::new(connect, AMPLE).await;
    let batch = link.source.next(1);
    for temper in [Temper::Refusing, Temper::Broken, Temper::Panicking] {
        link.receiver.set(temper);
        let error = timeout(AMPLE, link.publisher.publish(&batch))
            .await
            .expect("publish hangs")
            .expect_err("acknowledged what failed");
        let refused = matches!(error, PublishError::Refused { .. });
        assert_eq!(refused, temper == Temper::Refusing, "{temper:?}: {error}");
    }
    link.receiver.set(Temper::Willing);
    assert_eq!(link.publish(&batch).await, complete(&batch));
    link.end().await;
}

/// A slow receiver makes publishing fail within its time limit; later it goes on.
pub async fn gives_up_in_time<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let mut link = Link::new(connect, Duration::from_secs(1)).await;
    link.receiver.set(Temper::Stuck);
    let batch = link.source.next(1);
    let result = timeout(AMPLE, link.publisher.publish(&batch)).await.expect("publish hangs");
    let error = result.expect_err("acknowledged before it was received");
    assert!(matches!(error, PublishError::Timeout { .. }), "{error}");
    link.receiver.set(Temper::Willing);
    assert_eq!(link.publish(&batch).await, complete(&batch));
    link.end().await;
}

/// Publishing again before the last call returned: every caller gets its own answer.
pub async fn takes_concurrent_publishes<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let link = Link::new(connect, AMPLE).await;
    let mut sources: Vec<_> = (0..8).map(|_| SampleSource::new(SOURCE, STREAM)).collect();
    for _ in 0..10 {
        let batches: Vec<_> = sources.iter_mut().map(|source| source.next(3)).collect();
        let acks = join_all(batches.iter().map(|batch| link.publish(batch))).await;
        assert_eq!(acks, batches.iter().map(complete).collect::<Vec<_>>());
    }
    assert_eq!(link.receiver.applied().len(), 8 * 10 * 3);
    link.end().await;
}

/// A batch in the receiver's hands when the stop comes is finished and acknowledged.
pub async fn finishes_what_it_began_when_stopped<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let mut link = Link::new(connect, AMPLE).await;
    link.receiver.set(Temper::Stuck);
    let batch = link.source.next(2);
    let publish = link.publish_aside(&batch);
    timeout(AMPLE, link.receiver.wait_for(1)).await.expect("the batch arrives");
    link.stop.cancel();
    tokio::time::sleep(BRIEF).await;
    assert!(!link.subscriber.is_finished(), "it left a batch that it had begun");
    link.receiver.set(Temper::Willing);
    let ack = publish.await.expect("no panic").expect("what was begun is acknowledged");
    assert_eq!(ack, complete(&batch));
    assert_eq!(link.receiver.applied(), batch.messages);
    link.end().await;
}

/// After the stop nothing is acknowledged, and nobody waits for ever.
pub async fn refuses_after_the_stop<P: Publisher, S: Subscriber>(
    connect: impl AsyncFn(Duration) -> (P, S),
) {
    let mut link = Link::new(connect, Duration::from_secs(2)).await;
    let batch = link.source.next(1);
    assert_eq!(link.publish(&batch).await, complete(&batch));
    let Link { publisher, receiver, stop, subscriber, mut source } = link;
    stop.cancel();
    let ended = timeout(AMPLE, subscriber).await.expect("the subscriber does not stop");
    ended.expect("no panic").expect("it ends without an error");
    let result = timeout(AMPLE, publisher.publish(&source.next(1))).await.expect("publish hangs");
    let error = result.expect_err("acknowledged after the stop");
    assert!(!matches!(error, PublishError::Refused { .. }), "{error}");
    assert_eq!(receiver.arrived().len(), 1);
}
