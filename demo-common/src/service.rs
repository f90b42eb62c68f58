//! Set-up and shutdown.

use std::{
    borrow::Cow,
    future::Future,
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::LazyLock,
    time::Duration,
};

use anyhow::{Context, bail};
use axum::{
    Router,
    error_handling::HandleErrorLayer,
    http::{Method, StatusCode, Uri},
    middleware::{from_fn, from_fn_with_state},
};
use sqlx::{
    Database as SqlxDatabase, MySql, Pool, Postgres, Sqlite,
    migrate::{Migrate, Migration, MigrationType, Migrator},
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use syncline::{
    logs::{self, Lines, LogLimit},
    storage::{Writes, file::make_private, pool::release_within},
    transport::http_push::{ServeOptions, serve_with},
};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, ServiceBuilder, timeout::TimeoutLayer};

use crate::{Problem, Proxies, bounded::bounded, client};

const REQUEST: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);
/// Of which this long for requests to end; the rest is for the relay and the consumer.
const GRACE: Duration = Duration::from_secs(4);

/// A connected database; the services are generic over the rest.
#[derive(Debug, Clone)]
pub enum Database {
    /// SQLite, in a file.
    Sqlite(Pool<Sqlite>),
    /// PostgreSQL.
    Postgres(Pool<Postgres>),
    /// MariaDB or MySQL.
    MySql(Pool<MySql>),
}

/// Connects to the database that `url` names.
///
/// # Errors
/// An unknown scheme, or a database that does not answer; the text has no password.
pub async fn connect(url: &str) -> anyhow::Result<Database> {
    let wait = Duration::from_secs(5);
    if url.starts_with("sqlite:") {
        let options: SqliteConnectOptions = url.parse().context("DATABASE_URL")?;
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(wait)
            .foreign_keys(true)
            // Deleted content is overwritten.
            .pragma("secure_delete", "ON");
        if !url.contains(":memory:") {
            let path = options.get_filename();
            make_private(path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let pool = SqlitePoolOptions::new().max_connections(8).acquire_timeout(wait);
        let pool = pool.connect_with(options).await.context("cannot open the SQLite file")?;
        Ok(Database::Sqlite(pool))
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        let options: PgConnectOptions = url.parse().context("DATABASE_URL")?;
        let place = format!("{}:{}", options.get_host(), options.get_port());
        let pool = PgPoolOptions::new().max_connections(16).acquire_timeout(wait);
        let pool = pool.connect_with(options).await;
        let pool = pool.with_context(|| format!("cannot reach PostgreSQL at {place}"))?;
        Ok(Database::Postgres(pool))
    } else if url.starts_with("mysql:") || url.starts_with("mariadb:") {
        let options: MySqlConnectOptions = url.parse().context("DATABASE_URL")?;
        let place = format!("{}:{}", options.get_host(), options.get_port());
        let pool = MySqlPoolOptions::new().max_connections(16).acquire_timeout(wait);
        let pool = release_within(wait, pool).connect_with(options).await;
        let pool = pool.with_context(|| format!("cannot reach MariaDB at {place}"))?;
        Ok(Database::MySql(pool))
    } else {
        bail!("DATABASE_URL must begin with sqlite:, postgres: or mysql:")
    }
}

/// Applies the service's own migrations (name, SQL), then Syncline's.
///
/// # Errors
/// When one fails, or the tables are newer than this program.
pub async fn migrate<DB>(
    pool: &Pool<DB>,
    own: &[(&'static str, &'static str)],
) -> anyhow::Result<()>
where
    DB: syncline::Storage,
    <DB as SqlxDatabase>::Connection: Migrate,
{
    let own = own.iter().zip(1..).map(|((name, sql), version)| {
        let sql = sqlx::SqlStr::from_static(sql);
        Migration::new(version, Cow::Borrowed(*name), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(own.collect())
        .run(pool)
        .await
        .context("the service's own tables could not be made")?;
    syncline::migrate(pool).await?;
    Ok(())
}

/// Puts limits of size and time around a service's own endpoints, makes problems of unknown paths and
/// methods, and tells handlers their [`Client`](crate::Client), as far as `proxies` are believed.
pub fn limits(router: Router, proxies: Proxies) -> Router {
    let timed = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |_: BoxError| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took too long; try again")
        }))
        .layer(TimeoutLayer::new(REQUEST));
    router
        .fallback(async |uri: Uri| {
            Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let detail = format!("{} does not take {method}", uri.path());
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(from_fn_with_state(proxies, client::tell))
        .layer(from_fn(bounded))
        .layer(timed)
}

/// Listens, says where on standard output, and serves until `stop`.
///
/// # Errors
/// When the address cannot be taken.
pub async fn hold_open(
    listen: std::net::SocketAddr,
    app: Router,
    proxies: &Proxies,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut options = ServeOptions::default();
    if !proxies.is_empty() {
        // Every connection is the proxy's, which is to limit its own clients.
        options.per_address = options.connections;
    }
    let listener = tokio::net::TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {listen}"))?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on http://{}", listener.local_addr()?)?;
    out.flush()?;
    let served = serve_with(listener, app, options, stop.clone());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = served => {}
        // Dropping the server closes its connections; what had not committed is rolled back.
        () = late => tracing::warn!("requests did not end within {GRACE:?} and were cut off"),
    }
    Ok(())
}

/// Whether the service can do its work: its tables fit this program, and its database takes a write. Anybody
/// may ask: the answer to the latter holds for some seconds.
///
/// # Errors
/// A 503 that says why it cannot.
pub async fn ready<DB: syncline::Storage>(
    pool: &Pool<DB>,
    writes: &Writes<DB>,
) -> Result<&'static str, Problem> {
    static FAILED: LazyLock<LogLimit> = LazyLock::new(LogLimit::default);
    syncline::storage::check_schema(pool).await?;
    writes.check().await.map_err(|error| {
        if let Some(left_out) = FAILED.admit("not ready") {
            tracing::warn!(%error, left_out, "the service cannot do its work: its database takes no writes");
        }
        let detail = format!("the database {}", error.trouble());
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(5)
    })?;
    Ok("ready")
}

/// Waits for `part` to stop, but not for long: a request to a silent peer may hang on. What was
/// sent and not acknowledged is sent again after the next start.
pub async fn stop_soon(part: impl Future<Output = ()>) {
    if tokio::time::timeout(GRACE, part).await.is_err() {
        tracing::warn!("a part did not stop within {GRACE:?} and was cut off");
    }
}

/// Runs a service until SIGTERM or SIGINT; an error is one line on standard error.
pub fn main<F: Future<Output = anyhow::Result<()>>>(
    service: impl FnOnce(CancellationToken) -> F,
) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Text that clients send is quoted in the log: it stays on its line and colours no terminal.
    let colours = std::io::stderr().is_terminal();
    let lines = move || Lines::new(std::io::stderr()).colours(colours);
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(lines).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut service = std::pin::pin!(service(stop.clone()));
        tokio::select! {
            result = &mut service => return result,
            result = signal() => result?,
        }
        tracing::info!("stopping");
        stop.cancel();
        match tokio::time::timeout(STOP, service).await {
            Ok(result) => result,
            Err(_) => bail!("the service did not stop within {STOP:?}"),
        }
    });
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let line = logs::escape(&format!("{error:#}"));
    drop(writeln!(std::io::stderr(), "error: {line}"));
    ExitCode::FAILURE
}
