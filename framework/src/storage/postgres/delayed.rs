//! Delayed messages are moved by one statement: nobody else can be stopped in the midst of it.

use sqlx::PgPool;

use crate::{
    Error, Result,
    storage::{Lease, shared::DELAYED},
};

pub(super) async fn move_due(pool: &PgPool, lease: &Lease, limit: i64) -> Result<u64> {
    let moved = sqlx::query(include_str!("sql/delayed_move.sql"))
        .bind(DELAYED)
        .bind("")
        .bind(&lease.name)
        .bind(lease.holder)
        .bind(lease.epoch)
        .bind(limit)
        .execute(pool)
        .await
        .map_err(Error::database("move delayed messages into the outbox"))?;
    Ok(moved.rows_affected())
}
