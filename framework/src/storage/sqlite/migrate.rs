//! Migrations: one writer at a time, so the transaction itself is the lock; a second run
//! waits for it, within limits.

use std::time::{Duration, Instant};

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::{
    Error, Result, begin,
    storage::{Steps, migrate},
};

/// How long another writer is waited for, and how often is looked.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(pool: &SqlitePool, steps: Steps) -> Result<Vec<i64>> {
    let mut tx = begin_patiently(pool).await?;
    let done = migrate::take::<Sqlite>(&mut tx, steps).await?;
    if matches!(steps, Steps::Down { to: ..=0, .. }) {
        sqlx::query(include_str!("sql/migrations_drop.sql"))
            .execute(&mut *tx)
            .await
            .map_err(Error::database("drop the migrations' history"))?;
    }
    tx.commit().await.map_err(Error::database("commit the migrations"))?;
    Ok(done)
}

/// Each try waits for the connection's own `busy_timeout`, which may be nought.
async fn begin_patiently(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>> {
    let start = Instant::now();
    loop {
        match begin(pool).await {
            Err(error) if is_busy(&error) && start.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// SQLITE_BUSY and its extended codes.
fn is_busy(error: &Error) -> bool {
    let Error::Database { source: sqlx::Error::Database(error), .. } = error else { return false };
    error.code().and_then(|code| code.parse().ok()).is_some_and(|code: i32| code & 0xff == 5)
}

pub(super) async fn lost_with(
    connection: &mut SqliteConnection,
    version: i64,
    first: bool,
) -> Result<i64> {
    let statement = match version {
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
    sqlx::query_scalar(statement)
        .fetch_one(connection)
        .await
        .map_err(Error::database("look for messages that would be lost"))
}
