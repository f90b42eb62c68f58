//! The log: with one writer, AUTOINCREMENT order is commit order and seq is the position.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::StreamExt;
use sqlx::{Row, Sqlite, SqlitePool, pool::PoolConnection, sqlite::SqliteRow};

use crate::{
    Error, Result,
    message::{Message, Position},
    storage::{
        Blind, Cursor, Lease, LogRow, LogStore, PageLimit, RetentionStore, Sealed, Signal, Watch,
        shared::{collect_page, headers, readable},
    },
};

/// How often another process's commits are looked for: it doubles while nothing happens, and then
/// the process's pulse is left to find them.
const POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

#[async_trait]
impl LogStore for Sqlite {
    async fn seal(pool: &SqlitePool, _lease: &Lease, _limit: i64) -> Result<Sealed> {
        Ok(Sealed { head: Some(Self::head(pool).await?), ..Sealed::default() })
    }

    async fn head(pool: &SqlitePool) -> Result<Position> {
        let head = sqlx::query_scalar(include_str!("sql/head.sql")).fetch_one(pool).await;
        head.map(Position).map_err(Error::database("read the head of the log"))
    }

    async fn read(pool: &SqlitePool, after: Cursor, limit: PageLimit) -> Result<Vec<LogRow>> {
        let rows = sqlx::query(include_str!("sql/read.sql"))
            .bind(after.position.0)
            .bind(limit.rows)
            .fetch(pool)
            .map(|row| row.and_then(|row| log_row(&row)));
        let (page, _) = collect_page(rows, limit).await.map_err(Error::database("read the log"))?;
        if page.first().is_none_or(|row| row.cursor.position.0 > after.position.0 + 1) {
            Self::trimmed(pool).await?.of(after.position)?;
        }
        Ok(page)
    }

    async fn locate(pool: &SqlitePool, position: Position) -> Result<Cursor> {
        Self::trimmed(pool).await?.of(position)?;
        Ok(Cursor { position, seal: 0, seq: position.0 })
    }

    async fn check_durable(pool: &SqlitePool) -> Result<()> {
        let failed = "read the durability settings";
        let mut connection = pool.acquire().await.map_err(Error::database(failed))?;
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
            .fetch_one(&mut *connection)
            .await
            .map_err(Error::database(failed))?;
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(&mut *connection)
            .await
            .map_err(Error::database(failed))?;
        if synchronous < 2 {
            return Err(Error::NotDurable {
                setting: "PRAGMA synchronous",
                found: synchronous.to_string(),
                remedy: "connect with SqliteConnectOptions::synchronous(SqliteSynchronous::Full)",
            });
        }
        if matches!(journal.as_str(), "off" | "memory") {
            return Err(Error::NotDurable {
                setting: "PRAGMA journal_mode",
                found: journal,
                remedy: "use a database file, with journal mode WAL",
            });
        }
        Ok(())
    }

    async fn watch(pool: &SqlitePool, signal: Signal) -> Result<Box<dyn Watch>> {
        Ok(match signal {
            Signal::Outbox => {
                Box::new(DataVersion { pool: pool.clone(), seen: None, pause: POLL.0 })
            }
            Signal::Sagas => Box::new(Blind),
        })
    }

    async fn signal(_pool: &SqlitePool, _signal: Signal) -> Result<()> {
        Ok(())
    }
}

/// `PRAGMA data_version` changes on one connection when another one commits, so the
/// connection is kept.
struct DataVersion {
    pool: SqlitePool,
    seen: Option<(PoolConnection<Sqlite>, i64)>,
    pause: Duration,
}

#[async_trait]
impl Watch for DataVersion {
    async fn changed(&mut self) {
        if self.pause >= POLL.1 {
            self.pause = POLL.0;
        }
        while self.pause < POLL.1 {
            match self.look().await {
                Ok(true) => {
                    self.pause = POLL.0;
                    return;
                }
                Ok(false) => self.pause = (self.pause * 2).min(POLL.1),
                Err(_) => (self.seen, self.pause) = (None, POLL.1),
            }
            tokio::time::sleep(self.pause).await;
        }
        std::future::pending().await
    }
}

impl DataVersion {
    async fn look(&mut self) -> sqlx::Result<bool> {
        let (mut connection, before) = match self.seen.take() {
            Some((connection, version)) => (connection, Some(version)),
            None => (self.pool.acquire().await?, None),
        };
        let version: i64 =
            sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *connection).await?;
        self.seen = Some((connection, version));
        Ok(before.is_some_and(|before| before != version))
    }
}

fn log_row(row: &SqliteRow) -> sqlx::Result<LogRow> {
    let seq: i64 = row.try_get(0)?;
    let cursor = Cursor { position: Position(seq), seal: 0, seq };
    Ok(LogRow { cursor, message: Arc::new(readable(row.try_get(1), message(row))?) })
}

fn message(row: &SqliteRow) -> sqlx::Result<Message> {
    // A TEXT of SQLite need not be UTF-8, if somebody else wrote it.
    let key: Option<Vec<u8>> = row.try_get(3)?;
    Ok(Message {
        id: row.try_get(1)?,
        topic: row.try_get(2)?,
        key: key.map(|key| String::from_utf8_lossy(&key).into_owned()),
        time: DateTime::from_timestamp_micros(row.try_get(4)?).unwrap_or_default(),
        content_type: row.try_get(5)?,
        schema_version: row.try_get(6)?,
        headers: headers(row.try_get(7)?),
        data: Bytes::from(row.try_get::<Vec<u8>, _>(8)?),
        idempotency_key: None,
        due: None,
    })
}
