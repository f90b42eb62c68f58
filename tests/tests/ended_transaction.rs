//! Handlers that end the transaction that they were given, alone or to begin another one: they alone
//! fail, and every other message of the batch takes effect once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use sqlx::{AssertSqlSafe, Executor, MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Compensate, Consumer, Envelope, HandlerError, Message, Rejection, RetryPolicy, Verdict, begin,
    consumer::{ConsumerBuilder, REJECTED},
    handler_fn,
    message::{Batch, ForeignMessage, Position},
    saga::{End, Outcome, Retry, SagaBuilder, Sagas},
    transport::Receive,
};
use syncline_tests::{
    kit::Kit,
    letters::numbered,
    relays::eventually,
    servers::{mariadb_database, postgres_database, sqlite_database},
};

/// What takes back what messages before it have done, and what sets each savepoint whose name can be
/// guessed.
const TAKE_BACK: [&str; 3] = [
    "ROLLBACK",
    "ROLLBACK; BEGIN",
    "ROLLBACK; BEGIN; SAVEPOINT syncline; SAVEPOINT syncline_step; SAVEPOINT _sqlx_savepoint_1",
];
/// What makes it stay.
const KEEP: [&str; 2] = ["COMMIT", "COMMIT; BEGIN"];

/// Notes each message; the second one goes on with a statement of its own.
struct Evil {
    sql: &'static str,
    calls: Arc<AtomicUsize>,
}

impl Evil {
    async fn act<DB: Kit>(&self, tx: &mut Transaction<'_, DB>, n: i64) -> Result<(), HandlerError>
    where
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    {
        DB::note(tx, "n", n).await?;
        if n == 2 {
            self.calls.fetch_add(1, Ordering::SeqCst);
            tx.execute(sqlx::raw_sql(AssertSqlSafe(self.sql))).await?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl<DB: Kit> Compensate<DB> for Evil
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        rejection: &Rejection,
    ) -> Result<(), HandlerError> {
        self.act(tx, rejection.position).await
    }
}

type Order<DB> = fn(ConsumerBuilder<DB>) -> ConsumerBuilder<DB>;

fn consumer<DB: Kit>(
    pool: &Pool<DB>,
    name: &str,
    sql: &'static str,
    order: Order<DB>,
) -> (Consumer<DB>, Arc<AtomicUsize>)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let calls = Arc::<AtomicUsize>::default();
    let evil = Arc::new(Evil { sql, calls: Arc::clone(&calls) });
    let handler = handler_fn(move |tx, message: &Envelope| {
        let evil = Arc::clone(&evil);
        let n = message.decode::<i64>();
        Box::pin(async move {
            evil.act(tx, n?).await?;
            Ok(Verdict::Done)
        })
    });
    let retry = RetryPolicy {
        max_attempts: 100,
        base: Duration::from_millis(20),
        max: Duration::from_millis(20),
    };
    let compensation = Evil { sql, calls: Arc::clone(&calls) };
    let builder = Consumer::builder(name, pool.clone())
        .handler("in", handler)
        .compensation("*", compensation)
        .retry(retry);
    (order(builder).build().expect("a consumer"), calls)
}

/// How often each of the three was applied.
async fn counts<DB: Kit>(pool: &Pool<DB>) -> [usize; 3] {
    let applied = DB::applied(pool).await.expect("applied");
    [1, 2, 3].map(|n| applied.iter().filter(|(_, of)| *of == n).count())
}

/// The second message alone is held for what it did, and is so after it was tried again.
async fn is_held_alone<DB: Kit>(pool: &Pool<DB>, what: &str) {
    let held = DB::held(pool, true, 0, 9).await.expect("held");
    let [held] = &held[..] else { panic!("{what}: {held:?}") };
    assert_eq!(held.position, Position(2), "{what}");
    let error = held.error.as_deref().expect("a reason");
    assert!(error.contains("transaction was over"), "{what}: {error}");
}

/// Three rejections, as they come from another service's relay.
fn rejections() -> Batch {
    let mut batch = numbered(3);
    for message in &mut batch.messages {
        let rejection = Rejection {
            message_id: message.id,
            topic: "in".to_owned(),
            key: message.key.clone(),
            position: message.position.0,
            source: "/us".to_owned(),
            stream: "s".to_owned(),
            consumer: "them".to_owned(),
            reason: "as it is".to_owned(),
        };
        let mut told = Message::json(REJECTED, &rejection).expect("JSON");
        (told.id, told.key) = (message.id, message.key.clone());
        message.message = told.into();
    }
    batch
}

async fn spoils_no_other<DB: Kit>(fresh: impl AsyncFn() -> Pool<DB>)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let orders: [(&str, Order<DB>); 3] = [
        ("ordered", |builder| builder),
        ("lanes", |builder| builder.lanes(1)),
        ("unordered", ConsumerBuilder::unordered),
    ];
    for sql in TAKE_BACK {
        for (name, order) in orders {
            let what = format!("{sql}, {name}");
            let pool = fresh().await;
            let (consumer, calls) = consumer(&pool, "c", sql, order);
            let ack = consumer.receive(numbered(3)).await.expect("an answer");
            assert_eq!(ack.watermark, Position(3), "{what}");
            assert_eq!(counts(&pool).await, [1, 0, 1], "{what}");
            is_held_alone(&pool, &what).await;
            // It is tried again alone.
            let before = calls.load(Ordering::SeqCst);
            let running = consumer.start().await.expect("it starts");
            eventually("it is tried again", async || {
                (calls.load(Ordering::SeqCst) >= before + 2).then_some(())
            })
            .await;
            running.stop().await;
            is_held_alone(&pool, &what).await;
            assert_eq!(counts(&pool).await, [1, 0, 1], "{what}, tried again");
        }
        let pool = fresh().await;
        let (consumer, _) = consumer(&pool, "c", sql, orders[0].1);
        let foreign = numbered(3).messages.into_iter().map(|message| {
            ForeignMessage::new(message.id.to_string(), Message::clone(&message.message))
        });
        consumer.receive_foreign("/pay", foreign.collect()).await.expect("taken in");
        assert_eq!(counts(&pool).await, [1, 0, 1], "{sql}, foreign");
        is_held_alone(&pool, sql).await;
        let pool = fresh().await;
        let (consumer, _) = self::consumer(&pool, "c", sql, orders[0].1);
        consumer.receive(rejections()).await.expect("an answer");
        assert_eq!(counts(&pool).await, [1, 0, 1], "{sql}, compensations");
        is_held_alone(&pool, sql).await;
    }
    for sql in KEEP {
        let pool = fresh().await;
        let (consumer, _) = consumer(&pool, "c", sql, orders[0].1);
        consumer.receive(numbered(3)).await.expect("an answer");
        // What it has committed cannot be taken back; it is said, and the others go on.
        is_held_alone(&pool, sql).await;
        let [first, _, third] = counts(&pool).await;
        assert!(first >= 1 && third == 1, "{sql}: {first}, {third}");
    }
}

