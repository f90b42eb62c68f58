//! How rows without a position are marked on MariaDB and MySQL, each way in the same run: a column of
//! the outbox with an index, which is NULL or 0 until then, or a narrow table beside it and one of
//! positions. See bench/run.

use std::time::{Duration, Instant};

use clap::Parser;
use sqlx::{
    AssertSqlSafe, Connection, Executor, MySqlConnection, MySqlPool, mysql::MySqlPoolOptions,
};
use uuid::Uuid;

/// Measures against the server that SYNCLINE_TEST_MARIADB names.
#[derive(Parser)]
struct Arguments {
    /// A superuser's URL.
    #[arg(long, env = "SYNCLINE_TEST_MARIADB", hide_env_values = true)]
    server: String,
    /// Runs of each variant, in turn.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Messages of a backlog.
    #[arg(long, default_value_t = 100_000)]
    backlog: i64,
}

const WRITERS: usize = 8;
const SECONDS: u64 = 3;
const BATCH: i64 = 5_000;
/// 140 bytes.
const DATA: &str = "REPEAT('x', 140)";
const INSERT: &str = "INSERT INTO outbox (id, topic, `key`, headers, data)
    VALUES (?, 'bench.message', 'key 1', '{}', REPEAT('x', 140))";
const INSERT_TEN: &str = "INSERT INTO outbox (id, topic, `key`, headers, data)
    SELECT ?, 'bench.message', 'key 1', '{}', REPEAT('x', 140)
    FROM JSON_TABLE('[0,1,2,3,4,5,6,7,8,9]', '$[*]' COLUMNS (n INT PATH '$')) AS ten";

/// One way of marking.
struct Variant {
    name: &'static str,
    tables: &'static str,
    /// After the INSERT, in the same transaction.
    mark: Option<&'static str>,
    mark_ten: Option<&'static str>,
    mark_all: Option<&'static str>,
    unsealed: &'static str,
    /// Bound: JSON of the sequence values, the head.
    seal: &'static str,
    /// Bound: JSON of the sequence values.
    forget: Option<&'static str>,
    read: &'static str,
}

const NULL: Variant = Variant {
    name: "column, NULL",
    tables: "CREATE TABLE head (one INT PRIMARY KEY, position BIGINT NOT NULL);
        INSERT INTO head VALUES (1, 0);
        CREATE TABLE outbox (seq BIGINT AUTO_INCREMENT PRIMARY KEY, position BIGINT,
            id BINARY(16) NOT NULL, topic VARBINARY(512) NOT NULL, `key` VARBINARY(512),
            time DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)), headers LONGBLOB NOT NULL,
            data LONGBLOB NOT NULL, UNIQUE KEY by_position (position))",
    mark: None,
    mark_ten: None,
    mark_all: None,
    unsealed: "SELECT seq FROM outbox FORCE INDEX (by_position) WHERE position IS NULL
        ORDER BY seq LIMIT ?",
    seal:
        "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY, seq BIGINT PATH '$')) AS batch
        STRAIGHT_JOIN outbox FORCE INDEX (PRIMARY) ON outbox.seq = batch.seq
        SET outbox.position = ? + batch.place",
    forget: None,
    read: "SELECT position, id, topic, `key`, time, headers, data
        FROM outbox FORCE INDEX (by_position) WHERE position > ? ORDER BY position LIMIT 1000",
};

const ZERO: Variant = Variant {
    name: "column, 0",
    tables: "CREATE TABLE head (one INT PRIMARY KEY, position BIGINT NOT NULL);
        INSERT INTO head VALUES (1, 0);
        CREATE TABLE outbox (seq BIGINT AUTO_INCREMENT PRIMARY KEY,
            position BIGINT NOT NULL DEFAULT 0,
            id BINARY(16) NOT NULL, topic VARBINARY(512) NOT NULL, `key` VARBINARY(512),
            time DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)), headers LONGBLOB NOT NULL,
            data LONGBLOB NOT NULL, KEY by_position (position))",
    unsealed: "SELECT seq FROM outbox FORCE INDEX (by_position) WHERE position = 0
        ORDER BY seq LIMIT ?",
    ..NULL
};

