//! What operators read, where the Rust is the same for every database.

/// Defines for `$db`, over `storage/$dir/sql`, what its `Inspect` and `Base` answer with.
macro_rules! shared_reads {
    ($db:ty, $dir:literal) => {
        async fn route_lags(pool: &Pool<$db>) -> Result<Vec<RouteLag>> {
            let rows: Vec<LagColumns> = sqlx::query_as(sql!($dir, "routes"))
                .fetch_all(pool)
                .await
                .map_err(Error::database("read the routes"))?;
            let head = <$db>::head(pool).await?;
            let mut lags = Vec::with_capacity(rows.len());
            for row in rows {
                let (route, stream, position, seal, seq, updated_at, version, shard, ..) = row;
                let (.., paused, alarm_at, lost, kind, problem, problem_at) = row;
                let cursor = Cursor { position: Position(position), seal, seq };
                // One that cannot be sent has no time that is sure to be its own.
                let page = PageLimit { rows: 8, bytes: 1 << 20 };
                let page = <$db>::read(pool, cursor, page).await.unwrap_or_default();
                let oldest = page.iter().find(|row| row.message.topic != crate::message::SET_ASIDE);
                lags.push(RouteLag {
                    route,
                    stream,
                    version,
                    shard,
                    paused,
                    position: cursor.position,
                    behind: (head.0 - position).max(0),
                    oldest: oldest.map(|row| row.message.time),
                    updated_at: from_millis(updated_at),
                    alarm_at: alarm_at.map(from_millis),
                    lost,
                    problem: route_problem(kind, problem, problem_at),
                });
            }
            Ok(lags)
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

/// The columns of `routes.sql`.
pub(in crate::storage) type LagColumns = (
    String,
    String,
    i64,
    i64,
    i64,
    i64,
    i32,
    i32,
    bool,
    Option<i64>,
    bool,
    Option<String>,
    Option<String>,
    Option<i64>,
);
