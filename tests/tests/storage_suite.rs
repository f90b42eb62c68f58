//! Every database passes the one conformance suite.

use std::time::Duration;

use sqlx::{
    MySql, MySqlPool, PgPool, Postgres, Sqlite, SqlitePool, mysql::MySqlPoolOptions,
    postgres::PgPoolOptions,
};
use syncline::{storage::pool::release_within, testing::storage_suite};
use syncline_tests::{
    isolation::{mariadb_at, postgres_at},
    own_server::OwnServer,
    servers::{mariadb_database, postgres_database, sqlite_database},
};

/// The number of cases that run at once, most of which wait most of the time: three, unless
/// `SYNCLINE_SUITE_AT_ONCE` says otherwise, as a run with many deliberate faults does.
fn at_once() -> usize {
    let set = std::env::var("SYNCLINE_SUITE_AT_ONCE").ok();
    set.and_then(|set| set.parse().ok()).unwrap_or(3)
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_passes_the_suite() {
    let directories = std::sync::Mutex::new(Vec::new());
    let fresh = async || {
        let (directory, url) = sqlite_database();
        directories.lock().expect("no panic").push(directory);
        let pool = SqlitePool::connect(&url).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        pool
    };
    assert!(storage_suite::run_at_once::<Sqlite, _, _>(at_once(), fresh).await > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_passes_the_suite() {
    if postgres_database().await.is_none() {
        return;
    }
    let fresh = async || -> PgPool {
        let url = postgres_database().await.expect("PostgreSQL is not switched off");
        let pool = PgPoolOptions::new().max_connections(20).connect(&url).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        pool
    };
    assert!(storage_suite::run_at_once::<Postgres, _, _>(at_once(), fresh).await > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_passes_the_suite() {
    if mariadb_database().await.is_none() {
        return;
    }
    let fresh = async || -> MySqlPool {
        let url = mariadb_database().await.expect("MariaDB is not switched off");
        let pool = MySqlPoolOptions::new().max_connections(20);
        let pool = release_within(Duration::from_secs(5), pool).connect(&url).await;
        let pool = pool.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        pool
    };
    assert!(storage_suite::run_at_once::<MySql, _, _>(at_once(), fresh).await > 20);
}

async fn postgres_passes_at(level: &str) {
    if postgres_at(level).await.is_none() {
        return;
    }
    let fresh = async || -> PgPool {
        let url = postgres_at(level).await.expect("PostgreSQL is not switched off");
        let pool = PgPoolOptions::new().max_connections(20).connect(&url).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        pool
    };
    assert!(storage_suite::run_at_once::<Postgres, _, _>(at_once(), fresh).await > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_passes_the_suite_where_transactions_are_repeatable_read() {
    postgres_passes_at("repeatable read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_passes_the_suite_where_transactions_are_serializable() {
    postgres_passes_at("serializable").await;
}

async fn mariadb_passes_at(level: &str) {
    let Some(server) = OwnServer::<MySql>::start().await else { return };
    let fresh = async || -> MySqlPool {
        let url = mariadb_at(&server, level).await;
        let pool = MySqlPoolOptions::new().max_connections(20);
        let pool = release_within(Duration::from_secs(5), pool).connect(&url).await;
        let pool = pool.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        pool
    };
    assert!(storage_suite::run_at_once::<MySql, _, _>(at_once(), fresh).await > 20);
}

// Of what READ UNCOMMITTED shows, the framework uses only hints: see `isolation`.

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_passes_the_suite_where_transactions_are_read_committed() {
    mariadb_passes_at("READ-COMMITTED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_passes_the_suite_where_transactions_are_serializable() {
    mariadb_passes_at("SERIALIZABLE").await;
}
