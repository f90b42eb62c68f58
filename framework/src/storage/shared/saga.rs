//! The store of sagas. What concerns many rows is handed over as one JSON array.

/// Implements the saga store for `$db` over `storage/$dir/sql`; `$create` makes an instance with its
/// first event, and `$save` writes what was decided.
macro_rules! saga_store {
    ($db:ty, $dir:literal, $create:path, $save:path) => {
        #[async_trait]
        impl SagaStore for $db {
            async fn create_saga(tx: &mut Transaction<'_, Self>, new: NewSaga<'_>) -> Result<bool> {
                $create(tx, new).await
            }

            async fn saga_by_key(
                tx: &mut Transaction<'_, Self>,
                saga: &str,
                key: &str,
            ) -> Result<Option<(Uuid, String)>> {
                sqlx::query_as(sql!($dir, "saga_by_key"))
                    .bind(saga)
                    .bind(key)
                    .fetch_optional(&mut **tx)
                    .await
                    .map_err(Error::database("look for a saga by its key"))
            }

            async fn lock_entities(
                tx: &mut Transaction<'_, Self>,
                id: Uuid,
                entities: &[String],
            ) -> Result<Option<(String, Uuid)>> {
                let failed = "lock a saga's entities";
                let all = json(entities)?;
                sqlx::query(sql!($dir, "saga_lock"))
                    .bind(id)
                    .bind(&all)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                sqlx::query_as(sql!($dir, "saga_locked"))
                    .bind(&all)
                    .bind(id)
                    .fetch_optional(&mut **tx)
                    .await
                    .map_err(Error::database(failed))
            }

            async fn unmake_saga(tx: &mut Transaction<'_, Self>, id: Uuid) -> Result<()> {
                run_saga(tx, sql!($dir, "saga_unlock"), hex([&id])?).await?;
                run_saga(tx, sql!($dir, "saga_forget_event"), hex([&id])?).await?;
                sqlx::query(sql!($dir, "saga_undo"))
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("take the start of a saga back"))?;
                Ok(())
            }

            async fn add_events(
                tx: &mut Transaction<'_, Self>,
                events: &[SagaEvent],
            ) -> Result<u64> {
                let mut stored = 0;
                for (all, count) in json_parts(events)? {
                    let new = run_saga(tx, sql!($dir, "saga_event_add"), all.clone()).await?;
                    if new < count {
                        run_saga(tx, sql!($dir, "saga_event_late"), all).await?;
                    }
                    stored += new;
                }
                Ok(stored)
            }

            async fn saga_due(
                pool: &Pool<Self>,
                owners: &[String],
                within: Duration,
            ) -> Result<Option<Duration>> {
                let owners = json(owners)?;
                let due: Option<i64> = sqlx::query_scalar(sql!($dir, "saga_due"))
                    .bind(&owners)
                    .bind(&owners)
                    .bind(millis(within))
                    .fetch_optional(pool)
                    .await
                    .map_err(Error::database("look for sagas that are due"))?;
                Ok(due.map(|due| Duration::from_millis(u64::try_from(due).unwrap_or(0))))
            }

            async fn claim_sagas(
                tx: &mut Transaction<'_, Self>,
                owners: &[String],
                aside: &[Uuid],
                limit: i64,
            ) -> Result<Vec<SagaRow>> {
                let owners = json(owners)?;
                let rows: Vec<(Uuid, String, i32, String, String, String, i64)> =
                    sqlx::query_as(sql!($dir, "saga_claim"))
                        .bind(&owners)
                        .bind(&owners)
                        .bind(hex(aside)?)
                        .bind(limit)
                        .fetch_all(&mut **tx)
                        .await
                        .map_err(Error::database("claim sagas"))?;
                let row = |(id, saga, version, key, input, state, now)| {
                    let now = DateTime::from_timestamp_micros(now).unwrap_or_default();
                    SagaRow { id, saga, version, key, input, state, now }
                };
                Ok(rows.into_iter().map(row).collect())
            }

            async fn pending(
                tx: &mut Transaction<'_, Self>,
                ids: &[Uuid],
                timers: &[SagaTimer],
            ) -> Result<Vec<Pending>> {
                let rows: Vec<(Uuid, i64, String)> = sqlx::query_as(sql!($dir, "saga_pending"))
                    .bind(hex(ids)?)
                    .bind(json(timers)?)
                    .fetch_all(&mut **tx)
                    .await
                    .map_err(Error::database("read the events of sagas"))?;
                Ok(rows.into_iter().map(|(saga, id, text)| Pending { saga, id, text }).collect())
            }

            async fn save_sagas(
                tx: &mut Transaction<'_, Self>,
                changes: &SagaChanges,
            ) -> Result<()> {
                $save(tx, changes).await
            }

            async fn forget_sagas(pool: &Pool<Self>, age: Duration, limit: i64) -> Result<u64> {
                let failed = "forget sagas that are over";
                let mut tx = $crate::storage::begin_as(pool, FORGETTING).await?;
                let ids: Vec<Uuid> = sqlx::query_scalar(sql!($dir, "saga_old"))
                    .bind(millis(age))
                    .bind(limit)
                    .fetch_all(&mut *tx)
                    .await
                    .map_err(Error::database(failed))?;
                if !ids.is_empty() {
                    let all = hex(&ids)?;
                    for statement in [
                        sql!($dir, "saga_forget_log"),
                        sql!($dir, "saga_forget_event"),
                        sql!($dir, "saga_forget"),
                    ] {
                        run_saga(&mut tx, statement, all.clone()).await?;
                    }
                }
                tx.commit().await.map_err(Error::database(failed))?;
                Ok(ids.len() as u64)
            }

            async fn saga_versions(pool: &Pool<Self>) -> Result<Vec<(String, i32, i64)>> {
                sqlx::query_as(sql!($dir, "saga_versions"))
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("count sagas"))
            }
        }

        /// Runs a statement over a JSON array.
        async fn run_saga(
            tx: &mut Transaction<'_, $db>,
            statement: &'static str,
            rows: String,
        ) -> Result<u64> {
            let done = sqlx::query(statement).bind(rows).execute(&mut **tx).await;
            done.map(|done| done.rows_affected()).map_err(Error::database("write sagas"))
        }
    };
}
pub(in crate::storage) use saga_store;

