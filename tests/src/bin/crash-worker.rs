//! One process of the kill campaign: a writer, a relay or a consumer. It says on standard
//! output what it did, and runs until it is killed, or told to stop by SIGTERM.

use std::{
    collections::HashSet,
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use clap::{Parser, ValueEnum};
use sqlx::{MySql, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Message, Relay, RetryPolicy, Route, Stream, Verdict,
    begin, enqueue,
    message::{Batch, Origin},
    transport::{
        Ack, Reached, Receive, ReceiveError, Subscriber,
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use syncline_tests::kit::{KEYS, Kit};
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
}

#[derive(Parser)]
struct Arguments {
    role: Role,
    /// The database of this role.
    url: String,
    /// Where the consumer listens.
    address: SocketAddr,
    /// Seeds a writer's choices.
    #[arg(default_value_t = 1)]
    seed: u64,
    /// How long a relay's leases last; a killed relay's work must not rest for long.
    #[arg(long, default_value_t = 600)]
    lease_ms: u64,
    /// The consumer fails once for every tenth message.
    #[arg(long)]
    flaky: bool,
}

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
    let pool = DB::connect(&arguments.url, 8).await?;
    let address = arguments.address;
    match arguments.role {
        Role::Writer => write(pool, arguments.seed).await,
        Role::Relay => {
            let publisher = PushPublisher::builder(format!("http://{address}/"))
                .secret(Secret::parse(SECRET)?)
                .timeout(Duration::from_secs(10))
                .build()?;
            let relay = Relay::builder(SOURCE, pool)
                .stream(Stream::new("counters").topic("counter.*"))
                .route(Route::new("consumer", "counters", publisher))
                .options(|options| {
                    options.lease = Duration::from_millis(arguments.lease_ms);
                    options.max_backoff = Duration::from_millis(500);
                })
                .start()
                .await?;
            told_to_stop()?.await;
            relay.stop().await;
            Ok(())
        }
        Role::Consumer => {
            let note = Note { failed: arguments.flaky.then(Mutex::default) };
            let consumer = Consumer::builder("consumer", pool).handler("counter.*", note);
            let consumer = consumer.retry(RETRY).build()?;
            let running = consumer.start().await?;
            let principal = Principal::new(SOURCE, "counters", [Secret::parse(SECRET)?])?;
            let setup = |receiver| PushReceiver::new(receiver).principal(principal);
            let listener = PushListener::bind(address, setup).await.context("listen")?;
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
    }
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
        let mut tx = begin(&pool).await?;
        let (mut told, mut receipts) = (String::new(), Vec::new());
        for key in keys {
            let key = format!("key {key}");
            let n = DB::raise(&mut tx, &key).await?;
            let message = Message::json("counter.raised", &n)?.key(&key);
            receipts.push(enqueue(&mut tx, &message).await?);
            told.push_str(&format!("told {key} {n}\n"));
        }
        if random() % 10 == 0 {
            tx.rollback().await?;
            continue;
        }
        tx.commit().await?;
        receipts.into_iter().for_each(syncline::Receipt::committed);
        out.write_all(told.as_bytes())?;
        out.flush()?;
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
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

/// Says how many messages came over the wire.
struct Counted<DB: Kit>(Consumer<DB>);

#[async_trait]
impl<DB: Kit> Receive for Counted<DB> {
    async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        println!("received {}", batch.messages.len());
        self.0.receive(batch).await
    }

    async fn reached(&self, origin: &Origin) -> Result<Option<Reached>, ReceiveError> {
        self.0.reached(origin).await
    }
}
