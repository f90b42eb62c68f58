//! Serialization failures, deadlocks and busy databases under a consumer: the whole transaction
//! is tried again, a bounded number of times, and no message is blamed for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction, postgres::PgPoolOptions};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Storage, Verdict, begin,
    message::Position,
    storage::Inspect,
    transport::{Outcome, Receive},
};
use syncline_tests::{
    kit::Kit,
    letters::numbered,
    servers::{mariadb_database, postgres_database, sqlite_database},
};

/// So often is a transaction tried before the source is told to wait.
const TRIES: i64 = 5;
const FOR_EVER: i64 = 1_000;

/// Ways in which the database ends a handler's transaction.
#[derive(Clone, Copy)]
enum Loss {
    /// The server says that it cannot serialize the transaction.
    Serialization,
    /// Each of two waits for the other.
    Deadlock,
}

/// A handler whose transaction loses against another one so many times at message 2, and says so
/// as handlers do, by `?`.
struct Losing<DB: Storage> {
    others: Pool<DB>,
    how: Loss,
    left: Arc<AtomicI64>,
    calls: Arc<AtomicI64>,
}

#[async_trait]
impl<DB: Kit> Handler<DB> for Losing<DB> {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let n: i64 = message.decode()?;
        DB::note(tx, "noted", n).await?;
        if n != 2 {
            return Ok(Verdict::Done);
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Ok(Verdict::Done);
        }
        match self.how {
            Loss::Serialization => DB::raise(tx, "key 1").await.map(drop)?,
            Loss::Deadlock => {
                DB::raise(tx, "key 1").await?;
                let mut other = begin(&self.others).await?;
                // Where the one that has written more is spared, that is the other one.
                for _ in 0..50 {
                    DB::note(&mut other, "other", 0).await?;
                }
                DB::raise(&mut other, "key 2").await?;
                let (mine, others) =
                    tokio::join!(DB::raise(tx, "key 2"), DB::raise(&mut other, "key 1"));
                others?;
                other.rollback().await?;
                mine?;
            }
        }
        Err("it did not lose".into())
    }
}

/// `pool` is the consumer's, `others` whom it loses against.
async fn tried_again_and_bounded<DB: Kit>(pool: Pool<DB>, others: Pool<DB>, how: Loss) {
    syncline::migrate(&others).await.expect("migrate");
    if !matches!(how, Loss::Serialization) {
        DB::prepare(&others).await.expect("prepare");
    }
    let (left, calls) = (Arc::new(AtomicI64::new(FOR_EVER)), Arc::<AtomicI64>::default());
    let handler =
        Losing { others: others.clone(), how, left: Arc::clone(&left), calls: Arc::clone(&calls) };
    let consumer = Consumer::builder("c", pool.clone()).handler("*", handler);
    let consumer = consumer.build().expect("a consumer");
    let batch = numbered(3);
    let applied = async || {
        let all = DB::applied(&others).await.expect("applied");
        all.iter().map(|(_, n)| *n).collect::<Vec<_>>()
    };

    // While it loses every time, the source is told to wait; nothing is applied or parked.
    let ack = consumer.receive(batch.clone()).await.expect("an answer");
    assert!(matches!(ack.outcome, Outcome::Paused { retry_after_ms, .. } if retry_after_ms > 0));
    assert_eq!(ack.watermark, Position::START, "nothing is acknowledged");
    assert_eq!(calls.swap(0, Ordering::SeqCst), TRIES, "tries are bounded");
    assert_eq!(applied().await, [0; 0], "no half of the work is committed");

    // When it loses twice, nobody notices.
    left.store(2, Ordering::SeqCst);
    let ack = consumer.receive(batch.clone()).await.expect("an answer");
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position(3)));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert_eq!(applied().await, [1, 2, 3], "the whole transaction was tried again");
    let held = DB::held(&others, true, 0, 9).await.expect("held");
    assert!(held.is_empty(), "no message is blamed: {held:?}");
}

/// A pool whose sessions begin with these settings.
async fn postgres(url: &str, settings: &[(&str, &str)]) -> Pool<Postgres> {
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
    let options = options.options(settings.iter().copied());
    PgPoolOptions::new().max_connections(4).connect_with(options).await.expect("connect")
}

#[tokio::test(flavor = "multi_thread")]
async fn serialization_failures_are_tried_again_and_bounded_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let pool = postgres(&url, &[]).await;
    Postgres::prepare(&pool).await.expect("prepare");
    // Consumers run at READ COMMITTED, where the server has no reason to say so: a trigger has.
    let refuse = "
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'could not serialize access' USING ERRCODE = 'serialization_failure';
        END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON counters
        FOR EACH ROW EXECUTE FUNCTION refuse()";
    sqlx::raw_sql(refuse).execute(&pool).await.expect("a trigger");
    tried_again_and_bounded(pool, postgres(&url, &[]).await, Loss::Serialization).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlocks_are_tried_again_and_bounded_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    // Whoever looks first for a deadlock is its victim.
    let pool = postgres(&url, &[("deadlock_timeout", "200ms")]).await;
    let others = postgres(&url, &[("deadlock_timeout", "60s")]).await;
    tried_again_and_bounded(pool, others, Loss::Deadlock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlocks_are_tried_again_and_bounded_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let connect = async || MySql::connect(&url, 4).await.expect("connect");
    tried_again_and_bounded(connect().await, connect().await, Loss::Deadlock).await;
}

struct Noting;

#[async_trait]
impl Handler<Sqlite> for Noting {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        Sqlite::note(tx, "noted", message.decode()?).await?;
        Ok(Verdict::Done)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_database_is_tried_again_and_bounded_on_sqlite() {
    let (_dir, url) = sqlite_database();
    let others = Sqlite::connect(&url, 4).await.expect("connect");
    syncline::migrate(&others).await.expect("migrate");
    Sqlite::prepare(&others).await.expect("prepare");
    let options = (*others.connect_options()).clone().busy_timeout(Duration::from_millis(20));
    let pool = Pool::<Sqlite>::connect_with(options).await.expect("connect");
    let consumer = Consumer::builder("c", pool.clone()).handler("*", Noting);
    let consumer = consumer.build().expect("a consumer");
    let batch = numbered(3);

    // The write lock is somebody else's for long: the source is told to wait.
    let writer = begin(&others).await.expect("begin");
    let began = Instant::now();
    let ack = consumer.receive(batch.clone()).await.expect("an answer");
    assert!(matches!(ack.outcome, Outcome::Paused { retry_after_ms, .. } if retry_after_ms > 0));
    assert_eq!(ack.watermark, Position::START);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    writer.rollback().await.expect("roll back");

    // It is for a moment: nobody notices.
    let writer = begin(&others).await.expect("begin");
    let release = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        writer.rollback().await.expect("roll back");
    };
    let (ack, ()) = tokio::join!(consumer.receive(batch.clone()), release);
    let ack = ack.expect("an answer");
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position(3)));
    let applied = Sqlite::applied(&pool).await.expect("applied");
    assert_eq!(applied.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(Sqlite::held(&pool, true, 0, 9).await.expect("held").is_empty());
}
