//! A future that is dropped while it begins a transaction (a client disconnects) must not
//! leave one open on the pooled connection: sqlx 0.9.0 does (sqlx issues 4385 and 4393).

use std::{future::Future, pin::pin, task::Context, time::Duration};

use futures::task::noop_waker;
use sqlx::{MySql, Pool, Postgres, Sqlite};
use syncline_tests::{
    kit::Kit,
    servers::{mariadb_database, postgres_database, sqlite_database},
};

/// Polls `future` so many times, a little apart, and drops it.
async fn poll_and_drop<F: Future>(future: F, times: usize) {
    let waker = noop_waker();
    let mut future = pin!(future);
    for _ in 0..times {
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return;
        }
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
}

/// Whether what the next user of the one connection writes is committed for others to see.
async fn next_user_is_clean<DB: Kit>(one: &Pool<DB>, other: &Pool<DB>, key: &str) -> bool {
    let seen = async || {
        let counters = DB::counters(other).await.expect("counters");
        counters.into_iter().find(|(k, _)| k == key).map(|(_, n)| n)
    };
    let before = seen().await;
    DB::raise_alone(one, key).await.expect("raise");
    before.map(|n| n + 1) == seen().await
}

async fn check<DB: Kit>(url: &str) {
    let one: Pool<DB> = DB::connect(url, 1).await.expect("connect");
    let other: Pool<DB> = DB::connect(url, 1).await.expect("connect");
    DB::prepare(&one).await.expect("prepare");
    for times in 0..40 {
        poll_and_drop(syncline::begin(&one), times % 8).await;
        assert!(next_user_is_clean(&one, &other, "key 1").await, "dropped after {times} polls");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_user_of_the_connection_is_clean_on_sqlite() {
    let (_directory, url) = sqlite_database();
    check::<Sqlite>(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_user_of_the_connection_is_clean_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    check::<Postgres>(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_user_of_the_connection_is_clean_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    check::<MySql>(&url).await;
}

/// Shows that the tests above can fail: the plain `begin` of the pool leaves a transaction
/// open. When sqlx mends it, these tests fail, and the guard can go.
async fn plain_begin_has_the_hazard<DB: Kit>(url: &str) {
    let one: Pool<DB> = DB::connect(url, 1).await.expect("connect");
    let other: Pool<DB> = DB::connect(url, 1).await.expect("connect");
    DB::prepare(&one).await.expect("prepare");
    for times in 0..200 {
        poll_and_drop(one.begin(), times % 8).await;
        if !next_user_is_clean(&one, &other, "key 1").await {
            println!("dropped after {} polls: the next user was in its transaction", times % 8);
            return;
        }
    }
    panic!("the hazard is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_begin_has_the_hazard_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    plain_begin_has_the_hazard::<Postgres>(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_begin_has_the_hazard_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    plain_begin_has_the_hazard::<MySql>(&url).await;
}
