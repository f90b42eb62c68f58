//! `syncline relay`: the relay on its own, beside a service in any language that writes to the
//! outbox by plain SQL.

pub(crate) mod config;
mod given;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Subcommand;
use sqlx::Pool;
use syncline::{
    Error, Relay, Storage,
    relay::RelayBuilder,
    transport::http_feed::{FeedServer, Reader, serve},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{Failure, Outcome},
    output::Output,
};
use config::Config;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    /// The configuration: source, database, streams, routes, feed; a TOML file
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Check the configuration and the database, and end
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The relays of this database, wherever they run: alive when, their leases and definitions
    List,
}

impl Args {
    /// The configuration of the relay that is to run.
    pub(crate) fn config(&self) -> Option<&Path> {
        match self.command {
            Some(Command::List) => None,
            None => self.config.as_deref(),
        }
    }
}

/// Relays until SIGTERM or SIGINT.
pub(crate) async fn run<DB: Storage>(
    args: &Args,
    config: Config,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Config { source, streams, routes, leaves, feed, options, stop: limit, wrong, .. } = config;
    let routed = routes.len();
    let mut relay: RelayBuilder<DB> = Relay::builder(&source, pool.clone());
    for stream in streams {
        relay = relay.stream(stream);
    }
    for route in routes {
        relay = relay.route(route);
    }
    relay = leaves.into_iter().fold(relay, RelayBuilder::leaves);
    let read = feed.iter().flat_map(|feed| &feed.streams);
    let relay = read.fold(relay, RelayBuilder::feeds);
    let relay = relay.options(|relay| options.apply(relay));
    let refused = |error: Error| match &error {
        Error::Definition { what, name, .. } => wrong.say(what, name, &error.to_string()),
        Error::ReachesNobody { stream } => wrong.unreached(stream, &error.to_string()),
        _ => Failure::from(error),
    };
    if args.check {
        relay.check().await.map_err(refused)?;
        let good = "the configuration and the database are as they should be";
        match output.is_json() {
            true => output.json(&serde_json::json!({"ok": true, "source": source}))?,
            false => output.line(good)?,
        }
        return Ok(Outcome::Done);
    }
    // Before anything is begun: a signal from here on ends the relay in order.
    let told = Signals::new()?;
    let stop = CancellationToken::new();
    let listener = match &feed {
        Some(feed) => {
            let listener = TcpListener::bind(feed.listen).await;
            Some(listener.map_err(|error| {
                Failure::failed(format!("the feed cannot listen on {}: {error}", feed.listen))
            })?)
        }
        None => None,
    };
    let relay = relay.start().await.map_err(refused)?;
    tracing::info!(source, routes = routed, "relaying");
    let serving = match (feed, listener) {
        (Some(feed), Some(listener)) => {
            let server = FeedServer::new(relay.feed()).stop(stop.clone());
            Some(serve_feed(server, feed.readers, listener, &stop)?)
        }
        _ => None,
    };
    told.wait().await;
    tracing::info!("stopping");
    stop.cancel();
    let ended = async {
        relay.stop().await;
        if let Some(serving) = serving {
            drop(serving.await);
        }
    };
    match tokio::time::timeout(limit, ended).await {
        Ok(()) => Ok(Outcome::Done),
        Err(_) => Err(late(limit)),
    }
}

fn serve_feed(
    server: FeedServer,
    readers: Vec<Reader>,
    listener: TcpListener,
    stop: &CancellationToken,
) -> Result<JoinHandle<()>, Failure> {
    let server = readers.into_iter().fold(server, FeedServer::reader);
    let address = listener.local_addr();
    let address = address.map_err(|error| Failure::failed(format!("the feed: {error}")))?;
    tracing::info!(address = format!("http://{address}"), "serving the feed");
    Ok(tokio::spawn(serve(listener, server.router(), stop.clone())))
}

/// What was under way is sent again by whoever relays next.
fn late(limit: Duration) -> Failure {
    Failure::failed(format!(
        "the relay did not stop within {limit:?} and was cut off: what was under way is sent again"
    ))
}

/// What ends a process in order.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error| Failure::failed(format!("cannot wait for signals: {error}"));
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { terminate, interrupt })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn wait(self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
