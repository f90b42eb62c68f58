//! What a session must be like, whoever has set it; and those of commands.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor, MySqlConnection, MySqlPool};

use crate::{Error, Result, error::mysql_number};

/// ER_NO_SUCH_THREAD: it has ended meanwhile.
const GONE: u16 = 1094;

const ALIKE: &str = "texts would be lost or changed: leave the pool's `charset` and `collation` as \
                     they are, or set the names to utf8mb4 after connecting";
const AUTOCOMMIT: &str = "statements outside of transactions would not be committed: switch it on, \
                          on the server or after connecting (PoolOptions::after_connect)";
const COMPLETION: &str = "another transaction would begin, or the connection end, with each commit: \
                          set NO_CHAIN, on the server or after connecting (PoolOptions::after_connect)";
const SAFE: &str = "statements that change rows which a list names would be refused: switch it off, on \
                    the server or after connecting (PoolOptions::after_connect)";
const WIDE: &str = "the server fails to change tables in it: alter the database's character set to \
                    utf8mb4";

/// The settings of a session that are not the framework's to set: in the service's own pool the
/// service's statements run as well.
pub(super) async fn check(pool: &MySqlPool) -> Result<()> {
    let found: (String, String, String, String, String, String) =
        sqlx::query_as(include_str!("sql/session.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database("read the session's settings"))?;
    let (client, connection, results, autocommit, completion, safe) = found;
    let refuse = |setting, found, remedy| Err(Error::Unfit { setting, found, remedy });
    for (setting, found) in [
        ("character_set_client", client),
        ("character_set_connection", connection),
        ("character_set_results", results),
    ] {
        if found != "utf8mb4" {
            return refuse(setting, found, ALIKE);
        }
    }
    if !matches!(autocommit.as_str(), "1" | "ON") {
        return refuse("autocommit", autocommit, AUTOCOMMIT);
    }
    if !matches!(completion.as_str(), "NO_CHAIN" | "0") {
        return refuse("completion_type", completion, COMPLETION);
    }
    if !matches!(safe.as_str(), "0" | "OFF") {
        return refuse("sql_safe_updates", safe, SAFE);
    }
    Ok(())
}

/// Refuses a database in whose character set the migrations would stop half way.
pub(super) async fn check_database(pool: &MySqlPool) -> Result<()> {
    let set: String = sqlx::query_scalar(include_str!("sql/database_charset.sql"))
        .fetch_one(pool)
        .await
        .map_err(Error::database("read the database's character set"))?;
    match set.as_str() {
        "ucs2" | "utf16" | "utf16le" | "utf32" => {
            let setting = "character_set_database";
            Err(Error::Unfit { setting, found: set, remedy: WIDE })
        }
        _ => Ok(()),
    }
}

/// As `Inspect::limit_session`: the connection may die while it holds what others need, or waits for it.
pub(super) async fn limit(
    connection: &mut MySqlConnection,
    statement: Option<Duration>,
    lock: Option<Duration>,
) -> sqlx::Result<()> {
    connection.execute(include_str!("sql/command_session.sql")).await?;
    let Some(statement) = statement else { return Ok(()) };
    // Whole seconds here, and so rather too long.
    let lock = lock.unwrap_or(statement).as_secs_f64().ceil();
    let limited = include_str!("sql/command_limits.sql")
        .replace("syncline_lock", &lock.to_string())
        .replace("syncline_seconds", &statement.as_secs_f64().to_string())
        .replace("syncline_millis", &statement.as_millis().to_string());
    connection.execute(sqlx::raw_sql(AssertSqlSafe(limited))).await.map(drop)
}

/// Its number and where its client is: a server that was started anew gives numbers again.
pub(super) async fn name(connection: &mut MySqlConnection) -> Result<String> {
    sqlx::query_scalar(include_str!("sql/session_name.sql"))
        .fetch_one(connection)
        .await
        .map_err(Error::database("read the session's name"))
}

/// Ends those that are `named` and run or wait for something.
pub(super) async fn end(pool: &MySqlPool, named: &[String]) -> Result<()> {
    let failed = "end sessions";
    let running: Vec<(i64, String)> = sqlx::query_as(include_str!("sql/running_sessions.sql"))
        .fetch_all(pool)
        .await
        .map_err(Error::database(failed))?;
    for (id, _) in running.iter().filter(|(_, name)| named.contains(name)) {
        let kill = include_str!("sql/end_session.sql").replace("syncline_session", &id.to_string());
        match pool.execute(sqlx::raw_sql(AssertSqlSafe(kill))).await {
            Err(error) if mysql_number(&error) != Some(GONE) => {
                return Err(Error::database(failed)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
