//! What is asked of the sessions of a service's own pool.

use sqlx::PgPool;

use crate::{Error, Result};

/// invalid_sql_statement_name and duplicate_prepared_statement.
const STRAYED: [&str; 2] = ["26000", "42P05"];

/// Refuses a pooler that gives a session away between two statements and does not track prepared
/// statements: the driver (sqlx 0.9.0) names them by a number of its own connection, so that sooner or
/// later one is found missing, or there already.
pub(super) async fn check(pool: &PgPool) -> Result<()> {
    let failed = "look whether prepared statements are kept";
    if pool.options().get_max_connections() < 2 {
        return Ok(());
    }
    let mut connections = Vec::new();
    for _ in 0..2 {
        connections.push(pool.acquire().await.map_err(Error::database(failed))?);
    }
    // In turn: a pooler by transaction has the second one meet the first one's statement.
    for _ in 0..2 {
        for connection in &mut connections {
            let asked = sqlx::query_scalar(include_str!("sql/server.sql"));
            let answer: sqlx::Result<String> = asked.fetch_one(&mut **connection).await;
            answer.map_err(strayed(failed))?;
        }
    }
    Ok(())
}

/// For `map_err`: an error that only such a pooler causes is told as one of the set-up.
fn strayed(action: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| {
        let code = error.as_database_error().and_then(|error| error.code());
        match code {
            Some(code) if STRAYED.contains(&&*code) => Error::Unfit {
                setting: "the connection",
                found: format!("shared with others between two statements (SQLSTATE {code})"),
                remedy: "a pooler by transaction must track prepared statements (PgBouncer 1.21 or \
                         newer with max_prepared_statements); or pool by session, or connect directly",
            },
            _ => Error::database(action)(error),
        }
    }
}
