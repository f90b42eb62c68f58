//! Migrations on every database: safe to repeat, to run twice at once, to cancel; nothing is
//! half-applied, nothing edited or newer is touched, nothing unsent is dropped.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, MySql, MySqlPool, PgPool, Pool, Postgres, Sqlite, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgPoolOptions,
};
use syncline::{
    Error, Message, Storage, begin, enqueue, migrate,
    storage::{MigrationState, Steps, check_schema, migrate_down, plan, status},
};
use syncline_tests::{
    letters::Recipient,
    servers::{mariadb_database, postgres_database, sqlite_database},
};

/// What the tests ask of a database besides.
#[async_trait]
trait Sql: Storage {
    async fn open(url: &str) -> Pool<Self>;
    async fn run(pool: &Pool<Self>, statement: &'static str) -> sqlx::Result<()>;
    async fn count(pool: &Pool<Self>, query: &'static str) -> sqlx::Result<i64>;
}

macro_rules! sql {
    ($db:ty, $pool:ty) => {
        #[async_trait]
        impl Sql for $db {
            async fn open(url: &str) -> $pool {
                <$pool>::connect(url).await.expect("connect")
            }
            async fn run(pool: &$pool, statement: &'static str) -> sqlx::Result<()> {
                sqlx::raw_sql(statement).execute(pool).await.map(drop)
            }
            async fn count(pool: &$pool, query: &'static str) -> sqlx::Result<i64> {
                sqlx::query_scalar(query).fetch_one(pool).await
            }
        }
    };
}
sql!(MySql, MySqlPool);
sql!(Postgres, PgPool);
sql!(Sqlite, SqlitePool);

/// Runs each case on every database.
macro_rules! on_each {
    ($($case:ident),* $(,)?) => {$(
        mod $case {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                if let Some(url) = mariadb_database().await {
                    super::super::$case::<MySql>(&url).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                if let Some(url) = postgres_database().await {
                    super::super::$case::<Postgres>(&url).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let (_directory, url) = sqlite_database();
                super::super::$case::<Sqlite>(&url).await;
            }
        }
    )*};
}

mod each {
    use super::*;
    on_each!(
        up_down_and_up_again,
        runs_at_once_apply_each_step_once,
        an_edited_history_is_refused,
        a_newer_schema_is_refused,
        an_older_schema_is_refused,
        a_missing_schema_is_refused,
        a_failed_run_leaves_nothing_that_is_in_the_way,
        unsent_messages_are_not_dropped,
        held_messages_are_not_dropped,
        delayed_messages_are_not_dropped,
        the_services_own_migrations_are_left_alone,
    );
}

fn states(status: &[syncline::storage::MigrationStatus]) -> Vec<(i64, MigrationState)> {
    status.iter().map(|m| (m.version, m.state)).collect()
}

/// The newest version; every database has the same ones.
const NEWEST: i64 = <Postgres as syncline::storage::Base>::MIGRATIONS.len() as i64;

/// The versions after `after`, in the order in which they are applied.
fn steps(after: i64) -> Vec<i64> {
    (after + 1..=NEWEST).collect()
}

/// The versions after `to`, in the order in which they are taken back.
fn back(to: i64) -> Vec<i64> {
    (to + 1..=NEWEST).rev().collect()
}

const UP: MigrationState = MigrationState::Applied;
const NOT: MigrationState = MigrationState::Pending;

async fn up_down_and_up_again<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    let none: Vec<_> = steps(0).into_iter().map(|version| (version, NOT)).collect();
    assert_eq!(states(&status(&pool).await.unwrap()), none);
    assert_eq!(plan(&pool, Steps::Up).await.unwrap().len(), steps(0).len());
    assert_eq!(migrate(&pool).await.unwrap(), steps(0));
    assert_eq!(migrate(&pool).await.unwrap(), [] as [i64; 0]);
    check_schema(&pool).await.unwrap();
    let incarnation = DB::incarnation(&pool).await.unwrap();

    let down: Vec<_> = plan(&pool, Steps::Down { to: 1, force: false }).await.unwrap();
    assert_eq!(down.iter().map(|m| m.version).collect::<Vec<_>>(), back(1));
    assert_eq!(migrate_down(&pool, 1, false).await.unwrap(), back(1));
    assert_eq!(states(&status(&pool).await.unwrap()), [vec![(1, UP)], none[1..].to_vec()].concat());
    assert_eq!(migrate(&pool).await.unwrap(), steps(1));

    assert_eq!(migrate_down(&pool, 0, false).await.unwrap(), back(0));
    assert_eq!(migrate_down(&pool, 0, false).await.unwrap(), [] as [i64; 0]);
    assert!(DB::run(&pool, "SELECT 1 FROM syncline_migrations").await.is_err());
    assert_eq!(migrate(&pool).await.unwrap(), steps(0));
    // The new tables are a new log.
    assert_ne!(DB::incarnation(&pool).await.unwrap(), incarnation);
}

async fn runs_at_once_apply_each_step_once<DB: Sql>(url: &str) {
    let runs = (0..8).map(|_| {
        let url = url.to_owned();
        // A pool for each, as in as many processes.
        tokio::spawn(async move { migrate(&DB::open(&url).await).await })
    });
    let mut applied = Vec::new();
    for run in runs.collect::<Vec<_>>() {
        applied.extend(run.await.unwrap().unwrap());
    }
    assert_eq!(applied, steps(0));
    check_schema(&DB::open(url).await).await.unwrap();
}

async fn an_edited_history_is_refused<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    migrate(&pool).await.unwrap();
    migrate_down(&pool, 2, false).await.unwrap();
    let edit = "UPDATE syncline_migrations SET checksum = checksum || checksum WHERE version = 2";
    let edit = if DB::LABEL == "SQLite" {
        "UPDATE syncline_migrations SET checksum = x'00' WHERE version = 2"
    } else {
        edit
    };
    DB::run(&pool, edit).await.unwrap();
    let mut edited = vec![(1, UP), (2, MigrationState::Edited)];
    edited.extend(steps(2).into_iter().map(|version| (version, NOT)));
    for error in [
        migrate(&pool).await.unwrap_err(),
        migrate_down(&pool, 0, true).await.unwrap_err(),
        check_schema(&pool).await.unwrap_err(),
        DB::run_migrations(&pool, Steps::Up).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::HistoryEdited { version: 2 }), "{error}");
    }
    assert_eq!(states(&status(&pool).await.unwrap()), edited);
}

