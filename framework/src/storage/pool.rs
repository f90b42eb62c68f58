//! What a pool asks of a connection before its use, and after.

use std::{io, time::Duration};

use sqlx::{Connection, Database, pool::PoolOptions};

use crate::said::Places;

/// Lines about connections that are given back and do not answer.
static SAID: Places = Places::new();

/// How long an unused connection is taken to be alive without a question.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
const FRESH: Duration = Duration::from_secs(1);

/// Options of a pool that closes a connection which does not answer within `limit` after its use.
///
/// sqlx (0.9.0) asks a connection that comes back whether it is well, and waits for that without a
/// limit, while the connection keeps its place in the pool (sqlx issue 4349). On MySQL and MariaDB
/// a future that is dropped while the driver makes a statement ready (a client disconnects while
/// its request is served, a handler's time is up) leaves a connection that waits for an answer to
/// nothing: each one is a place less, until [`begin`](crate::begin) fails for lack of a connection.
/// Use this there; it costs a round trip after each use. It takes the place of another
/// [`PoolOptions::after_release`].
///
/// Over TLS sqlx also waits without a limit when it closes such a connection. Its socket is closed
/// without a farewell instead, by ending the pool's task; where a panic aborts the process
/// (`panic = "abort"`), that cannot be done, and the place is lost as before: on MariaDB and MySQL
/// such a service limits its own work rather than let futures be dropped.
///
/// ```
/// # use std::time::Duration;
/// use syncline::storage::pool::release_within;
///
/// # #[cfg(feature = "mysql")]
/// # fn example() -> sqlx::mysql::MySqlPoolOptions {
/// release_within(Duration::from_secs(5), sqlx::mysql::MySqlPoolOptions::new())
/// # }
/// ```
pub fn release_within<DB: Database>(limit: Duration, options: PoolOptions<DB>) -> PoolOptions<DB> {
    options.after_release(move |connection, _| {
        Box::pin(async move {
            let Ok(answered) = tokio::time::timeout(limit, connection.ping()).await else {
                if let Some(left_out) = SAID.admit("release", "") {
                    tracing::warn!(
                        ?limit,
                        left_out,
                        "a connection does not answer after its use: it is closed"
                    );
                }
                return Err(abandon());
            };
            answered?;
            Ok(true)
        })
    })
}

/// Ends the task that puts a connection back into its pool; the connection and its place are dropped.
///
/// For an error, sqlx would close the connection, and over TLS it flushes it first: rustls, which has
/// nothing to send, then waits for the other side.
fn abandon() -> sqlx::Error {
    if cfg!(panic = "unwind") {
        std::panic::resume_unwind(Box::new("a connection that does not answer is dropped"));
    }
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// Asks a connection whether it is alive only when it was unused for a while: the question is a
/// round trip of its own before each statement. One that broke meanwhile costs a try.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub(super) fn trusting<DB: Database>(options: PoolOptions<DB>) -> PoolOptions<DB> {
    options.test_before_acquire(false).before_acquire(|connection, known| {
        Box::pin(async move {
            if known.idle_for > FRESH {
                connection.ping().await?;
            }
            Ok(true)
        })
    })
}
