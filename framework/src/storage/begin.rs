//! The one place where transactions begin.

use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use sqlx::{AssertSqlSafe, Database, Pool, SqlSafeStr, Transaction, pool::PoolConnection};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{Base, Opening};
use crate::{Error, Result, error::is_read_only};

/// Begins a transaction that will write.
///
/// Use it instead of `pool.begin()`: dropping this future (a client disconnects while its
/// request waits) never leaves an open transaction on a pooled connection, which
/// `pool.begin()` of sqlx 0.9.0 can do (sqlx issues 4385 and 4393). On SQLite it takes the
/// write lock at once, so that the transaction cannot fail later for having read first; elsewhere
/// it is READ COMMITTED, whatever the session's default is.
///
/// A connection whose session takes no writes is closed: one that was made while the database was a
/// standby, or set to read only, stays so.
///
/// # Errors
/// [`Error::Database`]: the pool is exhausted or the database is away. [`Error::ReadOnly`]: it takes
/// no writes.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// let mut tx = syncline::begin(&pool).await?;
/// # tx.rollback().await.ok(); Ok(()) }
/// ```
pub async fn begin<DB: Base>(pool: &Pool<DB>) -> Result<Transaction<'static, DB>> {
    finished(writing(pool.clone())).await
}

/// Whether a new session may write: a standby, or a database that was set to read only, answers all the
/// same. It changes nothing, so that a full disk passes.
pub(crate) async fn check_writable<DB: Base>(pool: &Pool<DB>) -> Result<()> {
    let action = "try to write";
    let mut tx = begin(pool).await?;
    match DB::write_nothing(&mut tx).await {
        Err(error) if is_read_only(&error) => return Err(Error::ReadOnly { database: DB::LABEL }),
        done => done.map_err(Error::database(action))?,
    }
    tx.rollback().await.map_err(Error::database(action))
}

/// As [`begin`], in a session that may take no writes.
#[cfg_attr(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(super) async fn begin_plain<DB: Base>(pool: &Pool<DB>) -> Result<Transaction<'static, DB>> {
    begin_as(pool, Opening::Plain).await
}

/// As [`begin`], for an operator, whose connection may die while it holds what others need.
pub(crate) async fn begin_by_hand<DB: Base>(pool: &Pool<DB>) -> Result<Transaction<'static, DB>> {
    let mut tx = begin(pool).await?;
    DB::bound(&mut tx).await.map_err(failed())?;
    Ok(tx)
}

/// As [`begin`], otherwise opened.
pub(crate) async fn begin_as<DB: Base>(
    pool: &Pool<DB>,
    how: Opening,
) -> Result<Transaction<'static, DB>> {
    let pool = pool.clone();
    finished(async move { open(&pool, how).await.map_err(failed()) }).await
}

fn failed() -> impl FnOnce(sqlx::Error) -> Error {
    Error::database("begin a transaction")
}

async fn open<DB: Base>(pool: &Pool<DB>, how: Opening) -> sqlx::Result<Transaction<'static, DB>> {
    let connection = DB::connection(pool).await?;
    Transaction::begin(connection, Some(DB::begin_sql(how).into_sql_str())).await
}

/// Begins a transaction that can write. A session stays as it was set when it was made: each that
/// takes no writes is closed, until there is one that does, or a new one says the same.
async fn writing<DB: Base>(pool: Pool<DB>) -> Result<Transaction<'static, DB>> {
    let refused = match open(&pool, Opening::Write).await {
        Err(error) if refuses_writes::<DB>(&error) => error,
        begun => return begun.map_err(failed()),
    };
    for _ in 0..=pool.size() {
        if DB::goes_with_connections(&pool) {
            break;
        }
        let mut connection = DB::connection(&pool).await.map_err(failed())?;
        let begin = DB::begin_sql(Opening::Write).into_sql_str();
        let tried = match Transaction::<DB>::begin(&mut *connection, Some(begin)).await {
            Ok(tried) => tried.rollback().await,
            Err(error) => Err(error),
        };
        match tried {
            Ok(()) => {
                let begin = DB::begin_sql(Opening::Write).into_sql_str();
                return Transaction::begin(connection, Some(begin)).await.map_err(failed());
            }
            Err(error) if refuses_writes::<DB>(&error) => drop(connection.close().await),
            Err(error) => return Err(failed()(error)),
        }
    }
    Err(match is_read_only(&refused) {
        true => failed()(refused),
        false => Error::ReadOnly { database: DB::LABEL },
    })
}

fn refuses_writes<DB: Base>(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    is_read_only(error) || code.is_some_and(|code| DB::READ_ONLY_SIGN == Some(&code))
}

/// `statement` with the name of this process's savepoints, by which a transaction is known again: who
/// ends it and begins another one cannot set one of that name there.
#[cfg_attr(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(super) fn with_secret(statement: &str) -> AssertSqlSafe<String> {
    static SECRET: LazyLock<String> =
        LazyLock::new(|| format!("syncline_{}", Uuid::now_v7().simple()));
    AssertSqlSafe(statement.replace("syncline_secret", &SECRET))
}

/// For a transaction that removes what is no longer needed: a dead connection, in it or waiting for
/// it, holds nobody up for long.
#[cfg_attr(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(super) const FORGETTING: Opening = Opening::Bounded(20);

/// `statement` with how many seconds a transaction may rest.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) fn resting(statement: &str, rest: u32) -> String {
    statement.replace("syncline_rest", &rest.to_string())
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
        return begin_plain(pool).await.map(Reading::Within);
    }
    let connection = pool.acquire().await.map_err(Error::database("acquire a connection"))?;
    Ok(Reading::Alone(connection))
}

async fn finished<DB: Base>(
    begin: impl Future<Output = Result<Transaction<'static, DB>>> + Send + 'static,
) -> Result<Transaction<'static, DB>> {
    Finished { begin: Some(Box::pin(begin)), runtime: Handle::current() }.await
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
