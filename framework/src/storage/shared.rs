//! The stores whose Rust is the same for every database; their SQL stands in each database's own
//! `.sql` files. Values are bound in the order in which MySQL's statements name them, for its
//! placeholders have no numbers.

/// Includes `storage/<dir>/sql/<name>.sql`.
macro_rules! sql {
    ($dir:literal, $name:literal) => {
        include_str!(concat!($dir, "/sql/", $name, ".sql"))
    };
}
pub(super) use sql;

/// Implements the lease store for `$db` over `storage/$dir/sql`, with `RETURNING`.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
macro_rules! lease_store {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl LeaseStore for $db {
            async fn acquire(
                pool: &Pool<Self>,
                name: &str,
                holder: Uuid,
                ttl: Duration,
            ) -> Result<Option<Lease>> {
                let epoch: Option<i64> = sqlx::query_scalar(sql!($dir, "lease_acquire"))
                    .bind(name)
                    .bind(holder)
                    .bind(millis(ttl))
                    .fetch_optional(pool)
                    .await
                    .map_err(Error::database("acquire a lease"))?;
                Ok(epoch.map(|epoch| Lease { name: name.to_owned(), holder, epoch }))
            }

            async fn acquire_all(
                pool: &Pool<Self>,
                names: &[String],
                holder: Uuid,
                ttl: Duration,
            ) -> Result<Vec<Option<Lease>>> {
                let failed = "acquire leases";
                let mut tx = begin(pool).await?;
                // In one order, so that two transactions cannot wait for each other.
                let mut order: Vec<usize> = (0..names.len()).collect();
                order.sort_by(|a, b| names[*a].cmp(&names[*b]));
                let mut leases = vec![None; names.len()];
                for index in order {
                    let name = &names[index];
                    let epoch: Option<i64> = sqlx::query_scalar(sql!($dir, "lease_acquire"))
                        .bind(name)
                        .bind(holder)
                        .bind(millis(ttl))
                        .fetch_optional(&mut *tx)
                        .await
                        .map_err(Error::database(failed))?;
                    leases[index] = epoch.map(|epoch| Lease { name: name.clone(), holder, epoch });
                }
                tx.commit().await.map_err(Error::database(failed))?;
                Ok(leases)
            }

            async fn release(pool: &Pool<Self>, lease: &Lease) -> Result<()> {
                sqlx::query(sql!($dir, "lease_release"))
                    .bind(&lease.name)
                    .bind(lease.holder)
                    .bind(lease.epoch)
                    .execute(pool)
                    .await
                    .map_err(Error::database("release a lease"))?;
                Ok(())
            }
        }
    };
}
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) use lease_store;

/// Implements the inbox store for `$db` over `storage/$dir/sql`.
macro_rules! shared_stores {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl InboxStore for $db {
            async fn inbox(
                pool: &Pool<Self>,
                consumer: &str,
                origin: &Origin,
            ) -> Result<Option<InboxRow>> {
                let row: Option<InboxColumns> = sqlx::query_as(sql!($dir, "inbox_get"))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .fetch_optional(pool)
                    .await
                    .map_err(Error::database("read the inbox"))?;
                Ok(row.map(inbox_row))
            }

            async fn lock_inbox(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                origin: &Origin,
                first: InboxRow,
            ) -> Result<InboxRow> {
                let failed = "lock the inbox";
                for _ in 0..2 {
                    let row: Option<InboxColumns> = sqlx::query_as(sql!($dir, "inbox_lock"))
                        .bind(consumer)
                        .bind(&origin.source)
                        .bind(&origin.stream)
                        .bind(origin.version)
                        .bind(origin.shard)
                        .fetch_optional(&mut **tx)
                        .await
                        .map_err(Error::database(failed))?;
                    if let Some(row) = row {
                        return Ok(inbox_row(row));
                    }
                    sqlx::query(sql!($dir, "inbox_create"))
                        .bind(consumer)
                        .bind(&origin.source)
                        .bind(&origin.stream)
                        .bind(origin.version)
                        .bind(origin.shard)
                        .bind(first.incarnation)
                        .bind(first.watermark.0)
                        .bind(first.last.position.0)
                        .bind(first.last.id)
                        .execute(&mut **tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                Err(Error::Database { action: failed, source: sqlx::Error::RowNotFound })
            }

            async fn lock_version(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                origin: &Origin,
            ) -> Result<Vec<(i32, InboxRow)>> {
                let rows: Vec<(Uuid, i64, i64, Uuid, Option<i64>, i32)> =
                    sqlx::query_as(sql!($dir, "inbox_version"))
                        .bind(consumer)
                        .bind(&origin.source)
                        .bind(&origin.stream)
                        .bind(origin.version)
                        .fetch_all(&mut **tx)
                        .await
                        .map_err(Error::database("lock the inbox"))?;
                let row = |(incarnation, watermark, last, id, ended, shard)| {
                    (shard, inbox_row((incarnation, watermark, last, id, ended)))
                };
                Ok(rows.into_iter().map(row).collect())
            }

            async fn save_inbox(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                origin: &Origin,
                row: InboxRow,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "inbox_save"))
                    .bind(row.incarnation)
                    .bind(row.watermark.0)
                    .bind(row.last.position.0)
                    .bind(row.last.id)
                    .bind(row.ended.map(|ended| ended.0))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("move the watermark"))?;
                Ok(())
            }

            async fn mark_compensated(
                tx: &mut Transaction<'_, Self>,
                message: Uuid,
                by: &str,
                reason: &str,
            ) -> Result<bool> {
                let done = sqlx::query(sql!($dir, "compensated_mark"))
                    .bind(message)
                    .bind(by)
                    .bind(reason)
                    .execute(&mut **tx)
                    .await;
                let done = done.map(|done| done.rows_affected());
                inserted(done).map_err(Error::database("record a compensation"))
            }
        }
    };
}
pub(super) use shared_stores;

