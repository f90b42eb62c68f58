//! Rows that other programs write: what the framework owns is not theirs to give, and one row that
//! cannot be sent stops nothing.

#![allow(clippy::expect_used)]

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Connection, Executor, MySql, Pool, Postgres, Sqlite};
use syncline::{
    Consumer, Message, Relay, RelayHandle, Route, Storage, Stream, Verdict, begin, enqueue,
    handler_fn, transport::in_process,
};
use syncline_tests::{
    kit::Kit,
    servers::{mariadb_database, postgres_database, sqlite_database},
};

async fn fresh<DB: Kit>(url: &str) -> Pool<DB> {
    let pool = DB::connect(url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    pool
}

/// Runs statements on one connection, which is closed; the last one's result.
async fn run<DB: Kit>(pool: &Pool<DB>, statements: &[&str]) -> Result<(), String>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let mut connection = pool.acquire().await.expect("a connection").detach();
    let mut result = Ok(());
    for statement in statements {
        let text = sqlx::raw_sql(AssertSqlSafe((*statement).to_owned()));
        result = (&mut connection).execute(text).await.map(drop).map_err(|error| error.to_string());
    }
    connection.close().await.expect("close");
    result
}

/// A relay and a consumer in the same database, which notes each number it gets.
async fn deliver<DB: Kit>(pool: &Pool<DB>) -> RelayHandle {
    let handler = handler_fn(|tx, message| {
        Box::pin(async move {
            let n = message.decode::<i64>()?;
            DB::note(tx, &message.topic, n).await?;
            Ok(Verdict::Done)
        })
    });
    let consumer = Consumer::builder("target", pool.clone()).handler("*", handler);
    let consumer = Arc::new(consumer.build().expect("a consumer"));
    let (publisher, subscriber) = in_process::channel(4);
    let subscriber = Box::new(subscriber);
    tokio::spawn(syncline::transport::Subscriber::run(subscriber, consumer, Default::default()));
    Relay::builder("/source", pool.clone())
        .stream(Stream::new("all").topic("*"))
        .route(Route::new("target", "all", publisher))
        .start()
        .await
        .expect("the relay starts")
}

async fn send<DB: Storage>(pool: &Pool<DB>, n: i64) {
    let mut tx = begin(pool).await.expect("begin");
    let message = Message::json("good", &n).expect("a number");
    let receipt = enqueue(&mut tx, &message).await.expect("enqueue");
    tx.commit().await.expect("commit");
    receipt.committed();
}

