//! Databases for tests: every test gets its own.

use std::env;

use sqlx::{AssertSqlSafe, ConnectOptions, Executor, postgres::PgConnectOptions};
use tempfile::TempDir;
use uuid::Uuid;

/// Where tests find a PostgreSQL server: a superuser's URL.
pub const POSTGRES: &str = "SYNCLINE_TEST_POSTGRES";
/// The servers that are switched off by name, separated by commas.
pub const SKIP: &str = "SYNCLINE_TEST_SKIP";

/// A new, empty PostgreSQL database's URL; none when PostgreSQL was switched off by name.
///
/// # Panics
/// When there is no server and it was not switched off: a test that did not run must not
/// look like one that passed.
pub async fn postgres_database() -> Option<String> {
    if env::var(SKIP).is_ok_and(|skip| skip.split(',').any(|name| name.trim() == "postgres")) {
        println!("skipped: PostgreSQL is switched off by {SKIP}");
        return None;
    }
    let server = env::var(POSTGRES).unwrap_or_else(|_| {
        panic!(
            "no PostgreSQL: set {POSTGRES} to a superuser's URL such as \
             postgres://postgres@127.0.0.1:5432/postgres, or run script/test; \
             {SKIP}=postgres switches these tests off"
        )
    });
    let name = format!("syncline_test_{}", Uuid::now_v7().simple());
    let options: PgConnectOptions = server.parse().expect("the server's URL");
    let mut connection =
        options.connect().await.unwrap_or_else(|error| panic!("cannot reach {POSTGRES}: {error}"));
    // template0: nobody can be connected to it, which would make this fail.
    let create = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
    connection.execute(create).await.expect("create a database");
    Some(with_database(&server, &name))
}

/// The directory and the URL of a new SQLite database, which is made when it is first opened.
/// The database goes with the directory.
pub fn sqlite_database() -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("test.db").display());
    (dir, url)
}

/// `url` with another database name.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) = match url.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (url, String::new()),
    };
    let host = base.find("://").map_or(0, |at| at + 3);
    let end = base[host..].find('/').map_or(base.len(), |at| host + at);
    format!("{}/{name}{query}", &base[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_name_is_replaced_and_the_rest_kept() {
        let cases = [
            ("postgres://u:p@h:1/postgres", "postgres://u:p@h:1/x"),
            ("postgres://u@h", "postgres://u@h/x"),
            ("postgres://h/a?sslmode=disable", "postgres://h/x?sslmode=disable"),
        ];
        for (from, to) in cases {
            assert_eq!(with_database(from, "x"), to);
        }
    }
}
