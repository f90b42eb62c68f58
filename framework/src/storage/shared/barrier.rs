//! The store of the participant's barrier.

/// Implements the barrier store for `$db` over `storage/$dir/sql`; `$make` is the statement that
/// makes a row where that of the claim cannot.
macro_rules! barrier_store {
    ($db:ty, $dir:literal $(, $make:literal)?) => {
        #[async_trait]
        impl BarrierStore for $db {
            async fn claim_barriers(
                tx: &mut Transaction<'_, Self>,
                source: &str,
                steps: &BTreeSet<BarrierStep>,
            ) -> Result<Vec<(BarrierStep, BarrierRow)>> {
                let failed = "claim steps of sagas";
                let all = json(steps)?;
                $(sqlx::query(sql!($dir, $make))
                    .bind(source)
                    .bind(&all)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;)?
                let rows: Vec<(Uuid, String, String, bool, i64)> =
                    sqlx::query_as(sql!($dir, "barrier_claim"))
                        .bind(&all)
                        .bind(source)
                        .fetch_all(&mut **tx)
                        .await
                        .map_err(Error::database(failed))?;
                let row = |(saga, step, record, undone, now)| {
                    let row = BarrierRow { record, undone, now: from_millis(now) };
                    (BarrierStep { saga, step }, row)
                };
                Ok(rows.into_iter().map(row).collect())
            }

            async fn record_barriers(
                tx: &mut Transaction<'_, Self>,
                source: &str,
                records: &[BarrierRecord],
            ) -> Result<()> {
                for (part, _) in json_parts(records)? {
                    sqlx::query(sql!($dir, "barrier_record"))
                        .bind(part)
                        .bind(source)
                        .execute(&mut **tx)
                        .await
                        .map_err(Error::database("record steps of sagas"))?;
                }
                Ok(())
            }

            async fn leave_barrier(
                tx: &mut Transaction<'_, Self>,
                key: BarrierKey<'_>,
            ) -> Result<bool> {
                let done = sqlx::query(sql!($dir, "barrier_leave"))
                    .bind(key.source)
                    .bind(key.saga)
                    .bind(key.step)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("leave a saga's step"))?;
                Ok(done.rows_affected() == 1)
            }

            async fn purge_barriers(
                pool: &Pool<Self>,
                age: Duration,
                limit: i64,
            ) -> Result<u64> {
                let failed = "forget steps of sagas";
                let mut tx = $crate::storage::begin_as(pool, FORGETTING).await?;
                let done = sqlx::query(sql!($dir, "barrier_purge"))
                    .bind(millis(age))
                    .bind(limit)
                    .execute(&mut *tx)
                    .await
                    .map_err(Error::database(failed))?;
                tx.commit().await.map_err(Error::database(failed))?;
                Ok(done.rows_affected())
            }
        }
    };
}
pub(in crate::storage) use barrier_store;
