//! Storage operations that erase payloads. The statements differ by database, the rest does not.

use async_trait::async_trait;
use sqlx::Transaction;
use uuid::Uuid;

use super::Base;
use crate::{Result, message::Envelope};
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
use {
    super::shared::{DELAYED, json, sql},
    crate::{Error, message::encode_envelope},
};

/// The messages to erase: those with one key, or with any key of one instance of a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    exact: String,
    from: String,
    below: String,
}

impl Whose {
    /// Messages with this ordering key.
    pub fn key(key: impl Into<String>) -> Self {
        Self { exact: key.into(), from: String::new(), below: String::new() }
    }

    /// Commands of an instance (`ID/step/...`), and replies to it (`ID`).
    pub fn saga(id: Uuid) -> Self {
        // '0' follows '/'.
        Self { exact: id.to_string(), from: format!("{id}/"), below: format!("{id}0") }
    }

    /// Whether a message with this ordering key is one of them.
    pub fn has(&self, key: &str) -> bool {
        key == self.exact || (key >= &*self.from && key < &*self.below)
    }
}

/// A held message, as far as erasing it needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCopy {
    /// The held table's id.
    pub id: i64,
    /// The consumer that holds it.
    pub consumer: String,
    /// Where it came from.
    pub source: String,
    /// The key that is parked.
    pub key: String,
    /// The envelope, as one CloudEvents JSON object.
    pub envelope: Vec<u8>,
}

/// A step's record in the barrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarrierAnswer {
    /// The service whose saga it is.
    pub source: String,
    /// The step's name.
    pub step: String,
    /// The record, as JSON.
    pub record: String,
}

/// Erases payloads, and leaves all that orders and links messages as it is.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database) from each.
#[async_trait]
pub trait ErasureStore: Base {
    /// Sequence values and ids of messages in the log that are not erased yet.
    async fn rows_to_erase(
        tx: &mut Transaction<'_, Self>,
        whose: &Whose,
    ) -> Result<Vec<(i64, Uuid)>>;

