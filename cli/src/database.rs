//! Which database, and whether it can be reached.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Executor, MySqlPool, PgPool, Pool, SqlitePool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use syncline::{
    Error,
    storage::{file::make_private, pool::release_within},
};

use crate::failure::Failure;

/// How long is waited for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 2;
/// Our connection may die while it holds what others need, or waits for it. On PostgreSQL each
/// transaction is limited by itself.
const BOUND: &str = "SET SESSION innodb_lock_wait_timeout = LEAST(10, @@SESSION.innodb_lock_wait_timeout) \
                     /*M! , SESSION idle_transaction_timeout = 60 */";

/// What happens when an SQLite file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is made if the URL says so (`?mode=rwc`).
    AsUrlSays,
    /// It is an error: a mistyped name must not make an empty database.
    Refuse,
}

/// A database that answered, with its name for people: without the password.
pub(crate) enum Database {
    MySql(MySqlPool, String),
    Postgres(PgPool, String),
    Sqlite(SqlitePool, String),
}

impl Database {
    pub(crate) async fn connect(url: Option<&str>, missing: Missing) -> Result<Self, Failure> {
        let url = url.map(str::trim).filter(|url| !url.is_empty()).ok_or_else(|| {
            Failure::usage("no database: give --database-url or set DATABASE_URL")
        })?;
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("mysql" | "mariadb") => mysql(url).await,
            Some("postgres" | "postgresql") => postgres(url).await,
            Some("sqlite") => sqlite(url, missing).await,
            _ => Err(Failure::usage(
                "the database URL must begin with postgres://, mysql:// or sqlite: \
                 (such as postgres://user@host:5432/name or sqlite:file.db)",
            )),
        }
    }
}

async fn mysql(url: &str) -> Result<Database, Failure> {
    let options = MySqlConnectOptions::from_str(url).map_err(wrong_url)?;
    let Some(database) = options.get_database() else {
        return Err(Failure::usage("the database URL names no database: mysql://user@host/name"));
    };
    let name = format!(
        "mysql://{}@{}:{}/{database}",
        options.get_username(),
        options.get_host(),
        options.get_port(),
    );
    reach(&options, &name).await?;
    let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
    let pool = pool.after_connect(|connection, _| {
        Box::pin(async move { connection.execute(BOUND).await.map(drop) })
    });
    Ok(Database::MySql(release_within(PATIENCE, pool).connect_lazy_with(options), name))
}

async fn postgres(url: &str) -> Result<Database, Failure> {
    let options = PgConnectOptions::from_str(url).map_err(wrong_url)?;
    let options = options.application_name("syncline");
    let name = format!(
        "postgres://{}@{}:{}/{}",
        options.get_username(),
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap_or(options.get_username()),
    );
    reach(&options, &name).await?;
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
    Ok(Database::Postgres(pool.connect_lazy_with(options), name))
}

async fn sqlite(url: &str, missing: Missing) -> Result<Database, Failure> {
    let mut options = SqliteConnectOptions::from_str(url).map_err(wrong_url)?;
    if missing == Missing::Refuse {
        options = options.create_if_missing(false);
    }
    let file = options.get_filename().to_owned();
    let name = format!("sqlite:{}", file.display());
    // SQLite says better why it cannot be made.
    if missing == Missing::AsUrlSays && url.contains("mode=rwc") {
        drop(make_private(&file));
    }
    reach(&options, &name).await.map_err(|failure| match file.exists() {
        true => failure,
        false => Failure::unreachable(format!(
            "{name}: there is no such file; check the path, or make the database with \
             `syncline migrate up` and ?mode=rwc at the end of the URL"
        )),
    })?;
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
    Ok(Database::Sqlite(pool.connect_lazy_with(options), name))
}

/// Closes `pool`; a server that does not answer any more is not waited for.
pub(crate) async fn close<DB: sqlx::Database>(pool: &Pool<DB>) {
    drop(tokio::time::timeout(PATIENCE, pool.close()).await);
}

/// One connection on its own first: its error says more than a pool's time-out.
async fn reach<O>(options: &O, name: &str) -> Result<(), Failure>
where
    O: ConnectOptions<Connection: Sized>,
{
    let failed = |reason: String| Failure::unreachable(format!("cannot reach {name}: {reason}"));
    match tokio::time::timeout(PATIENCE, options.connect()).await {
        Ok(Ok(connection)) => {
            drop(tokio::time::timeout(PATIENCE, connection.close()).await);
            Ok(())
        }
        Ok(Err(error)) => Err(failed(said(error))),
        Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// The driver's words, without the line of PostgreSQL's own source.
pub(crate) fn said(source: sqlx::Error) -> String {
    let error = Error::Database { action: "connect", source };
    let text = error.to_string();
    let text = text.strip_prefix("connect: ").unwrap_or(&text);
    match about_files(&error) {
        Some((advice, _)) => format!("{text}: {advice}"),
        None => text.to_owned(),
    }
}

/// Advice to an error of SQLite's about files that it would open or write, and whether it cannot even read.
pub(crate) fn about_files(error: &Error) -> Option<(&'static str, bool)> {
    const OPEN: &str = "SQLite cannot open the file, or those that it needs beside it. In WAL mode it makes \
                        NAME-wal and NAME-shm in the file's directory, even to read: give this user the right \
                        to write that directory, run as the user of the service, or look at a copy elsewhere";
    const WRITE: &str = "this user may not write the file, or the URL opens it to read only (mode=ro): run as \
                         the user of the service";
    let (Error::Database { source, .. } | Error::MigrationFailed { source, .. }) = error else {
        return None;
    };
    let code = source.as_database_error()?.code()?;
    // PostgreSQL's and MySQL's have five characters, and none of these is theirs.
    match code.parse::<u32>().ok().filter(|_| code.len() < 5)? {
        // SQLITE_CANTOPEN and its extended codes.
        code if code & 0xff == 14 => Some((OPEN, true)),
        // SQLITE_READONLY_RECOVERY, _CANTLOCK, _CANTINIT and _DIRECTORY: of the files beside it.
        264 | 520 | 1288 | 1544 => Some((OPEN, true)),
        code if code & 0xff == 8 => Some((WRITE, false)),
        _ => None,
    }
}

/// The driver's words about the URL do not repeat it, so they hold no password.
fn wrong_url(error: sqlx::Error) -> Failure {
    Failure::usage(format!("the database URL is not valid: {error}"))
}
