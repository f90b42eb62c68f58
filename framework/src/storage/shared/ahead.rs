//! The store of what lies past the watermark.

/// Implements the ahead store for `$db` over `storage/$dir/sql`.
macro_rules! ahead_store {
    ($db:ty, $dir:literal) => {
        async fn ahead_rows<'c>(
            executor: impl sqlx::Executor<'c, Database = $db>,
            consumer: &str,
            origin: &Origin,
            after: Position,
            limit: i64,
        ) -> Result<Vec<AheadRow>> {
            let rows: Vec<(i64, Uuid, i64, Uuid, Option<Vec<u8>>)> =
                sqlx::query_as(sql!($dir, "ahead_next"))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .bind(after.0)
                    .bind(limit)
                    .fetch_all(executor)
                    .await
                    .map_err(Error::database("read messages past the watermark"))?;
            let row = |(position, id, prev, prev_id, envelope)| AheadRow {
                link: Link { position: Position(position), id },
                prev: Link { position: Position(prev), id: prev_id },
                envelope,
            };
            Ok(rows.into_iter().map(row).collect())
        }

        #[async_trait]
        impl AheadStore for $db {
            async fn add_ahead(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                message: &Envelope,
                waits: bool,
            ) -> Result<bool> {
                let bytes = match waits {
                    true => Some(encode_envelope(message).map_err(|error| Error::LogBroken {
                        position: message.position.0,
                        problem: error.to_string(),
                    })?),
                    false => None,
                };
                let origin = &message.origin;
                let done = sqlx::query(sql!($dir, "ahead_add"))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .bind(message.position.0)
                    .bind(message.id)
                    .bind(message.prev.position.0)
                    .bind(message.prev.id)
                    .bind(bytes)
                    .execute(&mut **tx)
                    .await;
                let done = done.map(|done| done.rows_affected());
                inserted(done).map_err(Error::database("note a message past the watermark"))
            }

            async fn claim_ahead(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                message: &Envelope,
            ) -> Result<bool> {
                let origin = &message.origin;
                let done = sqlx::query(sql!($dir, "ahead_claim"))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .bind(message.position.0)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("take a message that waited"))?;
                Ok(done.rows_affected() == 1)
            }

            async fn next_ahead(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                origin: &Origin,
                after: Position,
                limit: i64,
            ) -> Result<Vec<AheadRow>> {
                ahead_rows(&mut **tx, consumer, origin, after, limit).await
            }

            async fn look_ahead(
                pool: &Pool<Self>,
                consumer: &str,
                origin: &Origin,
                after: Position,
                limit: i64,
            ) -> Result<Vec<AheadRow>> {
                ahead_rows(pool, consumer, origin, after, limit).await
            }

            async fn remove_ahead(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                origin: &Origin,
                through: Position,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "ahead_remove"))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .bind(through.0)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("remove messages past the watermark"))?;
                Ok(())
            }

            async fn forget_ahead(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                origin: &Origin,
                position: Position,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "ahead_forget"))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .bind(position.0)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("forget messages that the source has lost"))?;
                Ok(())
            }

            async fn ahead_size(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                origin: &Origin,
            ) -> Result<(i64, i64)> {
                sqlx::query_as(sql!($dir, "ahead_size"))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .fetch_one(&mut **tx)
                    .await
                    .map_err(Error::database("count messages past the watermark"))
            }

            async fn ahead(pool: &Pool<Self>, consumer: Option<&str>) -> Result<Vec<Ahead>> {
                let rows = sqlx::query(sql!($dir, "ahead_gaps"))
                    .bind(consumer.is_none())
                    .bind(consumer.unwrap_or_default())
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("look for messages past the watermark"))?;
                let read = |row: &<$db as sqlx::Database>::Row| -> sqlx::Result<Ahead> {
                    let incarnation = row.try_get(5)?;
                    Ok(Ahead {
                        consumer: row.try_get(0)?,
                        origin: Origin {
                            source: row.try_get(1)?,
                            incarnation,
                            stream: row.try_get(2)?,
                            version: row.try_get(3)?,
                            shard: row.try_get(4)?,
                        },
                        row: inbox_row((
                            incarnation,
                            row.try_get(6)?,
                            row.try_get(7)?,
                            row.try_get(8)?,
                            None,
                        )),
                        first: Position(row.try_get(9)?),
                        waiting: row.try_get(10)?,
                        bytes: row.try_get(11)?,
                        since: from_millis(row.try_get(12)?),
                    })
                };
                let all: sqlx::Result<_> = rows.iter().map(read).collect();
                all.map_err(Error::database("look for messages past the watermark"))
            }

            async fn peek_inbox(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                origin: &Origin,
            ) -> Result<Option<InboxRow>> {
                let row: Option<InboxColumns> = sqlx::query_as(sql!($dir, "inbox_get"))
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .fetch_optional(&mut **tx)
                    .await
                    .map_err(Error::database("read the inbox"))?;
                Ok(row.map(inbox_row))
            }

            async fn mark_seen(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                source: &str,
                id: &str,
            ) -> Result<bool> {
                let done = sqlx::query(sql!($dir, "seen_add"))
                    .bind(consumer)
                    .bind(source)
                    .bind(id)
                    .execute(&mut **tx)
                    .await;
                let done = done.map(|done| done.rows_affected());
                inserted(done).map_err(Error::database("remember a foreign message"))
            }

            async fn purge_seen(
                pool: &Pool<Self>,
                consumer: &str,
                age: Duration,
                limit: i64,
            ) -> Result<u64> {
                let failed = "forget foreign messages";
                let mut tx = $crate::storage::begin_as(pool, FORGETTING).await?;
                let done = sqlx::query(sql!($dir, "seen_purge"))
                    .bind(consumer)
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
pub(in crate::storage) use ahead_store;
