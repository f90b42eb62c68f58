//! The tables and statements of the campaigns: counters at the source, and what was applied
//! of them at the consumer.

mod mysql;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Executor, Pool, Postgres, Sqlite, Transaction};
use syncline::Storage;

/// How many keys the campaigns write.
pub const KEYS: i64 = 12;

/// What the campaigns ask of a database beside the framework's tables.
#[async_trait]
pub trait Kit: Storage {
    /// Connects with `connections` at most.
    async fn connect(url: &str, connections: u32) -> sqlx::Result<Pool<Self>>;

    /// Runs a statement of a test's own.
    async fn execute(pool: &Pool<Self>, statement: &str) -> sqlx::Result<()>;

    /// Reads one number.
    async fn count(pool: &Pool<Self>, statement: &str) -> sqlx::Result<i64>;

    /// Commits `rows` messages of topic `counter.raised`, by statements for many.
    async fn fill(pool: &Pool<Self>, rows: i64) -> sqlx::Result<()>;

    /// Makes the tables, with every counter at nought.
    async fn prepare(pool: &Pool<Self>) -> sqlx::Result<()>;

    /// Raises a counter, which locks its row, and returns it.
    async fn raise(tx: &mut Transaction<'_, Self>, key: &str) -> sqlx::Result<i64>;

    /// Raises a counter by a statement of its own, without a transaction of ours.
    async fn raise_alone(pool: &Pool<Self>, key: &str) -> sqlx::Result<()>;

    /// Notes that (key, n) was applied; nothing keeps it from being noted twice.
    async fn note(tx: &mut Transaction<'_, Self>, key: &str, n: i64) -> sqlx::Result<()>;

    /// Every counter.
    async fn counters(pool: &Pool<Self>) -> sqlx::Result<Vec<(String, i64)>>;

    /// What was applied, in the order in which it was.
    async fn applied(pool: &Pool<Self>) -> sqlx::Result<Vec<(String, i64)>>;
}

macro_rules! kit {
    ($db:ty, $options:expr, $tables:literal, $fill:literal) => {
        #[async_trait]
        impl Kit for $db {
            async fn connect(url: &str, connections: u32) -> sqlx::Result<Pool<Self>> {
                let pool = sqlx::pool::PoolOptions::<$db>::new().max_connections(connections);
                pool.connect_with($options(url)?).await
            }

            async fn execute(pool: &Pool<Self>, statement: &str) -> sqlx::Result<()> {
                pool.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
                Ok(())
            }

            async fn count(pool: &Pool<Self>, statement: &str) -> sqlx::Result<i64> {
                sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(pool).await
            }

            async fn fill(pool: &Pool<Self>, rows: i64) -> sqlx::Result<()> {
                sqlx::query($fill).bind(rows).execute(pool).await?;
                Ok(())
            }

            async fn prepare(pool: &Pool<Self>) -> sqlx::Result<()> {
                pool.execute($tables).await?;
                for key in 0..KEYS {
                    sqlx::query("INSERT INTO counters (key, n) VALUES ($1, 0)")
                        .bind(format!("key {key}"))
                        .execute(pool)
                        .await?;
                }
                Ok(())
            }

            async fn raise(tx: &mut Transaction<'_, Self>, key: &str) -> sqlx::Result<i64> {
                sqlx::query_scalar("UPDATE counters SET n = n + 1 WHERE key = $1 RETURNING n")
                    .bind(key)
                    .fetch_one(&mut **tx)
                    .await
            }

            async fn raise_alone(pool: &Pool<Self>, key: &str) -> sqlx::Result<()> {
                sqlx::query("UPDATE counters SET n = n + 1 WHERE key = $1")
                    .bind(key)
                    .execute(pool)
                    .await?;
                Ok(())
            }

            async fn note(tx: &mut Transaction<'_, Self>, key: &str, n: i64) -> sqlx::Result<()> {
                sqlx::query("INSERT INTO applied (key, n) VALUES ($1, $2)")
                    .bind(key)
                    .bind(n)
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            }

            async fn counters(pool: &Pool<Self>) -> sqlx::Result<Vec<(String, i64)>> {
                sqlx::query_as("SELECT key, n FROM counters ORDER BY key").fetch_all(pool).await
            }

            async fn applied(pool: &Pool<Self>) -> sqlx::Result<Vec<(String, i64)>> {
                sqlx::query_as("SELECT key, n FROM applied ORDER BY id").fetch_all(pool).await
            }
        }
    };
}

fn postgres(url: &str) -> sqlx::Result<sqlx::postgres::PgConnectOptions> {
    url.parse()
}

fn sqlite(url: &str) -> sqlx::Result<sqlx::sqlite::SqliteConnectOptions> {
    let options: sqlx::sqlite::SqliteConnectOptions = url.parse()?;
    Ok(options
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .busy_timeout(std::time::Duration::from_secs(20)))
}

kit!(
    Postgres,
    postgres,
    "CREATE TABLE counters (key text PRIMARY KEY, n bigint NOT NULL);
     CREATE TABLE applied (id bigserial PRIMARY KEY, key text NOT NULL, n bigint NOT NULL)",
    "INSERT INTO syncline_outbox (topic, key, data)
     SELECT 'counter.raised', 'key ' || n % 12, convert_to(n::text, 'UTF8')
     FROM generate_series(1, $1) AS n"
);
kit!(
    Sqlite,
    sqlite,
    "CREATE TABLE counters (key TEXT PRIMARY KEY, n INTEGER NOT NULL);
     CREATE TABLE applied (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, n INTEGER NOT NULL)",
    "WITH RECURSIVE numbers (n) AS (
         SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1
     )
     INSERT INTO syncline_outbox (topic, key, data)
     SELECT 'counter.raised', 'key ' || n % 12, CAST(CAST(n AS TEXT) AS BLOB) FROM numbers"
);

/// Holds what was applied against the counters: every count of every key once, in order.
///
/// # Errors
/// The first key for which it is not so.
pub fn check_applied(counters: &[(String, i64)], applied: &[(String, i64)]) -> Result<(), String> {
    for (key, n) in counters {
        let of_key: Vec<i64> = applied.iter().filter(|(k, _)| k == key).map(|(_, n)| *n).collect();
        let expected: Vec<i64> = (1..=*n).collect();
        if of_key != expected {
            let at = of_key.iter().zip(&expected).position(|(a, b)| a != b);
            let at = at.unwrap_or(of_key.len().min(expected.len()));
            let (from, to) = (at.saturating_sub(2), (at + 5).min(of_key.len()));
            return Err(format!(
                "{key}: {} applied of {n}; at place {at}: ..{:?}..",
                of_key.len(),
                &of_key[from.min(to)..to]
            ));
        }
    }
    Ok(())
}

/// Raises the counter `key 0` and enqueues its message under the idempotency key `key`, unless that
/// was done before: what a service does that repeats a transaction whose outcome it does not know.
/// The transaction is not committed yet.
///
/// # Errors
/// The database's.
pub async fn raise_once<DB: Kit>(
    pool: &Pool<DB>,
    key: &str,
) -> anyhow::Result<Transaction<'static, DB>> {
    let mut tx = syncline::begin(pool).await?;
    let message = syncline::Message::json("counter.raised", key)?;
    let receipt = syncline::enqueue(&mut tx, &message.idempotency_key(key)).await?;
    if !receipt.repeated {
        DB::raise(&mut tx, "key 0").await?;
    }
    Ok(tx)
}