async fn a_newer_schema_is_refused<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    migrate(&pool).await.unwrap();
    let newer = "INSERT INTO syncline_migrations \
                 (version, description, success, checksum, execution_time) \
                 SELECT 999, 'sagas', success, checksum, 0 FROM syncline_migrations WHERE version = 3";
    DB::run(&pool, newer).await.unwrap();
    for error in [
        migrate(&pool).await.unwrap_err(),
        migrate_down(&pool, 0, true).await.unwrap_err(),
        check_schema(&pool).await.unwrap_err(),
        DB::run_migrations(&pool, Steps::Up).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::SchemaNewer { found: 999, known } if known == NEWEST),
            "{error}"
        );
    }
    let last = status(&pool).await.unwrap().pop().unwrap();
    assert_eq!((last.name.as_str(), last.state), ("sagas", MigrationState::Unknown));
}

async fn an_older_schema_is_refused<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    migrate(&pool).await.unwrap();
    migrate_down(&pool, 2, false).await.unwrap();
    let error = check_schema(&pool).await.unwrap_err();
    assert!(
        matches!(error, Error::SchemaOlder { found: 2, needed } if needed == NEWEST),
        "{error}"
    );
}

async fn a_missing_schema_is_refused<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    let error = check_schema(&pool).await.unwrap_err();
    assert!(matches!(error, Error::NotMigrated), "{error}");
    let mut tx = begin(&pool).await.unwrap();
    let message = Message::json("user.registered", "x").unwrap();
    let error = enqueue(&mut tx, &message).await.unwrap_err();
    assert!(matches!(error, Error::NotMigrated), "{error}");
}

