//! The real sealing statements of MariaDB, driven step by step through schedules that are drawn: writers
//! with savepoints, and two sealers, on a server of its own. Each of them is shown to be needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use sqlx::{AssertSqlSafe, Executor, MySql, MySqlPool, Transaction};
use syncline::{
    Message, begin, enqueue,
    message::Position,
    storage::{Cursor, Lease, LeaseStore, LogStore, PageLimit},
};
use syncline_tests::{chance::Chance, kit::Kit, own_server::OwnServer};
use tokio::task::JoinHandle;
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(3_600);
const ALL: PageLimit = PageLimit { rows: 1_000, bytes: usize::MAX };
const WRITERS: usize = 3;
const KEYS: usize = 3;
/// How many transactions are begun in a walk.
const TRANSACTIONS: usize = 6;
/// Numbers of rows that are rolled back to a savepoint begin here.
const NEVER: i64 = 1_000;

type Tx = Transaction<'static, MySql>;

/// What a mutant does otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    /// The head is read, and not locked.
    HeadNotLocked,
    /// It is not moved after the rows have their positions.
    HeadNotMoved,
    /// They are taken in another order than they were written.
    OtherOrder,
}

/// How far a sealer is.
enum Stage {
    Idle,
    Holds(JoinHandle<(Tx, i64)>),
    Held(Tx, i64),
    Read(Tx, i64, Vec<i64>),
    Placed(Tx, i64),
    Moved(Tx),
}

impl Stage {
    async fn leave(self) {
        let tx = match self {
            Self::Idle => return,
            Self::Holds(waiting) => waiting.await.expect("no panic").0,
            Self::Held(tx, _) | Self::Read(tx, ..) | Self::Placed(tx, _) | Self::Moved(tx) => tx,
        };
        tx.rollback().await.expect("roll back");
    }
}

struct Writer {
    tx: Tx,
    keys: BTreeSet<usize>,
    rows: Vec<i64>,
}

struct Walk<'a> {
    pool: &'a MySqlPool,
    lease: &'a Lease,
    mutant: Option<Mutant>,
    chance: Chance,
    writers: [Option<Writer>; WRITERS],
    sealers: [Stage; 2],
    begun: usize,
    next: i64,
    key_of: BTreeMap<i64, usize>,
    /// In the order of their commits.
    committed: Vec<i64>,
    seen: Vec<Vec<i64>>,
    steps: usize,
}

impl<'a> Walk<'a> {
    async fn begin(
        pool: &'a MySqlPool,
        lease: &'a Lease,
        mutant: Option<Mutant>,
        seed: u64,
    ) -> Self {
        pool.execute("DELETE FROM syncline_outbox").await.expect("empty the log");
        pool.execute("UPDATE syncline_head SET position = 0").await.expect("begin anew");
        Self {
            pool,
            lease,
            mutant,
            chance: Chance::new(seed),
            writers: [const { None }; WRITERS],
            sealers: [Stage::Idle, Stage::Idle],
            begun: 0,
            next: 1,
            key_of: BTreeMap::new(),
            committed: Vec::new(),
            seen: Vec::new(),
            steps: 0,
        }
    }

    async fn wander(&mut self) {
        while self.begun < TRANSACTIONS || self.writers.iter().any(Option::is_some) {
            self.steps += 1;
            match self.chance.below(2) {
                0 => {
                    let at = self.chance.below(2);
                    self.seal_on(at).await;
                }
                _ => {
                    let at = self.chance.below(WRITERS);
                    self.write_on(at).await;
                }
            }
        }
    }

    async fn write_on(&mut self, at: usize) {
        let Some(mut writer) = self.writers[at].take() else {
            if self.begun < TRANSACTIONS {
                self.begun += 1;
                let tx = begin(self.pool).await.expect("begin");
                self.writers[at] = Some(Writer { tx, keys: BTreeSet::new(), rows: Vec::new() });
            }
            return;
        };
        if writer.rows.len() == 3 || self.chance.below(3) == 0 {
            if self.chance.below(4) == 0 {
                writer.tx.rollback().await.expect("roll back");
            } else {
                writer.tx.commit().await.expect("commit");
                self.committed.extend(writer.rows);
            }
            return;
        }
        let key = self.chance.below(KEYS);
        // Somebody who writes of a key has locked its row.
        let taken = self.writers.iter().flatten().any(|other| other.keys.contains(&key));
        if !taken {
            writer.keys.insert(key);
            self.insert(&mut writer, key).await;
        }
        self.writers[at] = Some(writer);
    }

