//! Errors that come from a connection, or from a table that was changed under it: no message and no
//! step of a saga pays for them; and what should pass by itself does not stand for ever.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt, future::join_all};
use serde_json::Value;
use sqlx::{
    MySql, Pool, Postgres, Row, Sqlite, Transaction, mysql::MySqlPoolOptions,
    postgres::PgPoolOptions,
};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Message, RetryPolicy, Verdict, begin, handler_fn,
    message::{Batch, Origin, Position},
    saga::{
        End, Outcome, Retry, SagaBuilder, SagaHandler, Sagas, operate,
        wire::{self, Ask, Command},
    },
    transport::{Outcome as Acked, Receive},
};
use syncline_tests::{
    kit::Kit,
    letters::numbered,
    relays::eventually,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio::sync::Barrier;
use uuid::Uuid;

mod sagas;
mod star;

use self::{sagas::*, star::*};

/// How many connections are warmed.
const WARM: usize = 5;
const PATIENCE: Duration = Duration::from_secs(120);

async fn prepared<DB: Kit>(pool: Pool<DB>) -> Pool<DB> {
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    DB::execute(&pool, "CREATE TABLE changed (a INTEGER, b INTEGER)").await.expect("a table");
    DB::execute(&pool, "INSERT INTO changed (a, b) VALUES (1, 2)").await.expect("a row");
    pool
}

async fn alter<DB: Kit>(pool: &Pool<DB>) {
    DB::execute(pool, "ALTER TABLE changed ADD COLUMN c INTEGER").await.expect("alter");
}

/// `numbered`, of another shard.
fn of_shard(shard: i32, count: i64) -> Batch {
    let mut batch = numbered(count);
    let origin = Arc::new(Origin { shard, ..Origin::clone(&batch.origin) });
    batch.messages.iter_mut().for_each(|message| message.origin = Arc::clone(&origin));
    batch.origin = origin;
    batch
}

/// As batches, of one message each.
fn one_by_one(batch: &Batch) -> Vec<Batch> {
    let one = |message: &Envelope| Batch {
        origin: Arc::clone(&batch.origin),
        messages: vec![message.clone()],
        through: message.position,
        last: message.link(),
        handover: None,
        continues: None,
    };
    batch.messages.iter().map(one).collect()
}

/// Reads the table for each message and notes it; while there is a barrier, only with others.
#[derive(Clone)]
struct Reading(Arc<Mutex<Option<Arc<Barrier>>>>);

#[async_trait]
impl<DB: Star> Handler<DB> for Reading {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        DB::note(tx, "n", message.decode()?).await?;
        let columns = DB::star(tx).await?;
        let barrier = self.0.lock().expect("no panic").clone();
        match barrier {
            Some(barrier) => {
                barrier.wait().await;
            }
            None => assert_eq!(columns, 3, "the new column is there"),
        }
        Ok(Verdict::Done)
    }
}

async fn no_message_pays<DB: Star>(pool: Pool<DB>) {
    let barrier = (DB::LABEL != "SQLite").then(|| Arc::new(Barrier::new(WARM)));
    let reading = Reading(Arc::new(Mutex::new(barrier)));
    let consumer = Consumer::builder("c", pool.clone())
        .handler("in", reading.clone())
        .retry(RetryPolicy { max_attempts: 2, base: PATIENCE, max: PATIENCE })
        .build()
        .expect("a consumer");
    let shards: Vec<_> = (0..5).map(|shard| one_by_one(&of_shard(shard, 5))).collect();
    if DB::LABEL == "SQLite" {
        // One transaction at a time writes there: the connections are warmed by others.
        let mut all = Vec::new();
        for _ in 0..WARM {
            all.push(pool.acquire().await.expect("a connection"));
        }
        for connection in &mut all {
            assert_eq!(DB::star(connection).await.expect("read"), 2);
        }
    } else {
        let warmed = join_all(shards.iter().map(|shard| consumer.receive(shard[0].clone())));
        for ack in warmed.await {
            assert_eq!(ack.expect("an answer").watermark, Position(1));
        }
    }
    alter(&pool).await;
    *reading.0.lock().expect("no panic") = None;
    let rest = shards.into_iter().map(async |shard| {
        for batch in shard {
            let ack = consumer.receive(batch.clone()).await.expect("an answer");
            assert_eq!(ack.watermark, batch.through, "{ack:?}");
        }
    });
    join_all(rest).await;
    assert_eq!(DB::held(&pool, true, 0, 99).await.expect("held"), [], "nothing is counted");
    assert_eq!(DB::applied(&pool).await.expect("applied").len(), 25);
}

