//! What SQLite asks for beside what every database is asked: transactions that it ends by itself,
//! which sqlx does not learn.

use sqlx::{Executor, Sqlite, SqlitePool, Transaction};
use syncline::{
    Consumer, Envelope, Error, HandlerError, Message, Verdict, begin, enqueue_all, handler_fn,
    message::Position,
    storage::{Base, Inspect, Mark},
    transport::{Outcome, Receive},
};
use syncline_tests::{kit::Kit, letters::numbered, servers::sqlite_database};

/// Fails, and takes the whole transaction with it, as a full disk does.
const LOSE: &str = "INSERT OR ROLLBACK INTO counters (key, n) VALUES ('key 1', 0)";

async fn migrated(url: &str) -> SqlitePool {
    let pool = Sqlite::connect(url, 1).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    Sqlite::prepare(&pool).await.expect("prepare");
    pool
}

async fn careless(
    tx: &mut Transaction<'_, Sqlite>,
    message: &Envelope,
) -> Result<Verdict, HandlerError> {
    let n: i64 = message.decode()?;
    Sqlite::note(tx, "noted", n).await?;
    if n == 2 {
        // It goes on as if nothing had happened.
        tx.execute(LOSE).await.expect_err("it is there already");
    }
    Ok(Verdict::Done)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_goes_on_after_its_transaction_was_lost_commits_no_half_of_the_work() {
    let (_dir, url) = sqlite_database();
    let pool = migrated(&url).await;
    let handler = handler_fn(|tx, message| Box::pin(careless(tx, message)));
    let consumer = Consumer::builder("c", pool.clone()).handler("*", handler);
    let consumer = consumer.build().expect("a consumer");
    let ack = consumer.receive(numbered(3)).await.expect("an answer");
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position(3)));
    let applied = Sqlite::applied(&pool).await.expect("applied");
    let noted: Vec<i64> = applied.iter().map(|(_, n)| *n).collect();
    assert_eq!(noted, [1, 3], "the others are applied once, what it did before is undone");
    let held = Sqlite::held(&pool, true, 0, 9).await.expect("held");
    assert_eq!(held.iter().map(|held| held.position).collect::<Vec<_>>(), [Position(2)]);
    let error = held[0].error.clone().expect("a reason");
    assert!(error.contains("transaction was over"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_transaction_was_lost_can_begin_another_one() {
    let (_dir, url) = sqlite_database();
    let pool = migrated(&url).await;
    for _ in 0..3 {
        let mut tx = begin(&pool).await.expect("the only connection can begin");
        Sqlite::still_open(&mut tx, &Mark::default()).await.expect("it is open");
        tx.execute(LOSE).await.expect_err("it is there already");
        drop(tx);
        let mut tx = begin(&pool).await.expect("the only connection can begin");
        tx.execute(LOSE).await.expect_err("it is there already");
        let lost = Sqlite::still_open(&mut tx, &Mark::default()).await;
        assert!(matches!(lost, Err(Error::TransactionLost)), "{lost:?}");
        drop(tx);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_name_the_rows_of_every_portion() {
    let (_dir, url) = sqlite_database();
    let pool = migrated(&url).await;
    for count in [1, 3, 10, 40] {
        let messages: Vec<_> = (0..count).map(|n| Message::json("in", &n).expect("JSON")).collect();
        let mut tx = begin(&pool).await.expect("begin");
        let receipts = enqueue_all(&mut tx, &messages).await.expect("enqueue");
        assert_eq!(receipts.len(), messages.len());
        for (receipt, message) in receipts.iter().zip(&messages) {
            let id: uuid::Uuid =
                sqlx::query_scalar("SELECT id FROM syncline_outbox WHERE seq = $1")
                    .bind(receipt.appended.expect("it is in the outbox").seq)
                    .fetch_one(&mut *tx)
                    .await
                    .expect("its row");
            assert_eq!((id, receipt.id), (message.id, message.id), "{count}");
        }
        tx.commit().await.expect("commit");
    }
}
