//! The operator's command line: migrations, checks, the outbox, dead letters, sagas; and the relay
//! on its own.
//!
//! One file per command; [`database`] picks the database, [`output`] writes for people or
//! for programs, [`failure`] maps what went wrong to an exit code, [`ask`] asks before something is lost.

mod ask;
mod database;
mod dead;
mod delivery;
mod doctor;
mod erase;
mod failure;
mod held;
mod help;
mod inbox;
mod layout;
mod limit;
mod lock;
mod migrate;
mod operations;
mod outbox;
mod output;
mod process;
mod progress;
mod relay;
mod route;
mod saga;
mod schema;
mod standing;
mod status;
mod stream;
mod text;
mod trace;

use std::{
    io::{self, IsTerminal},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use sqlx::Pool;
use syncline::{Storage, logs::Lines, processes::Kind};
use tracing_subscriber::EnvFilter;

use database::{Database, Missing, Sessions};
use failure::{Failure, Outcome};
use limit::Limits;
use output::Output;
use relay::config::Config;

/// Looks after the tables and the messages of a service that uses Syncline.
#[derive(Parser)]
#[command(name = "syncline", version, after_help = failure::CODES,
    after_long_help = format!("{}\n\n{}", help::SYMPTOMS, failure::CODES))]
struct Cli {
    /// The service's database: postgres://user@host/name, mysql://user@host/name or sqlite:file.db
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// Write one JSON document for programs; errors go to stderr as JSON, too
    #[arg(long, global = true)]
    json: bool,
    /// The longest time that the command may take; 30 s for most, an hour for those that work through
    /// much (migrate, erase, trim, rebase, redrive, reapply), none for those that go on until they are stopped
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    #[command(subcommand)]
    command: Command,
}

impl Command {
    /// The configuration of the relay that is to run.
    fn config(&self) -> Option<&Path> {
        match self {
            Self::Relay(args) => args.config(),
            _ => None,
        }
    }

