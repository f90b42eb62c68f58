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

/// The statements for `$what`, a [`Savepoint`](super::Savepoint).
macro_rules! savepoint_sql {
    ($what:expr, $dir:literal) => {
        match $what {
            $crate::storage::Savepoint::Set => with_secret(sql!($dir, "savepoint_set")),
            $crate::storage::Savepoint::Next => with_secret(sql!($dir, "savepoint_next")),
            $crate::storage::Savepoint::Back => with_secret(sql!($dir, "savepoint_back")),
        }
    };
}
pub(super) use savepoint_sql;

/// Implements the lease store for `$db` over `storage/$dir/sql`, with `RETURNING`.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
macro_rules! lease_store {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl LeaseStore for $db {
            async fn acquire_all(
                pool: &Pool<Self>,
                names: &[String],
                holder: Uuid,
                ttl: Duration,
            ) -> Result<Vec<Option<Lease>>> {
                let granted: Vec<(String, i64)> = sqlx::query_as(sql!($dir, "lease_acquire"))
                    .bind(sqlx::types::Json(in_order(names)))
                    .bind(holder)
                    .bind(millis(ttl))
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("acquire leases"))?;
                Ok(leases(names, holder, &granted))
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

/// The names as they are locked: two processes that lock many must not wait for each other.
pub(super) fn in_order(names: &[String]) -> Vec<&String> {
    names.iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The answers to `names`, of which those in `granted` are `holder`'s at their epoch.
pub(super) fn leases(
    names: &[String],
    holder: Uuid,
    granted: &[(String, i64)],
) -> Vec<Option<Lease>> {
    let granted: BTreeMap<&str, i64> =
        granted.iter().map(|(name, epoch)| (name.as_str(), *epoch)).collect();
    let lease = |name: &String| {
        let epoch = *granted.get(name.as_str())?;
        Some(Lease { name: name.clone(), holder, epoch })
    };
    names.iter().map(lease).collect()
}

/// Implements the inbox store for `$db` over `storage/$dir/sql`.
macro_rules! shared_stores {
    ($db:ty, $dir:literal $(, $own:item)*) => {
        #[async_trait]
        impl InboxStore for $db {
            $($own)*

            async fn inbox(
                pool: &Pool<Self>,
                consumer: &str,
                origin: &Origin,
            ) -> Result<Option<InboxRow>> {
                let mut reading = reading(pool).await?;
                let row: Option<InboxColumns> = sqlx::query_as(sql!($dir, "inbox_get"))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .fetch_optional(reading.connection())
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
                let saved = sqlx::query(sql!($dir, "inbox_save"))
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
                match saved.rows_affected() {
                    0 => Err(Error::TransactionLost),
                    _ => Ok(()),
                }
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
                    .bind(crate::cap::text(reason))
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
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod append;
mod barrier;
mod held;
mod incarnation;
mod operation;
mod process;
mod pulse;
mod reads;
mod reapply;
mod retention;
mod route;
mod route_rows;
mod saga;
mod saga_inspect;
mod saga_watch;
mod source;
pub(super) use ahead::ahead_store;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(super) use append::{append_sql, bind_row, portions};
pub(super) use barrier::barrier_store;
pub(super) use held::held_store;
pub(super) use incarnation::{TERMS, incarnation_store};
pub(super) use operation::{OperationColumns, operation_row, operation_store};
pub(super) use process::{
    CountColumns, LeaseColumns, ProcessColumns, held_count, held_lease, process_report,
    process_row, process_store,
};
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(super) use pulse::beat_apart;
pub(super) use pulse::{Bound, PulseRow, found, pulse_store};
pub(super) use reads::shared_reads;
pub(super) use reapply::{ListedInbox, listed_inbox, reapply_store};
#[cfg(feature = "postgres")]
pub(super) use retention::STEP;
pub(super) use retention::retention_store;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(super) use retention::step;
pub(super) use route::route_stores;
pub(super) use route_rows::{routes_taken_over, save_rows};
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(super) use saga::saga_apart;
pub(super) use saga::{ended, hex, json, json_parts, saga_store};
pub(super) use saga_inspect::{SagaColumns, saga_inspect, saga_summary};
pub(super) use saga_watch::{saga_steps, saga_watch};
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(super) use source::move_due;
pub(super) use source::{DELAYED, KnownColumns, delay_store, idempotency_store};

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt};
use uuid::Uuid;

pub(super) use crate::cap::millis;

use super::{HeldReason, InboxRow, Lease, LogRow, PageLimit};
use crate::{
    Result, cap,
    message::{Link, Message, MessageError, Position, check_header},
};

/// The kind of the timers that retry parked keys; their subject is "source key".
pub(super) const TIMER: &str = "parked";

pub(super) fn timer_subject(source: &str, key: &str) -> String {
    format!("{source} {key}")
}

pub(super) fn split_subject(subject: &str) -> Option<(String, String)> {
    subject.split_once(' ').map(|(source, key)| (source.to_owned(), key.to_owned()))
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

/// The headers as the JSON text that the outbox stores, which takes so many bytes of it.
pub(super) fn headers_text(message: &Message) -> Result<String> {
    const LIMIT: usize = 1 << 20;
    let text = serde_json::to_string(&message.headers).map_err(MessageError::Payload)?;
    match text.len() {
        0..=LIMIT => Ok(text),
        bytes => Err(MessageError::TooLarge { bytes, limit: LIMIT }.into()),
    }
}

/// The headers as they were stored. What a plain INSERT wrote that is no header is left out, and
/// said: a message without it is worth more than a log that cannot be read.
pub(super) fn headers(text: &str) -> BTreeMap<String, String> {
    if text == "{}" {
        return BTreeMap::new();
    }
    let all = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text);
    let all = all.unwrap_or_else(|error| {
        tracing::error!(%error, "the headers of a message are no JSON object: they are left out");
        BTreeMap::new()
    });
    let text = |(name, value)| match value {
        serde_json::Value::String(value) => (name, value),
        other => (name, other.to_string()),
    };
    let good = |(name, value): &(String, String)| match check_header(name, value) {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "a header of a message is left out");
            false
        }
    };
    all.into_iter().map(text).filter(good).collect()
}

/// A message of the log as `read` from its row, or, where another program has written what cannot be
/// read or sent, what stands for it: one row never stops the log.
pub(super) fn readable(
    id: sqlx::Result<Uuid>,
    read: sqlx::Result<Message>,
) -> sqlx::Result<Message> {
    let problem = match read {
        Ok(message) => match message.validate_attributes() {
            Ok(()) => return Ok(message),
            Err(problem) => problem.to_string(),
        },
        // Another type of the column is a fault of the table: no row of it could be read.
        Err(sqlx::Error::ColumnDecode { source, .. })
            if !source.to_string().starts_with("mismatched types") =>
        {
            source.to_string()
        }
        Err(error) => return Err(error),
    };
    Ok(Message::set_aside(id.unwrap_or_default(), cap::text(&problem)))
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
