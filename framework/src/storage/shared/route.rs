//! The stores of routes, streams and members. Values are bound in the order in which the
//! statements name them.

/// Implements the route, stream and member stores for `$db` over `storage/$dir/sql`.
macro_rules! route_stores {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl RouteStore for $db {
            async fn create_shards(
                pool: &Pool<Self>,
                stream: &str,
                shards: &[NewShard],
            ) -> Result<()> {
                let failed = "make the shards of a route";
                let mut tx = begin(pool).await?;
                // Nothing is sent that is no longer kept: the log begins at its trim point, which
                // stays where it is until the rows are there.
                let kept: i64 = sqlx::query_scalar(sql!($dir, "trim_hold"))
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(Error::database(failed))?;
                for NewShard { key, at, closed } in shards {
                    let at = Position(at.0.max(kept));
                    sqlx::query(sql!($dir, "route_create"))
                        .bind(&key.route)
                        .bind(key.version)
                        .bind(key.shard)
                        .bind(stream)
                        .bind(at.0)
                        .bind(at.0)
                        .bind(at.0)
                        .bind(*closed)
                        .execute(&mut *tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                tx.commit().await.map_err(Error::database(failed))
            }

            async fn shards(pool: &Pool<Self>) -> Result<Vec<RouteRow>> {
                let failed = "read the routes";
                let rows = sqlx::query(sql!($dir, "route_list")).fetch_all(pool).await;
                let rows = rows.map_err(Error::database(failed))?;
                let rows: sqlx::Result<_> = rows.iter().map(route_row).collect();
                rows.map_err(Error::database(failed))
            }

            async fn shard(pool: &Pool<Self>, key: &ShardKey) -> Result<Option<RouteRow>> {
                let failed = "read a route";
                let row = sqlx::query(sql!($dir, "route_get"))
                    .bind(&key.route)
                    .bind(key.version)
                    .bind(key.shard)
                    .fetch_optional(pool)
                    .await
                    .map_err(Error::database(failed))?;
                row.as_ref().map(route_row).transpose().map_err(Error::database(failed))
            }

            async fn save_checkpoints(
                pool: &Pool<Self>,
                saves: &[Save],
                hold: &(dyn Fn() -> bool + Sync),
            ) -> Result<Vec<bool>> {
                let failed = "save the checkpoints";
                let mut connection = pool.acquire().await.map_err(Error::database(failed))?;
                if !hold() {
                    return Err(Error::ServerChanged);
                }
                let rows = sqlx::types::Json(save_rows(saves));
                sqlx::query(sql!($dir, "route_save"))
                    .bind(&rows)
                    .execute(&mut *connection)
                    .await
                    .map_err(Error::database(failed))?;
                let places: Vec<i32> = sqlx::query_scalar(sql!($dir, "route_saved"))
                    .bind(&rows)
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(Error::database(failed))?;
                let mut saved = vec![false; saves.len()];
                for place in places {
                    if let Some(saved) = saved.get_mut(place as usize) {
                        *saved = true;
                    }
                }
                Ok(saved)
            }

            async fn note_problem(
                pool: &Pool<Self>,
                key: &ShardKey,
                lease: &Lease,
                found: Option<&FoundProblem<'_>>,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "route_problem"))
                    .bind(&lease.name)
                    .bind(lease.holder)
                    .bind(lease.epoch)
                    .bind(&key.route)
                    .bind(key.version)
                    .bind(key.shard)
                    .bind(found.map(|found| found.kind))
                    .bind(found.map(|found| crate::cap::text(found.text)))
                    .bind(found.is_some_and(|found| found.known))
                    .bind(found.map(|found| millis(found.age)))
                    .bind(found.map(|found| i32::try_from(found.tries).unwrap_or(i32::MAX)))
                    .bind(found.and_then(|found| found.next).map(millis))
                    .execute(pool)
                    .await
                    .map_err(Error::database("note why a route does not move"))?;
                Ok(())
            }

            async fn reopen(pool: &Pool<Self>, route: &str, version: i32) -> Result<u64> {
                let done = sqlx::query(sql!($dir, "route_reopen"))
                    .bind(route)
                    .bind(version)
                    .execute(pool)
                    .await
                    .map_err(Error::database("open a closed route again"))?;
                Ok(done.rows_affected())
            }

            async fn set_pause(
                pool: &Pool<Self>,
                route: &str,
                pause: Option<&NewPause<'_>>,
            ) -> Result<u64> {
                let failed = "pause a route";
                let mut tx = begin(pool).await?;
                let done = sqlx::query(sql!($dir, "route_pause"))
                    .bind(pause.is_some())
                    .bind(pause.and_then(|pause| pause.by).map(crate::cap::text))
                    .bind(pause.and_then(|pause| pause.why).map(crate::cap::text))
                    .bind(pause.is_some())
                    .bind(route)
                    .execute(&mut *tx)
                    .await
                    .map_err(Error::database(failed))?;
                tx.commit().await.map_err(Error::database(failed))?;
                Ok(done.rows_affected())
            }

            async fn rewind(pool: &Pool<Self>, to: &[NewShard]) -> Result<()> {
                let failed = "rewind a route";
                let mut tx = begin(pool).await?;
                if let Some(least) = to.iter().filter(|new| !new.closed).map(|new| new.at).min() {
                    Self::hold_trim(&mut tx, least).await?;
                }
                let mut leases: Vec<_> = to.iter().map(|new| new.key.lease_name()).collect();
                leases.sort_unstable();
                for lease in &leases {
                    sqlx::query(sql!($dir, "lease_fence"))
                        .bind(lease)
                        .bind(Uuid::nil())
                        .execute(&mut *tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                for NewShard { key, at, closed } in to {
                    sqlx::query(sql!($dir, "route_rewind"))
                        .bind(at.0)
                        .bind(at.0)
                        .bind(at.0)
                        .bind(*closed)
                        .bind(&key.route)
                        .bind(key.version)
                        .bind(key.shard)
                        .execute(&mut *tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                tx.commit().await.map_err(Error::database(failed))
            }
        }

        #[async_trait]
        impl StreamStore for $db {
            async fn streams(pool: &Pool<Self>) -> Result<Vec<StreamVersion>> {
                let rows: Vec<(String, i32, String, i32, i64, i64)> =
                    sqlx::query_as(sql!($dir, "stream_list"))
                        .fetch_all(pool)
                        .await
                        .map_err(Error::database("read the streams"))?;
                let version = |(name, version, topics, shards, after, created_at)| {
                    let topics: String = topics;
                    StreamVersion {
                        name,
                        version,
                        topics: topics.split_whitespace().map(str::to_owned).collect(),
                        shards,
                        after: Position(after),
                        created_at: from_millis(created_at),
                    }
                };
                Ok(rows.into_iter().map(version).collect())
            }

            async fn define_streams(pool: &Pool<Self>, versions: &[NewVersion]) -> Result<bool> {
                let failed = "define a stream";
                let mut tx = begin(pool).await?;
                for NewVersion { name, version, topics, shards, .. } in versions {
                    let made = sqlx::query(sql!($dir, "stream_create"))
                        .bind(name)
                        .bind(version)
                        .bind(topics.join(" "))
                        .bind(shards)
                        .execute(&mut *tx)
                        .await;
                    match made {
                        Ok(_) => {}
                        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                            return Ok(false);
                        }
                        Err(error) => return Err(Error::database(failed)(error)),
                    }
                }
                let rows = sqlx::query(sql!($dir, "route_list")).fetch_all(&mut *tx).await;
                let rows = rows.map_err(Error::database(failed))?;
                let rows: sqlx::Result<Vec<_>> = rows.iter().map(route_row).collect();
                let rows = rows.map_err(Error::database(failed))?;
                let (leases, shards) = routes_taken_over(versions, rows.into_iter());
                for lease in &leases {
                    sqlx::query(sql!($dir, "lease_fence"))
                        .bind(lease)
                        .bind(Uuid::nil())
                        .execute(&mut *tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                // After the leases: whoever had one knows of no later position.
                let head: i64 = sqlx::query_scalar(sql!($dir, "head"))
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(Error::database(failed))?;
                for NewVersion { name, version, begins, .. } in versions {
                    sqlx::query(sql!($dir, "stream_begin"))
                        .bind(begins.position(head))
                        .bind(name)
                        .bind(version)
                        .execute(&mut *tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                for (key, stream, begins) in &shards {
                    let at = begins.position(head);
                    sqlx::query(sql!($dir, "route_create"))
                        .bind(&key.route)
                        .bind(key.version)
                        .bind(key.shard)
                        .bind(stream)
                        .bind(at)
                        .bind(at)
                        .bind(at)
                        .bind(false)
                        .execute(&mut *tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                tx.commit().await.map_err(Error::database(failed))?;
                Ok(true)
            }

            async fn tell_topics(
                pool: &Pool<Self>,
                name: &str,
                version: i32,
                topics: &[String],
            ) -> Result<()> {
                sqlx::query(sql!($dir, "stream_tell"))
                    .bind(topics.join(" "))
                    .bind(name)
                    .bind(version)
                    .execute(pool)
                    .await
                    .map_err(Error::database("note the topics of a stream"))?;
                Ok(())
            }
        }

        #[async_trait]
        impl MemberStore for $db {
            async fn announce(
                pool: &Pool<Self>,
                holder: Uuid,
                routes: &[String],
                ttl: Duration,
            ) -> Result<Vec<(String, Uuid)>> {
                let failed = "announce a relay process";
                sqlx::query(sql!($dir, "member_set"))
                    .bind(holder)
                    .bind(millis(ttl))
                    .bind(sqlx::types::Json(routes))
                    .execute(pool)
                    .await
                    .map_err(Error::database(failed))?;
                sqlx::query_as(sql!($dir, "member_list"))
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database(failed))
            }

            async fn withdraw(pool: &Pool<Self>, holder: Uuid) -> Result<()> {
                sqlx::query(sql!($dir, "member_remove"))
                    .bind(holder)
                    .execute(pool)
                    .await
                    .map_err(Error::database("withdraw a relay process"))?;
                Ok(())
            }
        }

        /// The columns of `route_list.sql` and `route_get.sql`.
        fn route_row(row: &<$db as sqlx::Database>::Row) -> sqlx::Result<RouteRow> {
            let position = Position(row.try_get(4)?);
            let (seal, seq) = (row.try_get(5)?, row.try_get(6)?);
            let (problem, pause) = route_standing(row, row.try_get(9)?, 13)?;
            Ok(RouteRow {
                key: ShardKey {
                    route: row.try_get(0)?,
                    version: row.try_get(1)?,
                    shard: row.try_get(2)?,
                },
                stream: row.try_get(3)?,
                checkpoint: Checkpoint {
                    cursor: Cursor { position, seal, seq },
                    last: Link { position: Position(row.try_get(7)?), id: row.try_get(8)? },
                },
                paused: row.try_get(9)?,
                closed: row.try_get(10)?,
                alarm_at: row.try_get::<Option<i64>, _>(11)?.map(from_millis),
                lost: row.try_get(12)?,
                problem,
                pause,
            })
        }

        /// The eight columns from `at` on that `route_list.sql` and `routes.sql` both end with.
        fn route_standing(
            row: &<$db as sqlx::Database>::Row,
            paused: bool,
            at: usize,
        ) -> sqlx::Result<(Option<RouteProblem>, Option<RoutePause>)> {
            let time = |at: usize| -> sqlx::Result<_> {
                Ok(row.try_get::<Option<i64>, _>(at)?.map(from_millis))
            };
            let problem = match row.try_get(at)? {
                None => None,
                Some(kind) => Some(RouteProblem {
                    kind,
                    text: row.try_get::<Option<String>, _>(at + 1)?.unwrap_or_default(),
                    since: time(at + 2)?.unwrap_or_default(),
                    tries: row.try_get::<Option<i32>, _>(at + 3)?.unwrap_or(0).unsigned_abs(),
                    next_try: time(at + 4)?,
                }),
            };
            let (by, why) = (row.try_get(at + 5)?, row.try_get(at + 6)?);
            let pause = RoutePause { by, why, since: time(at + 7)? };
            Ok((problem, paused.then_some(pause)))
        }
    };
}
pub(in crate::storage) use route_stores;
