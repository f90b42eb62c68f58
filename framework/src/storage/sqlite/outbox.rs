//! The outbox: one INSERT for up to sixteen messages. There is no round trip to save, but the way to
//! the thread that has the connection.

use async_trait::async_trait;
use sqlx::{Sqlite, Transaction};

use super::text;
use crate::{
    Error, Result,
    message::Message,
    storage::{
        Appended, OutboxStore,
        shared::{append_sql, bind_row, headers_text, portions, sql},
    },
};

#[async_trait]
impl OutboxStore for Sqlite {
    async fn append(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> Result<Vec<Appended>> {
        let mut appended = Vec::with_capacity(messages.len());
        for (power, portion) in portions(messages, usize::MAX) {
            let mut query = sqlx::query(append_sql!(".")[power]);
            for message in portion {
                query = bind_row!(query, message, message.time.timestamp_micros());
            }
            let done = query.execute(&mut **tx).await;
            // Nobody else inserts meanwhile, and AUTOINCREMENT counts on.
            let last = done.map_err(Error::database("write the outbox"))?.last_insert_rowid();
            let seqs = last + 1 - portion.len() as i64..=last;
            appended.extend(seqs.map(|seq| Appended { seq, xid: None }));
        }
        Ok(appended)
    }
}