/// Waits until exactly the numbers of good messages have arrived, once each.
async fn arrive<DB: Kit>(pool: &Pool<DB>, relay: &RelayHandle, numbers: &[i64]) {
    let expected: Vec<_> = numbers.iter().map(|n| ("good".to_owned(), *n)).collect();
    for tries in 0.. {
        let mut applied = DB::applied(pool).await.expect("applied");
        applied.sort_unstable();
        if applied == expected {
            return;
        }
        assert!(tries < 1_500, "{applied:?} {:?}", relay.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// None of `refused` is taken, and the log flows on all the same.
async fn own_columns<DB: Kit>(pool: Pool<DB>, refused: &[&str])
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let relay = deliver(&pool).await;
    send(&pool, 1).await;
    arrive(&pool, &relay, &[1]).await;
    for statement in refused {
        let error = run(&pool, &[statement]).await.expect_err(statement);
        println!("{statement}: {error}");
    }
    send(&pool, 2).await;
    arrive(&pool, &relay, &[1, 2]).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_cannot_bring_what_the_database_gives_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let refused = [
        "INSERT INTO syncline_outbox (seq, topic, data) VALUES (-5, 'bad', '9')",
        "INSERT INTO syncline_outbox (seq, topic, data) VALUES (9223372036854775807, 'bad', '9')",
        "INSERT INTO syncline_outbox (seq, topic, data) VALUES (100000, 'bad', '9')",
        "INSERT INTO syncline_outbox (xid, topic, data) VALUES ('999999999', 'bad', '9')",
        "INSERT INTO syncline_outbox (xid, topic, data) VALUES ('3', 'bad', '9')",
        "INSERT INTO syncline_outbox (xid, topic, data, checked) VALUES ('3', 'bad', '9', true)",
    ];
    own_columns(fresh::<Postgres>(&url).await, &refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_cannot_bring_what_the_database_gives_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let refused = [
        "INSERT INTO syncline_outbox (position, topic, data) VALUES (1, 'bad', '9')",
        "INSERT INTO syncline_outbox (position, topic, data) VALUES (5, 'bad', '9')",
        "INSERT INTO syncline_outbox (position, topic, data) VALUES (-5, 'bad', '9')",
    ];
    own_columns(fresh::<MySql>(&url).await, &refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_cannot_bring_what_the_database_gives_on_sqlite() {
    let (_directory, url) = sqlite_database();
    let refused = [
        "INSERT INTO syncline_outbox (seq, topic, data) VALUES (-5, 'bad', '9')",
        "INSERT INTO syncline_outbox (seq, topic, data) VALUES (-1, 'bad', '9')",
        "INSERT INTO syncline_outbox (seq, topic, data) VALUES (1000, 'bad', '9')",
        "INSERT INTO syncline_outbox (seq, topic, data) VALUES (9223372036854775807, 'bad', '9')",
    ];
    own_columns(fresh::<Sqlite>(&url).await, &refused).await;
}

/// Times that no driver reads, and delayed messages that the outbox would refuse, are refused at
/// once; what is delayed otherwise comes.
async fn odd_times<DB: Kit>(pool: Pool<DB>, refused: &[&str])
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let relay = deliver(&pool).await;
    for statement in refused {
        // Sessions that are not strict let more through.
        let session = if DB::LABEL.starts_with("MySQL") { "SET sql_mode = ''" } else { "SELECT 1" };
        let error = run(&pool, &[session, statement]).await.expect_err(statement);
        println!("{statement}: {error}");
    }
    let far = chrono::DateTime::from_timestamp(300_000 * 366 * 86_400 / 12, 0);
    let far = far.expect("a time that chrono knows");
    for (message, taken) in [
        (Message::json("good", &1), true),
        (Message::json("good", &2).map(|m| m.delay(Duration::from_millis(300))), true),
        (Message::json("good", &9).map(|m| m.delay(Duration::MAX)), true),
        (Message::json("good", &9).map(|m| m.deliver_at(far)), false),
        (
            Message::json("good", &9)
                .map(|m| m.deliver_at(chrono::DateTime::<chrono::Utc>::MAX_UTC)),
            false,
        ),
        (
            Message::json("good", &9)
                .map(|m| m.deliver_at(chrono::DateTime::<chrono::Utc>::MIN_UTC)),
            false,
        ),
    ] {
        let mut tx = begin(&pool).await.expect("begin");
        let message = message.expect("a number");
        let receipt = enqueue(&mut tx, &message).await;
        assert_eq!(receipt.is_ok(), taken, "{message:?}: {receipt:?}");
        tx.commit().await.expect("commit");
    }
    arrive(&pool, &relay, &[1, 2]).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_cannot_be_read_is_refused_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let refused = [
        "SELECT syncline_enqueue('bad', '9'::text, deliver_at => 'infinity')",
        "SELECT syncline_enqueue('bad', '9'::text, deliver_at => '-infinity')",
        "SELECT syncline_enqueue('bad', '9'::text, deliver_at => '200000-01-01')",
        "SELECT syncline_enqueue('bad', '9'::text, deliver_at => '0044-03-15 BC')",
        "SELECT syncline_enqueue('bad', '9'::text, delay => '100000 years')",
        "INSERT INTO syncline_timer VALUES ('delayed', '', repeat('0', 32), 'infinity')",
        "INSERT INTO syncline_timer VALUES ('parked', 'x', 'x y', 'infinity')",
        "INSERT INTO syncline_timer VALUES ('delayed', '', 'no id', now())",
        "INSERT INTO syncline_timer VALUES ('saga', 'x', 'no id', now())",
        "INSERT INTO syncline_outbox (topic, time, data) VALUES ('bad', 'infinity', '9')",
        "INSERT INTO syncline_outbox (topic, time, data, checked) VALUES ('bad', 'infinity', '9', true)",
        "INSERT INTO syncline_delayed VALUES (gen_random_uuid(), 'a b', NULL, now(), 'text/plain', 1, '{}', '9')",
        "INSERT INTO syncline_delayed VALUES (gen_random_uuid(), 'bad', NULL, 'infinity', 'text/plain', 1, '{}', '9')",
    ];
    odd_times(fresh::<Postgres>(&url).await, &refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_cannot_be_read_is_refused_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let refused = [
        "INSERT INTO syncline_outbox (topic, time, data) VALUES ('bad', '2026-00-00', '9')",
        "INSERT INTO syncline_outbox (topic, time, data) VALUES ('bad', '2026-01-00', '9')",
        "INSERT INTO syncline_outbox (topic, time, data) VALUES ('bad', '0000-00-00', '9')",
        "INSERT INTO syncline_outbox (topic, time, data) VALUES ('bad', '9999-12-31 23:59:59', '9')",
        "CALL syncline_enqueue('bad', NULL, '9', '{\"deliver_at\": \"2026-01-00 00:00:00\"}', @id)",
        "CALL syncline_enqueue('bad', NULL, '9', '{\"deliver_at\": \"0000-00-00 00:00:00\"}', @id)",
        "CALL syncline_enqueue('bad', NULL, '9', '{\"deliver_at\": \"9999-12-31 23:00:00\"}', @id)",
        "INSERT INTO syncline_timer VALUES ('delayed', '', REPEAT('0', 32), '0000-00-00')",
        "INSERT INTO syncline_timer VALUES ('parked', 'x', 'x y', '2026-01-00')",
        "INSERT INTO syncline_timer VALUES ('delayed', '', 'no id', UTC_TIMESTAMP())",
        "INSERT INTO syncline_timer VALUES ('saga', 'x', 'no id', UTC_TIMESTAMP())",
        "INSERT INTO syncline_delayed VALUES (UNHEX(REPEAT('0', 32)), 'a b', NULL, UTC_TIMESTAMP(), 'text/plain', 1, '{}', '9')",
        "INSERT INTO syncline_delayed VALUES (UNHEX(REPEAT('0', 32)), 'bad', NULL, '2026-00-00', 'text/plain', 1, '{}', '9')",
    ];
    odd_times(fresh::<MySql>(&url).await, &refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_cannot_be_read_is_refused_on_sqlite() {
    let (_directory, url) = sqlite_database();
    let refused = [
        "INSERT INTO syncline_outbox (topic, time, data) VALUES ('bad', 9e18, '9')",
        "INSERT INTO syncline_timer VALUES ('delayed', '', '00000000000000000000000000000000', 9223372036854775807)",
        "INSERT INTO syncline_timer VALUES ('parked', 'x', 'x y', 'soon')",
        "INSERT INTO syncline_timer VALUES ('delayed', '', 'no id', 1)",
        "INSERT INTO syncline_timer VALUES ('saga', 'x', 'no id', 1)",
        "INSERT INTO syncline_delayed VALUES (zeroblob(16), 'a b', NULL, 1, 'text/plain', 1, '{}', '9')",
        "INSERT INTO syncline_delayed VALUES ('no id', 'bad', NULL, 1, 'text/plain', 1, '{}', '9')",
    ];
    odd_times(fresh::<Sqlite>(&url).await, &refused).await;
}

/// A row that got past the table's rules is passed over and named; what comes after it arrives.
async fn past_the_rules<DB: Kit>(pool: Pool<DB>, statements: &[&str], bad: usize)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    send(&pool, 1).await;
    run(&pool, statements).await.expect("written past the rules");
    send(&pool, 2).await;
    let relay = deliver(&pool).await;
    arrive(&pool, &relay, &[1, 2]).await;
    let rows = DB::all_set_aside(&pool, 10).await.expect("read what was set aside");
    assert_eq!(rows.len(), bad, "{rows:?}");
    assert!(rows.iter().all(|row| row.position.0 > 1 && !row.problem.is_empty()), "{rows:?}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_past_the_rules_is_set_aside_and_named_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let statements = [
        "INSERT INTO syncline_outbox (topic, data, checked) VALUES ('a b', '9', true)",
        "INSERT INTO syncline_outbox (topic, key, data, checked) VALUES ('bad', E'a\\nb', '9', true)",
        "INSERT INTO syncline_outbox (topic, time, data, checked) VALUES ('bad', '20000-01-01', '9', true)",
    ];
    past_the_rules(fresh::<Postgres>(&url).await, &statements, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_past_the_rules_is_set_aside_and_named_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let statements = [
        "SET check_constraint_checks = OFF, sql_mode = ''",
        "INSERT INTO syncline_outbox (topic, data) VALUES ('a b', '9')",
        "INSERT INTO syncline_outbox (topic, time, data) VALUES ('bad', '2026-00-00', '9')",
    ];
    past_the_rules(fresh::<MySql>(&url).await, &statements, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_past_the_rules_is_set_aside_and_named_on_sqlite() {
    let (_directory, url) = sqlite_database();
    let statements = [
        "PRAGMA ignore_check_constraints = ON",
        "INSERT INTO syncline_outbox (topic, data) VALUES ('a b', '9')",
        "INSERT INTO syncline_outbox (id, topic, data) VALUES ('no id', 'bad', '9')",
    ];
    past_the_rules(fresh::<Sqlite>(&url).await, &statements, 2).await;
}
