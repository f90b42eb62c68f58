//! Storage operations that show why sagas do not go on.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::from_millis;
use crate::storage::SagaSteps;

/// The rows of `saga_steps.sql`: an instance's state comes before its timers.
pub(in crate::storage) fn saga_steps(rows: Vec<(Uuid, String, i64)>) -> Vec<SagaSteps> {
    let mut timers: BTreeMap<Uuid, Vec<(String, DateTime<Utc>)>> = BTreeMap::new();
    let mut states = Vec::new();
    for (id, text, due) in rows {
        match due {
            -1 => states.push((id, text)),
            due => timers.entry(id).or_default().push((text, from_millis(due))),
        }
    }
    let with = |(id, state)| {
        let timers = timers.remove(&id).unwrap_or_default();
        SagaSteps { id, state, timers }
    };
    states.into_iter().map(with).collect()
}

/// Implements it for `$db` over `storage/$dir/sql`.
macro_rules! saga_watch {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl SagaWatch for $db {
            async fn failing_sagas(pool: &Pool<Self>, limit: i64) -> Result<Vec<SagaSummary>> {
                let rows: Vec<SagaColumns> = sqlx::query_as(sql!($dir, "saga_failing"))
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("list failing sagas"))?;
                Ok(rows.into_iter().map(saga_summary).collect())
            }

            async fn note_saga_trouble(pool: &Pool<Self>, id: Uuid, trouble: &str) -> Result<()> {
                sqlx::query(sql!($dir, "saga_note"))
                    .bind(trouble)
                    .bind(id)
                    .execute(pool)
                    .await
                    .map_err(Error::database("note why a saga does not go on"))?;
                Ok(())
            }

            async fn saga_steps(pool: &Pool<Self>, ids: &[Uuid]) -> Result<Vec<SagaSteps>> {
                let ids = hex(ids)?;
                let rows: Vec<(Uuid, String, i64)> = sqlx::query_as(sql!($dir, "saga_steps"))
                    .bind(&ids)
                    .bind(&ids)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("read the steps of sagas"))?;
                Ok(saga_steps(rows))
            }

            async fn known_sagas(
                tx: &mut Transaction<'_, Self>,
                ids: &[Uuid],
            ) -> Result<Vec<Uuid>> {
                sqlx::query_scalar(sql!($dir, "saga_known"))
                    .bind(hex(ids)?)
                    .fetch_all(&mut **tx)
                    .await
                    .map_err(Error::database("look for sagas"))
            }

            async fn note_source(pool: &Pool<Self>, role: SourceRole, source: &str) -> Result<()> {
                sqlx::query(sql!($dir, "source_note"))
                    .bind(role.word())
                    .bind(source)
                    .execute(pool)
                    .await
                    .map_err(Error::database("note a source"))?;
                Ok(())
            }

            async fn withdraw_source(
                pool: &Pool<Self>,
                role: SourceRole,
                source: &str,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "source_withdraw"))
                    .bind(role.word())
                    .bind(source)
                    .execute(pool)
                    .await
                    .map_err(Error::database("withdraw a source"))?;
                Ok(())
            }

            async fn forget_sources(pool: &Pool<Self>) -> Result<()> {
                let old = sqlx::query(sql!($dir, "source_forget")).execute(pool).await;
                old.map(drop).map_err(Error::database("forget a source"))
            }

            async fn sources_seen(
                pool: &Pool<Self>,
                role: SourceRole,
                within: Duration,
            ) -> Result<Vec<String>> {
                sqlx::query_scalar(sql!($dir, "source_seen"))
                    .bind(role.word())
                    .bind(millis(within))
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("look for sources"))
            }
        }
    };
}
pub(in crate::storage) use saga_watch;
