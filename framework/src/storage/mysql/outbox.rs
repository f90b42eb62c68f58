//! The outbox: one INSERT for one message, one for each sixteen of many.

use async_trait::async_trait;
use sqlx::{MySql, Transaction, mysql::MySqlArguments, query::Query};

use crate::{
    Error, Result,
    message::Message,
    storage::{Appended, OutboxStore, shared::headers_text},
};

/// The rows of `sql/append_many.sql`.
const MANY: usize = 16;
/// So many bytes of payload go in one statement, which must fit into `max_allowed_packet`.
const BYTES: usize = 1 << 20;

#[async_trait]
impl OutboxStore for MySql {
    async fn append(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> Result<Vec<Appended>> {
        let mut appended = Vec::with_capacity(messages.len());
        let step = if messages.len() < MANY { 1 } else { step(tx).await? };
        for chunk in messages.chunks(MANY) {
            let bytes: usize = chunk.iter().map(|message| message.data.len()).sum();
            if chunk.len() == MANY && bytes <= BYTES {
                let mut query = sqlx::query(include_str!("sql/append_many.sql"));
                for message in chunk {
                    query = bind(query, message)?;
                }
                // The number of rows is known beforehand, so their values are given out together.
                let first = execute(tx, query).await?;
                let seqs = (0..MANY as i64).map(|n| first + n * step);
                appended.extend(seqs.map(|seq| Appended { seq, xid: None }));
                continue;
            }
            for message in chunk {
                let query = bind(sqlx::query(include_str!("sql/append.sql")), message)?;
                appended.push(Appended { seq: execute(tx, query).await?, xid: None });
            }
        }
        Ok(appended)
    }
}

type Insert<'q> = Query<'q, MySql, MySqlArguments>;

fn bind<'q>(query: Insert<'q>, message: &'q Message) -> Result<Insert<'q>> {
    Ok(query
        .bind(message.id)
        .bind(&message.topic)
        .bind(&message.key)
        .bind(message.time.naive_utc())
        .bind(&message.content_type)
        .bind(message.schema_version)
        .bind(headers_text(message)?)
        .bind(&message.data[..]))
}

/// Returns the (first) sequence value.
async fn execute(tx: &mut Transaction<'_, MySql>, query: Insert<'_>) -> Result<i64> {
    let done = query.execute(&mut **tx).await.map_err(Error::database("write the outbox"))?;
    Ok(i64::try_from(done.last_insert_id()).unwrap_or(i64::MAX))
}

/// How far apart the server's sequence values are.
async fn step(tx: &mut Transaction<'_, MySql>) -> Result<i64> {
    let step: u64 = sqlx::query_scalar(include_str!("sql/step.sql"))
        .fetch_one(&mut **tx)
        .await
        .map_err(Error::database("write the outbox"))?;
    Ok(i64::try_from(step).unwrap_or(1))
}
