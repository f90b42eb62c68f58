//! The inbox, locked and asked about in one round trip.

use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::{
    Error, Result,
    message::Origin,
    storage::{InboxRow, InboxStore, shared::inbox_row},
};

/// The row, and whether no key is parked.
type Columns = (Uuid, i64, i64, Uuid, Option<i64>, Option<bool>);

pub(super) async fn lock_asking(
    tx: &mut Transaction<'_, Postgres>,
    consumer: &str,
    origin: &Origin,
    first: InboxRow,
) -> Result<(InboxRow, Option<bool>)> {
    let row: Option<Columns> = sqlx::query_as(include_str!("sql/inbox_lock_asking.sql"))
        .bind(consumer)
        .bind(&origin.source)
        .bind(&origin.stream)
        .bind(origin.version)
        .bind(origin.shard)
        .fetch_optional(&mut **tx)
        .await
        .map_err(Error::database("lock the inbox"))?;
    match row {
        Some((incarnation, watermark, last, id, ended, free)) => {
            Ok((inbox_row((incarnation, watermark, last, id, ended)), free))
        }
        None => Ok((Postgres::lock_inbox(tx, consumer, origin, first).await?, None)),
    }
}
