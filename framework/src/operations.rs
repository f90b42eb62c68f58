//! Acts of operators on a database: when, who, which command, to what, why, and with what outcome. The
//! program `syncline` records every command that changes something.
//!
//! A record is written in two steps. [`begin`] commits it before the act, so that an act without a record
//! cannot be, whatever becomes of the process; [`Operation::end`] adds the outcome. An act whose record has
//! no end is under way or was cut off, and whether it took effect is to be looked up. That is one rule for
//! acts of one transaction, of many (trimming) and of none (tables that MariaDB drops).

use std::time::Duration;

use sqlx::Pool;
use uuid::Uuid;

use crate::{Result, Storage, cap, storage::NewOperation};

pub use crate::storage::OperationRow;

/// Time for which operations are kept: a year. Older ones are removed when the next one begins.
pub const RETENTION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The longest name of an operator or a command, in bytes.
const NAME: usize = 255;

/// An operation that has begun.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an operation without an end looks as if it had been cut off"]
pub struct Operation {
    id: Uuid,
    command: String,
    target: String,
}

/// Records that `operator` begins to do `command` to `target`, and logs it. Texts are cut to 2,000
/// characters, the operator's and the command's to 255 bytes. Removes what is older than [`RETENTION`].
///
/// # Errors
/// [`Error::Database`](crate::Error::Database): nothing may be done then.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// use syncline::{operations, routes};
/// let begun = operations::begin(&pool, "ada", "route pause", "login", "it is moved").await?;
/// let paused = routes::pause(&pool, "login").await?;
/// begun.end(&pool, Ok(u64::from(paused))).await?;
/// # Ok(()) }
/// ```
pub async fn begin<DB: Storage>(
    pool: &Pool<DB>,
    operator: &str,
    command: &str,
    target: &str,
    why: &str,
) -> Result<Operation> {
    let id = Uuid::now_v7();
    let (operator, command) = (name(operator), name(command));
    let (target, why) = (cap::text(target), cap::text(why));
    let new =
        NewOperation { id, operator: &operator, command: &command, target: &target, why: &why };
    DB::begin_operation(pool, &new).await?;
    DB::forget_operations(pool, RETENTION).await?;
    tracing::warn!(operator, command, target, why, "an operator changes something");
    Ok(Operation { id, command, target })
}

impl Operation {
    /// Records how it ended: the number of things that were changed, or why it was not done.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database): the record has no end; the act itself is not touched.
    pub async fn end<DB: Storage>(self, pool: &Pool<DB>, outcome: Result<u64, &str>) -> Result<()> {
        let Self { id, command, target } = self;
        match outcome {
            Ok(affected) => {
                tracing::warn!(command, target, affected, "an operator has changed something");
                let affected = i64::try_from(affected).unwrap_or(i64::MAX);
                DB::end_operation(pool, id, Some(affected), None).await
            }
            Err(problem) => {
                let problem = cap::text(problem);
                tracing::warn!(command, target, problem, "an operator's command was not done");
                DB::end_operation(pool, id, None, Some(&problem)).await
            }
        }
    }
}

/// The last `limit` operations, the newest first.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// for done in syncline::operations::list(&pool, 100).await? {
///     println!("{} {}: {} {} ({})", done.began_at, done.operator, done.command, done.target, done.why);
/// }
/// # Ok(()) }
/// ```
pub async fn list<DB: Storage>(pool: &Pool<DB>, limit: u32) -> Result<Vec<OperationRow>> {
    DB::operations(pool, limit.into()).await
}

/// A name that a row takes.
fn name(name: &str) -> String {
    let mut name = cap::line(name, NAME);
    while name.len() > NAME {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_that_fits_its_column() {
        assert_eq!(name("ada\nlovelace\u{1b}[31m"), "ada lovelace");
        assert!(name(&"\u{1f511}".repeat(300)).len() <= NAME);
    }
}
