//! The client does not learn whether its COMMIT took place. It runs the whole transaction again,
//! with the same idempotency key: one change and one message, whichever way the first one went.

#![allow(clippy::expect_used)]

use std::{process::Stdio, time::Duration};

use sqlx::{MySql, Pool, Postgres, Sqlite};
use syncline::storage::{Cursor, PageLimit};
use syncline_tests::{
    cut::{Cut, Proxy},
    kit::{Kit, raise_once},
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use uuid::Uuid;

/// The counter, and the messages' payloads in order.
async fn outcome<DB: Kit>(pool: &Pool<DB>) -> (i64, Vec<String>) {
    let lease = DB::acquire(pool, "seal", Uuid::nil(), Duration::from_secs(60)).await;
    let lease = lease.expect("acquire").expect("nobody else seals");
    while DB::seal(pool, &lease, 1_000).await.expect("seal").count > 0 {}
    let page = PageLimit { rows: 1_000, bytes: usize::MAX };
    let rows = DB::read(pool, Cursor::default(), page).await.expect("read");
    let counters = DB::counters(pool).await.expect("counters");
    let counter = counters.iter().find(|(key, _)| key == "key 0").expect("it is there").1;
    (counter, rows.iter().map(|row| row.message.decode().expect("a text")).collect())
}

async fn check_cut<DB: Kit>(url: &str, server: String) {
    let proxy = Proxy::start(server).await;
    let direct = DB::connect(url, 2).await.expect("connect");
    syncline::migrate(&direct).await.expect("migrate");
    DB::prepare(&direct).await.expect("prepare");
    let pool = DB::connect(&Proxy::url(url, proxy.port()), 1).await.expect("connect");
    let mut expected = Vec::new();
    for (n, cut) in [Cut::Answer, Cut::Request, Cut::Request, Cut::Answer].into_iter().enumerate() {
        let key = format!("key of try {n}");
        let tx = raise_once(&pool, &key).await.expect("write");
        proxy.cut_next(cut);
        let error = tx.commit().await.expect_err("the connection is cut");
        assert!(matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)), "{error:?}");
        assert_eq!(proxy.cuts(), n + 1);
        let (before, _) = outcome(&direct).await;
        assert_eq!(before, n as i64 + i64::from(cut == Cut::Answer), "{cut:?}");
        raise_once(&pool, &key).await.expect("again").commit().await.expect("commit");
        expected.push(key);
        assert_eq!(outcome(&direct).await, (expected.len() as i64, expected.clone()), "{cut:?}");
    }
}

/// `host:port` of a URL.
fn server(url: &str) -> String {
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).expect("a host");
    host.rsplit('@').next().expect("a host").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_outcome_is_unknown_is_repeated_to_one_message_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    check_cut::<Postgres>(&format!("{url}?sslmode=disable"), server(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_outcome_is_unknown_is_repeated_to_one_message_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    check_cut::<MySql>(&format!("{url}?ssl-mode=DISABLED"), server(&url)).await;
}

/// SQLite has no connection to cut: the process is killed, at another moment each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_outcome_is_unknown_is_repeated_to_one_message_on_sqlite() {
    let (_directory, url) = sqlite_database();
    let pool = Sqlite::connect(&url, 1).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    Sqlite::prepare(&pool).await.expect("prepare");
    let (mut expected, mut went) = (Vec::new(), [0, 0]);
    for n in 0..24_u32 {
        let key = format!("key of try {n}");
        let mut worker = Command::new(env!("CARGO_BIN_EXE_commit-worker"))
            .args([&url, &key])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the worker starts");
        let mut lines = BufReader::new(worker.stdout.take().expect("stdout")).lines();
        assert_eq!(lines.next_line().await.expect("read").as_deref(), Some("written"));
        match n % 4 {
            // Surely after the commit.
            0 => drop(lines.next_line().await.expect("read")),
            // Somewhere in it.
            step => tokio::time::sleep(Duration::from_micros(u64::from(step - 1) * 150)).await,
        }
        worker.kill().await.expect("kill");
        let before = outcome(&pool).await.0;
        went[usize::from(before == i64::from(n) + 1)] += 1;
        raise_once(&pool, &key).await.expect("again").commit().await.expect("commit");
        expected.push(key);
        assert_eq!(outcome(&pool).await, (i64::from(n) + 1, expected.clone()));
    }
    println!("of 24 commits {} had not taken place and {} had", went[0], went[1]);
    assert!(went[1] > 0);
}
