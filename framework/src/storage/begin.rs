//! The one place where transactions begin.

use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use sqlx::{AssertSqlSafe, Database, Pool, Transaction, pool::PoolConnection};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::Base;
use crate::{Error, Result};

/// Begins a transaction that will write.
///
/// Use it instead of `pool.begin()`: dropping this future (a client disconnects while its
/// request waits) never leaves an open transaction on a pooled connection, which
/// `pool.begin()` of sqlx 0.9.0 can do (sqlx issues 4385 and 4393). On SQLite it takes the
/// write lock at once, so that the transaction cannot fail later for having read first; elsewhere
/// it is READ COMMITTED, whatever the session's default is.
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
    finished(DB::begin_write(pool.clone())).await
}

/// As [`begin`]; a server rolls back what rests for a minute.
pub(crate) async fn begin_bounded<DB: Base>(pool: &Pool<DB>) -> Result<Transaction<'static, DB>> {
    finished(DB::begin_bounded(pool.clone())).await
}

/// As [`begin`], for an engine of sagas.
pub(crate) async fn begin_limited<DB: Base>(pool: &Pool<DB>) -> Result<Transaction<'static, DB>> {
    finished(DB::begin_limited(pool.clone())).await
}

/// `statement` with the name of this process's savepoints, by which a transaction is known again: who
/// ends it and begins another one cannot set one of that name there.
#[cfg_attr(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(super) fn with_secret(statement: &str) -> AssertSqlSafe<String> {
    static SECRET: LazyLock<String> =
        LazyLock::new(|| format!("syncline_{}", Uuid::now_v7().simple()));
    AssertSqlSafe(statement.replace("syncline_secret", &SECRET))
}

/// A connection for one statement that reads what is promised to others, as how far a consumer is.
#[cfg_attr(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(super) enum Reading<DB: Database> {
    /// A statement by itself sees only what is committed.
    Alone(PoolConnection<DB>),
    /// A session may be at READ UNCOMMITTED: the transaction states another level.
    Within(Transaction<'static, DB>),
}

#[cfg_attr(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")), allow(dead_code))]
impl<DB: Database> Reading<DB> {
    pub(super) fn connection(&mut self) -> &mut DB::Connection {
        match self {
            Self::Alone(connection) => connection,
            Self::Within(transaction) => transaction,
        }
    }
}

/// A connection for one such statement.
#[cfg_attr(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(super) async fn reading<DB: Base>(pool: &Pool<DB>) -> Result<Reading<DB>> {
    if DB::READS_UNCOMMITTED {
        return begin(pool).await.map(Reading::Within);
    }
    let connection = pool.acquire().await.map_err(Error::database("acquire a connection"))?;
    Ok(Reading::Alone(connection))
}

async fn finished<DB: Base>(
    begin: impl Future<Output = sqlx::Result<Transaction<'static, DB>>> + Send + 'static,
) -> Result<Transaction<'static, DB>> {
    let begun = Finished { begin: Some(Box::pin(begin)), runtime: Handle::current() };
    begun.await.map_err(Error::database("begin a transaction"))
}

/// A future that is never dropped half way: dropped before its end, it goes on in a task of its
/// own. A transaction that nobody waits for any more rolls back.
struct Finished<F: Future<Output: Send> + Send + 'static> {
    begin: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F: Future<Output: Send> + Send + 'static> Future for Finished<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(begin) = &mut self.begin else { return Poll::Pending };
        let begun = begin.as_mut().poll(context);
        if begun.is_ready() {
            self.begin = None;
        }
        begun
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Finished<F> {
    fn drop(&mut self) {
        if let Some(begin) = self.begin.take() {
            self.runtime.spawn(begin);
        }
    }
}
