//! Migrations: DDL is transactional, and an advisory lock of the transaction keeps other
//! runs away.

use sqlx::{PgConnection, PgPool, Postgres, Row};

use crate::{
    Error, Result, begin,
    storage::{Steps, migrate},
};

pub(super) async fn run(pool: &PgPool, steps: Steps) -> Result<Vec<i64>> {
    let mut tx = begin(pool).await?;
    sqlx::raw_sql(include_str!("sql/migrate_lock.sql"))
        .execute(&mut *tx)
        .await
        .map_err(Error::database("wait for another migration"))?;
    let done = migrate::take::<Postgres>(&mut tx, steps).await?;
    if matches!(steps, Steps::Down { to: ..=0, .. }) {
        sqlx::query(include_str!("sql/migrations_drop.sql"))
            .execute(&mut *tx)
            .await
            .map_err(Error::database("drop the migrations' history"))?;
    }
    tx.commit().await.map_err(Error::database("commit the migrations"))?;
    Ok(done)
}

pub(super) async fn lost_with(
    connection: &mut PgConnection,
    version: i64,
    first: bool,
) -> Result<i64> {
    let statements = match version {
        8 => include_str!("sql/lost_delayed.sql"),
        9 => include_str!("sql/lost_saga.sql"),
        5 => include_str!("sql/lost_ahead.sql"),
        4 => include_str!("sql/lost_shards.sql"),
        3 => include_str!("sql/lost_held.sql"),
        2 => include_str!("sql/lost_unsent.sql"),
        // What was unsent was asked when the routes went.
        1 if first => include_str!("sql/lost_log.sql"),
        _ => return Ok(0),
    };
    let count = sqlx::raw_sql(statements).fetch_one(connection).await;
    count
        .and_then(|row| row.try_get(0))
        .map_err(Error::database("look for messages that would be lost"))
}