    /// The longest time that it may take unless another is given.
    fn limit(&self) -> Option<Duration> {
        match self {
            Self::Outbox(outbox::Command::Tail(args)) if args.follows() => None,
            Self::Migrate(_)
            | Self::Erase(_)
            | Self::Outbox(outbox::Command::Trim(_))
            | Self::Stream(stream::Command::Rebase(_))
            | Self::Dead(dead::Command::Redrive(_))
            | Self::Inbox(inbox::Command::Reapply(_)) => Some(limit::LONG),
            _ => Some(limit::SHORT),
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Syncline's tables: apply, take back, look
    #[command(subcommand, after_help = help::MIGRATE)]
    Migrate(migrate::Command),
    /// One page: what is wrong first, and who runs
    #[command(after_help = help::STATUS)]
    Status,
    /// Check the server, its settings, the tables, the rights on them, and whether things move
    #[command(after_help = help::DOCTOR)]
    Doctor(doctor::Args),
    /// Everything about one key: its messages in the log, what is held or dead, its sagas
    #[command(after_help = help::TRACE)]
    Trace(trace::Args),
    /// Take the payloads of a key, or of an instance of a saga, away for good
    #[command(after_help = help::ERASE)]
    Erase(erase::Args),
    /// Messages on their way out
    #[command(subcommand, after_help = help::OUTBOX)]
    Outbox(outbox::Command),
    /// Where routes stand; pause them, send again
    #[command(subcommand, after_help = help::ROUTE)]
    Route(route::Command),
    /// Send what the service enqueues, until SIGTERM: for a service that runs no relay itself
    #[command(after_help = help::RELAY)]
    Relay(relay::Args),
    /// The processes that run a relay, a consumer or an engine of sagas here
    #[command(subcommand, after_help = help::PROCESS)]
    Process(process::Command),
    /// The definitions of streams
    #[command(subcommand, after_help = help::STREAM)]
    Stream(stream::Command),
    /// Messages that came in and failed for good
    #[command(subcommand, after_help = help::DEAD)]
    Dead(dead::Command),
    /// Everything that came in and was not applied
    #[command(subcommand, after_help = help::HELD)]
    Held(held::Command),
    /// How far consumers are; have them apply again
    #[command(subcommand, after_help = help::INBOX)]
    Inbox(inbox::Command),
    /// Instances of sagas: look, and lend a hand to those that are stuck
    #[command(subcommand, after_help = help::SAGA)]
    Saga(saga::Command),
    /// Entities that sagas have locked
    #[command(subcommand, after_help = help::LOCK)]
    Lock(lock::Command),
    /// Acts of operators here: when, who, what and why
    #[command(after_help = help::OPERATIONS)]
    Operations(operations::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(error),
    };
    syncline::processes::set_program(concat!("syncline ", env!("CARGO_PKG_VERSION")));
    // What runs for long says what it does; the others say it by their output.
    let serves = cli.command.config().is_some();
    let level = if serves { "info" } else { "off" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let colours = io::stderr().is_terminal();
    let lines = move || Lines::new(io::stderr()).colours(colours);
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    logs.with_ansi(colours).init();
    let mut output = Output::new(cli.json);
    let runtime = match serves {
        true => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
        false => tokio::runtime::Builder::new_current_thread().enable_all().build(),
    };
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(&cli, &mut output));
            // What did not end in time is not waited for.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::failed(format!("cannot start: {error}"))),
    };
    let outcome = outcome.and_then(|outcome| output.finish().map(|()| outcome));
    match outcome {
        // The document says what is wrong; stderr, that something is.
        Ok(outcome) => match Failure::of_document(outcome).filter(|_| cli.json) {
            Some(failure) => failure.report(true),
            None => outcome.into(),
        },
        Err(failure) if output.has_warned() && failure.is_failed() => {
            let failure =
                failure.with("this may come from tables that are newer than this program");
            failure.report(cli.json)
        }
        Err(failure) => failure.report(cli.json),
    }
}

async fn run(cli: &Cli, output: &mut Output) -> Result<Outcome, Failure> {
    let missing = match &cli.command {
        Command::Migrate(migrate::Command::Up) => Missing::AsUrlSays,
        _ => Missing::Refuse,
    };
    let config = cli.command.config().map(Config::read).transpose()?;
    let url = config.as_ref().and_then(|config| config.database_url.as_deref());
    let limit = match config.is_some() {
        // A relay goes on until it is stopped, and its own work has limits.
        true => None,
        false => cli.timeout.map(Duration::from_secs).or(cli.command.limit()),
    };
    let checks = matches!(cli.command, Command::Status | Command::Doctor(_));
    let run = Running { limits: Limits::start(limit, checks), sessions: Sessions::default() };
    let url = url.or(cli.database_url.as_deref());
    match Database::connect(url, missing, &run.limits, &run.sessions).await? {
        Database::MySql(pool, name) => command(cli, config, &run, &pool, &name, output).await,
        Database::Postgres(pool, name) => command(cli, config, &run, &pool, &name, output).await,
        Database::Sqlite(pool, name) => command(cli, config, &run, &pool, &name, output).await,
    }
}

/// Time limits of one run, and its sessions at the database.
struct Running {
    limits: Limits,
    sessions: Sessions,
}

async fn command<DB: Storage>(
    cli: &Cli,
    config: Option<Config>,
    run: &Running,
    pool: &Pool<DB>,
    name: &str,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Running { limits, sessions } = run;
    let work = work(&cli.command, limits.telling(), config, pool, name, output);
    let outcome = limit::within(limits, cli.json, pool, work).await;
    database::leave(pool, sessions, limits.left()).await;
    outcome
}

/// Does what is asked for; what can tell half of it does so after `time`.
async fn work<DB: Storage>(
    command: &Command,
    time: Duration,
    config: Option<Config>,
    pool: &Pool<DB>,
    name: &str,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::Migrate(command) => migrate::run(command, pool, output).await,
        Command::Status => status::run(time, pool, name, output).await,
        Command::Doctor(args) => doctor::run(args, time, pool, name, output).await,
        Command::Trace(args) => trace::run(args, time, pool, output).await,
        Command::Erase(args) => erase::run(args, pool, output).await,
        Command::Outbox(command) => outbox::run(command, pool, output).await,
        Command::Relay(args) => match config {
            Some(config) => relay::run(args, config, pool, output).await,
            None => process::list(Some(Kind::Relay), pool, output).await,
        },
        Command::Process(command) => process::run(command, pool, output).await,
        Command::Route(command) => route::run(command, pool, output).await,
        Command::Stream(command) => stream::run(command, pool, output).await,
        Command::Dead(command) => dead::run(command, pool, output).await,
        Command::Held(command) => held::run(command, pool, output).await,
        Command::Inbox(command) => inbox::run(command, pool, output).await,
        Command::Saga(command) => saga::run(command, pool, output).await,
        Command::Lock(command) => lock::run(command, pool, output).await,
        Command::Operations(args) => operations::run(args, pool, output).await,
    }
}
