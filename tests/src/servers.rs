//! Databases for tests: every test gets its own.

use std::{env, path::PathBuf, str::FromStr};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Executor, mysql::MySqlConnectOptions, postgres::PgConnectOptions,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Where tests find a PostgreSQL server: a superuser's URL.
pub const POSTGRES: &str = "SYNCLINE_TEST_POSTGRES";
/// Where tests find a MariaDB or MySQL server: a superuser's URL.
pub const MARIADB: &str = "SYNCLINE_TEST_MARIADB";
/// Where tests find a Python interpreter with the packages of `docs/python`.
pub const PYTHON: &str = "SYNCLINE_TEST_PYTHON";
/// The servers that are switched off by name, separated by commas.
pub const SKIP: &str = "SYNCLINE_TEST_SKIP";

/// A new, empty PostgreSQL database's URL; none when PostgreSQL was switched off by name.
///
/// # Panics
/// When there is no server and it was not switched off: a test that did not run must not
/// look like one that passed.
pub async fn postgres_database() -> Option<String> {
    let server = server("postgres", POSTGRES, "postgres://postgres@127.0.0.1:5432/postgres")?;
    // template0: nobody can be connected to it, which would make this fail.
    Some(create::<PgConnectOptions>(&server, " TEMPLATE template0").await)
}

/// A new, empty MariaDB (or MySQL) database's URL; none when it was switched off by name.
///
/// # Panics
/// As [`postgres_database`].
pub async fn mariadb_database() -> Option<String> {
    let server = server("mariadb", MARIADB, "mysql://root@127.0.0.1:3306/mysql")?;
    Some(create::<MySqlConnectOptions>(&server, "").await)
}

/// Where tests find libfaketime, which sets a process's clock.
pub const FAKETIME: &str = "SYNCLINE_TEST_FAKETIME";

/// The file of libfaketime; none when it was switched off by name.
///
/// # Panics
/// As [`postgres_database`].
pub fn faketime() -> Option<PathBuf> {
    let example = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    let library = PathBuf::from(server("faketime", FAKETIME, example)?);
    assert!(library.is_file(), "{FAKETIME} names {}, which is not there", library.display());
    Some(library)
}

/// A Python interpreter that has the packages of `docs/python`; none when it was switched off by
/// name.
///
/// # Panics
/// As [`postgres_database`].
pub fn python() -> Option<String> {
    if skipped("python") {
        return None;
    }
    let python = env::var(PYTHON);
    Some(python.unwrap_or_else(|_| {
        panic!(
            "no Python: set {PYTHON} to an interpreter with the packages of \
             docs/python/requirements.txt, or run script/test; {SKIP}=python switches these tests off"
        )
    }))
}

/// Whether `name` was switched off, which is said.
pub fn skipped(name: &str) -> bool {
    let off =
        env::var(SKIP).is_ok_and(|skip| skip.split(',').any(|skipped| skipped.trim() == name));
    if off {
        println!("skipped: {name} is switched off by {SKIP}");
    }
    off
}

fn server(name: &str, variable: &str, example: &str) -> Option<String> {
    if skipped(name) {
        return None;
    }
    let server = env::var(variable).unwrap_or_else(|_| {
        panic!(
            "no {name}: set {variable} to what tests need, such as {example}, or run script/test; \
             {SKIP}={name} switches these tests off"
        )
    });
    Some(server)
}

async fn create<O>(server: &str, how: &str) -> String
where
    O: ConnectOptions<Connection: Sized> + FromStr<Err: std::fmt::Debug>,
    for<'c> &'c mut O::Connection: Executor<'c>,
{
    let name = new_name();
    let options: O = server.parse().expect("the server's URL");
    let connection = options.connect().await;
    let mut connection = connection.unwrap_or_else(|error| panic!("cannot reach it: {error}"));
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}{how}"));
    connection.execute(create).await.expect("create a database");
    with_database(server, &name)
}

/// A database name that no other test has.
pub(crate) fn new_name() -> String {
    format!("syncline_test_{}", Uuid::now_v7().simple())
}

/// The directory and the URL of a new SQLite database, which is made when it is first opened.
/// The database goes with the directory.
pub fn sqlite_database() -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("test.db").display());
    (dir, url)
}

/// `url` with another database name.
pub fn with_database(url: &str, name: &str) -> String {
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
