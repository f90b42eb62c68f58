//! Migrations that commit statement by statement, and the rights that a role needs.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, Executor, MySql, MySqlConnection, MySqlPool};
use syncline::{
    Consumer, Envelope, Error, Message, Verdict, begin, enqueue, handler_fn, migrate,
    storage::{Base, Inspect, check_schema, migrate_down},
    transport::Receive,
};
use syncline_tests::{
    letters::numbered,
    servers::{mariadb_database, with_database},
};
use uuid::Uuid;

use crate::{migrated, open};

/// The tables as the server describes them.
async fn schema(pool: &MySqlPool) -> Vec<(String, String, String)> {
    sqlx::query_as(
        "SELECT CONVERT(table_name USING utf8mb4), CONVERT(column_name USING utf8mb4),
                CONVERT(column_type USING utf8mb4)
         FROM information_schema.columns WHERE table_schema = DATABASE()
         UNION ALL
         SELECT CONVERT(routine_name USING utf8mb4), '', CONVERT(routine_definition USING utf8mb4)
         FROM information_schema.routines WHERE routine_schema = DATABASE()
         ORDER BY 1, 2",
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
                pool.execute(include_str!(
                    "../../../framework/src/storage/mysql/sql/step_table.sql"
                ))
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
    // The newest one that takes several statements.
    let statements = |version| syncline_migrations(version).1.split(";\n\n").count();
    let version = (1..=newest()).rev().find(|&version| statements(version) > 1).unwrap();
    for (at, after) in (0..statements(version)).flat_map(|at| [(at, false), (at, true)]) {
        for up in [true, false] {
            let pool = migrated().await.unwrap();
            migrate_down(&pool, version, false).await.unwrap();
            crash(&pool, version, at, false, after).await;
            let error = check_schema(&pool).await.unwrap_err();
            assert!(matches!(error, Error::MigrationInterrupted { .. }), "{error}");
            let findings = MySql::findings(&pool).await.unwrap();
            assert!(findings.iter().any(|finding| finding.found.ends_with("is half done")));
            if !up {
                assert_eq!(migrate_down(&pool, version - 1, false).await.unwrap(), [version]);
                assert_ne!(schema(&pool).await, whole);
            }
            let done = migrate(&pool).await.unwrap();
            assert_eq!(done, (version..=newest()).collect::<Vec<_>>(), "at {at}");
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
    consumer.build().unwrap().receive(numbered(1)).await.unwrap();
    let held = MySql::held(&pool, true, 0, 9).await.unwrap();
    assert!(held[0].error.clone().unwrap().contains("users"), "{:?}", held[0].error);
    let mut tx = begin(&pool).await.unwrap();
    let error = tx.execute("SELECT * FROM users").await.unwrap_err();
    assert!(error.to_string().contains("syncline_"), "{error}");
    drop(tx);
    pool.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {name}"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_with_the_former_text_of_a_migration_is_as_good() {
    let Some(pool) = migrated().await else { return };
    let changed = <MySql as Base>::FORMER;
    assert_eq!(changed.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [1, 8]);
    for (version, checksum) in changed {
        sqlx::query("UPDATE syncline_migrations SET checksum = UNHEX(?) WHERE version = ?")
            .bind(checksum)
            .bind(version)
            .execute(&pool)
            .await
            .unwrap();
    }
    check_schema(&pool).await.unwrap();
    assert_eq!(migrate(&pool).await.unwrap(), [] as [i64; 0]);
    // Another migration's text is not.
    sqlx::query("UPDATE syncline_migrations SET checksum = UNHEX(?) WHERE version = 2")
        .bind(changed[0].1)
        .execute(&pool)
        .await
        .unwrap();
    let error = check_schema(&pool).await.unwrap_err();
    assert!(matches!(error, Error::HistoryEdited { version: 2 }), "{error}");
}
