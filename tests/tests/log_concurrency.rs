//! The log under concurrency on the real databases: 24 writers with random delays, savepoints
//! and rollbacks, two sealers at once, and a transaction that stays open throughout.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, MySql, Pool, Postgres, Sqlite};
use syncline::{
    Message, begin, enqueue,
    storage::{Cursor, Lease, LogRow, PageLimit},
};
use syncline_tests::{
    kit::{KEYS, Kit, check_applied},
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const WRITERS: u64 = 24;
const OPEN: &str = "held open";

/// xorshift: any spread will do, and a seed repeats it.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    async fn pause(&mut self) {
        let micros = match self.below(40) {
            0 => 100_000,
            1..10 => self.below(5_000),
            _ => 0,
        };
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }
}

/// Each transaction raises a counter, which locks its key, and tells of it; the counter is
/// rolled back with the message.
async fn write<DB>(pool: Pool<DB>, seed: u64, transactions: u64)
where
    DB: Kit,
{
    let mut random = Random(seed);
    for _ in 0..transactions {
        let key = format!("key {}", random.below(KEYS as u64));
        let mut tx = begin(&pool).await.expect("begin");
        let n = DB::raise(&mut tx, &key).await.expect("raise");
        // PostgreSQL: the transaction has its id, and its messages come later.
        random.pause().await;
        if random.below(3) == 0 {
            let mut savepoint = tx.begin().await.expect("savepoint");
            let doomed = Message::json("counter.doomed", &n).expect("JSON").key(&key);
            let _ = enqueue(&mut savepoint, &doomed).await.expect("enqueue");
            savepoint.rollback().await.expect("roll back to the savepoint");
        }
        let message = Message::json("counter.raised", &n).expect("JSON").key(&key);
        let receipt = enqueue(&mut tx, &message).await.expect("enqueue");
        random.pause().await;
        if random.below(8) == 0 {
            tx.rollback().await.expect("roll back");
        } else {
            tx.commit().await.expect("commit");
            receipt.committed();
        }
    }
}

async fn read_all<DB: Kit>(pool: &Pool<DB>, rows: i64) -> Vec<LogRow> {
    let (mut all, mut after) = (Vec::<LogRow>::new(), Cursor::default());
    loop {
        let page = PageLimit { rows, bytes: usize::MAX };
        let page = DB::read(pool, after, page).await.expect("read");
        let Some(last) = page.last() else { return all };
        after = last.cursor;
        all.extend(page);
    }
}

fn numbers(rows: &[LogRow]) -> Vec<(String, i64)> {
    let number = |row: &LogRow| {
        let key = row.message.key.clone().expect("a key");
        (key, row.message.decode::<i64>().expect("a number"))
    };
    rows.iter().filter(|row| row.message.key.as_deref() != Some(OPEN)).map(number).collect()
}

/// Runs the writers and two sealers; `open` stays open until they are done.
async fn stress<DB: Kit>(pool: Pool<DB>, open: Option<sqlx::Transaction<'static, DB>>) {
    let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
    let transactions = if full { 400 } else { 30 };
    let seed = Uuid::now_v7().as_u128() as u64 | 1;
    println!("{}: {WRITERS} writers, {transactions} transactions each, seed {seed}", DB::LABEL);
    let lease = DB::acquire(&pool, "seal", Uuid::now_v7(), Duration::from_secs(900)).await;
    let lease: Arc<Lease> = Arc::new(lease.expect("acquire").expect("free"));
    let stop = CancellationToken::new();
    let sealers: Vec<_> = [3, 50]
        .into_iter()
        .map(|limit| {
            let (pool, lease, stop) = (pool.clone(), Arc::clone(&lease), stop.clone());
            tokio::spawn(async move {
                let mut came = Vec::new();
                while !stop.is_cancelled() {
                    let sealed = DB::seal(&pool, &lease, limit).await.expect("seal");
                    if sealed.count == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    came.extend(sealed.rows);
                }
                came
            })
        })
        .collect();
    let writers: Vec<_> = (1..=WRITERS)
        .map(|n| tokio::spawn(write(pool.clone(), seed.wrapping_mul(n) | 1, transactions)))
        .collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    stop.cancel();
    let mut came = Vec::new();
    for sealer in sealers {
        came.extend(sealer.await.expect("a sealer"));
    }
    while DB::seal(&pool, &lease, 1_000).await.expect("seal").count > 0 {}

    // The open transaction has delayed nobody else.
    let counters = DB::counters(&pool).await.expect("counters");
    let rows = read_all(&pool, 100).await;
    check_applied(&counters, &numbers(&rows)).unwrap_or_else(|error| panic!("{seed}: {error}"));
    let committed: i64 = counters.iter().map(|(_, n)| n).sum();
    assert_eq!(rows.len() as i64, committed, "nothing else is in the log");
    println!("{}: {committed} messages in the log, each once", DB::LABEL);

    let late = open.is_some();
    if let Some(open) = open {
        open.commit().await.expect("commit");
        let sealed = DB::seal(&pool, &lease, 1_000).await.expect("seal");
        came.extend(sealed.rows);
    }
    let after = read_all(&pool, 1_000).await;
    assert_eq!(after[..rows.len()], rows, "what was read stays as it was");
    assert_eq!(after.len(), rows.len() + usize::from(late), "the late one has come, once");
    println!("{}: {} of them came with their seals", DB::LABEL, came.len());
    for row in came {
        let position = row.cursor.position.0;
        assert_eq!(row, after[position as usize - 1], "what comes with a seal is what is read");
    }
    let dense = after.iter().zip(1..).all(|(row, position)| row.cursor.position.0 == position);
    assert!(dense, "positions are dense");
    for size in [1, 7, 5_000] {
        assert_eq!(read_all(&pool, size).await, after, "pages of {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_log_holds_every_committed_message_once_in_order() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 40).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    Postgres::prepare(&pool).await.expect("prepare");
    let mut open = begin(&pool).await.expect("begin");
    let message = Message::json("counter.raised", &1).expect("JSON").key(OPEN);
    let _ = enqueue(&mut open, &message).await.expect("enqueue");
    stress(pool, Some(open)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_log_holds_every_committed_message_once_in_order() {
    let Some(url) = mariadb_database().await else { return };
    let pool = MySql::connect(&url, 40).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    MySql::prepare(&pool).await.expect("prepare");
    // Purge cannot pass this old snapshot.
    let mut reader = pool.begin_with("START TRANSACTION WITH CONSISTENT SNAPSHOT").await;
    let mut open = begin(&pool).await.expect("begin");
    let message = Message::json("counter.raised", &1).expect("JSON").key(OPEN);
    let _ = enqueue(&mut open, &message).await.expect("enqueue");
    stress(pool, Some(open)).await;
    reader.as_mut().expect("begin").ping().await.expect("the snapshot was open");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_log_holds_every_committed_message_once_in_order() {
    let (_directory, url) = sqlite_database();
    let pool = Sqlite::connect(&url, 40).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    Sqlite::prepare(&pool).await.expect("prepare");
    // SQLite has one writer; a reader's snapshot can stay open all the same.
    let mut reader = pool.begin().await.expect("begin");
    let none: i64 = sqlx::query_scalar("SELECT count(*) FROM syncline_outbox")
        .fetch_one(&mut *reader)
        .await
        .expect("read");
    assert_eq!(none, 0);
    stress(pool, None).await;
    reader.rollback().await.expect("roll back");
}