const TABLE: Variant = Variant {
    name: "narrow tables",
    tables: "CREATE TABLE head (one INT PRIMARY KEY, position BIGINT NOT NULL);
        INSERT INTO head VALUES (1, 0);
        CREATE TABLE outbox (seq BIGINT AUTO_INCREMENT PRIMARY KEY,
            id BINARY(16) NOT NULL, topic VARBINARY(512) NOT NULL, `key` VARBINARY(512),
            time DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)), headers LONGBLOB NOT NULL,
            data LONGBLOB NOT NULL);
        CREATE TABLE unsealed (seq BIGINT PRIMARY KEY);
        CREATE TABLE place (position BIGINT PRIMARY KEY, seq BIGINT NOT NULL)",
    mark: Some("INSERT INTO unsealed VALUES (LAST_INSERT_ID())"),
    mark_ten: Some(
        "INSERT INTO unsealed SELECT LAST_INSERT_ID() + n
         FROM JSON_TABLE('[0,1,2,3,4,5,6,7,8,9]', '$[*]' COLUMNS (n INT PATH '$')) AS ten",
    ),
    mark_all: Some("INSERT INTO unsealed SELECT seq FROM outbox"),
    unsealed: "SELECT seq FROM unsealed ORDER BY seq LIMIT ?",
    seal: "INSERT INTO place (seq, position)
        SELECT batch.seq, head.position + batch.place
        FROM JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY, seq BIGINT PATH '$')) AS batch,
             (SELECT ? AS position) AS head",
    forget: Some(
        "DELETE unsealed FROM
         JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY, seq BIGINT PATH '$')) AS batch
         STRAIGHT_JOIN unsealed FORCE INDEX (PRIMARY) ON unsealed.seq = batch.seq",
    ),
    read: "SELECT place.position, id, topic, `key`, time, headers, data
        FROM place STRAIGHT_JOIN outbox ON outbox.seq = place.seq
        WHERE place.position > ? ORDER BY place.position LIMIT 1000",
};

/// What one run measured.
#[derive(Default, Clone, Copy)]
struct Run([f64; 9]);

const VARIANTS: [&Variant; 3] = [&NULL, &ZERO, &TABLE];
const WHAT: [&str; 9] = [
    "insert, 8 writers, nobody seals: tx/s",
    "insert, 8 writers, one seals: tx/s",
    "insert 10 in a transaction, 8 writers, one seals: tx/s",
    "meanwhile sealed: messages/s",
    "seal a backlog: messages/s",
    "read the log, pages of 1,000: messages/s",
    "the same backlog with an old snapshot open: sealed, messages/s",
    "then 10 messages sealed at a time: ms a seal",
    "then a look that finds nothing: ms",
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut runs = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..arguments.pairs {
        for (variant, runs) in VARIANTS.into_iter().zip(&mut runs) {
            runs.push(run(&arguments, variant).await?);
        }
    }
    for (n, what) in WHAT.iter().enumerate() {
        for (variant, runs) in VARIANTS.into_iter().zip(&runs) {
            let mut values: Vec<f64> = runs.iter().map(|run| run.0[n]).collect();
            values.sort_unstable_by(f64::total_cmp);
            println!(
                "{what}: {}: {:.1} ({:.1} to {:.1})",
                variant.name,
                values[values.len() / 2],
                values[0],
                values[values.len() - 1]
            );
        }
    }
    Ok(())
}

async fn run(arguments: &Arguments, variant: &'static Variant) -> anyhow::Result<Run> {
    let mut admin = MySqlConnection::connect(&arguments.server).await?;
    let name = format!("bench_{}", Uuid::now_v7().simple());
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let at = arguments.server.rfind('/').unwrap_or(arguments.server.len());
    let url = format!("{}/{name}", &arguments.server[..at]);
    let pool = MySqlPoolOptions::new()
        .max_connections(20)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let set = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
                connection.execute(set).await.map(drop)
            })
        })
        .connect(&url)
        .await?;
    pool.execute(variant.tables).await?;
    let mut run = Run::default();
    run.0[0] = write(&pool, variant, 1, false).await?.0;
    run.0[1] = write(&pool, variant, 1, true).await?.0;
    (run.0[2], run.0[3]) = write(&pool, variant, 10, true).await?;
    while seal(&pool, variant, BATCH).await? > 0 {}

    let (rate, backlog) = seal_backlog(&pool, variant, arguments.backlog).await?;
    run.0[4] = rate;
    run.0[5] = read(&pool, variant, backlog).await?;

    let mut old = pool.acquire().await?;
    old.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
    run.0[6] = seal_backlog(&pool, variant, arguments.backlog).await?.0;
    let (mut spent, mut looked) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..20 {
        for _ in 0..10 {
            insert(&pool, variant, 1).await?;
        }
        let began = Instant::now();
        seal(&pool, variant, BATCH).await?;
        spent += began.elapsed();
        let began = Instant::now();
        seal(&pool, variant, BATCH).await?;
        looked += began.elapsed();
    }
    run.0[7] = spent.as_secs_f64() * 1_000.0 / 20.0;
    run.0[8] = looked.as_secs_f64() * 1_000.0 / 20.0;
    old.execute("ROLLBACK").await?;
    drop(old);
    pool.close().await;
    admin.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await?;
    Ok(run)
}

