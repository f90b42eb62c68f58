//! What an operator looks at.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Postgres, Row};

use super::retention;
use crate::{
    Error, Result,
    storage::{Blocking, Finding, HeldMessage, Inspect, Level, OpenWriter, RouteLag},
};

/// The oldest server that has what sealing needs, and is tested.
const MINIMUM: i32 = 140_000;
/// Advice for an older one.
const OLD: &str = "Syncline needs PostgreSQL 14 or newer";
/// A transaction that is older, in seconds, delays its own messages noticeably.
const LONG: i64 = 300;

#[async_trait]
impl Inspect for Postgres {
    async fn is_standby(pool: &PgPool) -> Result<bool> {
        sqlx::query_scalar(include_str!("sql/standby.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database("ask whether the server is a standby"))
    }

    async fn blocking(pool: &PgPool, since: Duration) -> Result<Vec<Blocking>> {
        let rows: Vec<(String, String, i64, i64, i64)> =
            sqlx::query_as(include_str!("sql/blocking.sql"))
                .bind(since.as_secs_f64())
                .fetch_all(pool)
                .await
                .map_err(Error::database("look for blocking locks"))?;
        let row = |(who, tables, waiting, waited, open)| Blocking {
            who,
            tables,
            waiting,
            waited,
            open,
            perhaps: false,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    async fn unsealed(pool: &PgPool) -> Result<i64> {
        sqlx::query_scalar(include_str!("sql/unsealed.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database("count unsealed messages"))
    }

    async fn oldest_writer(pool: &PgPool) -> Result<Option<OpenWriter>> {
        let writer: Option<(String, i64)> = sqlx::query_as(include_str!("sql/oldest_writer.sql"))
            .fetch_optional(pool)
            .await
            .map_err(Error::database("look for open transactions"))?;
        Ok(writer.map(|(who, age)| OpenWriter { who, age }))
    }

    async fn route_lags(pool: &PgPool) -> Result<Vec<RouteLag>> {
        super::route_lags(pool).await
    }

    async fn held(pool: &PgPool, all: bool, after: i64, limit: i64) -> Result<Vec<HeldMessage>> {
        super::held_list(pool, all, after, limit).await
    }

    async fn held_by_id(connection: &mut PgConnection, id: i64) -> Result<Option<HeldMessage>> {
        super::held_by_id(connection, id).await
    }

    async fn missing_privileges(pool: &PgPool) -> Result<Vec<String>> {
        sqlx::query_scalar(include_str!("sql/missing_privileges.sql"))
            .fetch_all(pool)
            .await
            .map_err(Error::database("check the privileges"))
    }

    async fn findings(pool: &PgPool) -> Result<Vec<Finding>> {
        let failed = "read the server's settings";
        let row = sqlx::query(include_str!("sql/findings.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database(failed))?;
        let read = || {
            let standby: bool = row.try_get(2)?;
            let standby = if standby { "standby" } else { "primary" };
            Ok(vec![
                version(row.try_get(0)?, row.try_get(1)?),
                setting(
                    "server role",
                    standby.to_owned(),
                    "standby",
                    Level::Failure,
                    "connect to the primary: a standby cannot write",
                ),
                setting(
                    "default_transaction_read_only",
                    row.try_get(3)?,
                    "on",
                    Level::Failure,
                    "switch it off for this role and database",
                ),
                setting(
                    "fsync",
                    row.try_get(4)?,
                    "off",
                    Level::Failure,
                    "set fsync = on: a power cut loses committed messages",
                ),
                setting(
                    "full_page_writes",
                    row.try_get(5)?,
                    "off",
                    Level::Failure,
                    "set full_page_writes = on: a power cut can tear pages",
                ),
                setting(
                    "synchronous_commit",
                    row.try_get(6)?,
                    "off",
                    Level::Warning,
                    "set it on: a crash can undo a business transaction that was confirmed (the relay sets it for itself)",
                ),
                oldest(
                    "prepared transactions",
                    row.try_get(7)?,
                    0,
                    "commit or roll back what pg_prepared_xacts lists: its messages wait, and vacuum too",
                ),
                oldest(
                    "oldest writing transaction",
                    row.try_get(8)?,
                    LONG,
                    "see pg_stat_activity: its messages wait until it ends, and vacuum too",
                ),
            ])
        };
        let findings: sqlx::Result<_> = read();
        let mut findings: Vec<Finding> = findings.map_err(Error::database(failed))?;
        if let Some(owner) = retention::owner(pool).await? {
            findings.push(partitions(owner));
        }
        Ok(findings)
    }

    async fn session_name(connection: &mut PgConnection) -> Result<Option<String>> {
        sqlx::query_scalar(include_str!("sql/session_name.sql"))
            .fetch_one(connection)
            .await
            .map_err(Error::database("read the session's name"))
    }

    async fn end_sessions(pool: &PgPool, named: &[String]) -> Result<()> {
        sqlx::query(include_str!("sql/end_sessions.sql"))
            .bind(named)
            .execute(pool)
            .await
            .map(drop)
            .map_err(Error::database("end sessions"))
    }
}

fn partitions(owner: bool) -> Finding {
    let (level, found) = match owner {
        true => (Level::Ok, "made and emptied by this role"),
        false => {
            (Level::Warning, "this role does not own syncline_outbox, or may not create tables")
        }
    };
    let advice = "grant it the owner's role and CREATE on the schema: until then retention deletes \
                  rows one by one, which vacuum must clear";
    finding("partitions", level, found.to_owned(), advice)
}

fn version(found: String, number: i32) -> Finding {
    let level = if number < MINIMUM { Level::Failure } else { Level::Ok };
    finding("server version", level, found, OLD)
}

pub(super) async fn check_server(pool: &PgPool) -> Result<()> {
    let (found, number): (String, i32) = sqlx::query_as(include_str!("sql/version.sql"))
        .fetch_one(pool)
        .await
        .map_err(Error::database("read the server's version"))?;
    match number < MINIMUM {
        true => Err(Error::Unfit { setting: "the server's version", found, remedy: OLD }),
        false => Ok(()),
    }
}

fn setting(
    check: &'static str,
    found: String,
    bad: &str,
    level: Level,
    advice: &'static str,
) -> Finding {
    let level = if found == bad { level } else { Level::Ok };
    finding(check, level, found, advice)
}

fn oldest(check: &'static str, age: Option<i64>, limit: i64, advice: &'static str) -> Finding {
    match age {
        None => finding(check, Level::Ok, "none".to_owned(), advice),
        Some(age) => {
            let level = if age >= limit { Level::Warning } else { Level::Ok };
            finding(check, level, format!("{age} s old"), advice)
        }
    }
}

fn finding(check: &'static str, level: Level, found: String, advice: &'static str) -> Finding {
    Finding { check, level, found, advice: (level != Level::Ok).then_some(advice) }
}
