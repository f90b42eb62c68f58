//! The stores of idempotency keys and of delayed messages.

/// The kind of the timers of delayed messages; they have no owner, and their subject is the
/// message's id.
pub(in crate::storage) const DELAYED: &str = "delayed";

/// The columns of `idempotency_known.sql`.
pub(in crate::storage) type KnownColumns = (uuid::Uuid, Vec<u8>, Option<i64>, Option<String>);

/// Implements the store of idempotency keys for `$db` over `storage/$dir/sql`.
macro_rules! idempotency_store {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl IdempotencyStore for $db {
            async fn claim(
                tx: &mut Transaction<'_, Self>,
                key: &str,
                id: Uuid,
                digest: &[u8],
            ) -> Result<Option<Known>> {
                let failed = "take an idempotency key";
                // Again when the key that was there is deleted between the two.
                for _ in 0..3 {
                    let taken = sqlx::query(sql!($dir, "idempotency_claim"))
                        .bind(text(key))
                        .bind(id)
                        .bind(digest)
                        .execute(&mut **tx)
                        .await;
                    taken.map_err(Error::database(failed))?;
                    let known: Option<KnownColumns> =
                        sqlx::query_as(sql!($dir, "idempotency_known"))
                            .bind(text(key))
                            .fetch_optional(&mut **tx)
                            .await
                            .map_err(Error::database(failed))?;
                    match known {
                        None => continue,
                        // Nobody has written under it yet, and nobody else can now.
                        Some((_, _, None, _)) => return Ok(None),
                        Some((id, digest, Some(seq), xid)) => {
                            let xid = xid.and_then(|xid| xid.parse().ok());
                            let appended = (seq > 0).then_some(Appended { seq, xid });
                            return Ok(Some(Known { id, digest, appended }));
                        }
                    }
                }
                Err(Error::Database { action: failed, source: sqlx::Error::RowNotFound })
            }

            async fn claimed(
                tx: &mut Transaction<'_, Self>,
                key: &str,
                known: &Known,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "idempotency_claimed"))
                    .bind(known.id)
                    .bind(&known.digest)
                    .bind(known.appended.map_or(0, |appended| appended.seq))
                    .bind(text(key))
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("note what an idempotency key stands for"))?;
                Ok(())
            }
        }
    };
}
pub(in crate::storage) use idempotency_store;

/// Implements the store of delayed messages for `$db` over `storage/$dir/sql`; `$time` and `$due`
/// write a message's time and a timer's, `$move` moves what is due.
macro_rules! delay_store {
    ($db:ty, $dir:literal, $time:expr, $due:expr, $move:path) => {
        #[async_trait]
        impl DelayStore for $db {
            async fn delay(
                tx: &mut Transaction<'_, Self>,
                message: &Message,
                due: Due,
            ) -> Result<()> {
                let failed = "keep a delayed message";
                sqlx::query(sql!($dir, "delayed_add"))
                    .bind(message.id)
                    .bind(text(&message.topic))
                    .bind(message.key.as_deref().map(text))
                    .bind($time(message.time))
                    .bind(text(&message.content_type))
                    .bind(message.schema_version)
                    .bind(text(&headers_text(message)?))
                    .bind(&message.data[..])
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                let subject = message.id.simple().to_string();
                let timer = match due {
                    Due::After(after) => sqlx::query(sql!($dir, "timer_set"))
                        .bind(DELAYED)
                        .bind("")
                        .bind(subject)
                        .bind(millis(after)),
                    Due::At(time) => sqlx::query(sql!($dir, "timer_set_at"))
                        .bind(DELAYED)
                        .bind("")
                        .bind(subject)
                        .bind($due(time)),
                };
                timer.execute(&mut **tx).await.map_err(Error::database(failed))?;
                Ok(())
            }

            async fn cancel(tx: &mut Transaction<'_, Self>, id: Uuid) -> Result<bool> {
                let failed = "cancel a delayed message";
                // The timer first, as by the mover: whoever has it decides.
                let timer = sqlx::query(sql!($dir, "timer_clear"))
                    .bind(DELAYED)
                    .bind("")
                    .bind(id.simple().to_string())
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                sqlx::query(sql!($dir, "delayed_remove_one"))
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                Ok(timer.rows_affected() == 1)
            }

            async fn move_due(pool: &Pool<Self>, lease: &Lease, limit: i64) -> Result<u64> {
                $move(pool, lease, limit).await
            }

            async fn next_due(pool: &Pool<Self>) -> Result<Option<Duration>> {
                let millis: Option<i64> = sqlx::query_scalar(sql!($dir, "timer_next"))
                    .bind(DELAYED)
                    .bind("")
                    .fetch_optional(pool)
                    .await
                    .map_err(Error::database("look for delayed messages"))?;
                Ok(millis.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))))
            }

            async fn delayed(pool: &Pool<Self>) -> Result<Delayed> {
                let (waiting, next): (i64, Option<i64>) = sqlx::query_as(sql!($dir, "delayed"))
                    .bind(DELAYED)
                    .bind("")
                    .fetch_one(pool)
                    .await
                    .map_err(Error::database("count delayed messages"))?;
                Ok(Delayed { waiting, next: next.map(from_millis) })
            }

            async fn delayed_of_key(
                pool: &Pool<Self>,
                key: &str,
                limit: i64,
            ) -> Result<Vec<DelayedMessage>> {
                let rows: Vec<(Uuid, String, i64)> = sqlx::query_as(sql!($dir, "delayed_of_key"))
                    .bind(text(key))
                    .bind(DELAYED)
                    .bind("")
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("look for delayed messages of a key"))?;
                let message =
                    |(id, topic, due)| DelayedMessage { id, topic, due: from_millis(due) };
                Ok(rows.into_iter().map(message).collect())
            }
        }
    };
}
pub(in crate::storage) use delay_store;

/// Defines for `$db`, over `storage/$dir/sql`, how due messages are moved where that takes several
/// statements: in one transaction.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
macro_rules! move_due {
    ($db:ty, $dir:literal) => {
        async fn move_due(pool: &Pool<$db>, lease: &Lease, limit: i64) -> Result<u64> {
            let failed = "move delayed messages into the outbox";
            let mut tx = begin(pool).await?;
            let due: Vec<String> = sqlx::query_scalar(sql!($dir, "delayed_due"))
                .bind(DELAYED)
                .bind("")
                .bind(&lease.name)
                .bind(lease.holder)
                .bind(lease.epoch)
                .bind(limit)
                .fetch_all(&mut *tx)
                .await
                .map_err(Error::database(failed))?;
            if due.is_empty() {
                return Ok(0);
            }
            let due = sqlx::types::Json(&due);
            let moved = sqlx::query(sql!($dir, "delayed_append"))
                .bind(due)
                .execute(&mut *tx)
                .await
                .map_err(Error::database(failed))?;
            sqlx::query(sql!($dir, "delayed_remove"))
                .bind(due)
                .execute(&mut *tx)
                .await
                .map_err(Error::database(failed))?;
            sqlx::query(sql!($dir, "timer_remove"))
                .bind(due)
                .bind(DELAYED)
                .bind("")
                .execute(&mut *tx)
                .await
                .map_err(Error::database(failed))?;
            tx.commit().await.map_err(Error::database(failed))?;
            Ok(moved.rows_affected())
        }
    };
}
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(in crate::storage) use move_due;