/// What a database does in several statements that cannot change many tables in one.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
macro_rules! saga_apart {
    ($db:ty, $dir:literal) => {
        async fn create_saga(tx: &mut Transaction<'_, $db>, new: NewSaga<'_>) -> Result<bool> {
            let done = sqlx::query(sql!($dir, "saga_create"))
                .bind(new.id)
                .bind(new.saga)
                .bind(new.version)
                .bind(saga_owner(new.saga, new.version))
                .bind(new.key)
                .bind(new.input)
                .bind(new.state)
                .execute(&mut **tx)
                .await;
            let done = inserted(done.map(|done| done.rows_affected()));
            if !done.map_err(Error::database("start a saga"))? {
                return Ok(false);
            }
            let event = SagaEvent { id: new.id, event: new.event.to_owned() };
            run_saga(tx, sql!($dir, "saga_event_add"), json(&[event])?).await?;
            Ok(true)
        }

        async fn save_sagas(tx: &mut Transaction<'_, $db>, changes: &SagaChanges) -> Result<()> {
            let SagaChanges { saves, done, armed, cleared, log } = changes;
            for (statement, parts) in [
                (sql!($dir, "saga_timer_clear"), json_parts(cleared)?),
                (sql!($dir, "saga_timer_set"), json_parts(armed)?),
                (sql!($dir, "saga_log_add"), json_parts(log)?),
                (sql!($dir, "saga_unlock"), json_parts(&ended(saves))?),
                (sql!($dir, "saga_event_done"), json_parts(done)?),
                (sql!($dir, "saga_save"), json_parts(saves)?),
            ] {
                for (part, _) in parts {
                    run_saga(tx, statement, part).await?;
                }
            }
            Ok(())
        }
    };
}
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(in crate::storage) use saga_apart;

/// The instances that are over, whose locks are released.
pub(in crate::storage) fn ended(saves: &[SagaSave]) -> Vec<String> {
    let over = saves.iter().filter(|save| save.ended);
    over.map(|save| save.id.simple().to_string()).collect()
}

use serde::Serialize;
use uuid::Uuid;

use crate::{Error, Result, message::MessageError, storage::SagaSave};

/// So many bytes go in one statement, unless one row alone has more.
const BYTES: usize = 1 << 20;

/// Ids as a JSON array of hexadecimal digits, which every database can read.
pub(in crate::storage) fn hex<'a>(ids: impl IntoIterator<Item = &'a Uuid>) -> Result<String> {
    json(&ids.into_iter().map(|id| id.simple().to_string()).collect::<Vec<_>>())
}

pub(in crate::storage) fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(|error| Error::Message(MessageError::Payload(error)))
}

/// `rows` as JSON arrays that a statement can carry, with the number of rows in each.
pub(in crate::storage) fn json_parts<T: Serialize>(rows: &[T]) -> Result<Vec<(String, u64)>> {
    let mut parts: Vec<(String, u64)> = Vec::new();
    for row in rows {
        let row = json(row)?;
        match parts.last_mut() {
            Some((part, count)) if part.len() + row.len() < BYTES => {
                part.push(',');
                part.push_str(&row);
                *count += 1;
            }
            _ => parts.push((format!("[{row}"), 1)),
        }
    }
    parts.iter_mut().for_each(|(part, _)| part.push(']'));
    Ok(parts)
}
