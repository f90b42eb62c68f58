//! The outbox under load for a long time: it stays as large as what is kept, whatever was written.
//! Sixteen seconds a database; ten minutes with `SYNCLINE_TEST_FULL=1`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{Executor, MySql, Pool, Postgres, Row, Sqlite};
use syncline::{
    Message, Relay, Route, Stream, begin, enqueue,
    message::Position,
    relay::{Retention, trim},
    storage::{Inspect, LeaseStore, Level, LogStore, PageLimit, RetentionStore},
};
use syncline_tests::{
    kit::{KEYS, Kit},
    own_server::OwnServer,
    relays::{Direct, check, noting},
    servers::{mariadb_database, postgres_database, sqlite_database},
};

mod soak;

use self::soak::*;

/// A message carries so much beside its count.
const PAD: usize = 1_000;
const WRITERS: i64 = 3;
const ROWS: &str = "SELECT COUNT(*) FROM syncline_outbox";
/// How long a slow machine may take longer.
const PATIENCE: Duration = Duration::from_secs(300);
/// Messages of a partition.
const PARTITION: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_stays_as_large_as_what_is_kept_on_sqlite() {
    let ((_a, source), (_b, target)) = (sqlite_database(), sqlite_database());
    soak::<Sqlite>("SQLite", &source, &target, retention()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_stays_as_large_as_what_is_kept_on_mariadb() {
    let (Some(source), Some(target)) = (mariadb_database().await, mariadb_database().await) else {
        return;
    };
    soak::<MySql>("MariaDB", &source, &target, retention()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_stays_as_large_as_what_is_kept_on_postgres() {
    let (Some(source), Some(target)) = (postgres_database().await, postgres_database().await)
    else {
        return;
    };
    soak::<Postgres>("PostgreSQL", &source, &target, retention()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_does_not_keep_the_outbox_on_postgres() {
    let (Some(source), Some(target)) = (postgres_database().await, postgres_database().await)
    else {
        return;
    };
    let pool = Postgres::connect(&source, 1).await.expect("connect");
    let mut old = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("begin");
    old.execute("SELECT pg_current_snapshot()").await.expect("a snapshot");
    soak::<Postgres>("PostgreSQL, old snapshot", &source, &target, retention()).await;
    old.commit().await.expect("it was open all the time");
}

async fn commit<DB: Kit>(pool: &Pool<DB>, from: i64, count: i64) {
    for n in from..from + count {
        let mut tx = begin(pool).await.expect("begin");
        let message = Message::json("counter.raised", &n).expect("JSON").key("key 0");
        let _ = enqueue(&mut tx, &message).await.expect("enqueue");
        tx.commit().await.expect("commit");
    }
}

async fn seal(pool: &Pool<Postgres>) {
    let holder = uuid::Uuid::from_u128(1);
    let lease = Postgres::acquire(pool, "seal", holder, Duration::from_secs(99)).await;
    let lease = lease.expect("acquire").expect("it is free");
    while Postgres::seal(pool, &lease, 100).await.expect("seal").count > 0 {}
}

async fn postgres() -> Option<Pool<Postgres>> {
    let pool = Postgres::connect(&postgres_database().await?, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    Some(pool)
}

/// A trim goes as far as it can, by steps of 20,000 positions at most. `far` puts the end of the log at
/// `head`; where no stream is declared no message need stand there.
async fn goes_all_the_way<DB: Kit>(url: &str, far: &str, head: i64) {
    let pool = DB::connect(url, 4).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    commit(&pool, 0, 1).await;
    DB::execute(&pool, far).await.expect("the log ends far away");
    assert_eq!(DB::head(&pool).await.expect("head"), Position(head));
    let mut all = Retention::default();
    all.keep_for = Duration::ZERO;
    let plan = trim(&pool, &all, false).await.expect("trim");
    assert_eq!((plan.trimmed, plan.goal), (Position::START, Position(head)));
    assert_eq!(DB::trimmed(&pool).await.expect("trimmed").position, Position(head));
}

#[tokio::test]
async fn a_trim_reaches_its_goal_in_several_steps_on_sqlite() {
    let (_directory, url) = sqlite_database();
    let far = "UPDATE sqlite_sequence SET seq = 60000 WHERE name = 'syncline_outbox'";
    goes_all_the_way::<Sqlite>(&url, far, 60_000).await;
}

#[tokio::test]
async fn a_trim_reaches_its_goal_in_several_steps_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let far = "UPDATE syncline_head SET position = 60000";
    goes_all_the_way::<MySql>(&url, far, 60_000).await;
}

#[tokio::test]
async fn a_trim_reaches_its_goal_in_several_steps_on_postgres() {
    // As large as a step, and larger.
    for (seals, positions) in [(3, 20_000), (1, 50_000), (3, 30_000)] {
        let Some(url) = postgres_database().await else { return };
        // With nothing in them.
        let far = format!(
            "INSERT INTO syncline_seal
                 (seal, first_position, count, seq_hi, prev_hi, prev2_hi, late_lo, snapshot, lows)
             SELECT n, 1 + (n - 1) * {positions}, {positions}, 0, 0, 0, 0,
                    pg_current_snapshot(), '{{}}'
             FROM generate_series(1, {seals}) AS n"
        );
        goes_all_the_way::<Postgres>(&url, &far, seals * positions).await;
    }
}

/// Transactions that hold retention back have names. On a server of its own: the oldest ten are named,
/// of all that write there.
#[tokio::test]
async fn open_and_prepared_transactions_are_named() {
    let Some(server) = OwnServer::<Postgres>::start().await else { return };
    let pool = Postgres::connect(&server.database(None).await, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    let mut open = begin(&pool).await.expect("begin");
    let pid: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *open).await.expect("pid");
    let _ = enqueue(&mut open, &Message::json("a.b", &1).expect("JSON")).await.expect("enqueue");
    let mut prepared = pool.acquire().await.expect("a connection");
    let gid = format!("it's {}", uuid::Uuid::now_v7());
    prepared.execute("BEGIN").await.expect("begin");
    prepared.execute("SELECT pg_current_xact_id()").await.expect("an id");
    let prepare = format!("PREPARE TRANSACTION '{}'", gid.replace('\'', "''"));
    prepared.execute(sqlx::AssertSqlSafe(prepare)).await.expect("prepare");
    let held = Postgres::kept(&pool, Duration::ZERO).await.expect("kept").held_back;
    let names: Vec<&str> = held.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.iter().any(|name| name.contains(&format!("pid {pid} "))), "{names:?}");
    assert!(names.iter().any(|name| name.contains(&gid.replace('\'', "''"))), "{names:?}");
    let quiet = Postgres::kept(&pool, Duration::from_secs(600)).await.expect("kept").held_back;
    assert!(quiet.is_empty(), "{quiet:?}");
    let roll = format!("ROLLBACK PREPARED '{}'", gid.replace('\'', "''"));
    prepared.execute(sqlx::AssertSqlSafe(roll)).await.expect("roll back");
}

/// An insert never fails for want of a partition, and what lands in the default one is sent, kept
/// and removed like everything else.
#[tokio::test]
async fn rows_that_find_no_partition_are_sent_and_removed_too() {
    let Some(pool) = postgres().await else { return };
    let count = async |sql: &'static str| {
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.expect("a count")
    };
    const DEFAULT: &str = "SELECT count(*) FROM syncline_outbox_default WHERE seq <= 150060";
    pool.execute("SELECT setval('syncline_outbox_seq', 150000)").await.expect("past the last");
    commit(&pool, 0, 20).await;
    assert_eq!(count(DEFAULT).await, 20, "nobody has made a partition");
    Postgres::extend(&pool, 10).await.expect("partitions beyond what is there");
    commit(&pool, 20, 40).await;
    Postgres::extend(&pool, 10_000).await.expect("partitions after those");
    let default = count(DEFAULT).await;
    assert!((20..60).contains(&default), "{default}");
    seal(&pool).await;
    let page = PageLimit { rows: 100, bytes: usize::MAX };
    let rows = Postgres::read(&pool, Default::default(), page).await.expect("read");
    let numbers: Vec<i64> =
        rows.iter().map(|row| row.message.decode().expect("a number")).collect();
    assert!(numbers.iter().copied().eq(0..60), "{numbers:?}");
    let mut all = Retention::default();
    all.keep_for = Duration::ZERO;
    for n in 0..100 {
        if count(DEFAULT).await == 0 {
            return;
        }
        // Other tests' transactions may hold the floor back.
        commit(&pool, 100 + 5 * n, 5).await;
        seal(&pool).await;
        trim(&pool, &all, false).await.expect("trim");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} rows are left", count(DEFAULT).await);
}

/// A row that commits late is not removed before it is sealed, where rows go one by one.
#[tokio::test]
async fn a_row_that_commits_late_is_not_removed_before_it_is_sealed() {
    let Some(pool) = postgres().await else { return };
    // Beyond the partitions that there are.
    pool.execute("SELECT setval('syncline_outbox_seq', 150000)").await.expect("past the last");
    let mut late = begin(&pool).await.expect("begin");
    let message = Message::json("counter.raised", &1).expect("JSON");
    let _ = enqueue(&mut late, &message).await.expect("enqueue");
    for n in 2..6 {
        commit(&pool, n, 1).await;
        seal(&pool).await;
    }
    let mut all = Retention::default();
    all.keep_for = Duration::ZERO;
    trim(&pool, &all, false).await.expect("trim");
    let kept = Postgres::trimmed(&pool).await.expect("trimmed");
    assert_eq!(kept.position, Position(4));
    late.commit().await.expect("commit");
    Postgres::sweep(&pool, 1_000).await.expect("sweep");
    seal(&pool).await;
    let page = PageLimit { rows: 100, bytes: usize::MAX };
    let rows = Postgres::read(&pool, kept, page).await.expect("read");
    let numbers: Vec<i64> =
        rows.iter().map(|row| row.message.decode().expect("a number")).collect();
    assert_eq!(numbers, [1]);
}

/// A role that may only delete keeps the log short all the same, and is told what it lacks.
#[tokio::test]
async fn a_role_without_ownership_deletes_rows() {
    let Some(url) = postgres_database().await else { return };
    let owner = Postgres::connect(&url, 4).await.expect("connect");
    syncline::migrate(&owner).await.expect("migrate");
    let role = format!("r{}", uuid::Uuid::now_v7().simple());
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    );
    owner.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(grants))).await.expect("grant");
    let options = (*owner.connect_options()).clone().username(&role);
    let pool = sqlx::postgres::PgPoolOptions::new().connect_with(options).await.expect("connect");
    commit(&pool, 0, 30).await;
    seal(&pool).await;
    Postgres::extend(&pool, 10).await.expect("nothing is made, and nothing fails");
    let mut all = Retention::default();
    all.keep_for = Duration::ZERO;
    let rows = "SELECT count(*) FROM syncline_outbox WHERE seq <= 30";
    for n in 0..100 {
        let left: i64 = sqlx::query_scalar(rows).fetch_one(&pool).await.expect("a count");
        if left == 0 {
            let found = Postgres::findings(&pool).await.expect("findings");
            let found = found.iter().find(|found| found.check == "partitions").expect("a finding");
            assert_eq!(found.level, Level::Warning, "{found:?}");
            return;
        }
        commit(&pool, 100 + 5 * n, 5).await;
        seal(&pool).await;
        trim(&pool, &all, false).await.expect("trim");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("rows are left");
}
