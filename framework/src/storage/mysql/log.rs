//! Sealing and reading. One sealer at a time gives the committed rows their positions: it locks
//! the head, and then reads what has none by a plain read, which sees one point in time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use sqlx::{MySql, MySqlPool, Row, Transaction, mysql::MySqlRow, types::chrono::NaiveDateTime};

use uuid::Uuid;

use super::settings::Settings;
use crate::{
    Error, Result, begin,
    message::{Message, Position},
    storage::{
        Blind, Cursor, Lease, LogRow, LogStore, PageLimit, RetentionStore, Sealed, Signal,
        UnsealedRow, Watch,
        shared::{collect_page, headers, readable},
    },
};

/// How often another process's commits are looked for: it doubles while nothing happens, and then
/// the process's pulse is left to find them.
const POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

#[async_trait]
impl LogStore for MySql {
    async fn seal(pool: &MySqlPool, lease: &Lease, limit: i64) -> Result<Sealed> {
        let failed = "seal the log";
        let mut tx = begin(pool).await?;
        let head: i64 = sqlx::query_scalar(include_str!("sql/log_hold.sql"))
            .fetch_one(&mut *tx)
            .await
            .map_err(Error::database(failed))?;
        let rows: Vec<i64> = sqlx::query_scalar(include_str!("sql/seal_rows.sql"))
            .bind(&lease.name)
            .bind(lease.holder)
            .bind(lease.epoch)
            .bind(limit)
            .fetch_all(&mut *tx)
            .await
            .map_err(Error::database(failed))?;
        let (count, newest) = (rows.len() as u64, head + rows.len() as i64);
        if count == 0 {
            tx.rollback().await.map_err(Error::database(failed))?;
            return Ok(Sealed { count, head: Some(Position(head)), rows: Vec::new() });
        }
        let placed = sqlx::query(include_str!("sql/seal.sql"))
            .bind(sqlx::types::Json(&rows))
            .bind(head)
            .execute(&mut *tx)
            .await
            .map_err(Error::database(failed))?;
        if placed.rows_affected() != count {
            return Err(Error::LogBroken {
                position: head + 1,
                problem: format!(
                    "{count} rows were to be sealed there and {} were found",
                    placed.rows_affected()
                ),
            });
        }
        sqlx::query(include_str!("sql/seal_head.sql"))
            .bind(newest)
            .execute(&mut *tx)
            .await
            .map_err(Error::database(failed))?;
        tx.commit().await.map_err(Error::database(failed))?;
        Ok(Sealed { count, head: Some(Position(newest)), rows: Vec::new() })
    }

    async fn head(pool: &MySqlPool) -> Result<Position> {
        let head = sqlx::query_scalar(include_str!("sql/head.sql")).fetch_one(pool).await;
        head.map(Position).map_err(Error::database("read the head of the log"))
    }

    async fn read(pool: &MySqlPool, after: Cursor, limit: PageLimit) -> Result<Vec<LogRow>> {
        let page = read_page(pool, after, limit).await?;
        if !page.is_empty() || Self::head(pool).await? <= after.position {
            return Ok(page);
        }
        // The head may have moved since; what it says now must be there.
        let page = read_page(pool, after, limit).await?;
        match page.is_empty() {
            false => Ok(page),
            true => Err(missing(pool, after.position.0 + 1).await?),
        }
    }

    async fn locate(pool: &MySqlPool, position: Position) -> Result<Cursor> {
        let trimmed = Self::trimmed(pool).await?;
        if position <= trimmed.position {
            return trimmed.of(position);
        }
        let seq: Option<i64> = sqlx::query_scalar(include_str!("sql/locate.sql"))
            .bind(position.0)
            .fetch_optional(pool)
            .await
            .map_err(Error::database("find a position"))?;
        match seq {
            Some(seq) => Ok(Cursor { position, seal: 0, seq }),
            None if position > Self::head(pool).await? => Err(Error::LogBroken {
                position: position.0,
                problem: "it has not been given to a message yet".to_owned(),
            }),
            None => Err(missing(pool, position.0).await?),
        }
    }

    async fn check_durable(pool: &MySqlPool) -> Result<()> {
        Settings::read(pool).await?.check()
    }

