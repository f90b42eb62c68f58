//! The outbox: the statement stays prepared, and there is no round trip to save.

use async_trait::async_trait;
use sqlx::{Sqlite, Transaction};

use crate::{
    Error, Result,
    message::Message,
    storage::{Appended, OutboxStore, shared::headers_text},
};

#[async_trait]
impl OutboxStore for Sqlite {
    async fn append(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> Result<Vec<Appended>> {
        let mut appended = Vec::with_capacity(messages.len());
        for message in messages {
            let seq: i64 = sqlx::query_scalar(include_str!("sql/append.sql"))
                .bind(message.id)
                .bind(&message.topic)
                .bind(&message.key)
                .bind(message.time.timestamp_micros())
                .bind(&message.content_type)
                .bind(message.schema_version)
                .bind(headers_text(message)?)
                .bind(&message.data[..])
                .fetch_one(&mut **tx)
                .await
                .map_err(Error::database("write the outbox"))?;
            appended.push(Appended { seq, xid: None });
        }
        Ok(appended)
    }
}