    /// Erases headers and payload of messages of the log, which it locks by sequence value; says of how many.
    async fn erase_rows(tx: &mut Transaction<'_, Self>, seqs: &[i64]) -> Result<u64>;

    /// The same for delayed messages, which travel as links when they are due. Their timers are locked
    /// first, as by those who move or cancel them.
    async fn erase_delayed(tx: &mut Transaction<'_, Self>, whose: &Whose) -> Result<u64>;

    /// Puts 32 bytes of nought in the place of the digests of messages under idempotency keys.
    async fn erase_digests(tx: &mut Transaction<'_, Self>, whose: &Whose) -> Result<()>;

    /// Erases the reason for which a message was rejected.
    async fn erase_reason(tx: &mut Transaction<'_, Self>, message: Uuid) -> Result<()>;

    /// Held messages after `id`, at most `limit`.
    async fn held_copies(
        tx: &mut Transaction<'_, Self>,
        id: i64,
        limit: i64,
    ) -> Result<Vec<HeldCopy>>;

    /// Consumers, and the envelopes of messages that wait past their watermarks.
    async fn ahead_copies(tx: &mut Transaction<'_, Self>) -> Result<Vec<(String, Vec<u8>)>>;

    /// Puts `link` in the place of the message that waits at its position.
    async fn erase_ahead(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        link: &Envelope,
    ) -> Result<u64>;

    /// The instances that were started under a key, of whatever saga.
    async fn sagas_to_erase(tx: &mut Transaction<'_, Self>, key: &str) -> Result<Vec<Uuid>>;

    /// Whether an instance is over, and its state; locked until the transaction ends.
    async fn saga_to_erase(
        tx: &mut Transaction<'_, Self>,
        id: Uuid,
    ) -> Result<Option<(bool, String)>>;

    /// Writes what is left of an instance, and empties the details of its log.
    async fn erase_saga(
        tx: &mut Transaction<'_, Self>,
        id: Uuid,
        input: &str,
        state: &str,
    ) -> Result<()>;

    /// Records of the steps of an instance, of whatever source.
    async fn barrier_answers(
        tx: &mut Transaction<'_, Self>,
        saga: Uuid,
    ) -> Result<Vec<BarrierAnswer>>;

    /// Writes what is left of a record.
    async fn erase_barrier(
        tx: &mut Transaction<'_, Self>,
        saga: Uuid,
        answer: &BarrierAnswer,
    ) -> Result<()>;
}

/// Stands for the digest of a message that was erased: any content under its key is a repetition.
pub(crate) const ERASED_DIGEST: [u8; 32] = [0; 32];

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
/// Implements the erasure store for `$db` over `storage/$dir/sql`; `$text` says how a text is sent.
macro_rules! erasure_store {
    ($db:ty, $dir:literal, $text:expr) => {
        #[async_trait]
        impl ErasureStore for $db {
            async fn rows_to_erase(
                tx: &mut Transaction<'_, Self>,
                whose: &Whose,
            ) -> Result<Vec<(i64, Uuid)>> {
                sqlx::query_as(sql!($dir, "erase_rows_of"))
                    .bind($text(&whose.exact))
                    .bind($text(&whose.from))
                    .bind($text(&whose.below))
                    .fetch_all(&mut **tx)
                    .await
                    .map_err(Error::database("look for messages to erase"))
            }

            async fn erase_rows(tx: &mut Transaction<'_, Self>, seqs: &[i64]) -> Result<u64> {
                let (mut erased, mut seqs) = (0, seqs.to_vec());
                // In one order, so that two transactions cannot wait for each other.
                seqs.sort_unstable();
                for seqs in seqs.chunks(PORTION) {
                    let done = sqlx::query(sql!($dir, "erase_rows"))
                        .bind(json(seqs)?)
                        .execute(&mut **tx)
                        .await
                        .map_err(Error::database("erase messages of the log"))?;
                    erased += done.rows_affected();
                }
                Ok(erased)
            }

            async fn erase_delayed(tx: &mut Transaction<'_, Self>, whose: &Whose) -> Result<u64> {
                let failed = "erase delayed messages";
                let ids: Vec<Uuid> = sqlx::query_scalar(sql!($dir, "erase_delayed_of"))
                    .bind($text(&whose.exact))
                    .bind($text(&whose.from))
                    .bind($text(&whose.below))
                    .fetch_all(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                for ids in ids.chunks(PORTION) {
                    let subjects: Vec<String> =
                        ids.iter().map(|id| id.simple().to_string()).collect();
                    sqlx::query(sql!($dir, "erase_timers"))
                        .bind(json(&subjects)?)
                        .bind(DELAYED)
                        .execute(&mut **tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                let mut erased = 0;
                for id in ids {
                    let done = sqlx::query(sql!($dir, "erase_delayed"))
                        .bind(id)
                        .execute(&mut **tx)
                        .await
                        .map_err(Error::database(failed))?;
                    erased += done.rows_affected();
                }
                Ok(erased)
            }

            async fn erase_digests(tx: &mut Transaction<'_, Self>, whose: &Whose) -> Result<()> {
                let failed = "erase the digests of messages";
                let mut query = sqlx::query_scalar(sql!($dir, "erase_digests_of"));
                for _ in 0..2 {
                    let Whose { exact, from, below } = whose;
                    query = query.bind($text(exact)).bind($text(from)).bind($text(below));
                }
                let mut keys: Vec<String> =
                    query.fetch_all(&mut **tx).await.map_err(Error::database(failed))?;
                keys.sort_unstable();
                for key in keys {
                    sqlx::query(sql!($dir, "erase_digest"))
                        .bind($text(&key))
                        .execute(&mut **tx)
                        .await
                        .map_err(Error::database(failed))?;
                }
                Ok(())
            }

            async fn erase_reason(tx: &mut Transaction<'_, Self>, message: Uuid) -> Result<()> {
                sqlx::query(sql!($dir, "erase_compensated"))
                    .bind(message)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("erase why a message was rejected"))?;
                Ok(())
            }

            async fn held_copies(
                tx: &mut Transaction<'_, Self>,
                id: i64,
                limit: i64,
            ) -> Result<Vec<HeldCopy>> {
                let rows: Vec<(i64, String, String, String, Vec<u8>)> =
                    sqlx::query_as(sql!($dir, "erase_held"))
                        .bind(id)
                        .bind(limit)
                        .fetch_all(&mut **tx)
                        .await
                        .map_err(Error::database("look for held messages to erase"))?;
                let copy = |(id, consumer, source, key, envelope)| HeldCopy {
                    id,
                    consumer,
                    source,
                    key,
                    envelope,
                };
                Ok(rows.into_iter().map(copy).collect())
            }

            async fn ahead_copies(
                tx: &mut Transaction<'_, Self>,
            ) -> Result<Vec<(String, Vec<u8>)>> {
                sqlx::query_as(sql!($dir, "erase_ahead_waiting"))
                    .fetch_all(&mut **tx)
                    .await
                    .map_err(Error::database("look for messages that wait, to erase them"))
            }

            async fn erase_ahead(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                link: &Envelope,
            ) -> Result<u64> {
                let (origin, position) = (&link.origin, link.position);
                let bytes = encode_envelope(link).map_err(|error| Error::LogBroken {
                    position: position.0,
                    problem: error.to_string(),
                })?;
                let done = sqlx::query(sql!($dir, "erase_ahead"))
                    .bind(bytes)
                    .bind(consumer)
                    .bind(&origin.source)
                    .bind(&origin.stream)
                    .bind(origin.version)
                    .bind(origin.shard)
                    .bind(position.0)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("erase a message that waits"))?;
                Ok(done.rows_affected())
            }

            async fn sagas_to_erase(
                tx: &mut Transaction<'_, Self>,
                key: &str,
            ) -> Result<Vec<Uuid>> {
                sqlx::query_scalar(sql!($dir, "erase_sagas_of"))
                    .bind($text(key))
                    .fetch_all(&mut **tx)
                    .await
                    .map_err(Error::database("look for sagas to erase"))
            }

            async fn saga_to_erase(
                tx: &mut Transaction<'_, Self>,
                id: Uuid,
            ) -> Result<Option<(bool, String)>> {
                let row: Option<(String, String)> = sqlx::query_as(sql!($dir, "erase_saga_get"))
                    .bind(id)
                    .fetch_optional(&mut **tx)
                    .await
                    .map_err(Error::database("read a saga to erase it"))?;
                Ok(row.map(|(standing, state)| (standing == "ended", state)))
            }

            async fn erase_saga(
                tx: &mut Transaction<'_, Self>,
                id: Uuid,
                input: &str,
                state: &str,
            ) -> Result<()> {
                let failed = "erase what a saga has kept";
                sqlx::query(sql!($dir, "erase_saga"))
                    .bind($text(input))
                    .bind($text(state))
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                sqlx::query(sql!($dir, "erase_saga_log"))
                    .bind(id)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database(failed))?;
                Ok(())
            }

            async fn barrier_answers(
                tx: &mut Transaction<'_, Self>,
                saga: Uuid,
            ) -> Result<Vec<BarrierAnswer>> {
                let rows: Vec<(String, String, String)> =
                    sqlx::query_as(sql!($dir, "erase_barriers_of"))
                        .bind(saga)
                        .fetch_all(&mut **tx)
                        .await
                        .map_err(Error::database("look for answers to erase"))?;
                let answer = |(source, step, record)| BarrierAnswer { source, step, record };
                Ok(rows.into_iter().map(answer).collect())
            }

            async fn erase_barrier(
                tx: &mut Transaction<'_, Self>,
                saga: Uuid,
                BarrierAnswer { source, step, record }: &BarrierAnswer,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "erase_barrier"))
                    .bind($text(record))
                    .bind(source)
                    .bind(saga)
                    .bind(step)
                    .execute(&mut **tx)
                    .await
                    .map_err(Error::database("erase an answer"))?;
                Ok(())
            }
        }
    };
}

/// The most rows that one statement erases.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
const PORTION: usize = 1_000;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn as_text(text: &str) -> &str {
    text
}

#[cfg(feature = "mysql")]
erasure_store!(sqlx::MySql, "mysql", str::as_bytes);
#[cfg(feature = "postgres")]
erasure_store!(sqlx::Postgres, "postgres", as_text);
#[cfg(feature = "sqlite")]
erasure_store!(sqlx::Sqlite, "sqlite", as_text);