    /// A row, and by chance one that is rolled back before it.
    async fn insert(&mut self, writer: &mut Writer, key: usize) {
        let message = |n: i64| Message::json("in", &n).expect("JSON").key(format!("k{key}"));
        let tx = &mut writer.tx;
        let how = self.chance.below(4);
        if how == 1 {
            tx.execute("SAVEPOINT one").await.expect("a savepoint");
            let _ = enqueue(tx, &message(NEVER + self.next)).await.expect("enqueue");
            tx.execute("ROLLBACK TO SAVEPOINT one").await.expect("back");
        }
        if how == 2 {
            tx.execute("SAVEPOINT two").await.expect("a savepoint");
        }
        let _ = enqueue(tx, &message(self.next)).await.expect("enqueue");
        if how == 2 {
            tx.execute("RELEASE SAVEPOINT two").await.expect("release");
        }
        writer.rows.push(self.next);
        self.key_of.insert(self.next, key);
        self.next += 1;
    }

    /// The next statement of sealer `at`; by chance it dies instead.
    async fn seal_on(&mut self, at: usize) {
        let dies = self.chance.below(16) == 0;
        self.sealers[at] = match std::mem::replace(&mut self.sealers[at], Stage::Idle) {
            Stage::Idle => Stage::Holds(tokio::spawn(hold(self.pool.clone(), self.mutant))),
            // It waits for the other one.
            Stage::Holds(waiting) if !waiting.is_finished() => {
                tokio::time::sleep(Duration::from_micros(200)).await;
                Stage::Holds(waiting)
            }
            Stage::Holds(waiting) => {
                let (tx, head) = waiting.await.expect("no panic");
                Stage::Held(tx, head)
            }
            stage @ (Stage::Held(..) | Stage::Read(..) | Stage::Placed(..) | Stage::Moved(_))
                if dies =>
            {
                stage.leave().await;
                Stage::Idle
            }
            Stage::Held(tx, head) => self.read(tx, head).await,
            Stage::Read(tx, _, rows) if rows.is_empty() => {
                tx.rollback().await.expect("roll back");
                Stage::Idle
            }
            Stage::Read(tx, head, rows) => place(tx, head, &rows).await,
            Stage::Placed(mut tx, head) => {
                if self.mutant != Some(Mutant::HeadNotMoved) {
                    sqlx::query(include_str!(
                        "../../framework/src/storage/mysql/sql/seal_head.sql"
                    ))
                    .bind(head)
                    .execute(&mut *tx)
                    .await
                    .expect("move the head");
                }
                Stage::Moved(tx)
            }
            Stage::Moved(tx) => {
                tx.commit().await.expect("commit");
                let (log, _) = log(self.pool).await;
                self.seen.push(log);
                Stage::Idle
            }
        };
    }

    async fn read(&mut self, mut tx: Tx, head: i64) -> Stage {
        let real = include_str!("../../framework/src/storage/mysql/sql/seal_rows.sql");
        let sql = match self.mutant {
            Some(Mutant::OtherOrder) => changed(real, "ORDER BY seq", "ORDER BY seq DESC"),
            _ => real.to_owned(),
        };
        let limit = [1_i64, 2, 9][self.chance.below(3)];
        let rows = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(&self.lease.name)
            .bind(self.lease.holder)
            .bind(self.lease.epoch)
            .bind(limit)
            .fetch_all(&mut *tx)
            .await;
        Stage::Read(tx, head, rows.expect("read"))
    }