/// Three local steps, the second of which ends the engine's transaction at its first try.
async fn fails_at_its_step<DB: Kit>(fresh: impl AsyncFn() -> Pool<DB>)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    for sql in TAKE_BACK {
        for last in [false, true] {
            let pool = fresh().await;
            let calls = Arc::<AtomicUsize>::default();
            let mut saga = SagaBuilder::<DB, i64>::new("evil", 1);
            let retry = Retry {
                attempts: 3,
                base: Duration::from_millis(10),
                longest: Duration::from_millis(20),
            };
            for n in if last { 1..=2 } else { 1..=3 } {
                let calls = Arc::clone(&calls);
                let step = saga.local(format!("step-{n}"), (), move |tx, _| {
                    let first = n == 2 && calls.fetch_add(1, Ordering::SeqCst) == 0;
                    async move {
                        DB::note(tx, "n", n).await?;
                        if first {
                            tx.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
                        }
                        Ok(Outcome::Done(()))
                    }
                    .boxed()
                });
                let step = step.retry(retry);
                if n == if last { 2 } else { 3 } {
                    step.pivot().add();
                } else {
                    step.nothing_to_undo().add();
                };
            }
            let saga = saga.build().expect("a sound definition");
            let sagas = Sagas::builder("/evil", pool.clone()).saga(saga).build().expect("sound");
            let mut tx = begin(&pool).await.expect("begin");
            let started = sagas.start(&mut tx, "evil", "key", &1).await.expect("start");
            let over = started.over();
            tx.commit().await.expect("commit");
            let running = sagas.run().await.expect("it runs");
            started.committed();
            let end = over.within(Duration::from_secs(60)).await.expect("asked");
            running.stop().await;
            assert_eq!(end, Some(End::Completed), "{sql}, last: {last}");
            let third = usize::from(!last);
            assert_eq!(counts(&pool).await, [1, 1, third], "{sql}, last: {last}");
            assert_eq!(calls.load(Ordering::SeqCst), 2, "{sql}, last: {last}: tried again once");
        }
    }
}

macro_rules! on_each {
    ($($name:ident: $of:ident;)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let kept = std::sync::Mutex::new(Vec::new());
                $of::<Sqlite>(async || {
                    let (directory, url) = sqlite_database();
                    kept.lock().expect("no panic").push(directory);
                    prepared(&url).await
                })
                .await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if postgres_database().await.is_none() {
                    return;
                }
                $of::<Postgres>(async || {
                    prepared(&postgres_database().await.expect("it is there")).await
                })
                .await;
            })*
        }
        mod mariadb {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if mariadb_database().await.is_none() {
                    return;
                }
                $of::<MySql>(async || {
                    prepared(&mariadb_database().await.expect("it is there")).await
                })
                .await;
            })*
        }
    };
}

async fn prepared<DB: Kit>(url: &str) -> Pool<DB> {
    let pool = DB::connect(url, 6).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    pool
}

on_each! {
    a_handler_that_ends_its_transaction_fails_alone: spoils_no_other;
    a_local_step_that_ends_its_transaction_is_tried_again_alone: fails_at_its_step;
}