async fn a_failed_run_leaves_nothing_that_is_in_the_way<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    DB::run(&pool, "CREATE TABLE syncline_timer (mine integer)").await.unwrap();
    let error = migrate(&pool).await.unwrap_err();
    let of_three = matches!(error, Error::MigrationFailed { version: 3, .. });
    assert!(of_three && !error.is_transient(), "{error}");
    assert!(error.to_string().contains("syncline_timer"), "{error}");
    if DB::LABEL == "MySQL/MariaDB" {
        // Each statement commits by itself: what was done stays, the next run goes on there, and
        // does not take a table that it has not made for its own.
        for _ in 0..2 {
            let error = check_schema(&pool).await.unwrap_err();
            assert!(matches!(error, Error::MigrationInterrupted { version: 3 }), "{error}");
            let again = migrate(&pool).await.unwrap_err();
            assert!(again.to_string().contains("syncline_timer"), "{again}");
        }
        DB::run(&pool, "DROP TABLE syncline_timer").await.unwrap();
        assert_eq!(migrate(&pool).await.unwrap(), steps(2));
        return check_schema(&pool).await.unwrap();
    }
    for table in ["SELECT 1 FROM syncline_node", "SELECT 1 FROM syncline_migrations"] {
        assert!(DB::run(&pool, table).await.is_err(), "{table}");
    }
    DB::run(&pool, "DROP TABLE syncline_timer").await.unwrap();
    assert_eq!(migrate(&pool).await.unwrap(), steps(0));
}

async fn unsent_messages_are_not_dropped<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    migrate(&pool).await.unwrap();
    let mut tx = begin(&pool).await.unwrap();
    let receipt = enqueue(&mut tx, &Message::json("user.registered", "x").unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    receipt.committed();
    for to in [1, 0] {
        let error = migrate_down(&pool, to, false).await.unwrap_err();
        assert!(matches!(error, Error::WouldLose { version: 2, count: 1, .. }), "{error}");
    }
    // Nothing was taken back, not the newer migration either.
    check_schema(&pool).await.unwrap();
    // Version 3 goes without a word: there is nothing held.
    assert_eq!(migrate_down(&pool, 2, false).await.unwrap(), back(2));
    assert_eq!(migrate_down(&pool, 1, true).await.unwrap(), [2]);
    let error = migrate_down(&pool, 0, false).await.unwrap_err();
    assert!(matches!(error, Error::WouldLose { version: 1, count: 1, .. }), "{error}");
    assert_eq!(migrate_down(&pool, 0, true).await.unwrap(), [1]);
}

async fn delayed_messages_are_not_dropped<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    migrate(&pool).await.unwrap();
    let mut tx = begin(&pool).await.unwrap();
    let message = Message::json("a", &1).unwrap().delay(Duration::from_secs(3_600));
    let receipt = enqueue(&mut tx, &message).await.unwrap();
    tx.commit().await.unwrap();
    let source = DB::MIGRATIONS.iter().find(|m| m.name == "source").unwrap().version;
    let error = migrate_down(&pool, source - 1, false).await.unwrap_err();
    assert!(
        matches!(error, Error::WouldLose { version, count: 1, .. } if version == source),
        "{error}"
    );
    let mut tx = begin(&pool).await.unwrap();
    assert!(syncline::outbox::cancel(&mut tx, receipt.id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(migrate_down(&pool, source - 1, false).await.unwrap(), back(source - 1));
}

async fn held_messages_are_not_dropped<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    migrate(&pool).await.unwrap();
    Recipient::broken(pool.clone()).receive(&["bad", "bad", "good"]).await;
    let error = migrate_down(&pool, 2, false).await.unwrap_err();
    assert!(matches!(error, Error::WouldLose { version: 3, count: 2, .. }), "{error}");
    check_schema(&pool).await.unwrap();
    assert_eq!(migrate_down(&pool, 2, true).await.unwrap(), back(2));
}

