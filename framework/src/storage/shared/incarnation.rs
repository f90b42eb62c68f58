//! The store of incarnations and terms. Values are bound in the order in which the statements name
//! them.

/// How many terms are kept.
pub(in crate::storage) const TERMS: i64 = 100;

/// Implements the incarnation store for `$db` over `storage/$dir/sql`; `$more` is what only this
/// database has.
macro_rules! incarnation_store {
    ($db:ty, $dir:literal $(, $more:item)*) => {
        #[async_trait]
        impl IncarnationStore for $db {
            async fn incarnation(pool: &Pool<Self>) -> Result<Uuid> {
                sqlx::query_scalar(sql!($dir, "incarnation"))
                    .fetch_one(pool)
                    .await
                    .map_err(Error::database("read the incarnation"))
            }

            async fn former_incarnations(pool: &Pool<Self>) -> Result<Vec<Former>> {
                let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(sql!($dir, "incarnation_list"))
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("read the former incarnations"))?;
                let former = |(incarnation, agreed, ended_at)| Former {
                    incarnation,
                    agreed: Position(agreed),
                    ended_at: from_millis(ended_at),
                };
                Ok(rows.into_iter().map(former).collect())
            }

            async fn begin_incarnation(
                tx: &mut Transaction<'_, Self>,
                agreed: Position,
                lost: &[Uuid],
            ) -> Result<Uuid> {
                let failed = "begin a new incarnation";
                let before: Uuid = sqlx::query_scalar(sql!($dir, "incarnation"))
                    .fetch_one(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                sqlx::query(sql!($dir, "incarnation_lower"))
                    .bind(agreed.0)
                    .bind(agreed.0)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                for former in lost.iter().chain([&before]) {
                    sqlx::query(sql!($dir, "incarnation_former"))
                        .bind(former)
                        .bind(agreed.0)
                        .execute(&mut **tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                let new = Uuid::now_v7();
                sqlx::query(sql!($dir, "incarnation_set"))
                    .bind(new)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                sqlx::query(sql!($dir, "lease_fence_all"))
                    .bind(Uuid::nil())
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                // What is no longer kept cannot be sent again.
                let kept: i64 = sqlx::query_scalar(sql!($dir, "trim_hold"))
                    .fetch_one(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                let back = agreed.0.max(kept);
                sqlx::query(sql!($dir, "route_back"))
                    .bind(back)
                    .bind(back)
                    .bind(back)
                    .bind(back)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                Ok(new)
            }

            async fn hold_log(tx: &mut Transaction<'_, Self>) -> Result<Position> {
                let failed = "keep the log from growing";
                sqlx::raw_sql(sql!($dir, "log_hold"))
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                let head = sqlx::query_scalar(sql!($dir, "head")).fetch_one(&mut **tx).await;
                Ok(Position(head.map_err(Error::database(failed))?))
            }

            async fn note_term(pool: &Pool<Self>, head: Position) -> Result<()> {
                let failed = "note who seals the log";
                sqlx::query(sql!($dir, "term_add"))
                    .bind(head.0)
                    .execute(pool)
                    .await
                    .map_err(Error::database(failed))?;
                sqlx::query(sql!($dir, "term_purge"))
                    .bind(TERMS)
                    .execute(pool)
                    .await
                    .map_err(Error::database(failed))?;
                Ok(())
            }

            async fn terms(pool: &Pool<Self>) -> Result<Vec<Term>> {
                let rows: Vec<(i64, i64)> = sqlx::query_as(sql!($dir, "term_list"))
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("read who sealed the log"))?;
                let term = |(head, began_at)| Term {
                    head: Position(head),
                    began_at: from_millis(began_at),
                };
                Ok(rows.into_iter().map(term).collect())
            }

            $($more)*
        }
    };
}
pub(in crate::storage) use incarnation_store;
