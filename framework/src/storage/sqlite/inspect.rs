//! What an operator looks at.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use crate::{
    Error, Result, begin,
    storage::{Blocking, Finding, HeldMessage, Inspect, Level, RouteLag},
};

/// The oldest library that has what our SQL needs.
const MINIMUM: (u32, u32) = (3, 42);
/// Advice for an older one.
const OLD: &str = "Syncline needs SQLite 3.42 or newer";

/// SQLITE_BUSY, and its extended codes.
const BUSY: i32 = 5;

#[async_trait]
impl Inspect for Sqlite {
    /// There is one writer, and who it is the library does not tell.
    async fn blocking(pool: &SqlitePool, since: Duration) -> Result<Vec<Blocking>> {
        if since.is_zero() {
            return Ok(Vec::new());
        }
        let begun = tokio::time::Instant::now();
        match begin(pool).await {
            // It is rolled back.
            Ok(_) => Ok(Vec::new()),
            Err(Error::Database { source: sqlx::Error::Database(error), .. })
                if code(&*error) == Some(BUSY) =>
            {
                let waited = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
                let who = "another process that writes to the file (see `lsof`)".to_owned();
                let tables = "the whole database".to_owned();
                Ok(vec![Blocking { who, tables, waiting: 1, waited, open: 0, perhaps: false }])
            }
            // That it cannot be written to is said elsewhere.
            Err(_) => Ok(Vec::new()),
        }
    }

    async fn unsealed(_pool: &SqlitePool) -> Result<i64> {
        // A commit gives the position.
        Ok(0)
    }

    async fn route_lags(pool: &SqlitePool) -> Result<Vec<RouteLag>> {
        super::route_lags(pool).await
    }

    async fn held(
        pool: &SqlitePool,
        all: bool,
        after: i64,
        limit: i64,
    ) -> Result<Vec<HeldMessage>> {
        super::held_list(pool, all, after, limit).await
    }

    async fn held_by_id(connection: &mut SqliteConnection, id: i64) -> Result<Option<HeldMessage>> {
        super::held_by_id(connection, id).await
    }

    async fn missing_privileges(pool: &SqlitePool) -> Result<Vec<String>> {
        let failed = Error::database("check the privileges");
        let mut tx = begin(pool).await?;
        let probe = sqlx::query(include_str!("sql/write_probe.sql")).execute(&mut *tx).await;
        match probe {
            Ok(_) => Ok(Vec::new()),
            Err(sqlx::Error::Database(error)) if is_read_only(&*error) => {
                Ok(vec![format!("writing to the database file ({error})")])
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn findings(pool: &SqlitePool) -> Result<Vec<Finding>> {
        let (version, journal): (String, String) = sqlx::query_as(include_str!("sql/findings.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database("read the database's settings"))?;
        Ok(vec![
            finding("library version", is_old(&version), Level::Failure, version, OLD),
            finding(
                "journal_mode",
                journal != "wal",
                Level::Warning,
                journal,
                "set journal_mode WAL: else readers and the writer wait for each other",
            ),
        ])
    }
}

/// SQLITE_READONLY, SQLITE_PERM and SQLITE_CANTOPEN (of the journal), and their extended codes.
fn is_read_only(error: &dyn sqlx::error::DatabaseError) -> bool {
    matches!(code(error), Some(3 | 8 | 14))
}

/// The primary code of an error.
fn code(error: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff)
}

fn is_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < MINIMUM
}

pub(super) async fn check_server(pool: &SqlitePool) -> Result<()> {
    let found: String = sqlx::query_scalar(include_str!("sql/version.sql"))
        .fetch_one(pool)
        .await
        .map_err(Error::database("read the library's version"))?;
    match is_old(&found) {
        true => Err(Error::Unfit { setting: "the library's version", found, remedy: OLD }),
        false => Ok(()),
    }
}

fn finding(
    check: &'static str,
    bad: bool,
    level: Level,
    found: String,
    advice: &'static str,
) -> Finding {
    let level = if bad { level } else { Level::Ok };
    Finding { check, level, found, advice: bad.then_some(advice) }
}
