//! Servers whose administrators have set other defaults than a fresh one has: the storage suite, which
//! runs relays, consumers, participants and engines of sagas, passes on one hostile server for each
//! database, and with `SYNCLINE_TEST_FULL` on one for each setting.

use std::{env, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Executor, MySql, MySqlPool, PgPool, Postgres, Sqlite,
    SqlitePool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use syncline::{storage::pool::release_within, testing::storage_suite};
use syncline_tests::{
    own_server::OwnServer,
    servers::{postgres_database, sqlite_database},
};

/// Everything at once that an administrator may have set.
const MARIADB: &str = "--character-set-server=latin1 --skip-character-set-client-handshake \
     --transaction-isolation=SERIALIZABLE --default-time-zone=+13:00 --lower-case-table-names=1 \
     --sql-mode=ANSI,TRADITIONAL,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,PAD_CHAR_TO_FULL_LENGTH \
     --innodb-lock-wait-timeout=1 --innodb-rollback-on-timeout=ON --group-concat-max-len=4 \
     --explicit-defaults-for-timestamp=OFF --max-statement-time=20";
const POSTGRES: &str = "-c default_transaction_isolation=serializable -c statement_timeout=20s \
     -c lock_timeout=2s -c idle_in_transaction_session_timeout=20s -c timezone=Pacific/Apia \
     -c datestyle=German -c intervalstyle=sql_standard -c bytea_output=escape \
     -c standard_conforming_strings=off -c extra_float_digits=-3 -c plan_cache_mode=force_custom_plan";

/// One server for each of these in the full length.
const MARIADB_MATRIX: &[&str] = &[
    "--character-set-server=latin1",
    "--character-set-server=latin1 --skip-character-set-client-handshake",
    "--character-set-server=cp932",
    "--collation-server=utf8mb4_turkish_ci --character-set-server=utf8mb4",
    "--transaction-isolation=READ-COMMITTED",
    "--transaction-isolation=SERIALIZABLE",
    "--sql-mode=",
    "--sql-mode=ANSI",
    "--sql-mode=ORACLE",
    "--sql-mode=MSSQL",
    "--sql-mode=TRADITIONAL,NO_ZERO_DATE,NO_ZERO_IN_DATE",
    "--sql-mode=NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE,IGNORE_SPACE",
    "--default-time-zone=+13:00",
    "--default-time-zone=-12:00",
    "--innodb-lock-wait-timeout=1 --innodb-rollback-on-timeout=ON",
    "--max-statement-time=5",
    "--lower-case-table-names=1",
    "--explicit-defaults-for-timestamp=OFF",
    "--group-concat-max-len=4",
    "--innodb-strict-mode=OFF --innodb-default-row-format=compact",
    "--old-mode=NO_PROGRESS_INFO,ZERO_DATE_TIME_CAST",
    "--optimizer-switch=derived_merge=off,semijoin=off,materialization=off,index_merge=off",
    "--join-cache-level=8 --optimizer-use-condition-selectivity=1",
    "--auto-increment-increment=7 --auto-increment-offset=3",
];
const POSTGRES_MATRIX: &[&str] = &[
    "-c default_transaction_isolation=serializable",
    "-c default_transaction_deferrable=on",
    "-c statement_timeout=5s -c lock_timeout=1s",
    "-c idle_in_transaction_session_timeout=2s -c idle_session_timeout=2s",
    "-c timezone=Pacific/Apia -c datestyle=German -c intervalstyle=sql_standard",
    "-c bytea_output=escape -c standard_conforming_strings=off -c backslash_quote=off",
    "-c extra_float_digits=-15",
    "-c plan_cache_mode=force_custom_plan",
    "-c plan_cache_mode=force_generic_plan",
    // What is switched off costs so much that each statement would be compiled.
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_nestloop=off -c jit=off",
    "-c enable_indexscan=off -c enable_bitmapscan=off -c enable_indexonlyscan=off",
    "-c jit=on -c jit_above_cost=0",
    "-c array_nulls=off -c transform_null_equals=on",
    "-c synchronous_commit=off",
    "-c default_table_access_method=heap -c default_toast_compression=pglz",
    "-c row_security=off -c check_function_bodies=off",
    "-c synchronize_seqscans=off -c parallel_leader_participation=off -c force_parallel_mode=on",
];

fn full() -> bool {
    env::var_os("SYNCLINE_TEST_FULL").is_some()
}

/// A database of the server's, and a pool that sets nothing which it need not.
async fn mariadb(server: &OwnServer<MySql>) -> MySqlPool {
    let options: MySqlConnectOptions = server.database(None).await.parse().expect("a URL");
    let options = options.timezone(None).pipes_as_concat(false).no_engine_substitution(false);
    let pool = MySqlPoolOptions::new().max_connections(20);
    let pool = release_within(Duration::from_secs(5), pool).connect_with(options).await;
    let pool = pool.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    pool
}

/// A database of the server's that has no schema `public`, and a pool of a role that owns another one
/// and may do no more.
async fn postgres(server: &OwnServer<Postgres>) -> PgPool {
    let url = server.database(None).await;
    let admin: PgConnectOptions = url.parse().expect("a URL");
    let name = admin.get_database().expect("a name").to_owned();
    let mut connection = admin.connect().await.expect("connect");
    for statement in [
        format!("CREATE ROLE {name} LOGIN"),
        "DROP SCHEMA public".to_owned(),
        format!("CREATE SCHEMA own AUTHORIZATION {name}"),
        format!("ALTER ROLE {name} IN DATABASE {name} SET search_path = own"),
        format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"),
        format!("GRANT CONNECT ON DATABASE {name} TO {name}"),
    ] {
        connection.execute(AssertSqlSafe(statement)).await.expect("set the database up");
    }
    let pool = PgPoolOptions::new().max_connections(20);
    let pool = pool.connect_with(admin.username(&name)).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    pool
}

async fn mariadb_passes(options: &str) {
    println!("MariaDB with {options}");
    let Some(server) = OwnServer::<MySql>::start_with(options).await else { return };
    assert!(storage_suite::run::<MySql, _, _>(async || mariadb(&server).await).await > 20);
}

async fn postgres_passes(options: &str) {
    println!("PostgreSQL with {options}");
    let Some(server) = OwnServer::<Postgres>::start_with(options).await else { return };
    assert!(storage_suite::run::<Postgres, _, _>(async || postgres(&server).await).await > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_passes_the_suite_on_a_hostile_server() {
    mariadb_passes(MARIADB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_passes_the_suite_on_a_hostile_server_without_public() {
    postgres_passes(POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_passes_the_suite_whatever_its_server_has_set() {
    for options in MARIADB_MATRIX.iter().filter(|_| full()) {
        mariadb_passes(options).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_passes_the_suite_whatever_its_server_has_set() {
    for options in POSTGRES_MATRIX.iter().filter(|_| full()) {
        postgres_passes(options).await;
    }
}

/// SQLite has no server; what a program sets of its own connections is its default.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_passes_the_suite_with_hostile_pragmas() {
    let directories = std::sync::Mutex::new(Vec::new());
    let fresh = async || {
        let (directory, url) = sqlite_database();
        directories.lock().expect("no panic").push(directory);
        let options: SqliteConnectOptions = url.parse().expect("a URL");
        let options = options
            .journal_mode(SqliteJournalMode::Delete)
            .foreign_keys(false)
            .pragma("case_sensitive_like", "ON")
            .pragma("recursive_triggers", "ON")
            .pragma("defer_foreign_keys", "ON")
            .pragma("trusted_schema", "OFF")
            .pragma("reverse_unordered_selects", "ON")
            .pragma("temp_store", "MEMORY")
            .pragma("cache_size", "10");
        let pool = SqlitePool::connect_with(options).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        pool
    };
    assert!(storage_suite::run::<Sqlite, _, _>(fresh).await > 20);
}

/// A backslash in a pattern of a CHECK means itself, also where strings have escapes by default.
#[tokio::test]
async fn what_a_plain_insert_may_write_does_not_depend_on_what_a_backslash_means() {
    let Some(url) = postgres_database().await else { return };
    let admin = PgPool::connect(&url).await.expect("connect");
    let (_, name) = url.rsplit_once('/').expect("a database");
    let set = format!("ALTER DATABASE {name} SET standard_conforming_strings = off");
    admin.execute(AssertSqlSafe(set)).await.expect("set");
    let pool = PgPool::connect(&url).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    for topic in ["a b", "a/b", "a..b", ".a", "a."] {
        let insert = "INSERT INTO syncline_outbox (topic, data) VALUES ($1, '1')";
        let refused = sqlx::query(insert).bind(topic).execute(&pool).await.expect_err(topic);
        assert!(refused.to_string().contains("check"), "{refused}");
    }
    for topic in ["a", "a.b-c_d.E1"] {
        let insert = "INSERT INTO syncline_outbox (topic, data) VALUES ($1, '1')";
        sqlx::query(insert).bind(topic).execute(&pool).await.expect(topic);
    }
}