async fn the_services_own_migrations_are_left_alone<DB: Sql>(url: &str) {
    let pool = DB::open(url).await;
    let step = |version, sql: &'static str| {
        let sql = sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(sql));
        Migration::new(version, "own".into(), MigrationType::Simple, sql, false)
    };
    let own = |steps| Migrator::with_migrations(steps);
    let first = step(1, "CREATE TABLE users (id integer)");
    let mut connection = pool.acquire().await.unwrap();
    own(vec![first.clone()]).run_direct(None, &mut *connection, false).await.unwrap();
    migrate(&pool).await.unwrap();
    let second = step(2, "CREATE TABLE tokens (id integer)");
    own(vec![first, second]).run_direct(None, &mut *connection, false).await.unwrap();
    assert_eq!(DB::count(&pool, "SELECT count(*) FROM _sqlx_migrations").await.unwrap(), 2);
    migrate_down(&pool, 0, false).await.unwrap();
    assert_eq!(DB::count(&pool, "SELECT count(*) FROM users").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cancelled_holds_no_lock() {
    let Some(url) = postgres_database().await else { return };
    let pool = PgPool::connect(&url).await.unwrap();
    // Somebody's lock makes the run wait, in the middle of its transaction.
    let mut other = pool.begin().await.unwrap();
    sqlx::raw_sql("CREATE TABLE syncline_timer (mine integer)").execute(&mut *other).await.unwrap();
    let run = tokio::time::timeout(Duration::from_millis(500), migrate(&pool)).await;
    assert!(run.is_err(), "the run did not wait");
    other.rollback().await.unwrap();
    let again = PgPool::connect(&url).await.unwrap();
    let run = tokio::time::timeout(Duration::from_secs(20), migrate(&again)).await;
    assert_eq!(run.expect("the lock is free").unwrap(), steps(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_the_right_to_create_may_start_on_migrated_tables() {
    let Some(url) = postgres_database().await else { return };
    let pool = PgPool::connect(&url).await.unwrap();
    migrate(&pool).await.unwrap();
    let options = (*pool.connect_options()).clone().options([("role", "pg_read_all_data")]);
    let reader = PgPoolOptions::new().connect_with(options).await.unwrap();
    assert_eq!(migrate(&reader).await.unwrap(), [] as [i64; 0]);
    check_schema(&reader).await.unwrap();
    migrate_down(&pool, 2, false).await.unwrap();
    let error = migrate(&reader).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_once_under_a_stricter_isolation_level() {
    let Some(url) = postgres_database().await else { return };
    let pool = PgPool::connect(&url).await.unwrap();
    let strict = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET \
                  default_transaction_isolation = serializable', current_database()); END $$";
    sqlx::raw_sql(strict).execute(&pool).await.unwrap();
    runs_at_once_apply_each_step_once::<Postgres>(&url).await;
}

#[tokio::test]
async fn a_read_only_file_is_said_to_be_one() {
    let (_directory, url) = sqlite_database();
    SqlitePool::connect(&url).await.unwrap().close().await;
    let pool = SqlitePool::connect(&url.replace("mode=rwc", "mode=ro")).await.unwrap();
    let error = migrate(&pool).await.unwrap_err();
    assert!(error.to_string().contains("readonly database"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_is_waited_for_even_by_an_impatient_connection() {
    let (_directory, url) = sqlite_database();
    let other = SqlitePool::connect(&url).await.unwrap();
    let writer = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let options = url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap();
    let pool = SqlitePool::connect_with(options.busy_timeout(Duration::ZERO)).await.unwrap();
    let run = tokio::spawn(async move { migrate(&pool).await });
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!run.is_finished());
    writer.rollback().await.unwrap();
    assert_eq!(run.await.unwrap().unwrap(), steps(0));
}

/// A row that commits behind a seal is unsealed, and one that is sealed is not.
#[tokio::test]
async fn unsealed_messages_are_counted_exactly() {
    use syncline::storage::{Inspect, LeaseStore, LogStore};
    let Some(url) = postgres_database().await else { return };
    let pool = PgPool::connect(&url).await.unwrap();
    migrate(&pool).await.unwrap();
    let lease = Postgres::acquire(&pool, "seal", uuid::Uuid::now_v7(), Duration::from_secs(60));
    let lease = lease.await.unwrap().unwrap();
    let message = || Message::json("user.registered", "x").unwrap();
    let mut late = begin(&pool).await.unwrap();
    let receipt = enqueue(&mut late, &message()).await.unwrap();
    for round in 1..=3 {
        let mut tx = begin(&pool).await.unwrap();
        let receipt = enqueue(&mut tx, &message()).await.unwrap();
        assert_eq!(Postgres::unsealed(&pool).await.unwrap(), 0, "round {round}");
        tx.commit().await.unwrap();
        receipt.committed();
        assert_eq!(Postgres::unsealed(&pool).await.unwrap(), 1, "round {round}");
        assert_eq!(Postgres::seal(&pool, &lease, 100).await.unwrap().count, 1);
        assert_eq!(Postgres::unsealed(&pool).await.unwrap(), 0, "round {round}");
    }
    late.commit().await.unwrap();
    receipt.committed();
    assert_eq!(Postgres::unsealed(&pool).await.unwrap(), 1);
    assert_eq!(Postgres::seal(&pool, &lease, 100).await.unwrap().count, 1);
    assert_eq!(Postgres::unsealed(&pool).await.unwrap(), 0);
    assert_eq!(Postgres::head(&pool).await.unwrap().0, 4);
}
