//! Processes of their own: this program again, with a task in JSON.
//!
//! A child says that it is ready, waits for a line on its standard input, works, and says what it
//! found. It ends when its standard input does, so that none outlives who started it.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, ensure};
use axum::Router;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{MySql, Postgres, Sqlite};
use syncline::{
    Relay, Route, Start, Stream,
    transport::{
        Subscriber,
        http_feed::{FeedServer, FeedSubscriber, Reader, Token},
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    bench::program,
    floor::Floor,
    machine,
    pipeline::{Arrived, Null, SOURCE, STREAM, Way, consumer},
    sagas,
    service::{self, Part},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOKEN: &str = "synf_reads-everything-0123456789";

/// What a child does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    /// A consumer behind HTTP push, for `count` messages.
    Listen { url: String, count: usize, from_now: bool },
    /// A consumer that reads the feed at the address that it is told.
    Pull { url: String, count: usize },
    /// A relay that pushes to `target`.
    Push { url: String, target: String, route: String },
    /// A relay that serves its feed.
    Serve { url: String },
    /// A relay with so many routes to null sinks.
    Drain { url: String, count: usize, routes: usize, name: String },
    /// A service that takes part in the sagas of the one that listens at `to`.
    TakePart { url: String, to: String },
    /// A service that has nothing to do.
    Rest { url: String, parts: Vec<Part> },
}

/// What a child says first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Where it listens.
    pub(crate) address: Option<String>,
}

/// And at its end.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) seconds: f64,
    /// Microseconds for each message but the first ones; see [`Arrived::each`].
    pub(crate) each: f64,
    pub(crate) peak_mib: f64,
}

/// A child that runs.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(task: &Task) -> anyhow::Result<Self> {
        let mut child = Command::new(program()?)
            .arg("child")
            .arg(serde_json::to_string(task)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a child")?;
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Ok(Self { child, input, output })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a line.
    pub(crate) fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("the child's input is closed")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// Waits for its next line.
    pub(crate) async fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut output = self.output.take().context("the child's output is gone")?;
        let (output, line) = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let read = output.read_line(&mut line).map(|_| line);
            (output, read)
        })
        .await?;
        self.output = Some(output);
        let line = line?;
        ensure!(!line.is_empty(), "the child has ended");
        Ok(serde_json::from_str(&line)?)
    }

    /// Lets it end.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        drop(self.input.take());
        let ended = tokio::task::spawn_blocking(move || self.child.wait()).await??;
        ensure!(ended.success(), "the child failed: {ended}");
        Ok(())
    }
}

/// What the child itself does.
pub(crate) async fn run(task: &str) -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let task: Task = serde_json::from_str(task)?;
    let (Task::Listen { url, .. }
    | Task::Pull { url, .. }
    | Task::Push { url, .. }
    | Task::Serve { url }
    | Task::Drain { url, .. }
    | Task::TakePart { url, .. }
    | Task::Rest { url, .. }) = &task;
    match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        "postgres" => work::<Postgres>(task).await,
        "mysql" => work::<MySql>(task).await,
        _ => work::<Sqlite>(task).await,
    }
}

async fn work<DB: Floor>(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Listen { url, count, from_now } => {
            let start = if from_now { Start::Now } else { Start::Beginning };
            listen::<DB>(&url, count, start).await
        }
        Task::Pull { url, count } => pull::<DB>(&url, count).await,
        Task::Push { url, target, route } => push::<DB>(&url, &target, &route).await,
        Task::Serve { url } => serve::<DB>(&url).await,
        Task::Drain { url, count, routes, name } => drain::<DB>(&url, count, routes, &name).await,
        Task::TakePart { url, to } => {
            let ready = |address| say(&Ready { address: Some(address) });
            sagas::take_part(&url, &to, ready, async { told().await.map(drop) }).await
        }
        Task::Rest { url, parts } => {
            say(&Ready { address: None })?;
            service::run::<DB>(&url, &parts, async { told().await.map(drop) }).await
        }
    }
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(what)?)?;
    Ok(output.flush()?)
}

/// The next line of the input; none at its end.
async fn told() -> anyhow::Result<Option<String>> {
    let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next()).await?;
    Ok(line.transpose()?)
}

fn done(began: Instant, each: f64) -> anyhow::Result<()> {
    let peak_mib = machine::peak_mib(std::process::id()).unwrap_or(f64::NAN);
    say(&Done { seconds: began.elapsed().as_secs_f64(), each, peak_mib })
}

