//! Which database, and whether it can be reached.

use std::{
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, MySql, MySqlPool, PgPool, Pool, SqlitePool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use syncline::{
    Error, Storage,
    storage::{Inspect, file::make_private, pool::release_within},
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{failure::Failure, limit::Limits};

/// Longest wait for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// SQLSTATEs with which poolers refuse settings in a start-up packet: protocol_violation (PgBouncer),
/// feature_not_supported.
const NO_OPTIONS: [&str; 2] = ["08P01", "0A000"];
/// Time for the connections to be closed, where a command has used all of its own.
const CLOSING: Duration = Duration::from_millis(300);
/// Time for ending sessions that were given up.
const ENDING: Duration = Duration::from_millis(700);

/// Names of a command's own sessions, which it ends when it leaves while they wait.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<Vec<String>>>);

impl Sessions {
    fn add(&self, name: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

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
    /// Its sessions have `limits` at the server, and are noted in `sessions`.
    pub(crate) async fn connect(
        url: Option<&str>,
        missing: Missing,
        limits: &Limits,
        sessions: &Sessions,
    ) -> Result<Self, Failure> {
        let url = url.map(str::trim).filter(|url| !url.is_empty()).ok_or_else(|| {
            Failure::usage("no database: give --database-url or set DATABASE_URL")
        })?;
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("mysql" | "mariadb") => mysql(url, limits, sessions).await,
            Some("postgres" | "postgresql") => postgres(url, limits, sessions).await,
            Some("sqlite") => sqlite(url, missing, limits).await,
            _ => Err(Failure::usage(
                "the database URL must begin with postgres://, mysql:// or sqlite: \
                 (such as postgres://user@host:5432/name or sqlite:file.db)",
            )),
        }
    }
}

async fn mysql(url: &str, limits: &Limits, sessions: &Sessions) -> Result<Database, Failure> {
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
    reach(&options, &name, limits).await?;
    let patience = patience(limits);
    let pool =
        MySqlPoolOptions::new().max_connections(limits.connections).acquire_timeout(patience);
    let (statement, lock, sessions) = (limits.statement, limits.lock, sessions.clone());
    let pool = pool.after_connect(move |connection, _| {
        let sessions = sessions.clone();
        Box::pin(async move {
            MySql::limit_session(connection, statement, lock).await?;
            // A session that does not see its name is left to the server's limits.
            if let Ok(Some(name)) = MySql::session_name(connection).await {
                sessions.add(name);
            }
            Ok(())
        })
    });
    Ok(Database::MySql(release_within(patience, pool).connect_lazy_with(options), name))
}

async fn postgres(url: &str, limits: &Limits, sessions: &Sessions) -> Result<Database, Failure> {
    let options = PgConnectOptions::from_str(url).map_err(wrong_url)?;
    // A name of its own: by it the command finds what it has given up.
    let token = format!("syncline {}", Uuid::now_v7().simple());
    let plain = options.application_name(&token);
    sessions.add(token);
    let name = format!(
        "postgres://{}@{}:{}/{}",
        plain.get_username(),
        plain.get_host(),
        plain.get_port(),
        plain.get_database().unwrap_or(plain.get_username()),
    );
    let limited = limited(&plain, limits);
    let reached = match connected(&limited, limits).await {
        Err(Some(error)) if refuses_options(&error) => {
            connected(&plain, limits).await.map(|()| plain)
        }
        reached => reached.map(|()| limited),
    };
    let options = reached.map_err(|why| unreached(&name, limits, why))?;
    let pool = PgPoolOptions::new().max_connections(limits.connections);
    let pool = pool.acquire_timeout(patience(limits));
    Ok(Database::Postgres(pool.connect_lazy_with(options), name))
}

async fn sqlite(url: &str, missing: Missing, limits: &Limits) -> Result<Database, Failure> {
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
    reach(&options, &name, limits).await.map_err(|failure| match file.exists() {
        true => failure,
        false => Failure::unreachable(format!(
            "{name}: there is no such file; check the path, or make the database with \
             `syncline migrate up` and ?mode=rwc at the end of the URL"
        )),
    })?;
    let pool = SqlitePoolOptions::new().max_connections(limits.connections);
    let pool = pool.acquire_timeout(patience(limits));
    Ok(Database::Sqlite(pool.connect_lazy_with(options), name))
}

/// Closes `pool` within about `left`. Where it waits for connections whose work was given up, their
/// `sessions` are ended: the server would go on with it, and wait for locks for nobody.
pub(crate) async fn leave<DB: Storage>(pool: &Pool<DB>, sessions: &Sessions, left: Duration) {
    if timeout(left.clamp(CLOSING, PATIENCE), pool.close()).await.is_ok() {
        return;
    }
    let Some(other) = DB::own_pool(pool, 1) else { return };
    drop(timeout(ENDING, DB::end_sessions(&other, &sessions.names())).await);
}

/// Longest wait for a connection of a command with these limits.
fn patience(limits: &Limits) -> Duration {
    limits.whole.map_or(PATIENCE, |whole| whole.min(PATIENCE))
}

/// With limits at the server. A setting of the start-up packet holds for this session only; behind a pooler
/// a SET would be met by others.
fn limited(options: &PgConnectOptions, limits: &Limits) -> PgConnectOptions {
    let limit = |name, limit: Option<Duration>| {
        let given = options.get_options().is_some_and(|given| given.contains(name));
        limit.filter(|_| !given).map(|limit| (name, limit.as_millis()))
    };
    let limits = [limit("statement_timeout", limits.statement), limit("lock_timeout", limits.lock)];
    options.clone().options(limits.into_iter().flatten())
}

fn refuses_options(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| NO_OPTIONS.contains(&&*code))
}

/// One connection on its own first: its error says more than a pool's time-out.
async fn reach<O>(options: &O, name: &str, limits: &Limits) -> Result<(), Failure>
where
    O: ConnectOptions<Connection: Sized>,
{
    connected(options, limits).await.map_err(|why| unreached(name, limits, why))
}

/// Fails with the driver's error; without one, there was no answer.
async fn connected<O>(options: &O, limits: &Limits) -> Result<(), Option<sqlx::Error>>
where
    O: ConnectOptions<Connection: Sized>,
{
    let connected = timeout(patience(limits), options.connect()).await;
    let connection = connected.map_err(|_| None)?.map_err(Some)?;
    drop(timeout(CLOSING, connection.close()).await);
    Ok(())
}

fn unreached(name: &str, limits: &Limits, why: Option<sqlx::Error>) -> Failure {
    let reason = match why {
        Some(error) => said(error),
        None => format!("no answer within {} s", patience(limits).as_secs()),
    };
    Failure::unreachable(format!("cannot reach {name}: {reason}"))
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
