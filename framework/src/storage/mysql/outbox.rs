//! The outbox: one INSERT for up to sixteen messages.

use async_trait::async_trait;
use sqlx::{MySql, Transaction};

use super::text;
use crate::{
    Error, Result,
    message::Message,
    storage::{
        Appended, OutboxStore,
        shared::{append_sql, bind_row, headers_text, portions, sql},
    },
};

/// So many bytes of payload go in one statement, which must fit into `max_allowed_packet`.
const BYTES: usize = 1 << 20;

#[async_trait]
impl OutboxStore for MySql {
    async fn append(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> Result<Vec<Appended>> {
        let mut appended = Vec::with_capacity(messages.len());
        let step = if messages.len() > 1 { step(tx).await? } else { 1 };
        for (power, portion) in portions(messages, BYTES) {
            let mut query = sqlx::query(append_sql!(".")[power]);
            for message in portion {
                query = bind_row!(query, message, message.time.naive_utc());
            }
            let done = query.execute(&mut **tx).await;
            let first = done.map_err(Error::database("write the outbox"))?.last_insert_id();
            let first = i64::try_from(first).unwrap_or(i64::MAX);
            // The number of rows is known beforehand, so their values are given out together.
            let seqs = (0..portion.len() as i64).map(|n| first + n * step);
            appended.extend(seqs.map(|seq| Appended { seq, xid: None }));
        }
        Ok(appended)
    }
}

/// How far apart the server's sequence values are.
async fn step(tx: &mut Transaction<'_, MySql>) -> Result<i64> {
    let step: u64 = sqlx::query_scalar(include_str!("sql/step.sql"))
        .fetch_one(&mut **tx)
        .await
        .map_err(Error::database("write the outbox"))?;
    Ok(i64::try_from(step).unwrap_or(1))
}
