//! The built program, as an operator and as a script sees it, on every database.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod commands;
mod dead;
mod doctor;
mod failures;
mod inbox;
mod locked;
mod migrate;
mod missing;
mod operations;
mod outbox;
mod python;
mod relay;
mod route;
mod saga;
mod standby;
mod status;
mod stream;
mod trace;

use std::process::{Command, Output, Stdio};

use async_trait::async_trait;
use serde_json::Value;
use sqlx::{MySql, MySqlPool, PgPool, Pool, Postgres, Sqlite, SqlitePool};
use syncline::Storage;

/// How one run of the program ended.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// The JSON on stderr.
    fn error(&self) -> Value {
        serde_json::from_str::<Value>(&self.stderr)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stderr))["error"]
            .clone()
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let run = Self {
            code: output.status.code().expect("an exit code"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
        run
    }
}

fn command(url: &str, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command
        .args(args.split_whitespace())
        .env("DATABASE_URL", url)
        .env_remove("RUST_LOG")
        .env_remove("COLUMNS");
    command.stdin(Stdio::null());
    command
}

/// Runs `syncline` with `args`, separated by spaces.
fn syncline(url: &str, args: &str) -> Run {
    command(url, args).output().expect("the program starts").into()
}

/// A database that tests open themselves.
#[async_trait]
trait Open: Storage {
    async fn open(url: &str) -> Pool<Self>;
    async fn run(pool: &Pool<Self>, statement: &str);
}

macro_rules! open {
    ($db:ty, $pool:ty) => {
        #[async_trait]
        impl Open for $db {
            async fn open(url: &str) -> $pool {
                <$pool>::connect(url).await.expect("connect")
            }
            async fn run(pool: &$pool, statement: &str) {
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(pool).await.expect(statement);
            }
        }
    };
}
open!(MySql, MySqlPool);
open!(Postgres, PgPool);
open!(Sqlite, SqlitePool);

/// Runs each case on every server.
macro_rules! on_servers {
    ($($case:ident),* $(,)?) => {$(
        mod $case {
            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                if let Some(url) = syncline_tests::servers::mariadb_database().await {
                    super::case::$case::<sqlx::MySql>(&url).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                if let Some(url) = syncline_tests::servers::postgres_database().await {
                    super::case::$case::<sqlx::Postgres>(&url).await;
                }
            }
        }
    )*};
}
use on_servers;

/// Runs each case on every database.
macro_rules! on_each {
    ($($case:ident),* $(,)?) => {$(
        mod $case {
            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                if let Some(url) = syncline_tests::servers::mariadb_database().await {
                    super::case::$case::<sqlx::MySql>(&url).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                if let Some(url) = syncline_tests::servers::postgres_database().await {
                    super::case::$case::<sqlx::Postgres>(&url).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let (_directory, url) = syncline_tests::servers::sqlite_database();
                super::case::$case::<sqlx::Sqlite>(&url).await;
            }
        }
    )*};
}
use on_each;
