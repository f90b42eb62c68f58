//! The table of processes, where the Rust is the same for every database.

use std::time::Duration;

use uuid::Uuid;

use super::from_millis;
use crate::storage::{HeldCount, HeldLease, ProcessRow};

/// The columns of `process_list.sql`.
pub(in crate::storage) type ProcessColumns =
    (Uuid, String, String, String, i64, String, String, String, i64, i64, i64);

pub(in crate::storage) fn process_row(row: ProcessColumns) -> ProcessRow {
    let (id, kind, name, host, pid, program, defined, problems, started, seen, now) = row;
    ProcessRow {
        id,
        kind,
        name,
        host,
        pid,
        program,
        defined,
        problems,
        started_at: from_millis(started),
        seen_at: from_millis(seen),
        now: from_millis(now),
    }
}

/// The columns of `lease_list.sql`.
pub(in crate::storage) type LeaseColumns = (String, Uuid, i64, i64);

pub(in crate::storage) fn held_lease((name, holder, epoch, left): LeaseColumns) -> HeldLease {
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    HeldLease { name, holder, epoch, left }
}

/// The columns of `held_counts.sql`.
pub(in crate::storage) type CountColumns = (String, i64, i64, i64, i64);

pub(in crate::storage) fn held_count(row: CountColumns) -> HeldCount {
    let (consumer, held, dead, unknown, since) = row;
    HeldCount { consumer, held, dead, unknown, since: from_millis(since) }
}

/// The statement that writes a process's row.
macro_rules! process_report {
    ($dir:literal, $of:ident) => {
        sqlx::query(sql!($dir, "process_report"))
            .bind($of.id)
            .bind($of.kind)
            .bind($of.name)
            .bind($of.host)
            .bind($of.pid)
            .bind($of.program)
            .bind($of.defined)
            .bind($of.problems)
    };
}
pub(in crate::storage) use process_report;

/// Implements the table of processes for `$db` over `storage/$dir/sql`.
macro_rules! process_store {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl $crate::storage::ProcessStore for $db {
            async fn report_process(
                pool: &Pool<Self>,
                of: $crate::storage::ProcessReport<'_>,
            ) -> Result<()> {
                let report = $crate::storage::shared::process_report!($dir, of).execute(pool).await;
                report.map(drop).map_err(Error::database("report a process"))
            }

            async fn remove_process(pool: &Pool<Self>, id: Uuid) -> Result<()> {
                let leave = sqlx::query(sql!($dir, "process_leave")).bind(id).execute(pool).await;
                leave.map(drop).map_err(Error::database("remove a process"))
            }

            async fn report_within(
                tx: &mut Transaction<'_, Self>,
                of: $crate::storage::ProcessReport<'_>,
            ) -> Result<()> {
                let report =
                    $crate::storage::shared::process_report!($dir, of).execute(&mut **tx).await;
                report.map(drop).map_err(Error::database("write a row"))
            }

            async fn remove_within(tx: &mut Transaction<'_, Self>, id: Uuid) -> Result<()> {
                let leave = sqlx::query(sql!($dir, "process_leave")).bind(id);
                let leave = leave.execute(&mut **tx).await;
                leave.map(drop).map_err(Error::database("remove a row"))
            }

            async fn forget_processes(pool: &Pool<Self>, age: Duration) -> Result<u64> {
                let gone = sqlx::query(sql!($dir, "process_forget"))
                    .bind(millis(age))
                    .execute(pool)
                    .await
                    .map_err(Error::database("forget processes"))?;
                Ok(gone.rows_affected())
            }

            async fn processes(pool: &Pool<Self>) -> Result<Vec<$crate::storage::ProcessRow>> {
                let rows: Vec<$crate::storage::shared::ProcessColumns> =
                    sqlx::query_as(sql!($dir, "process_list"))
                        .fetch_all(pool)
                        .await
                        .map_err(Error::database("list processes"))?;
                Ok(rows.into_iter().map($crate::storage::shared::process_row).collect())
            }

            async fn leases(pool: &Pool<Self>) -> Result<Vec<$crate::storage::HeldLease>> {
                let rows: Vec<$crate::storage::shared::LeaseColumns> =
                    sqlx::query_as(sql!($dir, "lease_list"))
                        .fetch_all(pool)
                        .await
                        .map_err(Error::database("list leases"))?;
                Ok(rows.into_iter().map($crate::storage::shared::held_lease).collect())
            }

            async fn held_counts(pool: &Pool<Self>) -> Result<Vec<$crate::storage::HeldCount>> {
                let rows: Vec<$crate::storage::shared::CountColumns> =
                    sqlx::query_as(sql!($dir, "held_counts"))
                        .fetch_all(pool)
                        .await
                        .map_err(Error::database("count held messages"))?;
                Ok(rows.into_iter().map($crate::storage::shared::held_count).collect())
            }

            async fn unhandled(
                pool: &Pool<Self>,
                limit: i64,
            ) -> Result<Vec<$crate::storage::Unhandled>> {
                let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(sql!($dir, "unhandled"))
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("look for topics without a handler"))?;
                let unhandled = |(consumer, topic, messages, since)| $crate::storage::Unhandled {
                    consumer,
                    topic,
                    messages,
                    since: $crate::storage::shared::from_millis(since),
                };
                Ok(rows.into_iter().map(unhandled).collect())
            }

            async fn time(pool: &Pool<Self>) -> Result<chrono::DateTime<chrono::Utc>> {
                let now: i64 = sqlx::query_scalar(sql!($dir, "time"))
                    .fetch_one(pool)
                    .await
                    .map_err(Error::database("ask for the time"))?;
                Ok($crate::storage::shared::from_millis(now))
            }

            async fn sagas_of_key(
                pool: &Pool<Self>,
                key: &str,
                limit: i64,
            ) -> Result<Vec<SagaSummary>> {
                let rows: Vec<SagaColumns> = sqlx::query_as(sql!($dir, "saga_of_key"))
                    .bind(key)
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("list the sagas of a key"))?;
                Ok(rows.into_iter().map(saga_summary).collect())
            }
        }
    };
}
pub(in crate::storage) use process_store;
