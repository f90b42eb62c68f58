//! The store of retention. Values are bound in the order in which the statements name them.

/// Implements the retention store for `$db` over `storage/$dir/sql`; `$more` is how this database
/// moves the trim point and removes rows.
macro_rules! retention_store {
    ($db:ty, $dir:literal $(, $more:item)*) => {
        #[async_trait]
        impl RetentionStore for $db {
            async fn trimmed(pool: &Pool<Self>) -> Result<Cursor> {
                let (position, seal): (i64, i64) = sqlx::query_as(sql!($dir, "trim_get"))
                    .fetch_one(pool)
                    .await
                    .map_err(Error::database("read where the log begins"))?;
                Ok(Cursor { position: Position(position), seal, seq: 0 })
            }

            async fn hold_trim(tx: &mut Transaction<'_, Self>, position: Position) -> Result<()> {
                let kept: i64 = sqlx::query_scalar(sql!($dir, "trim_hold"))
                    .fetch_one(&mut **tx)
                    .await
                    .map_err(Error::database("read where the log begins"))?;
                match position.0 < kept {
                    true => Err(Error::Trimmed { position: position.0, kept }),
                    false => Ok(()),
                }
            }

            async fn anchors(pool: &Pool<Self>) -> Result<Vec<Anchor>> {
                let rows: Vec<(String, i32, i32, i64, Uuid)> =
                    sqlx::query_as(sql!($dir, "anchor_list"))
                        .fetch_all(pool)
                        .await
                        .map_err(Error::database("read the anchors of the log"))?;
                let anchor = |(stream, version, shard, position, id)| {
                    let last = Link { position: Position(position), id };
                    Anchor { stream, version, shard, last }
                };
                Ok(rows.into_iter().map(anchor).collect())
            }

            async fn anchor(
                pool: &Pool<Self>,
                stream: &str,
                version: i32,
                shard: i32,
            ) -> Result<Option<Link>> {
                let row: Option<(i64, Uuid)> = sqlx::query_as(sql!($dir, "anchor_get"))
                    .bind(stream)
                    .bind(version)
                    .bind(shard)
                    .fetch_optional(pool)
                    .await
                    .map_err(Error::database("read an anchor of the log"))?;
                Ok(row.map(|(position, id)| Link { position: Position(position), id }))
            }

            async fn mark(pool: &Pool<Self>, head: Position) -> Result<()> {
                sqlx::query(sql!($dir, "mark_add"))
                    .bind(head.0)
                    .execute(pool)
                    .await
                    .map_err(Error::database("note where the log ends"))?;
                Ok(())
            }

            async fn aged(pool: &Pool<Self>, age: Duration) -> Result<Position> {
                let position = sqlx::query_scalar(sql!($dir, "mark_aged"))
                    .bind(millis(age))
                    .fetch_one(pool)
                    .await;
                position.map(Position).map_err(Error::database("find out how old the log is"))
            }

            async fn slowest(pool: &Pool<Self>) -> Result<Option<Position>> {
                let least: Option<i64> = sqlx::query_scalar(sql!($dir, "trim_least"))
                    .fetch_one(pool)
                    .await
                    .map_err(Error::database("read the slowest route"))?;
                Ok(least.map(Position))
            }

            async fn trim(
                pool: &Pool<Self>,
                from: Cursor,
                to: Cursor,
                anchors: &[Anchor],
            ) -> Result<bool> {
                let failed = "trim the log";
                let mut tx = begin(pool).await?;
                let moved = sqlx::query(sql!($dir, "trim_set"))
                    .bind(to.position.0)
                    .bind(to.seal)
                    .bind(from.position.0)
                    .execute(&mut *tx)
                    .await
                    .map_err(Error::database(failed))?;
                // Behind the lock of that row: whoever moves a cursor back waits for it.
                let least: Option<i64> = sqlx::query_scalar(sql!($dir, "trim_least"))
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(Error::database(failed))?;
                if moved.rows_affected() != 1 || least.is_some_and(|least| least < to.position.0) {
                    return Ok(false);
                }
                for Anchor { stream, version, shard, last } in anchors {
                    sqlx::query(sql!($dir, "anchor_set"))
                        .bind(stream)
                        .bind(version)
                        .bind(shard)
                        .bind(last.position.0)
                        .bind(last.id)
                        .execute(&mut *tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                sqlx::query(sql!($dir, "mark_purge"))
                    .bind(to.position.0)
                    .execute(&mut *tx)
                    .await
                    .map_err(Error::database(failed))?;
                sqlx::query(sql!($dir, "set_aside_purge"))
                    .bind(to.position.0)
                    .execute(&mut *tx)
                    .await
                    .map_err(Error::database(failed))?;
                tx.commit().await.map_err(Error::database(failed))?;
                Ok(true)
            }

            async fn set_aside(pool: &Pool<Self>, row: &SetAside) -> Result<()> {
                sqlx::query(sql!($dir, "set_aside_add"))
                    .bind(row.position.0)
                    .bind(row.seq)
                    .bind(crate::cap::text(&row.problem))
                    .execute(pool)
                    .await
                    .map_err(Error::database("note a row of the log that cannot be sent"))?;
                Ok(())
            }

            async fn all_set_aside(pool: &Pool<Self>, most: i64) -> Result<Vec<SetAside>> {
                let rows: Vec<(i64, i64, String)> = sqlx::query_as(sql!($dir, "set_aside_list"))
                    .bind(most)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("read which rows of the log were set aside"))?;
                let row = |(position, seq, problem)| {
                    SetAside { position: Position(position), seq, problem }
                };
                Ok(rows.into_iter().map(row).collect())
            }

            async fn judge(pool: &Pool<Self>, patience: Patience) -> Result<u64> {
                let failed = "look for readers that never come back";
                let alarmed = sqlx::query(sql!($dir, "route_alarm"))
                    .bind(patience.alarm_before.0)
                    .bind(millis(patience.alarm_age))
                    .bind(patience.alarm_far.0)
                    .execute(pool)
                    .await
                    .map_err(Error::database(failed))?;
                let lost = sqlx::query(sql!($dir, "route_lose"))
                    .bind(patience.lost_before.0)
                    .bind(millis(patience.lost_age))
                    .bind(millis(patience.heard))
                    .bind(patience.lost_far.0)
                    .bind(millis(patience.heard_far))
                    .execute(pool)
                    .await
                    .map_err(Error::database(failed))?;
                Ok(alarmed.rows_affected() + lost.rows_affected())
            }

            async fn purge(
                pool: &Pool<Self>,
                what: Aged,
                age: Duration,
                most: i64,
            ) -> Result<u64> {
                let statement = match what {
                    Aged::Compensations => sql!($dir, "purge_compensated"),
                    Aged::IdempotencyKeys => sql!($dir, "purge_idempotency"),
                };
                let gone = sqlx::query(statement).bind(millis(age)).bind(most).execute(pool).await;
                let gone = gone.map_err(Error::database("purge what is old"))?;
                Ok(gone.rows_affected())
            }

            async fn kept(pool: &Pool<Self>, longer: Duration) -> Result<Kept> {
                let bytes: i64 = sqlx::query_scalar(sql!($dir, "kept_bytes"))
                    .fetch_one(pool)
                    .await
                    .map_err(Error::database("read the size of the log"))?;
                Ok(Kept {
                    trimmed: Self::trimmed(pool).await?.position,
                    head: Self::head(pool).await?,
                    bytes,
                    held_back: held_back(pool, longer).await?,
                })
            }

            $($more)*
        }
    };
}
pub(in crate::storage) use retention_store;

#[cfg(any(feature = "mysql", feature = "sqlite"))]
use crate::{message::Position, storage::Cursor};

/// So far the trim point moves in one step.
pub(in crate::storage) const STEP: i64 = 20_000;

/// Where positions stand in the rows: anywhere is a place to trim at.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(in crate::storage) fn step(from: Cursor, goal: Position) -> Option<Cursor> {
    let to = goal.0.min(from.position.0.saturating_add(STEP));
    (to > from.position.0).then_some(Cursor { position: Position(to), seal: 0, seq: 0 })
}