/// A message that was parked is tried again on a connection that knows the table as it was.
async fn no_retry_pays<DB: Star>(pool: Pool<DB>) {
    let (good, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicI64>::default());
    let (is_good, count) = (Arc::clone(&good), Arc::clone(&calls));
    let handler = handler_fn(move |tx: &mut Transaction<'_, DB>, _| {
        let (good, count) = (Arc::clone(&is_good), Arc::clone(&count));
        Box::pin(async move {
            count.fetch_add(1, Ordering::SeqCst);
            DB::star(tx).await?;
            if !good.load(Ordering::SeqCst) {
                return Err("not yet".into());
            }
            DB::note(tx, "n", 1).await?;
            Ok(Verdict::Done)
        })
    });
    let pause = Duration::from_secs(2);
    let consumer = Consumer::builder("c", pool.clone()).handler("in", handler).retry(RetryPolicy {
        max_attempts: 2,
        base: pause,
        max: pause,
    });
    let consumer = consumer.build().expect("a consumer");
    consumer.receive(numbered(1)).await.expect("it is held");
    let held = DB::held(&pool, true, 0, 9).await.expect("held");
    assert_eq!((held.len(), held[0].attempts), (1, 1));
    alter(&pool).await;
    good.store(true, Ordering::SeqCst);
    let running = consumer.start().await.expect("it starts");
    eventually("it is applied, or dead", async || {
        let held = DB::held(&pool, true, 0, 9).await.expect("held");
        assert!(held.iter().all(|held| !held.dead), "{held:?}");
        held.is_empty().then_some(())
    })
    .await;
    running.stop().await;
    assert_eq!(DB::applied(&pool).await.expect("applied").len(), 1);
    // MariaDB prepares the statement anew by itself.
    let once_more = i64::from(!DB::LABEL.starts_with("MySQL"));
    assert_eq!(calls.load(Ordering::SeqCst), 2 + once_more, "no more than once");
}

fn reset() -> HandlerError {
    sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()).into()
}

/// Notes messages, but `bad` ones, which meet an error that should pass by itself.
fn standing<DB: Star>(
    pool: &Pool<DB>,
    bad: impl Fn(i64) -> bool + Send + Sync + 'static,
) -> Consumer<DB> {
    let bad = Arc::new(bad);
    let handler = handler_fn(move |tx: &mut Transaction<'_, DB>, message: &Envelope| {
        let (bad, n) = (Arc::clone(&bad), message.decode::<i64>());
        Box::pin(async move {
            let n = n?;
            DB::note(tx, "n", n).await?;
            if bad(n) { Err(reset()) } else { Ok(Verdict::Done) }
        })
    });
    let consumer = Consumer::builder("c", pool.clone()).handler("in", handler);
    let retry = RetryPolicy {
        max_attempts: 2,
        base: Duration::from_millis(10),
        max: Duration::from_millis(10),
    };
    consumer.retry(retry).build().expect("a consumer")
}

async fn what_stands_is_parked<DB: Star>(pool: Pool<DB>) {
    let consumer = standing(&pool, |n| n == 2);
    let (mut rounds, mut seen, batch) = (0, 0, numbered(3));
    loop {
        let ack = consumer.receive(batch.clone()).await.expect("an answer");
        if ack.outcome == Acked::Complete {
            assert_eq!(ack.watermark, Position(3));
            break;
        }
        rounds += 1;
        assert!(rounds < 20, "it stands for ever: {:?}", consumer.standing());
        let [standing] = &consumer.standing()[..] else { panic!("it is not told") };
        assert_eq!((standing.position, standing.rounds), (2, rounds));
        seen = standing.rounds;
        assert!(standing.error.contains("connection reset"), "{standing:?}");
    }
    assert_eq!(seen, 9, "so many rounds were in vain before the last one");
    assert_eq!(consumer.standing(), []);
    let applied: Vec<i64> =
        DB::applied(&pool).await.expect("applied").into_iter().map(|(_, n)| n).collect();
    assert_eq!(applied, [1, 3], "what is behind it goes on");
    let held = DB::held(&pool, true, 0, 9).await.expect("held");
    assert_eq!((held.len(), held[0].position, held[0].dead), (1, Position(2), false));
    let error = held[0].error.as_deref().expect("a reason");
    assert!(
        error.contains("should pass by itself") && error.contains("connection reset"),
        "{error}"
    );

    // Nor does it stand for ever where it is tried again.
    let running = consumer.start().await.expect("it starts");
    eventually("it is a dead letter", async || {
        let held = DB::held(&pool, true, 0, 9).await.expect("held");
        (held[0].dead && held[0].attempts == 2).then_some(())
    })
    .await;
    running.stop().await;
}

