//! What operators read, where the Rust is the same for every database.

/// Defines for `$db`, over `storage/$dir/sql`, what its `Inspect` and `Base` answer with.
macro_rules! shared_reads {
    ($db:ty, $dir:literal) => {
        async fn route_lags(pool: &Pool<$db>) -> Result<Vec<RouteLag>> {
            let failed = "read the routes";
            let rows = sqlx::query(sql!($dir, "routes")).fetch_all(pool).await;
            let rows = rows.map_err(Error::database(failed))?;
            let head = <$db>::head(pool).await?;
            let mut lags = Vec::with_capacity(rows.len());
            for row in &rows {
                let (mut lag, cursor) = route_lag(row).map_err(Error::database(failed))?;
                // One that cannot be sent has no time that is sure to be its own.
                let page = PageLimit { rows: 8, bytes: 1 << 20 };
                let page = <$db>::read(pool, cursor, page).await.unwrap_or_default();
                let oldest = page.iter().find(|row| row.message.topic != crate::message::SET_ASIDE);
                lag.behind = (head.0 - cursor.position.0).max(0);
                lag.oldest = oldest.map(|row| row.message.time);
                lags.push(lag);
            }
            Ok(lags)
        }

        /// The columns of `routes.sql`; how far it is behind is not among them.
        fn route_lag(row: &<$db as sqlx::Database>::Row) -> sqlx::Result<(RouteLag, Cursor)> {
            let position = Position(row.try_get(2)?);
            let cursor = Cursor { position, seal: row.try_get(3)?, seq: row.try_get(4)? };
            let paused = row.try_get(8)?;
            let (problem, pause) = route_standing(row, paused, 11)?;
            let lag = RouteLag {
                route: row.try_get(0)?,
                stream: row.try_get(1)?,
                version: row.try_get(6)?,
                shard: row.try_get(7)?,
                paused,
                position,
                behind: 0,
                oldest: None,
                updated_at: from_millis(row.try_get(5)?),
                alarm_at: row.try_get::<Option<i64>, _>(9)?.map(from_millis),
                lost: row.try_get(10)?,
                problem,
                pause,
            };
            Ok((lag, cursor))
        }

        async fn held_list(
            pool: &Pool<$db>,
            all: bool,
            after: i64,
            limit: i64,
        ) -> Result<Vec<HeldMessage>> {
            let rows = sqlx::query(sql!($dir, "held_list"))
                .bind(after)
                .bind(all)
                .bind(limit)
                .fetch_all(pool)
                .await
                .map_err(Error::database("read held messages"))?;
            rows.iter().map(held_message).collect()
        }

        async fn held_by_id(
            connection: &mut <$db as sqlx::Database>::Connection,
            id: i64,
        ) -> Result<Option<HeldMessage>> {
            let row = sqlx::query(sql!($dir, "held_by_id"))
                .bind(id)
                .fetch_optional(connection)
                .await
                .map_err(Error::database("read a held message"))?;
            row.as_ref().map(held_message).transpose()
        }

        async fn applied_migrations(pool: &Pool<$db>) -> Result<Vec<AppliedMigration>> {
            let failed = "read the migrations' history";
            let rows = sqlx::query(sql!($dir, "migrations")).fetch_all(pool).await;
            let rows = match rows.map_err(Error::database(failed)) {
                Err(Error::NotMigrated) => return Ok(Vec::new()),
                other => other?,
            };
            let read = |row: &<$db as sqlx::Database>::Row| {
                Ok(AppliedMigration {
                    version: row.try_get(0)?,
                    name: row.try_get(1)?,
                    checksum: row.try_get(2)?,
                    at: row.try_get(3)?,
                })
            };
            let applied: sqlx::Result<_> = rows.iter().map(read).collect();
            applied.map_err(Error::database(failed))
        }
    };
}
pub(in crate::storage) use shared_reads;