/// Waits until all has arrived, says so, and then until the input ends.
async fn applied(arrived: &Arrived, began: Instant) -> anyhow::Result<()> {
    tokio::select! {
        all = arrived.wait() => {
            all?;
            done(began, arrived.each())?;
            told().await?;
        }
        ended = told() => drop(ended?),
    }
    Ok(())
}

/// A consumer's listener for a stream of `source`.
pub(crate) async fn listener(source: &str, stream: &str) -> anyhow::Result<PushListener> {
    let principal = Principal::new(source, stream, [Secret::parse(SECRET)?])?;
    let setup = |receiver| PushReceiver::new(receiver).principal(principal);
    Ok(PushListener::bind("127.0.0.1:0", setup).await?)
}

/// What sends to it.
pub(crate) fn publisher(target: &str) -> anyhow::Result<PushPublisher> {
    Ok(PushPublisher::builder(target).secret(Secret::parse(SECRET)?).build()?)
}

async fn listen<DB: Floor>(url: &str, count: usize, start: Start) -> anyhow::Result<()> {
    let pool = DB::open(url, 10).await?;
    let arrived = Arrived::new(count);
    let (listener, stop) = (listener(SOURCE, STREAM).await?, CancellationToken::new());
    let address = Some(listener.url());
    let consumer = consumer(&pool, Way::Set, start, &arrived)?;
    let serving = tokio::spawn(Box::new(listener).run(consumer, stop.clone()));
    say(&Ready { address })?;
    applied(&arrived, Instant::now()).await?;
    stop.cancel();
    Ok(serving.await??)
}

async fn pull<DB: Floor>(url: &str, count: usize) -> anyhow::Result<()> {
    let pool = DB::open(url, 10).await?;
    let arrived = Arrived::new(count);
    say(&Ready { address: None })?;
    let address = told().await?.context("where the feed is")?;
    let subscriber = FeedSubscriber::builder(address)
        .source(SOURCE)
        .stream(STREAM)
        .token(Token::parse(TOKEN)?)
        .build()?;
    let (stop, began) = (CancellationToken::new(), Instant::now());
    let consumer = consumer(&pool, Way::Set, Start::Beginning, &arrived)?;
    let pulling = tokio::spawn(Box::new(subscriber).run(consumer, stop.clone()));
    applied(&arrived, began).await?;
    stop.cancel();
    Ok(pulling.await??)
}

async fn push<DB: Floor>(url: &str, target: &str, route: &str) -> anyhow::Result<()> {
    let pool = DB::open(url, 10).await?;
    let publisher = publisher(target)?;
    say(&Ready { address: None })?;
    told().await?;
    let relay = Relay::builder(SOURCE, pool)
        .stream(Stream::new(STREAM).topic("*"))
        .route(Route::new(route, STREAM, publisher))
        .start()
        .await?;
    told().await?;
    relay.stop().await;
    Ok(())
}

async fn serve<DB: Floor>(url: &str) -> anyhow::Result<()> {
    let pool = DB::open(url, 10).await?;
    say(&Ready { address: None })?;
    told().await?;
    let relay = Relay::builder(SOURCE, pool).stream(Stream::new(STREAM).topic("*")).start().await?;
    let stop = CancellationToken::new();
    let reader = Reader::new(&Token::parse(TOKEN)?, STREAM, ["*"])?;
    let feed = FeedServer::new(relay.feed()).reader(reader).stop(stop.clone());
    let app = Router::new().nest("/feed", feed.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    say(&Ready { address: Some(format!("http://{}/feed", listener.local_addr()?)) })?;
    let ended = stop.clone();
    let until = async move { ended.cancelled().await };
    let serving = axum::serve(listener, app).with_graceful_shutdown(until);
    let serving = tokio::spawn(async move { serving.await });
    told().await?;
    stop.cancel();
    relay.stop().await;
    Ok(serving.await??)
}

async fn drain<DB: Floor>(
    url: &str,
    count: usize,
    routes: usize,
    name: &str,
) -> anyhow::Result<()> {
    let pool = DB::open(url, 10).await?;
    say(&Ready { address: None })?;
    told().await?;
    let began = Instant::now();
    let mut relay = Relay::builder(SOURCE, pool).stream(Stream::new(STREAM).topic("*"));
    let arrived: Vec<_> = (0..routes).map(|_| Arrived::new(count)).collect();
    for (n, arrived) in arrived.iter().enumerate() {
        relay = relay.route(Route::new(format!("{name}-{n}"), STREAM, Null(Arc::clone(arrived))));
    }
    let relay = relay.start().await?;
    let mut each: f64 = 0.0;
    for arrived in arrived {
        arrived.wait().await?;
        each = each.max(arrived.each());
    }
    done(began, each)?;
    told().await?;
    relay.stop().await;
    Ok(())
}
