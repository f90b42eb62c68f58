//! The store of held messages.

/// Implements the held store for `$db` over `storage/$dir/sql`.
macro_rules! held_store {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl HeldStore for $db {
            async fn parked_keys(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                source: &str,
                limit: i64,
            ) -> Result<Vec<String>> {
                sqlx::query_scalar(sql!($dir, "parked_keys"))
                    .bind(consumer)
                    .bind(source)
                    .bind(limit)
                    .fetch_all(&mut **tx)
                    .await
                    .map_err(Error::database("read the parked keys"))
            }

            async fn lock_parked(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                source: &str,
                key: &str,
            ) -> Result<bool> {
                let row: Option<i32> = sqlx::query_scalar(sql!($dir, "parked_lock"))
                    .bind(consumer)
                    .bind(source)
                    .bind(key)
                    .fetch_optional(&mut **tx)
                    .await
                    .map_err(Error::database("lock a parked key"))?;
                Ok(row.is_some())
            }

            async fn park(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                source: &str,
                key: &str,
                after: Option<Duration>,
            ) -> Result<()> {
                let failed = "park a key";
                sqlx::query(sql!($dir, "park"))
                    .bind(consumer)
                    .bind(source)
                    .bind(key)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                let subject = timer_subject(source, key);
                let timer = match after {
                    Some(after) => sqlx::query(sql!($dir, "timer_set"))
                        .bind(TIMER)
                        .bind(consumer)
                        .bind(subject)
                        .bind(millis(after)),
                    None => sqlx::query(sql!($dir, "timer_clear"))
                        .bind(TIMER)
                        .bind(consumer)
                        .bind(subject),
                };
                timer.execute(&mut **tx).await.map_err(Error::database(failed))?;
                Ok(())
            }

            async fn unpark(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                source: &str,
                key: &str,
            ) -> Result<()> {
                let failed = "unpark a key";
                sqlx::query(sql!($dir, "unpark"))
                    .bind(consumer)
                    .bind(source)
                    .bind(key)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                sqlx::query(sql!($dir, "timer_clear"))
                    .bind(TIMER)
                    .bind(consumer)
                    .bind(timer_subject(source, key))
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                Ok(())
            }

            async fn hold(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                key: &str,
                envelope: &Envelope,
                holding: Holding<'_>,
            ) -> Result<()> {
                let bytes = encode_envelope(envelope).map_err(|error| Error::LogBroken {
                    position: envelope.position.0,
                    problem: error.to_string(),
                })?;
                sqlx::query(sql!($dir, "held_add"))
                    .bind(consumer)
                    .bind(&envelope.origin.source)
                    .bind(key)
                    .bind(&envelope.origin.stream)
                    .bind(envelope.origin.shard)
                    .bind(envelope.position.0)
                    .bind(envelope.id)
                    .bind(&envelope.topic)
                    .bind(bytes)
                    .bind(holding.reason.as_str())
                    .bind(i32::from(matches!(
                        holding.reason,
                        HeldReason::Failed | HeldReason::Retry
                    )))
                    .bind(holding.error.map(crate::cap::text))
                    .bind(holding.dead)
                    .bind(holding.reason == HeldReason::Unknown)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("hold a message"))?;
                Ok(())
            }

            async fn held_of_key(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                source: &str,
                key: &str,
                dead: bool,
                limit: i64,
            ) -> Result<Vec<HeldMessage>> {
                let rows = sqlx::query(sql!($dir, "held_of_key"))
                    .bind(consumer)
                    .bind(source)
                    .bind(key)
                    .bind(dead)
                    .bind(limit)
                    .fetch_all(&mut **tx)
                    .await
                    .map_err(Error::database("read held messages"))?;
                rows.iter().map(held_message).collect()
            }

            async fn tried(
                tx: &mut Transaction<'_, Self>,
                id: i64,
                error: &str,
                dead: bool,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "held_tried"))
                    .bind(crate::cap::text(error))
                    .bind(dead)
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("count a try"))?;
                Ok(())
            }

            async fn unhold(tx: &mut Transaction<'_, Self>, id: i64) -> Result<()> {
                sqlx::query(sql!($dir, "held_remove"))
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("remove a held message"))?;
                Ok(())
            }

            async fn mark_unknown(
                tx: &mut Transaction<'_, Self>,
                id: i64,
                error: &str,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "held_unknown"))
                    .bind(crate::cap::text(error))
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("note an unknown message"))?;
                Ok(())
            }

            async fn unknown_keys(
                pool: &Pool<Self>,
                consumer: &str,
            ) -> Result<Vec<(String, String)>> {
                sqlx::query_as(sql!($dir, "unknown_keys"))
                    .bind(consumer)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("read unknown messages"))
            }

            async fn held_count(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                limit: i64,
            ) -> Result<i64> {
                sqlx::query_scalar(sql!($dir, "held_count"))
                    .bind(consumer)
                    .bind(limit)
                    .fetch_one(&mut **tx)
                    .await
                    .map_err(Error::database("count held messages"))
            }

            async fn edit(
                tx: &mut Transaction<'_, Self>,
                id: i64,
                envelope: &[u8],
                by: &str,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "held_edit"))
                    .bind(envelope)
                    .bind(by)
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("edit a held message"))?;
                Ok(())
            }

            async fn due_keys(
                pool: &Pool<Self>,
                consumer: &str,
                within: Duration,
                limit: i64,
            ) -> Result<Vec<DueKey>> {
                let due: Vec<(String, i64)> = sqlx::query_as(sql!($dir, "timer_due"))
                    .bind(TIMER)
                    .bind(consumer)
                    .bind(millis(within))
                    .bind(limit)
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("read due timers"))?;
                let key = |(subject, millis): (String, i64)| {
                    let (source, key) = split_subject(&subject)?;
                    let due_in = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
                    Some(DueKey { source, key, due_in })
                };
                Ok(due.into_iter().filter_map(key).collect())
            }

            async fn overdue_keys(
                pool: &Pool<Self>,
                consumer: Option<&str>,
                late: Duration,
            ) -> Result<Vec<OverdueKeys>> {
                let rows: Vec<(String, i64, i64)> = sqlx::query_as(sql!($dir, "timer_overdue"))
                    .bind(TIMER)
                    .bind(consumer.is_none())
                    .bind(consumer.unwrap_or_default())
                    .bind(millis(late))
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("look for parked keys that nobody tries"))?;
                let overdue = |(consumer, keys, since)| OverdueKeys {
                    consumer,
                    keys,
                    since: from_millis(since),
                };
                Ok(rows.into_iter().map(overdue).collect())
            }

            async fn take_due(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                source: &str,
                key: &str,
                claim: Duration,
            ) -> Result<bool> {
                if !Self::lock_parked(tx, consumer, source, key).await? {
                    return Ok(false);
                }
                let done = sqlx::query(sql!($dir, "timer_take"))
                    .bind(millis(claim))
                    .bind(TIMER)
                    .bind(consumer)
                    .bind(timer_subject(source, key))
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("take a due timer"))?;
                Ok(done.rows_affected() == 1)
            }

            async fn revive(tx: &mut Transaction<'_, Self>, id: i64) -> Result<bool> {
                let done = sqlx::query(sql!($dir, "held_revive"))
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("revive a dead letter"))?;
                if done.rows_affected() != 1 {
                    return Ok(false);
                }
                let Some(held) = held_by_id(tx, id).await? else { return Ok(false) };
                let HeldMessage { consumer, source, key, .. } = &held;
                Self::park(tx, consumer, source, key, Some(Duration::ZERO)).await?;
                Ok(true)
            }
        }

        /// The columns of `held_of_key.sql`, which every statement that reads held messages has.
        fn held_message(row: &<$db as sqlx::Database>::Row) -> Result<HeldMessage> {
            let read = || -> sqlx::Result<HeldMessage> {
                let by: Option<String> = row.try_get(13)?;
                let at: Option<i64> = row.try_get(14)?;
                let edited = by.zip(at).map(|(by, at)| Edited { by, at: from_millis(at) });
                Ok(HeldMessage {
                    id: row.try_get(0)?,
                    consumer: row.try_get(1)?,
                    source: row.try_get(2)?,
                    key: row.try_get(3)?,
                    message_id: row.try_get(4)?,
                    topic: row.try_get(5)?,
                    position: Position(row.try_get(6)?),
                    envelope: row.try_get(7)?,
                    reason: row.try_get(8)?,
                    dead: row.try_get(9)?,
                    attempts: row.try_get(10)?,
                    error: row.try_get(11)?,
                    held_at: from_millis(row.try_get(12)?),
                    edited,
                })
            };
            read().map_err(Error::database("read held messages"))
        }
    };
}
pub(in crate::storage) use held_store;
