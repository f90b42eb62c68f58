//! Whether a database takes writes, found out by one.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use sqlx::Pool;
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{ProcessReport, Storage, begin};
use crate::{Error, Result};

/// Time limit on the write.
const WAIT: Duration = Duration::from_secs(5);
/// An answer is given again for so long.
const FRESH: Duration = Duration::from_secs(3);
/// No process is of this kind: no list shows the rows, and what a crash leaves goes after a day.
const KIND: &str = "write-test";
/// Rows of 4 KiB: MariaDB's server ends itself on a full disk where a row does not stay in its page.
const ROWS: usize = 4;
const ROW: usize = 4 << 10;

/// This process's rows: a test that was cut off leaves no more than these.
static IDS: LazyLock<[Uuid; ROWS]> = LazyLock::new(|| std::array::from_fn(|_| Uuid::now_v7()));

/// Whether the database takes writes now, for a service's readiness: commits 16 KiB in the table of
/// processes, in four rows that no list shows, and removes them by a second commit. Waits 5 seconds at
/// the most. A service that is asked often keeps a [`Writes`].
///
/// A full disk is found once the database needs more room than it has taken already.
///
/// # Errors
/// [`Error::ReadOnly`], [`Error::Unanswered`] or [`Error::Database`]; [`Error::trouble`] tells the kind.
/// [`Error::NotMigrated`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn ready(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// syncline::storage::check_schema(&pool).await?;
/// syncline::storage::check_writes(&pool).await
/// # }
/// ```
pub async fn check_writes<DB: Storage>(pool: &Pool<DB>) -> Result<()> {
    answer::<DB>(&mut begun(pool)).await.unwrap_or_else(|| Err(unanswered::<DB>()))
}

/// [`check_writes`] for many who ask: one test at a time, whose answer holds for 3 seconds.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn ready(pool: sqlx::SqlitePool) {
/// let writes = syncline::storage::Writes::new(pool); // kept by the service
/// if let Err(error) = writes.check().await {
///     println!("the database {}", error.trouble());
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Writes<DB: Storage> {
    pool: Pool<DB>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// One that was not waited for to its end.
    running: Option<JoinHandle<Result<()>>>,
    last: Option<(Instant, Result<(), Arc<Error>>)>,
}

impl<DB: Storage> Writes<DB> {
    /// Tests what `pool` leads to.
    pub fn new(pool: Pool<DB>) -> Self {
        Self { pool, state: Mutex::default() }
    }

    /// Whether the database takes writes, as found within the last 3 seconds or now.
    ///
    /// # Errors
    /// As [`check_writes`].
    pub async fn check(&self) -> Result<(), Arc<Error>> {
        let mut state = self.state.lock().await;
        let State { running, last } = &mut *state;
        if let Some((at, found)) = last
            && at.elapsed() < FRESH
        {
            return found.clone();
        }
        let found = match answer::<DB>(running.get_or_insert_with(|| begun(&self.pool))).await {
            Some(found) => {
                *running = None;
                found
            }
            None => Err(unanswered::<DB>()),
        };
        let found = found.map_err(Arc::new);
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

/// A task of its own: whoever asks may go away, and a transaction must not be dropped half way.
fn begun<DB: Storage>(pool: &Pool<DB>) -> JoinHandle<Result<()>> {
    let pool = pool.clone();
    tokio::spawn(async move { write(&pool).await })
}

/// The test's finding, unless it takes too long.
async fn answer<DB: Storage>(test: &mut JoinHandle<Result<()>>) -> Option<Result<()>> {
    let failed = |error: tokio::task::JoinError| Error::Database {
        action: "try to write",
        source: sqlx::Error::Io(std::io::Error::other(error)),
    };
    let done = timeout(WAIT, test).await.ok()?;
    Some(match done.map_err(failed) {
        Ok(Err(error)) if error.is_read_only() => Err(Error::ReadOnly { database: DB::LABEL }),
        Ok(done) => done,
        Err(error) => Err(error),
    })
}

fn unanswered<DB: Storage>() -> Error {
    Error::Unanswered { database: DB::LABEL, seconds: WAIT.as_secs_f64() }
}

async fn write<DB: Storage>(pool: &Pool<DB>) -> Result<()> {
    let commit = || Error::database("commit a row");
    let mut tx = begin(pool).await?;
    for id in *IDS {
        let problems = filler();
        let report = ProcessReport {
            id,
            kind: KIND,
            name: "",
            host: "",
            pid: 0,
            program: "",
            defined: "{}",
            problems: &problems,
        };
        DB::report_within(&mut tx, report).await?;
    }
    tx.commit().await.map_err(commit())?;
    let mut tx = begin(pool).await?;
    for id in *IDS {
        DB::remove_within(&mut tx, id).await?;
    }
    tx.commit().await.map_err(commit())
}

/// A text that cannot be packed.
fn filler() -> String {
    let mut text = String::with_capacity(ROW);
    while text.len() < ROW {
        let (_, random) = Uuid::now_v7().as_u64_pair();
        text.push_str(&format!("{random:016x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_have_16_kib_in_all_and_differ() {
        let (one, other) = (filler(), filler());
        assert_eq!((one.len() * ROWS, one == other), (16 << 10, false));
    }
}
