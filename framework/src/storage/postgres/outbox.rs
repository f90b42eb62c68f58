//! The outbox: one INSERT for one message, one for many.

use async_trait::async_trait;
use sqlx::{Postgres, Row, Transaction, postgres::PgRow};

use crate::{
    Error, Result,
    message::Message,
    storage::{Appended, OutboxStore, shared::headers_text},
};

#[async_trait]
impl OutboxStore for Postgres {
    async fn append(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> Result<Vec<Appended>> {
        let rows = match messages {
            [] => return Ok(Vec::new()),
            [message] => {
                let query = sqlx::query(include_str!("sql/append_one.sql"))
                    .bind(message.id)
                    .bind(&message.topic)
                    .bind(&message.key)
                    .bind(message.time)
                    .bind(&message.content_type)
                    .bind(message.schema_version)
                    .bind(headers_text(message)?)
                    .bind(&message.data[..]);
                query.fetch_all(&mut **tx).await
            }
            many => {
                let headers = many.iter().map(headers_text).collect::<Result<Vec<_>>>()?;
                let query = sqlx::query(include_str!("sql/append_many.sql"))
                    .bind(many.iter().map(|m| m.id).collect::<Vec<_>>())
                    .bind(many.iter().map(|m| m.topic.as_str()).collect::<Vec<_>>())
                    .bind(many.iter().map(|m| m.key.as_deref()).collect::<Vec<_>>())
                    .bind(many.iter().map(|m| m.time).collect::<Vec<_>>())
                    .bind(many.iter().map(|m| m.content_type.as_str()).collect::<Vec<_>>())
                    .bind(many.iter().map(|m| m.schema_version).collect::<Vec<_>>())
                    .bind(headers)
                    .bind(many.iter().map(|m| &m.data[..]).collect::<Vec<_>>());
                query.fetch_all(&mut **tx).await
            }
        };
        rows.and_then(|rows| rows.iter().map(appended).collect())
            .map_err(Error::database("write the outbox"))
    }
}

/// An `xid8` has no type of sqlx: its eight bytes are read as they come, which spares the server a
/// text for each row.
fn appended(row: &PgRow) -> sqlx::Result<Appended> {
    let bytes = row.try_get_raw(1)?.as_bytes().map_err(sqlx::Error::Decode)?;
    let bytes = bytes.try_into().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Appended { seq: row.try_get(0)?, xid: Some(u64::from_be_bytes(bytes)) })
}