    async fn watch(pool: &MySqlPool, signal: Signal) -> Result<Box<dyn Watch>> {
        Ok(match signal {
            Signal::Outbox => Box::new(Changes { pool: pool.clone(), seen: None, pause: POLL.0 }),
            Signal::Sagas => Box::new(Blind),
        })
    }

    async fn signal(_pool: &MySqlPool, _signal: Signal) -> Result<()> {
        // There is nothing to send: the others poll.
        Ok(())
    }
}

async fn read_page(pool: &MySqlPool, after: Cursor, limit: PageLimit) -> Result<Vec<LogRow>> {
    let rows = sqlx::query(include_str!("sql/read.sql"))
        .bind(after.position.0)
        .bind(limit.rows)
        .fetch(pool)
        .map(|row| row.and_then(|row| log_row(&row)));
    let (page, _) = collect_page(rows, limit).await.map_err(Error::database("read the log"))?;
    for (row, position) in page.iter().zip(after.position.0 + 1..) {
        if row.cursor.position.0 != position {
            return Err(missing(pool, position).await?);
        }
    }
    Ok(page)
}

/// Committed messages that have no position, in the order in which they would get one.
pub(super) async fn first_unsealed(pool: &MySqlPool, most: i64) -> Result<Vec<UnsealedRow>> {
    let rows: Vec<(Uuid, String, Option<String>)> =
        sqlx::query_as(include_str!("sql/unsealed_list.sql"))
            .bind(most)
            .fetch_all(pool)
            .await
            .map_err(Error::database("read which messages are not sealed"))?;
    let row = |(id, topic, key)| UnsealedRow { id, topic, key };
    Ok(rows.into_iter().map(row).collect())
}

/// Removes them.
pub(super) async fn discard_unsealed(tx: &mut Transaction<'_, MySql>) -> Result<u64> {
    let failed = "remove the messages that are not sealed";
    let gone = sqlx::query(include_str!("sql/unsealed_discard.sql")).execute(&mut **tx).await;
    Ok(gone.map_err(Error::database(failed))?.rows_affected())
}

/// Why no row has a position.
async fn missing(pool: &MySqlPool, position: i64) -> Result<Error> {
    MySql::trimmed(pool).await?.of(Position(position - 1))?;
    Ok(Error::LogBroken { position, problem: "no row has it".to_owned() })
}

fn log_row(row: &MySqlRow) -> sqlx::Result<LogRow> {
    let cursor = Cursor { position: Position(row.try_get(0)?), seal: 0, seq: row.try_get(1)? };
    Ok(LogRow { cursor, message: Arc::new(readable(row.try_get(2), message(row))?) })
}

fn message(row: &MySqlRow) -> sqlx::Result<Message> {
    Ok(Message {
        id: row.try_get(2)?,
        topic: row.try_get(3)?,
        key: row.try_get(4)?,
        time: row.try_get::<NaiveDateTime, _>(5)?.and_utc(),
        content_type: row.try_get(6)?,
        schema_version: row.try_get(7)?,
        headers: headers(row.try_get(8)?),
        data: Bytes::from(row.try_get::<Vec<u8>, _>(9)?),
        idempotency_key: None,
        due: None,
    })
}

/// Polls the head and the newest sequence value. A row that commits behind a newer one is not
/// noticed: the sealing process's own pace finds it.
struct Changes {
    pool: MySqlPool,
    seen: Option<(i64, i64)>,
    pause: Duration,
}

#[async_trait]
impl Watch for Changes {
    async fn changed(&mut self) {
        if self.pause >= POLL.1 {
            self.pause = POLL.0;
        }
        while self.pause < POLL.1 {
            // First: whoever waits for something else, too, drops this early most of the time.
            tokio::time::sleep(self.pause).await;
            let now = sqlx::query_as(include_str!("sql/changes.sql")).fetch_one(&self.pool).await;
            match now {
                Ok(now) if self.seen.replace(now).is_some_and(|before| before != now) => {
                    self.pause = POLL.0;
                    return;
                }
                Ok(_) => self.pause = (self.pause * 2).min(POLL.1),
                Err(_) => self.pause = POLL.1,
            }
        }
        std::future::pending().await
    }
}
