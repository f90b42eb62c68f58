//! Databases with another default isolation level, and transactions at a level.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Executor, MySql, Pool, Postgres, Transaction};

use crate::{kit::Kit, own_server::OwnServer, servers::postgres_database};

/// A database that has isolation levels.
#[async_trait]
pub trait Leveled: Kit {
    /// All levels.
    const LEVELS: &'static [&'static str];

    /// Begins a transaction as a user does who names `level`.
    async fn begin_at(pool: &Pool<Self>, level: &str) -> sqlx::Result<Transaction<'static, Self>>;

    /// How many sessions wait for a row past a watermark that another one has locked.
    async fn waiting(pool: &Pool<Self>) -> sqlx::Result<i64>;

    /// Reads, so that the transaction has a view.
    async fn look(tx: &mut Transaction<'static, Self>) -> sqlx::Result<i64>;

    /// How many messages of a topic stand in the outbox.
    async fn enqueued(pool: &Pool<Self>, topic: &str) -> sqlx::Result<i64>;
}

const LOOK: &str = "SELECT count(*) FROM counters";

#[async_trait]
impl Leveled for Postgres {
    const LEVELS: &'static [&'static str] =
        &["read uncommitted", "read committed", "repeatable read", "serializable"];

    async fn begin_at(pool: &Pool<Self>, level: &str) -> sqlx::Result<Transaction<'static, Self>> {
        pool.begin_with(AssertSqlSafe(format!("BEGIN ISOLATION LEVEL {level}"))).await
    }

    async fn waiting(pool: &Pool<Self>) -> sqlx::Result<i64> {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query_scalar(waiting).fetch_one(pool).await
    }

    async fn look(tx: &mut Transaction<'static, Self>) -> sqlx::Result<i64> {
        sqlx::query_scalar(LOOK).fetch_one(&mut **tx).await
    }

    async fn enqueued(pool: &Pool<Self>, topic: &str) -> sqlx::Result<i64> {
        let count = "SELECT count(*) FROM syncline_outbox WHERE topic = $1";
        sqlx::query_scalar(count).bind(topic).fetch_one(pool).await
    }
}

#[async_trait]
impl Leveled for MySql {
    const LEVELS: &'static [&'static str] =
        &["READ-UNCOMMITTED", "READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"];

    async fn begin_at(pool: &Pool<Self>, level: &str) -> sqlx::Result<Transaction<'static, Self>> {
        let level = level.replace('-', " ");
        let begin = format!("SET TRANSACTION ISOLATION LEVEL {level}; START TRANSACTION");
        pool.begin_with(AssertSqlSafe(begin)).await
    }

    async fn waiting(pool: &Pool<Self>) -> sqlx::Result<i64> {
        let waiting = "SELECT count(*) FROM information_schema.processlist \
                       WHERE db = DATABASE() AND info REGEXP '^(INSERT INTO|DELETE FROM) syncline_ahead' \
                       AND time_ms > 200";
        sqlx::query_scalar(waiting).fetch_one(pool).await
    }

    async fn look(tx: &mut Transaction<'static, Self>) -> sqlx::Result<i64> {
        sqlx::query_scalar(LOOK).fetch_one(&mut **tx).await
    }

    async fn enqueued(pool: &Pool<Self>, topic: &str) -> sqlx::Result<i64> {
        let count = "SELECT count(*) FROM syncline_outbox WHERE topic = ?";
        sqlx::query_scalar(count).bind(topic).fetch_one(pool).await
    }
}

/// A new PostgreSQL database whose sessions begin transactions at `level`; none when PostgreSQL was
/// switched off by name.
///
/// # Panics
/// When there is no server and it was not switched off.
pub async fn postgres_at(level: &str) -> Option<String> {
    let url = postgres_database().await?;
    let pool = <Postgres as Kit>::connect(&url, 1).await.expect("connect");
    let name: String =
        sqlx::query_scalar("SELECT current_database()").fetch_one(&pool).await.expect("its name");
    let set = format!("ALTER DATABASE {name} SET default_transaction_isolation = '{level}'");
    pool.execute(AssertSqlSafe(set)).await.expect("set the level");
    pool.close().await;
    Some(url)
}

/// A new database of `server`, whose new sessions begin transactions at `level` from here on.
///
/// # Panics
/// When the server refuses.
pub async fn mariadb_at(server: &OwnServer<MySql>, level: &str) -> String {
    let url = server.database(None).await;
    let pool = <MySql as Kit>::connect(&url, 1).await.expect("connect");
    let set = format!("SET GLOBAL TRANSACTION ISOLATION LEVEL {}", level.replace('-', " "));
    pool.execute(AssertSqlSafe(set)).await.expect("set the level");
    pool.close().await;
    url
}