mod ahead;
mod barrier;
mod held;
mod incarnation;
mod reads;
mod route;
mod saga;
mod saga_inspect;
pub(super) use ahead::ahead_store;
pub(super) use barrier::barrier_store;
pub(super) use held::held_store;
pub(super) use incarnation::{TERMS, incarnation_store};
pub(super) use reads::shared_reads;
pub(super) use route::{RouteColumns, route_row, route_stores};
pub(super) use saga::{hex, json, json_parts, saga_store};
pub(super) use saga_inspect::{SagaColumns, saga_inspect, saga_summary};

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt};
use uuid::Uuid;

use super::{HeldReason, InboxRow, LogRow, PageLimit};
use crate::{
    Error, Result,
    message::{Link, Message, MessageError, Position},
};

/// The kind of the timers that retry parked keys; their subject is "source key".
pub(super) const TIMER: &str = "parked";

pub(super) fn timer_subject(source: &str, key: &str) -> String {
    format!("{source} {key}")
}

pub(super) fn split_subject(subject: &str) -> Option<(String, String)> {
    subject.split_once(' ').map(|(source, key)| (source.to_owned(), key.to_owned()))
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn from_millis(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// The columns of `inbox_get.sql` and `inbox_lock.sql`.
pub(super) type InboxColumns = (Uuid, i64, i64, Uuid, Option<i64>);

pub(super) fn inbox_row((incarnation, watermark, last, id, ended): InboxColumns) -> InboxRow {
    InboxRow {
        incarnation,
        watermark: Position(watermark),
        last: Link { position: Position(last), id },
        ended: ended.map(Position),
    }
}

impl HeldReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            // What nobody handles is told apart by a column of its own.
            Self::Failed | Self::Unknown => "failed",
            Self::Retry => "retry",
            Self::Behind => "behind",
        }
    }
}

/// Whether an INSERT that may find its row there has made it.
pub(super) fn inserted(done: sqlx::Result<u64>) -> sqlx::Result<bool> {
    match done {
        Ok(rows) => Ok(rows == 1),
        // MySQL: only this statement is undone.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The headers as the JSON text that the outbox stores.
pub(super) fn headers_text(message: &Message) -> Result<String> {
    serde_json::to_string(&message.headers)
        .map_err(|error| Error::Message(MessageError::Payload(error)))
}

/// The headers as they were stored.
pub(super) fn headers(text: &str) -> sqlx::Result<BTreeMap<String, String>> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Takes rows while the page has room for them, and says whether it was full before the rows
/// ended; what is not taken is never held in memory.
pub(super) async fn collect_page(
    rows: impl Stream<Item = sqlx::Result<LogRow>>,
    limit: PageLimit,
) -> sqlx::Result<(Vec<LogRow>, bool)> {
    let mut rows = std::pin::pin!(rows);
    let (mut page, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.try_next().await? {
        bytes = bytes.saturating_add(row.message.data.len());
        if bytes > limit.bytes && !page.is_empty() {
            return Ok((page, true));
        }
        page.push(row);
    }
    Ok((page, false))
}