async fn insert(pool: &MySqlPool, variant: &Variant, count: usize) -> sqlx::Result<()> {
    let (sql, mark) = match count {
        1 => (INSERT, variant.mark),
        _ => (INSERT_TEN, variant.mark_ten),
    };
    let mut tx = pool.begin().await?;
    sqlx::query(sql).bind(Uuid::now_v7()).execute(&mut *tx).await?;
    if let Some(mark) = mark {
        sqlx::query(mark).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Transactions a second of all writers together, and messages that were sealed meanwhile.
async fn write(
    pool: &MySqlPool,
    variant: &'static Variant,
    count: usize,
    sealing: bool,
) -> anyhow::Result<(f64, f64)> {
    let until = Instant::now() + Duration::from_secs(SECONDS);
    let sealer = pool.clone();
    let sealer = tokio::spawn(async move {
        let mut done = 0;
        while sealing && Instant::now() < until {
            match seal(&sealer, variant, BATCH).await? {
                0 => tokio::time::sleep(Duration::from_millis(2)).await,
                some => done += some,
            }
        }
        anyhow::Ok(done)
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut done = 0_u32;
                while Instant::now() < until {
                    insert(&pool, variant, count).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            })
        })
        .collect();
    let mut total = 0;
    for writer in writers {
        total += writer.await??;
    }
    let seconds = SECONDS as f64;
    Ok((f64::from(total) / seconds, sealer.await?? as f64 / seconds))
}

/// One batch, as the framework does it; returns how many.
async fn seal(pool: &MySqlPool, variant: &Variant, limit: i64) -> sqlx::Result<usize> {
    let mut tx = pool.begin().await?;
    let head: i64 = sqlx::query_scalar("SELECT position FROM head WHERE one = 1 FOR UPDATE")
        .fetch_one(&mut *tx)
        .await?;
    let rows: Vec<i64> =
        sqlx::query_scalar(variant.unsealed).bind(limit).fetch_all(&mut *tx).await?;
    if rows.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    let json = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(variant.seal).bind(&json).bind(head).execute(&mut *tx).await?;
    if let Some(forget) = variant.forget {
        sqlx::query(forget).bind(&json).execute(&mut *tx).await?;
    }
    sqlx::query("UPDATE head SET position = position + ?")
        .bind(rows.len() as i64)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows.len())
}

/// Messages a second, and how many are in the log then.
async fn seal_backlog(
    pool: &MySqlPool,
    variant: &Variant,
    count: i64,
) -> anyhow::Result<(f64, i64)> {
    let before: i64 = sqlx::query_scalar("SELECT MAX(seq) FROM outbox").fetch_one(pool).await?;
    let mut tx = pool.begin().await?;
    let fill = format!(
        "INSERT INTO outbox (id, topic, `key`, headers, data)
         SELECT UNHEX(MD5(n)), 'bench.message', 'key 1', '{{}}', {DATA}
         FROM (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers
               WHERE n < {count}) SELECT n FROM numbers) AS filled"
    );
    tx.execute("SET max_recursive_iterations = 100000000").await?;
    tx.execute(AssertSqlSafe(fill)).await?;
    if let Some(mark) = variant.mark_all {
        sqlx::query(AssertSqlSafe(format!("{mark} WHERE seq > ?")))
            .bind(before)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    let began = Instant::now();
    let mut sealed = 0;
    loop {
        match seal(pool, variant, BATCH).await? {
            0 => break,
            some => sealed += some,
        }
    }
    let rate = sealed as f64 / began.elapsed().as_secs_f64();
    let head = sqlx::query_scalar("SELECT position FROM head").fetch_one(pool).await?;
    Ok((rate, head))
}

async fn read(pool: &MySqlPool, variant: &Variant, count: i64) -> anyhow::Result<f64> {
    let (began, mut after) = (Instant::now(), 0_i64);
    while after < count {
        let rows = sqlx::query(variant.read).bind(after).fetch_all(pool).await?;
        anyhow::ensure!(!rows.is_empty(), "the log ends at {after} of {count}");
        after += rows.len() as i64;
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
