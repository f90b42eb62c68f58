//! What MariaDB and MySQL ask for beside what every database is asked: names and times whatever
//! the session's settings are, transactions that the server ends by itself, migrations that commit
//! statement by statement.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, Executor, MySql, MySqlConnection, MySqlPool};
use syncline::{
    Consumer, Envelope, Error, HandlerError, Message, Verdict, begin, enqueue, enqueue_all,
    handler_fn,
    message::{Batch, Link, Origin, Position},
    migrate,
    storage::{
        Base, Checkpoint, Cursor, HeldStore, Inspect, Lease, LeaseStore, LogStore, NewShard,
        PageLimit, RouteStore, Save, ShardKey, check_schema, migrate_down,
    },
    transport::{Outcome, Receive},
};
use syncline_tests::{
    kit::Kit,
    servers::{mariadb_database, with_database},
};
use uuid::Uuid;

const PAGE: PageLimit = PageLimit { rows: 1_000, bytes: usize::MAX };
const LONG: Duration = Duration::from_secs(600);

async fn open() -> Option<MySqlPool> {
    Some(MySql::connect(&mariadb_database().await?, 12).await.unwrap())
}

async fn migrated() -> Option<MySqlPool> {
    let pool = open().await?;
    migrate(&pool).await.unwrap();
    Some(pool)
}

async fn lease(pool: &MySqlPool, name: &str) -> Lease {
    MySql::acquire(pool, name, Uuid::now_v7(), LONG).await.unwrap().unwrap()
}

async fn log(pool: &MySqlPool) -> Vec<Message> {
    let lease = lease(pool, "seal").await;
    while MySql::seal(pool, &lease, 100).await.unwrap().count > 0 {}
    MySql::release(pool, &lease).await.unwrap();
    let rows = MySql::read(pool, Cursor::default(), PAGE).await.unwrap();
    rows.into_iter().map(|row| row.message).collect()
}

