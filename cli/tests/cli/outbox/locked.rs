//! Transactions and locks that others wait for.

use std::time::Duration;

use serde_json::json;
use sqlx::Pool;
use syncline::{begin, enqueue_all};

use super::{commit, message, seal};
use crate::{Open, syncline};

pub(super) async fn a_command_that_waits_for_a_locked_table_ends_and_names_who_holds_it<
    DB: Open,
>(
    url: &str,
) {
    syncline(url, "migrate up").expect(0);
    let locker = DB::open(url).await;
    let (lock, who, does, has) = match DB::LABEL {
        "PostgreSQL" => (
            "BEGIN; LOCK TABLE syncline_route IN ACCESS EXCLUSIVE MODE",
            "pid ",
            "its last statement: ",
            "has a lock on",
        ),
        // The server does not tell who it is.
        _ => (
            "LOCK TABLES syncline_route WRITE",
            "connection ",
            "at rest for ",
            "perhaps has a lock on",
        ),
    };
    DB::run(&locker, lock).await;
    // On a slow machine it may not have come to the table when its time is up.
    let mut said = String::new();
    for _ in 0..5 {
        said = syncline(url, "outbox lag --timeout 3").expect(3).stderr;
        if said.contains(who) {
            break;
        }
    }
    let words = ["not done within 3 s", who, does, has, "syncline_route"];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    locker.close().await;
    syncline(url, "outbox lag --timeout 30").expect(0);
}

/// Others flow past the messages of a transaction that `who` names, and lag does; after its
/// end they are there.
async fn flows_past<DB: Open>(url: &str, pool: &Pool<DB>, who: impl Fn(&str) -> bool) {
    commit(pool, &[message(&json!({"n": 2}))]).await;
    seal(pool).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let lag = syncline(url, "outbox lag --json").expect(0).json();
    assert_eq!(lag["head"], json!(1), "{lag}");
    let writer = &lag["oldest_writer"];
    assert!(who(writer["who"].as_str().unwrap_or_default()), "{lag}");
    assert!((1..60).contains(&writer["age_seconds"].as_i64().unwrap_or_default()), "{lag}");
    let text = syncline(url, "outbox lag").expect(0).stdout;
    assert!(text.lines().any(|line| line.starts_with("held back: ") && who(line)), "{text}");
}

async fn is_over<DB: Open>(url: &str, pool: &Pool<DB>) {
    seal(pool).await;
    // MariaDB and MySQL look for transactions ten times in a second at most.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let lag = syncline(url, "outbox lag --json").expect(0).json();
    assert_eq!((&lag["head"], &lag["oldest_writer"]), (&json!(2), &json!(null)));
}

pub(super) async fn an_open_transaction_holds_up_no_other_and_lag_names_it<DB: Open>(url: &str) {
    syncline(url, "migrate up").expect(0);
    let pool = DB::open(url).await;
    assert_eq!(syncline(url, "outbox lag --json").expect(0).json()["oldest_writer"], json!(null));
    let mut open = begin(&pool).await.unwrap();
    let receipts = enqueue_all(&mut open, &[message(&json!({"n": 1}))]).await.unwrap();
    let word = if DB::LABEL == "PostgreSQL" { "pid " } else { "connection " };
    flows_past(url, &pool, |text| text.contains(word)).await;
    open.commit().await.unwrap();
    receipts.into_iter().for_each(|receipt| receipt.committed());
    is_over(url, &pool).await;
}

pub(super) async fn a_prepared_transaction_holds_up_no_other_and_lag_names_it<DB: Open>(url: &str) {
    syncline(url, "migrate up").expect(0);
    let pool = DB::open(url).await;
    // The name is the whole server's.
    let name = format!("g{}", uuid::Uuid::now_v7().simple());
    let insert = "INSERT INTO syncline_outbox (topic, data) VALUES ('user.prepared', '{}')";
    let (prepare, end) = if DB::LABEL == "PostgreSQL" {
        (format!("BEGIN; {insert}; PREPARE TRANSACTION '{name}'"), "COMMIT PREPARED")
    } else {
        (format!("XA START '{name}'; {insert}; XA END '{name}'; XA PREPARE '{name}'"), "XA COMMIT")
    };
    // A pool of its own, which is closed: its process dies, and the transaction lives on.
    let dead = DB::open(url).await;
    DB::run(&dead, &prepare).await;
    dead.close().await;
    flows_past(url, &pool, |text| text.contains("prepared transaction") && text.contains(&name))
        .await;
    DB::run(&pool, &format!("{end} '{name}'")).await;
    is_over(url, &pool).await;
}
