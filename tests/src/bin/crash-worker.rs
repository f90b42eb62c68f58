//! One process of the kill campaign: a writer, a relay, a consumer or an engine of sagas. It says on standard
//! output what it did, and runs until it is killed, or told to stop by SIGTERM, whatever becomes of
//! its database.

use std::{
    collections::HashSet,
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use async_trait::async_trait;
use clap::{Parser, ValueEnum};
use sqlx::{MySql, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, Error, Handler, HandlerError, Message, Relay, Result, RetryPolicy, Route,
    Stream, Verdict, begin, enqueue,
    message::{Batch, Origin, Position},
    saga::Sagas,
    transport::{
        Ack, Outcome, Reached, Receive, ReceiveError, Subscriber,
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use syncline_tests::{
    faulty::Faulty,
    kit::{KEYS, Kit},
    timed,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SOURCE: &str = "/campaign";
const RETRY: RetryPolicy =
    RetryPolicy { max_attempts: 8, base: Duration::from_millis(100), max: Duration::from_secs(1) };

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Writer,
    Relay,
    Consumer,
    /// Of the saga of `timed`.
    Engine,
}

#[derive(Parser)]
struct Arguments {
    role: Role,
    /// The database of this role.
    url: String,
    /// Where the consumer listens, or the relay sends to.
    address: SocketAddr,
    /// Seeds a writer's or a transport's choices.
    #[arg(default_value_t = 1)]
    seed: u64,
    /// So many of a thousand batches are lost, doubled and delayed each.
    #[arg(long, default_value_t = 0)]
    faults: u64,
    /// The consumer holds messages that come before the ones they follow.
    #[arg(long)]
    hold_early: bool,
    /// How long a relay's leases last; a killed relay's work must not rest for long.
    #[arg(long, default_value_t = 600)]
    lease_ms: u64,
    /// The consumer fails once for every tenth message.
    #[arg(long)]
    flaky: bool,
}

/// How long a database may be away while a process starts.
const AWAY: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    match arguments.url.split(':').next() {
        Some("sqlite") => run::<Sqlite>(arguments).await,
        Some("mysql") => run::<MySql>(arguments).await,
        _ => run::<Postgres>(arguments).await,
    }
}

async fn run<DB: Kit>(arguments: Arguments) -> anyhow::Result<()> {
    let pool = patiently(async || {
        let connected = DB::connect(&arguments.url, 8).await;
        connected.map_err(failed("connect"))
    })
    .await?;
    match arguments.role {
        Role::Writer => write(pool, arguments.seed).await,
        Role::Relay => relay(pool, &arguments).await,
        Role::Consumer => consume(pool, &arguments).await,
        Role::Engine => engine(pool).await,
    }
}

fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database { action, source }
}

/// Starts what needs the database, which may be away just now.
async fn patiently<T>(mut start: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match start().await {
            Err(error) if error.is_transient() && began.elapsed() < AWAY => {
                eprintln!("not started yet: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => return other,
        }
    }
}

async fn relay<DB: Kit>(pool: sqlx::Pool<DB>, arguments: &Arguments) -> anyhow::Result<()> {
    let url = format!("http://{}/", arguments.address);
    let secret = Secret::parse(SECRET)?;
    let publisher = || {
        let publisher = PushPublisher::builder(&url).secret(secret.clone());
        publisher.timeout(Duration::from_secs(10)).build()
    };
    publisher()?;
    let relay = patiently(async || {
        let publisher = publisher().expect("as before");
        let publisher = Faulty::new(publisher, arguments.faults, arguments.seed);
        Relay::builder(SOURCE, pool.clone())
            .stream(Stream::new("counters").topic("counter.*").shards(16))
            .route(Route::new("consumer", "counters", publisher))
            .options(|options| {
                options.lease = Duration::from_millis(arguments.lease_ms);
                options.max_backoff = Duration::from_millis(500);
                options.progress_every = Duration::from_millis(500);
            })
            .start()
            .await
    })
    .await?;
    told_to_stop()?.await;
    relay.stop().await;
    Ok(())
}

async fn consume<DB: Kit>(pool: sqlx::Pool<DB>, arguments: &Arguments) -> anyhow::Result<()> {
    let note = Note { failed: arguments.flaky.then(Mutex::default) };
    let mut consumer = Consumer::builder("consumer", pool).handler("counter.*", note).retry(RETRY);
    if arguments.hold_early {
        consumer = consumer.hold_early(1_000, 1 << 20);
    }
    let consumer = consumer.build()?;
    let running = patiently(async || consumer.start().await).await?;
    let principal = Principal::new(SOURCE, "counters", [Secret::parse(SECRET)?])?.shards(16);
    let setup = |receiver| PushReceiver::new(receiver).principal(principal);
    let listener = PushListener::bind(arguments.address, setup).await.context("listen")?;
    let counted = Arc::new(Counted(consumer));
    let (stop, stopping) = (CancellationToken::new(), told_to_stop()?);
    let stopped = stop.clone();
    tokio::spawn(async move {
        stopping.await;
        stopped.cancel();
    });
    Box::new(listener).run(counted, stop).await?;
    running.stop().await;
    Ok(())
}

async fn engine<DB: Kit>(pool: sqlx::Pool<DB>) -> anyhow::Result<()> {
    let sagas = Sagas::builder(timed::SOURCE, pool).saga(timed::definition()?).build()?;
    let running = patiently(async || sagas.run().await).await?;
    told_to_stop()?.await;
    running.stop().await;
    Ok(())
}

/// Raises counters, each with its message, in transactions of a few; one in ten rolls back.
async fn write<DB: Kit>(pool: sqlx::Pool<DB>, mut seed: u64) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let mut random = move || {
        // Knuth's constants; any spread will do.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(seed >> 40).unwrap_or_default()
    };
    loop {
        let mut keys: Vec<i64> = (0..1 + random() % 3).map(|_| random() % KEYS).collect();
        // In one order, so that two writers cannot wait for each other.
        keys.sort_unstable();
        keys.dedup();
        match raise(&pool, &keys, random() % 10 == 0).await {
            Ok(told) => {
                out.write_all(told.as_bytes())?;
                out.flush()?;
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            // Whether it was committed is not known, and nobody is told that it was.
            Err(error) if error.is_transient() => {
                eprintln!("not written: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Says what was committed.
async fn raise<DB: Kit>(pool: &sqlx::Pool<DB>, keys: &[i64], undo: bool) -> Result<String> {
    let mut tx = begin(pool).await?;
    let (mut told, mut receipts) = (String::new(), Vec::new());
    for key in keys {
        let key = format!("key {key}");
        let n = DB::raise(&mut tx, &key).await.map_err(failed("raise a counter"))?;
        let message = Message::json("counter.raised", &n)?.key(&key);
        receipts.push(enqueue(&mut tx, &message).await?);
        told.push_str(&format!("told {key} {n}\n"));
    }
    if undo {
        tx.rollback().await.map_err(failed("roll back"))?;
        return Ok(String::new());
    }
    tx.commit().await.map_err(failed("commit"))?;
    receipts.into_iter().for_each(syncline::Receipt::committed);
    Ok(told)
}

/// Ends with SIGTERM, which does not end the process any more.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut term = signal(SignalKind::terminate())?;
    Ok(async move {
        term.recv().await;
    })
}

/// Notes what it handles; one that is flaky remembers what it has failed for.
struct Note {
    failed: Option<Mutex<HashSet<(String, i64)>>>,
}

#[async_trait]
impl<DB: Kit> Handler<DB> for Note {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let key = message.key.as_deref().ok_or("no key")?;
        let n: i64 = message.decode()?;
        if let Some(failed) = &self.failed
            && n % 10 == 0
        {
            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.insert((key.to_owned(), n)) {
                return Err("it fails once".into());
            }
        }
        DB::note(tx, key, n).await?;
        Ok(Verdict::Done)
    }
}

/// Says how many messages came over the wire, and how many too early.
struct Counted<DB: Kit>(Consumer<DB>);

#[async_trait]
impl<DB: Kit> Receive for Counted<DB> {
    async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        println!("received {}", batch.messages.len());
        let last = batch.last.position;
        let positions: Vec<Position> = batch.messages.iter().map(|m| m.position).collect();
        let answer = self.0.receive(batch).await;
        if let Ok(ack) = &answer {
            let early = positions.iter().filter(|position| **position > ack.watermark).count();
            match ack.outcome {
                Outcome::Gap => println!("gap"),
                Outcome::Complete if ack.last.position < last => println!("held {early}"),
                _ => {}
            }
        }
        answer
    }

    async fn reached(&self, origin: &Origin) -> Result<Option<Reached>, ReceiveError> {
        self.0.reached(origin).await
    }
}