#[tokio::test]
async fn names_are_compared_by_byte() {
    let Some(pool) = migrated().await else { return };
    let names = ["k", "K", "k ", "ķ", "k\u{301}"];
    let mut tx = begin(&pool).await.unwrap();
    for name in names {
        MySql::park(&mut tx, "c", "s", name, Some(Duration::ZERO)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = begin(&pool).await.unwrap();
    let keys = MySql::parked_keys(&mut tx, "c", "s", 99).await.unwrap();
    let mut sorted = names.map(str::to_owned);
    sorted.sort_unstable();
    assert_eq!(keys, sorted);
    assert!(MySql::lock_parked(&mut tx, "c", "s", "K").await.unwrap());
    assert!(!MySql::lock_parked(&mut tx, "C", "s", "k").await.unwrap());
    assert!(!MySql::lock_parked(&mut tx, "c", "s", "K ").await.unwrap());
}

#[tokio::test]
async fn a_plain_insert_has_its_time_in_utc_its_own_id_and_is_never_cut() {
    let Some(pool) = migrated().await else { return };
    let mut connection = pool.acquire().await.unwrap();
    connection.execute("SET time_zone = '+09:00', sql_mode = ''").await.unwrap();
    connection
        .execute("INSERT INTO syncline_outbox (topic, `key`, data) VALUES ('a', 'k', '1'), ('a', 'k', '2')")
        .await
        .unwrap();
    for too_long in [
        "INSERT INTO syncline_outbox (topic, `key`, data) VALUES ('a', REPEAT('k', 256), '1')",
        "INSERT INTO syncline_outbox (topic, `key`, data) VALUES ('a', REPEAT('k', 9999), '1')",
        "INSERT INTO syncline_outbox (topic, data) VALUES (REPEAT('a', 999), '1')",
    ] {
        let error = connection.execute(too_long).await.unwrap_err();
        assert!(error.to_string().contains("CONSTRAINT"), "{error}");
    }
    let rows = log(&pool).await;
    let age = chrono::Utc::now() - rows[0].time;
    assert!(age.num_seconds().abs() < 60, "{age}");
    assert_ne!(rows[0].id, rows[1].id);
    assert_eq!(rows.iter().map(|row| &row.data[..]).collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(rows[0].content_type, "application/json");
}

#[tokio::test]
async fn receipts_name_the_rows_in_steps_of_the_server() {
    let Some(pool) = migrated().await else { return };
    for (step, count) in [(1, 1), (1, 40), (7, 40), (7, 3)] {
        let mut connection = pool.acquire().await.unwrap();
        let set = format!("SET auto_increment_increment = {step}");
        connection.execute(sqlx::AssertSqlSafe(set)).await.unwrap();
        let mut tx = connection.begin().await.unwrap();
        let messages: Vec<_> = (0..count).map(|n| Message::json("in", &n).unwrap()).collect();
        for receipt in enqueue_all(&mut tx, &messages).await.unwrap() {
            let id: Uuid = sqlx::query_scalar("SELECT id FROM syncline_outbox WHERE seq = ?")
                .bind(receipt.appended.expect("it is in the outbox").seq)
                .fetch_one(&mut *tx)
                .await
                .unwrap();
            assert_eq!(id, receipt.id);
        }
        tx.commit().await.unwrap();
        connection.execute("SET auto_increment_increment = 1").await.unwrap();
    }
}

/// A handler that loses a deadlock on purpose, swallows the error and goes on.
async fn careless(
    pool: &MySqlPool,
    tx: &mut sqlx::Transaction<'_, MySql>,
    message: &Envelope,
) -> Result<Verdict, HandlerError> {
    let n: i64 = message.decode()?;
    MySql::note(tx, "noted before", n).await?;
    if n == 2 {
        MySql::raise(tx, "key 1").await?;
        let mut other = begin(pool).await?;
        // The other one has written more, so that the server gives this one up.
        for _ in 0..50 {
            MySql::note(&mut other, "other", 0).await?;
        }
        MySql::raise(&mut other, "key 2").await?;
        let (mine, others) =
            tokio::join!(MySql::raise(tx, "key 2"), MySql::raise(&mut other, "key 1"));
        others?;
        other.rollback().await?;
        let error = Error::Database { action: "", source: mine.unwrap_err() };
        assert!(error.is_transient(), "{error}");
    }
    Ok(Verdict::Done)
}

fn batch(count: i64) -> Batch {
    let origin = std::sync::Arc::new(Origin {
        source: "/source".into(),
        incarnation: Uuid::from_u128(7),
        stream: "s".into(),
        version: 1,
        shard: 0,
    });
    let mut prev = Link::START;
    let messages: Vec<_> = (1..=count)
        .map(|n| {
            let message = Message::json("in", &n).unwrap().key(format!("k{n}"));
            let envelope =
                Envelope { origin: origin.clone(), position: Position(n), prev, message };
            prev = envelope.link();
            envelope
        })
        .collect();
    Batch { origin, messages, through: prev.position, last: prev, handover: None, continues: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_goes_on_after_a_deadlock_commits_no_half_of_the_work() {
    let Some(pool) = migrated().await else { return };
    MySql::prepare(&pool).await.unwrap();
    let inner = pool.clone();
    let handler = handler_fn(move |tx, message| {
        let pool = inner.clone();
        Box::pin(async move { careless(&pool, tx, message).await })
    });
    let consumer = Consumer::builder("c", pool.clone()).handler("*", handler).build().unwrap();
    let batch = batch(3);
    let ack = consumer.receive(batch.clone()).await.unwrap();
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position(3)));
    // The others are applied once, what the careless one did before is undone, its key is parked.
    let applied = MySql::applied(&pool).await.unwrap();
    let noted: Vec<i64> = applied.iter().map(|(_, n)| *n).collect();
    assert_eq!(noted, [1, 3], "{applied:?}");
    let held = MySql::held(&pool, true, 0, 9).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].position, Position(2));
    let error = held[0].error.clone().unwrap();
    assert!(error.contains("transaction was over"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_commits_by_changing_tables_is_found_out() {
    let Some(pool) = migrated().await else { return };
    MySql::prepare(&pool).await.unwrap();
    let handler = handler_fn(|tx: &mut sqlx::Transaction<'_, MySql>, _: &Envelope| {
        Box::pin(async move {
            tx.execute("CREATE TABLE IF NOT EXISTS surprise (n INT)").await?;
            Ok(Verdict::Done)
        })
    });
    let consumer = Consumer::builder("c", pool.clone()).handler("*", handler).build().unwrap();
    consumer.receive(batch(1)).await.unwrap();
    let held = MySql::held(&pool, true, 0, 9).await.unwrap();
    assert!(held[0].error.clone().unwrap().contains("transaction was over"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_by_itself_is_transient_and_the_rest_is_not() {
    let Some(pool) = migrated().await else { return };
    MySql::prepare(&pool).await.unwrap();
    let said = |source: sqlx::Error| {
        let text = source.to_string();
        (Error::Database { action: "", source }.is_transient(), text)
    };
    let mut holder = begin(&pool).await.unwrap();
    MySql::raise(&mut holder, "key 1").await.unwrap();
    let mut waiter = pool.acquire().await.unwrap();
    waiter.execute("SET innodb_lock_wait_timeout = 1").await.unwrap();
    let waits = "UPDATE counters SET n = n + 1 WHERE `key` = 'key 1'";
    let (transient, text) = said(waiter.execute(waits).await.unwrap_err());
    assert!(transient && text.contains("Lock wait"), "{text}");
    holder.rollback().await.unwrap();
    let id: u64 = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS UNSIGNED)")
        .fetch_one(&mut *waiter)
        .await
        .unwrap();
    let kill = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let kill = sqlx::AssertSqlSafe(format!("KILL {id}"));
        pool.execute(kill).await.unwrap();
    };
    let (killed, ()) = tokio::join!(waiter.execute("DO SLEEP(5)"), kill);
    let (transient, text) = said(killed.unwrap_err());
    assert!(transient, "{text}");
    let mut reader = pool.acquire().await.unwrap();
    reader.execute("SET SESSION TRANSACTION READ ONLY").await.unwrap();
    let (transient, text) = said(reader.execute(waits).await.unwrap_err());
    assert!(transient && text.contains("READ ONLY"), "{text}");
    reader.detach();
    for wrong in ["SELEC 1", "INSERT INTO counters VALUES ('key 1', 1)", "SELECT * FROM nowhere"] {
        let (transient, text) = said(pool.execute(wrong).await.unwrap_err());
        assert!(!transient, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_waits_for_a_take_over_that_is_under_way() {
    let Some(pool) = migrated().await else { return };
    let old = lease(&pool, "route/r").await;
    let key = ShardKey::new("r", 1, 0);
    let new = NewShard { key: key.clone(), at: Position::START, closed: false };
    MySql::create_shards(&pool, "s", &[new]).await.unwrap();
    let mut other = begin(&pool).await.unwrap();
    other.execute("UPDATE syncline_lease SET epoch = epoch + 1").await.unwrap();
    let began = Instant::now();
    let to = Checkpoint { cursor: Cursor::default(), last: Link::START };
    // With the relay's settings: in its isolation a subquery locks nothing by itself.
    let save = tokio::spawn({
        let pool = <MySql as Base>::relay_pool(&pool, 2, std::sync::Arc::new(|_| ()));
        let save = Save { key, lease: old, to, closed: false };
        async move { MySql::save_checkpoints(&pool, &[save], &|| true).await.unwrap()[0] }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    other.commit().await.unwrap();
    assert!(!save.await.unwrap(), "the old epoch is refused");
    assert!(began.elapsed() > Duration::from_millis(250));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealer_that_lost_its_lease_while_it_waited_seals_nothing() {
    let Some(pool) = migrated().await else { return };
    let old = lease(&pool, "seal").await;
    let mut tx = begin(&pool).await.unwrap();
    let _ = enqueue(&mut tx, &Message::json("in", &1).unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    let mut other = begin(&pool).await.unwrap();
    other.execute("SELECT * FROM syncline_head FOR UPDATE").await.unwrap();
    let seal = tokio::spawn({
        let pool = pool.clone();
        async move { MySql::seal(&pool, &old, 10).await.unwrap().count }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    pool.execute("UPDATE syncline_lease SET epoch = epoch + 1").await.unwrap();
    other.commit().await.unwrap();
    assert_eq!(seal.await.unwrap(), 0);
    assert_eq!(MySql::unsealed(&pool).await.unwrap(), 1);
}

#[tokio::test]
async fn a_commit_of_another_process_is_noticed() {
    let Some(pool) = migrated().await else { return };
    let mut watch = MySql::watch(&pool).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(300), watch.changed()).await;
    assert!(quiet.is_err(), "nothing has changed");
    let other = MySqlPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
    let mut tx = begin(&other).await.unwrap();
    let _ = enqueue(&mut tx, &Message::json("in", &1).unwrap()).await.unwrap();
    let open = tokio::time::timeout(Duration::from_millis(300), watch.changed()).await;
    assert!(open.is_err(), "nothing was committed");
    tx.commit().await.unwrap();
    tokio::time::timeout(Duration::from_secs(3), watch.changed()).await.expect("it is noticed");
}

#[tokio::test]
async fn a_row_that_is_gone_is_an_error_and_not_the_end() {
    let Some(pool) = migrated().await else { return };
    let mut tx = begin(&pool).await.unwrap();
    let messages: Vec<_> = (0..5).map(|n| Message::json("in", &n).unwrap()).collect();
    let _ = enqueue_all(&mut tx, &messages).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(log(&pool).await.len(), 5);
    for (gone, after) in [(3, 0), (5, 4)] {
        pool.execute(sqlx::AssertSqlSafe(format!(
            "DELETE FROM syncline_outbox WHERE position = {gone}"
        )))
        .await
        .unwrap();
        let after = Cursor { position: Position(after), ..Cursor::default() };
        let error = MySql::read(&pool, after, PAGE).await.unwrap_err();
        assert!(matches!(error, Error::LogBroken { position, .. } if position == gone), "{error}");
    }
}

/// The tables as the server describes them.
async fn schema(pool: &MySqlPool) -> Vec<(String, String, String)> {
    sqlx::query_as(
        "SELECT CONVERT(table_name USING utf8mb4), CONVERT(column_name USING utf8mb4),
                CONVERT(column_type USING utf8mb4)
         FROM information_schema.columns WHERE table_schema = DATABASE()
         ORDER BY table_name, ordinal_position",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

async fn counts(pool: &MySqlPool) -> (i64, i64) {
    let sql = "SELECT (SELECT COUNT(*) FROM syncline_node), (SELECT COUNT(*) FROM syncline_head)";
    sqlx::query_as(sql).fetch_one(pool).await.unwrap()
}

/// Puts the database into the state in which a crash at statement `at` of `version` leaves it,
/// before or after that statement was done.
async fn crash(pool: &MySqlPool, version: i64, at: usize, up: bool, after: bool) {
    let migration = syncline_migrations(version);
    let sql = if up { migration.0 } else { migration.1 };
    let statements: Vec<_> = sql.split(";\n\n").collect();
    let mut connection = pool.acquire().await.unwrap();
    let step =
        "INSERT INTO syncline_migration_step (version, up, done, in_flight) VALUES (?, ?, ?, 1)";
    sqlx::query(step)
        .bind(version)
        .bind(up)
        .bind(at as i64)
        .execute(&mut *connection)
        .await
        .unwrap();
    // A statement that changes rows commits only together with the note that it is done.
    let text = statements[at].lines().find(|line| !line.starts_with("--")).unwrap_or_default();
    let ddl = ["CREATE ", "ALTER ", "DROP "].iter().any(|word| text.starts_with(word));
    for statement in &statements[..at + usize::from(after && ddl)] {
        connection.execute(*statement).await.unwrap();
    }
}

/// The version of the newest migration.
fn newest() -> i64 {
    <MySql as Base>::MIGRATIONS.last().unwrap().version
}

fn syncline_migrations(version: i64) -> (&'static str, &'static str) {
    let all = <MySql as Base>::MIGRATIONS;
    let found = all.iter().find(|migration| migration.version == version).unwrap();
    (found.up, found.down)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_was_cut_off_at_any_statement_is_finished_by_the_next_run() {
    let Some(whole) = migrated().await else { return };
    let whole = schema(&whole).await;
    for version in 1..=newest() {
        let count = syncline_migrations(version).0.split(";\n\n").count();
        for (at, after) in (0..count).flat_map(|at| [(at, false), (at, true)]) {
            let pool = migrated().await.unwrap();
            migrate_down(&pool, version - 1, true).await.unwrap();
            if version == 1 {
                // Everything is gone, the history too; it is made first.
                pool.execute(include_str!("../../framework/src/storage/mysql/sql/step_table.sql"))
                    .await
                    .unwrap();
            }
            crash(&pool, version, at, true, after).await;
            let error = check_schema(&pool).await.unwrap_err();
            assert!(matches!(error, Error::MigrationInterrupted { .. }), "{error}");
            let done = migrate(&pool).await.unwrap();
            assert_eq!(done, (version..=newest()).collect::<Vec<_>>(), "at {at}");
            assert_eq!(schema(&pool).await, whole, "at {at}");
            assert_eq!(counts(&pool).await, (1, 1));
            check_schema(&pool).await.unwrap();
            pool.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_was_cut_off_is_finished_by_either_direction() {
    let Some(whole) = migrated().await else { return };
    let whole = schema(&whole).await;
    let version = newest();
    let count = syncline_migrations(version).1.split(";\n\n").count();
    for (at, after) in (0..count).flat_map(|at| [(at, false), (at, true)]) {
        for up in [true, false] {
            let pool = migrated().await.unwrap();
            crash(&pool, version, at, false, after).await;
            let error = check_schema(&pool).await.unwrap_err();
            assert!(matches!(error, Error::MigrationInterrupted { .. }), "{error}");
            let findings = MySql::findings(&pool).await.unwrap();
            assert!(findings.iter().any(|finding| finding.found.ends_with("is half done")));
            if !up {
                assert_eq!(migrate_down(&pool, version - 1, false).await.unwrap(), [version]);
                assert_ne!(schema(&pool).await, whole);
            }
            assert_eq!(migrate(&pool).await.unwrap(), [version], "at {at}");
            assert_eq!(schema(&pool).await, whole, "at {at}");
            check_schema(&pool).await.unwrap();
            pool.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_at_any_time_is_finished_by_the_next_and_holds_no_lock() {
    let Some(pool) = open().await else { return };
    let mut cut = [0, 0];
    for round in 0..60 {
        let patience = Duration::from_millis(round * 2);
        let run = async {
            migrate_down(&pool, 0, true).await.unwrap();
            cut[0] += 1;
            migrate(&pool).await.unwrap();
            cut[1] += 1;
        };
        drop(tokio::time::timeout(patience, run).await);
        let began = Instant::now();
        migrate(&pool).await.unwrap();
        check_schema(&pool).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(20), "{round}: {:?}", began.elapsed());
        assert_eq!(counts(&pool).await, (1, 1), "{round}");
    }
    println!("of 60 runs {} got through the way back and {} to the end", cut[0], cut[1]);
    assert!(cut[1] < 60, "none was cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_waits_for_a_writer_gives_up_without_a_trace() {
    let Some(pool) = migrated().await else { return };
    let mut writer = begin(&pool).await.unwrap();
    let _ = enqueue(&mut writer, &Message::json("in", &1).unwrap()).await.unwrap();
    let down = migrate_down(&pool, 0, true);
    assert!(tokio::time::timeout(Duration::from_millis(500), down).await.is_err(), "did not wait");
    writer.commit().await.unwrap();
    check_schema(&pool).await.unwrap();
    let began = Instant::now();
    let error = migrate_down(&pool, 0, false).await.unwrap_err();
    assert!(matches!(error, Error::WouldLose { version: 2, count: 1, .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let all: Vec<_> = (1..=newest()).rev().collect();
    assert_eq!(migrate_down(&pool, 0, true).await.unwrap(), all);
}

#[tokio::test]
async fn only_the_rights_that_are_missing_are_named() {
    let Some(pool) = migrated().await else { return };
    assert_eq!(MySql::missing_privileges(&pool).await.unwrap(), [] as [&str; 0]);
    let user = format!("u{}", &Uuid::now_v7().simple().to_string()[16..]);
    let statements = [
        format!("CREATE USER {user}@'%' IDENTIFIED BY 'x'"),
        format!("GRANT SELECT ON * TO {user}@'%'"),
        format!("GRANT INSERT ON syncline_outbox TO {user}@'%'"),
    ];
    for statement in &statements {
        pool.execute(sqlx::AssertSqlSafe(statement.as_str())).await.unwrap();
    }
    let options = (*pool.connect_options()).clone().username(&user).password("x");
    let reader = MySqlPool::connect_with(options).await.unwrap();
    let missing = MySql::missing_privileges(&reader).await.unwrap();
    for needed in
        ["UPDATE on syncline_outbox", "DELETE on syncline_held", "INSERT on syncline_lease"]
    {
        assert!(missing.iter().any(|missing| missing == needed), "{missing:?}");
    }
    let has = |right: &str| missing.iter().all(|missing| missing != right);
    assert!(has("INSERT on syncline_outbox") && has("SELECT on syncline_node"), "{missing:?}");
    // What only a privileged user sees is no failure.
    let findings = MySql::findings(&reader).await.unwrap();
    assert!(findings.iter().any(|finding| finding.found.contains("PROCESS")), "{findings:?}");
    assert_eq!(migrate(&reader).await.unwrap(), [] as [i64; 0], "a reader may start");
    let drop = format!("DROP USER {user}@'%'");
    pool.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
}

#[tokio::test]
async fn a_database_whose_name_looks_like_ours_is_no_missing_table() {
    let Some(url) = mariadb_database().await else { return };
    let mut connection: MySqlConnection =
        url.parse::<sqlx::mysql::MySqlConnectOptions>().unwrap().connect().await.unwrap();
    let name = format!("syncline_{}", Uuid::now_v7().simple());
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    connection.close().await.unwrap();
    let pool = MySqlPool::connect(&with_database(&url, &name)).await.unwrap();
    migrate(&pool).await.unwrap();
    let consumer = Consumer::builder("c", pool.clone()).handler(
        "*",
        handler_fn(|tx: &mut sqlx::Transaction<'_, MySql>, _: &Envelope| {
            Box::pin(async move {
                tx.execute("SELECT * FROM users").await?;
                Ok(Verdict::Done)
            })
        }),
    );
    consumer.build().unwrap().receive(batch(1)).await.unwrap();
    let held = MySql::held(&pool, true, 0, 9).await.unwrap();
    assert!(held[0].error.clone().unwrap().contains("users"), "{:?}", held[0].error);
    let mut tx = begin(&pool).await.unwrap();
    let error = tx.execute("SELECT * FROM users").await.unwrap_err();
    assert!(error.to_string().contains("syncline_"), "{error}");
    drop(tx);
    pool.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {name}"))).await.unwrap();
}
