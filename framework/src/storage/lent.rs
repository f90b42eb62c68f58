//! Connections on which user code runs. One that an error has shown to be of no use is closed, and
//! never goes back to its pool.

use sqlx::{Connection, Pool, SqlSafeStr, Transaction, pool::PoolConnection};

use super::{Base, Opening};
use crate::{Error, Result};

/// A connection of a pool, which is closed when it is dropped before it was given back: whoever used
/// it was cut off in the midst of something.
pub(crate) struct Lent<DB: Base> {
    connection: Option<PoolConnection<DB>>,
    /// Whether the database goes with its last connection, as one in memory does.
    stays: bool,
}

impl<DB: Base> Lent<DB> {
    /// A connection of `pool`; a `fresh` one knows nothing of statements that it ran before.
    ///
    /// # Errors
    /// [`Error::Database`]: the pool is exhausted or the database is away.
    pub(crate) async fn of(pool: &Pool<DB>, fresh: bool) -> Result<Self> {
        let failed = "acquire a connection";
        let connection = DB::connection(pool).await.map_err(Error::database(failed))?;
        let mut lent =
            Self { connection: Some(connection), stays: DB::goes_with_connections(pool) };
        if fresh && let Some(connection) = &mut lent.connection {
            connection.clear_cached_statements().await.map_err(Error::database(failed))?;
        }
        Ok(lent)
    }

    /// Begins a transaction, which may be dropped at any time.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn begin(&mut self, how: Opening) -> Result<Transaction<'_, DB>> {
        let failed = Error::database("begin a transaction");
        let Some(connection) = &mut self.connection else {
            return Err(failed(sqlx::Error::PoolClosed));
        };
        let begin = DB::begin_sql(how).into_sql_str();
        Transaction::begin(&mut **connection, Some(begin)).await.map_err(failed)
    }

    /// It goes back to its pool, or is closed if it is `spoilt`.
    pub(crate) fn give_back(mut self, spoilt: bool) {
        if !spoilt {
            drop(self.connection.take());
        }
    }
}

impl<DB: Base> Drop for Lent<DB> {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && !self.stays
        {
            connection.close_on_drop();
        }
    }
}