    /// Ends what is open, seals what is left, and says which of the promises are broken.
    async fn end(mut self) -> BTreeSet<&'static str> {
        // At once: one of them may wait for the other.
        let sealers = std::mem::replace(&mut self.sealers, [Stage::Idle, Stage::Idle]);
        join_all(sealers.map(Stage::leave)).await;
        while MySql::seal(self.pool, self.lease, 2).await.expect("seal").count > 0 {}
        let (log, dense) = log(self.pool).await;
        let mut broken = BTreeSet::new();
        let sorted = |numbers: &[i64]| {
            let mut numbers = numbers.to_vec();
            numbers.sort_unstable();
            numbers
        };
        if sorted(&log) != sorted(&self.committed) {
            broken.insert("a committed row is in the log once");
        }
        if !self.seen.iter().all(|seen| log.starts_with(seen)) {
            broken.insert("the log reads the same at any later time");
        }
        if !dense {
            broken.insert("positions are dense");
        }
        let of_key = |numbers: &[i64], key| {
            let of_key = |n: &&i64| self.key_of.get(*n) == Some(&key);
            numbers.iter().filter(of_key).copied().collect::<Vec<_>>()
        };
        if (0..KEYS).any(|key| of_key(&log, key) != of_key(&self.committed, key)) {
            broken.insert("a key's rows stand in commit order");
        }
        broken
    }
}

fn changed(sql: &str, term: &str, instead: &str) -> String {
    assert!(sql.contains(term), "the statement has no {term} any more");
    sql.replace(term, instead)
}

async fn hold(pool: MySqlPool, mutant: Option<Mutant>) -> (Tx, i64) {
    let real = include_str!("../../framework/src/storage/mysql/sql/log_hold.sql");
    let mut tx = begin(&pool).await.expect("begin");
    let sql = match mutant {
        Some(Mutant::HeadNotLocked) => changed(real, " FOR UPDATE", ""),
        _ => real.to_owned(),
    };
    let head = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *tx).await;
    (tx, head.expect("the head"))
}

async fn place(mut tx: Tx, head: i64, rows: &[i64]) -> Stage {
    let placed = sqlx::query(include_str!("../../framework/src/storage/mysql/sql/seal.sql"))
        .bind(serde_json::to_string(rows).expect("JSON"))
        .bind(head)
        .execute(&mut *tx)
        .await;
    // As the real sealer does when it finds other rows than it has read.
    match placed.map(|placed| placed.rows_affected()) {
        Ok(placed) if placed == rows.len() as u64 => Stage::Placed(tx, head + rows.len() as i64),
        _ => {
            tx.rollback().await.expect("roll back");
            Stage::Idle
        }
    }
}

/// The numbers in the log, and whether their positions are dense.
async fn log(pool: &MySqlPool) -> (Vec<i64>, bool) {
    match MySql::read(pool, Cursor::default(), ALL).await {
        Ok(rows) => {
            let dense = rows.iter().zip(1..).all(|(row, n)| row.cursor.position == Position(n));
            (rows.iter().map(|row| row.message.decode().expect("a number")).collect(), dense)
        }
        Err(error) => {
            println!("the log cannot be read: {error}");
            (Vec::new(), false)
        }
    }
}

async fn start() -> Option<(OwnServer<MySql>, MySqlPool, Lease)> {
    let server =
        OwnServer::start_with("--innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=1")
            .await?;
    let pool = MySql::connect(&server.database(None).await, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    let lease = MySql::acquire(&pool, "seal", Uuid::now_v7(), LONG).await.expect("acquire");
    Some((server, pool, lease.expect("free")))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_schedule_the_promises_hold() {
    let Some((_server, pool, lease)) = start().await else { return };
    let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
    let schedules = if full { 10_000 } else { 500 };
    let mut steps = 0;
    for seed in 0..schedules {
        let mut walk = Walk::begin(&pool, &lease, None, seed).await;
        walk.wander().await;
        steps += walk.steps;
        assert_eq!(walk.end().await, [].into(), "schedule {seed}");
    }
    println!("{schedules} schedules of {steps} steps");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_statements_is_needed() {
    for mutant in [Mutant::HeadNotLocked, Mutant::HeadNotMoved, Mutant::OtherOrder] {
        let Some((_server, pool, lease)) = start().await else { return };
        let mut caught = None;
        for seed in 0..300 {
            let mut walk = Walk::begin(&pool, &lease, Some(mutant), seed).await;
            walk.wander().await;
            let broken = walk.end().await;
            if !broken.is_empty() {
                println!("{mutant:?}: schedule {seed} breaks {broken:?}");
                caught = Some(seed);
                break;
            }
        }
        assert!(caught.is_some(), "{mutant:?} breaks nothing");
    }
}
