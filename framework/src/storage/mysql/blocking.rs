//! Sessions that keep others waiting for a lock.

use std::time::Duration;

use sqlx::MySqlPool;

use super::{inspect::NO_RIGHT, version};
use crate::{Error, Result, error::mysql_number, storage::Blocking};

/// Who waits for so many seconds for the lock of a table is told of in any case: ours wait for ten at the
/// most, and then again.
const LONG: i64 = 2;

/// Id, user, host, the kind of statement that runs, if one does, for how many seconds and since when.
type Session = (i64, String, String, String, i64, String);

fn session((id, user, host, kind, age, since): Session) -> String {
    match (since.as_str(), kind.as_str()) {
        // It has ended meanwhile, or another user's is not shown.
        ("", _) => format!("connection {id}"),
        (since, "") => {
            format!("connection {id} ({user} from {host}, at rest for {age} s, since {since})")
        }
        (since, kind) => {
            format!("connection {id} ({user} from {host}, in {kind} for {age} s, since {since})")
        }
    }
}

pub(super) async fn blocking(pool: &MySqlPool, since: Duration) -> Result<Vec<Blocking>> {
    let since = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let failed = "look for blocking locks";
    let mut found = Vec::new();
    let version: String = sqlx::query_scalar(include_str!("sql/version.sql"))
        .fetch_one(pool)
        .await
        .map_err(Error::database(failed))?;
    // MySQL has these tables no more, and those that took their place need rights on another schema.
    if version::is_mariadb(&version) {
        type Row = (i64, String, i64, i64, i64, String, String, String, i64, String);
        let rows: sqlx::Result<Vec<Row>> =
            sqlx::query_as(include_str!("sql/blocking_rows.sql")).bind(since).fetch_all(pool).await;
        let denied =
            |error: &sqlx::Error| mysql_number(error).is_some_and(|code| NO_RIGHT.contains(&code));
        let rows = match rows {
            Err(error) if denied(&error) => Vec::new(),
            other => other.map_err(Error::database(failed))?,
        };
        found.extend(rows.into_iter().map(|row| {
            let (thread, tables, waiting, waited, open, user, host, kind, age, since) = row;
            let who = match thread {
                0 => "a prepared transaction (see XA RECOVER)".to_owned(),
                _ => session((thread, user, host, kind, age, since)),
            };
            let tables = tables.replace('`', "");
            Blocking { who, tables, waiting, waited, open, perhaps: false }
        }));
    }
    let tables: Option<(String, i64, i64)> =
        sqlx::query_as(include_str!("sql/blocking_tables.sql"))
            .fetch_optional(pool)
            .await
            .map_err(Error::database(failed))?;
    let long = |(_, _, waited): &(String, i64, i64)| *waited >= since.min(LONG);
    if let Some((tables, waiting, waited)) = tables.filter(long) {
        let others: Vec<Session> = sqlx::query_as(include_str!("sql/resting.sql"))
            .fetch_all(pool)
            .await
            .map_err(Error::database(failed))?;
        let mut others: Vec<String> = others.into_iter().map(session).collect();
        let perhaps = !others.is_empty();
        let who = match others.pop() {
            None => "a session that the server does not name (see SHOW PROCESSLIST, or the plugin \
                     METADATA_LOCK_INFO)"
                .to_owned(),
            Some(only) if others.is_empty() => only,
            Some(last) => format!("one of {} or {last}", others.join(", ")),
        };
        found.push(Blocking { who, tables, waiting, waited, open: 0, perhaps });
    }
    Ok(found)
}
