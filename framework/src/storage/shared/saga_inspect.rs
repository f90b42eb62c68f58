//! What an operator asks of sagas.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::from_millis;
use crate::storage::SagaSummary;

/// The columns of `saga_get.sql`, which every statement that lists sagas has.
pub(in crate::storage) type SagaColumns = (
    Uuid,
    String,
    i32,
    String,
    String,
    Option<String>,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<i64>,
);

pub(in crate::storage) fn saga_summary(row: SagaColumns) -> SagaSummary {
    let (id, saga, version, key, status, problem, started, updated, stuck, ended, trouble, failing) =
        row;
    let time = |at: Option<i64>| -> Option<DateTime<Utc>> { at.map(from_millis) };
    SagaSummary {
        id,
        saga,
        version,
        key,
        status,
        problem,
        started_at: from_millis(started),
        updated_at: from_millis(updated),
        stuck_at: time(stuck),
        ended_at: time(ended),
        trouble,
        failing_at: time(failing),
    }
}

/// Implements what operators ask for `$db` over `storage/$dir/sql`.
macro_rules! saga_inspect {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl SagaInspect for $db {
            async fn sagas(
                pool: &Pool<Self>,
                filter: &SagaFilter,
                limit: i64,
            ) -> Result<Vec<SagaSummary>> {
                let SagaFilter { saga, status, before } = filter;
                let rows: Vec<SagaColumns> = sqlx::query_as(sql!($dir, "saga_list"))
                    .bind(saga.is_none())
                    .bind(saga.as_deref().unwrap_or_default())
                    .bind(status.is_none())
                    .bind(status.as_deref().unwrap_or_default())
                    .bind(before.unwrap_or(Uuid::max()))
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("list sagas"))?;
                Ok(rows.into_iter().map(saga_summary).collect())
            }

            async fn stuck_sagas(pool: &Pool<Self>, limit: i64) -> Result<Vec<SagaSummary>> {
                let rows: Vec<SagaColumns> = sqlx::query_as(sql!($dir, "saga_stuck"))
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("list stuck sagas"))?;
                Ok(rows.into_iter().map(saga_summary).collect())
            }

            async fn overdue_sagas(pool: &Pool<Self>, limit: i64) -> Result<Vec<SagaSummary>> {
                let rows: Vec<SagaColumns> = sqlx::query_as(sql!($dir, "saga_overdue"))
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("list overdue sagas"))?;
                Ok(rows.into_iter().map(saga_summary).collect())
            }

            async fn saga(pool: &Pool<Self>, id: Uuid) -> Result<Option<SagaSummary>> {
                let mut reading = reading(pool).await?;
                let row: Option<SagaColumns> = sqlx::query_as(sql!($dir, "saga_get"))
                    .bind(id)
                    .fetch_optional(reading.connection())
                    .await
                    .map_err(Error::database("read a saga"))?;
                Ok(row.map(saga_summary))
            }

            async fn sagas_between(
                pool: &Pool<Self>,
                low: Uuid,
                high: Uuid,
                limit: i64,
            ) -> Result<Vec<SagaSummary>> {
                let rows: Vec<SagaColumns> = sqlx::query_as(sql!($dir, "saga_between"))
                    .bind(low)
                    .bind(high)
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("find sagas by their ids"))?;
                Ok(rows.into_iter().map(saga_summary).collect())
            }

            async fn saga_text(pool: &Pool<Self>, id: Uuid) -> Result<Option<(String, String)>> {
                sqlx::query_as(sql!($dir, "saga_text"))
                    .bind(id)
                    .fetch_optional(pool)
                    .await
                    .map_err(Error::database("read a saga"))
            }

            async fn saga_log(pool: &Pool<Self>, id: Uuid) -> Result<Vec<SagaLogRow>> {
                type Row = (Option<String>, String, Option<i32>, Option<String>, i64);
                let rows: Vec<Row> = sqlx::query_as(sql!($dir, "saga_log"))
                    .bind(id)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("read the log of a saga"))?;
                let row = |(step, what, attempt, detail, at)| {
                    let at = from_millis(at);
                    SagaLogRow { step, what, attempt, detail, at }
                };
                Ok(rows.into_iter().map(row).collect())
            }

            async fn saga_locks(pool: &Pool<Self>, limit: i64) -> Result<Vec<SagaLock>> {
                let rows: Vec<(String, Uuid, i64)> = sqlx::query_as(sql!($dir, "saga_locks"))
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("list locked entities"))?;
                let row = |(entity, saga, at)| SagaLock { entity, saga, since: from_millis(at) };
                Ok(rows.into_iter().map(row).collect())
            }

            async fn release_entity(
                tx: &mut Transaction<'_, Self>,
                entity: &str,
                id: Uuid,
            ) -> Result<bool> {
                let done = sqlx::query(sql!($dir, "saga_release"))
                    .bind(entity)
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("release an entity"))?;
                Ok(done.rows_affected() == 1)
            }

            async fn revive_saga(tx: &mut Transaction<'_, Self>, id: Uuid) -> Result<bool> {
                let done = sqlx::query(sql!($dir, "saga_revive"))
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("have a saga looked at again"))?;
                Ok(done.rows_affected() == 1)
            }

            async fn end_saga(
                tx: &mut Transaction<'_, Self>,
                id: Uuid,
                idle: Duration,
            ) -> Result<bool> {
                let done = sqlx::query(sql!($dir, "saga_end"))
                    .bind(id)
                    .bind(millis(idle))
                    .bind(millis(idle))
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("end a saga"))?;
                if done.rows_affected() == 0 {
                    return Ok(false);
                }
                for statement in [
                    sql!($dir, "saga_timer_forget"),
                    sql!($dir, "saga_unlock"),
                    sql!($dir, "saga_forget_event"),
                ] {
                    run_saga(tx, statement, hex([&id])?).await?;
                }
                Ok(true)
            }
        }
    };
}
pub(in crate::storage) use saga_inspect;
