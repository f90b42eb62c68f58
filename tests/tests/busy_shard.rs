//! A shard whose handlers are slow: a batch waits for the one before it, but not for ever, and says why.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Sqlite, SqlitePool, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Verdict,
    message::Position,
    transport::{
        Outcome, PublishError, Publisher, Receive, ReceiveError, Subscriber,
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use syncline_tests::{kit::Kit, letters::numbered, relays::eventually, servers::sqlite_database};
use tokio_util::sync::CancellationToken;

/// The longest that a handler may take. A batch waits for its turn as long, and five seconds more.
const TIMEOUT: Duration = Duration::from_secs(1);
const EACH: Duration = Duration::from_millis(400);
const MESSAGES: i64 = 25;

struct Slow(Arc<AtomicI64>);

#[async_trait]
impl Handler<Sqlite> for Slow {
    async fn handle(
        &self,
        _tx: &mut Transaction<'_, Sqlite>,
        _message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        tokio::time::sleep(EACH).await;
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Verdict::Done)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_turn_does_not_come_is_refused_with_a_word_and_applied_when_it_comes_again() {
    let (_directory, url) = sqlite_database();
    let pool: SqlitePool = Sqlite::connect(&url, 4).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    let handled = Arc::new(AtomicI64::new(0));
    let consumer = Consumer::builder("c", pool).handler("*", Slow(Arc::clone(&handled)));
    let consumer = consumer.timeout(TIMEOUT).build().expect("a consumer");

    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    let principal = Principal::new("/source", "s", [secret.clone()]).expect("a principal");
    let setup = |receiver| PushReceiver::new(receiver).principal(principal);
    let listener = PushListener::bind("127.0.0.1:0", setup).await.expect("listens");
    let push = PushPublisher::builder(listener.url()).secret(secret).timeout(TIMEOUT * 20);
    let push = push.build().expect("a publisher");
    let stop = CancellationToken::new();
    let server = tokio::spawn(Box::new(listener).run(Arc::new(consumer.clone()), stop.clone()));

    let batch = numbered(MESSAGES);
    let first = tokio::spawn({
        let (consumer, batch) = (consumer.clone(), batch.clone());
        async move { consumer.receive(batch).await }
    });
    eventually("it is at work", async || (handled.load(Ordering::SeqCst) > 0).then_some(())).await;
    let (here, pushed) = tokio::join!(consumer.receive(batch.clone()), push.publish(&batch));
    assert!(matches!(here, Err(ReceiveError::Busy { .. })), "{here:?}");
    match pushed {
        Err(PublishError::Unavailable { reason, .. }) => {
            assert!(reason.contains("an earlier batch of this shard has been at work"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(first.await.expect("no panic").expect("applied").outcome, Outcome::Complete);
    let again = consumer.receive(batch).await.expect("its turn comes");
    assert_eq!(again.watermark, Position(MESSAGES));
    assert_eq!(handled.load(Ordering::SeqCst), MESSAGES, "each is applied once");
    stop.cancel();
    server.await.expect("no panic").expect("it served");
}
