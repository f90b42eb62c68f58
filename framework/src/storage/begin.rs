//! The one place where transactions begin.

use sqlx::{Pool, Transaction};

use super::Base;
use crate::{Error, Result};

/// Begins a transaction that will write.
///
/// Use it instead of `pool.begin()`: dropping this future (a client disconnects while its
/// request waits) never leaves an open transaction on a pooled connection, which
/// `pool.begin()` of sqlx 0.9.0 can do (sqlx issues 4385 and 4393). On SQLite it takes the
/// write lock at once, so that the transaction cannot fail later for having read first.
///
/// # Errors
/// [`Error::Database`]: the pool is exhausted or the database is away.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// let mut tx = syncline::begin(&pool).await?;
/// # tx.rollback().await.ok(); Ok(()) }
/// ```
pub async fn begin<DB: Base>(pool: &Pool<DB>) -> Result<Transaction<'static, DB>> {
    spawned(DB::begin_write(pool.clone())).await
}

/// As [`begin`], for an engine of sagas.
pub(crate) async fn begin_limited<DB: Base>(pool: &Pool<DB>) -> Result<Transaction<'static, DB>> {
    spawned(DB::begin_limited(pool.clone())).await
}

async fn spawned<DB: Base>(
    begin: impl Future<Output = sqlx::Result<Transaction<'static, DB>>> + Send + 'static,
) -> Result<Transaction<'static, DB>> {
    // A task of its own: it is never dropped half way, and an unwanted transaction rolls back.
    let begun = tokio::spawn(begin).await;
    begun.unwrap_or(Err(sqlx::Error::BeginFailed)).map_err(Error::database("begin a transaction"))
}
