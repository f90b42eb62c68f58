//! Sessions that keep others waiting for a lock.

use sqlx::MySqlPool;

use super::{inspect::NO_RIGHT, version};
use crate::{Error, Result, error::mysql_number, storage::Blocking};

/// Sessions that wait for so many seconds for the lock of a table are told of: ours wait for ten at the
/// most, and then again.
const LONG: i64 = 2;

pub(super) async fn blocking(pool: &MySqlPool) -> Result<Vec<Blocking>> {
    let failed = "look for blocking locks";
    let mut found = Vec::new();
    let version: String = sqlx::query_scalar(include_str!("sql/version.sql"))
        .fetch_one(pool)
        .await
        .map_err(Error::database(failed))?;
    // MySQL has these tables no more, and those that took their place need rights on another schema.
    if version::is_mariadb(&version) {
        type Row = (i64, String, i64, i64, i64);
        let rows: sqlx::Result<Vec<Row>> =
            sqlx::query_as(include_str!("sql/blocking_rows.sql")).fetch_all(pool).await;
        let denied =
            |error: &sqlx::Error| mysql_number(error).is_some_and(|code| NO_RIGHT.contains(&code));
        let rows = match rows {
            Err(error) if denied(&error) => Vec::new(),
            other => other.map_err(Error::database(failed))?,
        };
        found.extend(rows.into_iter().map(|(thread, tables, waiting, waited, open)| {
            let who = match thread {
                0 => "a prepared transaction (see XA RECOVER)".to_owned(),
                _ => format!("connection {thread}"),
            };
            Blocking { who, tables: tables.replace('`', ""), waiting, waited, open }
        }));
    }
    let tables: Option<(String, i64, i64)> =
        sqlx::query_as(include_str!("sql/blocking_tables.sql"))
            .fetch_optional(pool)
            .await
            .map_err(Error::database(failed))?;
    if let Some((tables, waiting, waited)) = tables.filter(|(_, _, waited)| *waited >= LONG) {
        let who = "a session that the server does not name (see SHOW PROCESSLIST, or the plugin \
                   METADATA_LOCK_INFO)"
            .to_owned();
        found.push(Blocking { who, tables, waiting, waited, open: 0 });
    }
    Ok(found)
}
