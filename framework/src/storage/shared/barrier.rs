//! The store of the participant's barrier.

/// Implements the barrier store for `$db` over `storage/$dir/sql`; `$make` is the statement that
/// makes a row where that of the claim cannot.
macro_rules! barrier_store {
    ($db:ty, $dir:literal $(, $make:literal)?) => {
        #[async_trait]
        impl BarrierStore for $db {
            async fn claim_barrier(
                tx: &mut Transaction<'_, Self>,
                key: BarrierKey<'_>,
            ) -> Result<BarrierRow> {
                $(sqlx::query(sql!($dir, $make))
                    .bind(key.source)
                    .bind(key.saga)
                    .bind(key.step)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("claim a saga's step"))?;)?
                let (record, undone, now) = sqlx::query_as(sql!($dir, "barrier_claim"))
                    .bind(key.source)
                    .bind(key.saga)
                    .bind(key.step)
                    .fetch_one(&mut **tx)
                    .await
                    .map_err(Error::database("claim a saga's step"))?;
                Ok(BarrierRow { record, undone, now: from_millis(now) })
            }

            async fn record_barrier(
                tx: &mut Transaction<'_, Self>,
                key: BarrierKey<'_>,
                record: &str,
                undone: bool,
                not_before: Option<DateTime<Utc>>,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "barrier_record"))
                    .bind(record)
                    .bind(undone)
                    .bind(not_before.map_or(0, |at| at.timestamp_millis()))
                    .bind(key.source)
                    .bind(key.saga)
                    .bind(key.step)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("record a saga's step"))?;
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
                let done = sqlx::query(sql!($dir, "barrier_purge"))
                    .bind(millis(age))
                    .bind(limit)
                    .execute(pool)
                    .await
                    .map_err(Error::database("forget steps of sagas"))?;
                Ok(done.rows_affected())
            }
        }
    };
}
pub(in crate::storage) use barrier_store;