/// Where no message gets through, none is to blame but the one that was tried first.
async fn all_that_stands_is_not_parked<DB: Star>(pool: Pool<DB>) {
    let works = Arc::<AtomicBool>::default();
    let is_well = Arc::clone(&works);
    let consumer = standing(&pool, move |_| !is_well.load(Ordering::SeqCst));
    let batch = numbered(3);
    for _ in 0..30 {
        let ack = consumer.receive(batch.clone()).await.expect("an answer");
        assert!(matches!(ack.outcome, Acked::Paused { .. }), "{ack:?}");
    }
    assert_eq!(DB::held(&pool, true, 0, 9).await.expect("held").len(), 1);
    works.store(true, Ordering::SeqCst);
    let ack = consumer.receive(batch).await.expect("an answer");
    assert_eq!((ack.outcome, ack.watermark), (Acked::Complete, Position(3)));
}

/// The server ends a statement of the first three tries for its time.
async fn a_time_out_closes_its_connection<DB: Star>(pool: Pool<DB>, hurried: Pool<DB>) {
    let seen = Arc::<Mutex<Vec<i64>>>::default();
    let note = Arc::clone(&seen);
    let handler = handler_fn(move |tx: &mut Transaction<'_, DB>, _| {
        let seen = Arc::clone(&note);
        Box::pin(async move {
            let who = DB::who(tx).await?;
            let tries = {
                let mut seen = seen.lock().expect("no panic");
                seen.push(who);
                seen.len()
            };
            DB::note(tx, "n", 1).await?;
            if tries <= 3 {
                DB::linger(tx).await?;
            }
            Ok(Verdict::Done)
        })
    });
    let consumer = Consumer::builder("c", hurried).handler("in", handler);
    let consumer = consumer.build().expect("a consumer");
    let ack = consumer.receive(numbered(1)).await.expect("an answer");
    assert_eq!((ack.outcome, ack.watermark), (Acked::Complete, Position(1)));
    assert_eq!(DB::held(&pool, true, 0, 9).await.expect("held"), []);
    let seen = seen.lock().expect("no panic").clone();
    let different: HashSet<i64> = seen.iter().copied().collect();
    assert_eq!((seen.len(), different.len()), (4, 4), "each try has another connection: {seen:?}");
}

mod a_statement_that_takes_too_long_is_not_its_message_s_fault {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn on_postgres() {
        let Some(url) = postgres_database().await else { return };
        let pool = prepared(Postgres::connect(&url, 4).await.expect("connect")).await;
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        let options = options.options([("statement_timeout", "300ms")]);
        let hurried = PgPoolOptions::new().max_connections(4).connect_lazy_with(options);
        a_time_out_closes_its_connection(pool, hurried).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn on_mariadb() {
        let Some(url) = mariadb_database().await else { return };
        let pool = prepared(MySql::connect(&url, 4).await.expect("connect")).await;
        let hurried = MySqlPoolOptions::new().max_connections(4).after_connect(|connection, _| {
            Box::pin(async move {
                let hurry = "SET SESSION max_statement_time = 0.3";
                sqlx::query(hurry).execute(connection).await.map(drop)
            })
        });
        a_time_out_closes_its_connection(pool, hurried.connect_lazy(&url).expect("a URL")).await;
    }
}

macro_rules! on_each {
    ($($name:ident: $of:ident($connections:expr);)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let (_directory, url) = sqlite_database();
                let pool = Sqlite::connect(&url, $connections).await.expect("connect");
                $of(prepared(pool).await).await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(url) = postgres_database().await else { return };
                let pool = Postgres::connect(&url, $connections).await.expect("connect");
                $of(prepared(pool).await).await;
            })*
        }
        mod mariadb {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(url) = mariadb_database().await else { return };
                let pool = MySql::connect(&url, $connections).await.expect("connect");
                $of(prepared(pool).await).await;
            })*
        }
    };
}

on_each! {
    a_table_that_changes_under_warm_connections_costs_no_attempt: no_message_pays(WARM as u32);
    nor_does_it_for_a_message_that_is_tried_again: no_retry_pays(1);
    nor_for_a_participant: no_participant_pays(1);
    nor_for_a_step_of_a_saga: no_step_pays(4);
    a_message_that_stands_is_parked_with_its_error: what_stands_is_parked(4);
    where_all_stand_no_more_than_one_is_parked: all_that_stands_is_not_parked(4);
    a_step_that_stands_counts_as_a_failure: a_step_that_stands_has_failed(4);
}
