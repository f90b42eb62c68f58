//! One process of the kill campaign: a writer, a relay or a consumer. It says on standard
//! output what it did, and runs until it is killed.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use clap::{Parser, ValueEnum};
use sqlx::{MySql, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Message, Relay, Route, Stream, Verdict, begin,
    enqueue,
    message::{Batch, Origin},
    transport::{
        Ack, Reached, Receive, ReceiveError, Subscriber,
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use syncline_tests::kit::{KEYS, Kit};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SOURCE: &str = "/campaign";

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
                    // A killed relay's work must not rest for long.
                    options.lease = Duration::from_millis(600);
                    options.max_backoff = Duration::from_millis(500);
                })
                .start()
                .await?;
            std::future::pending::<()>().await;
            relay.stop().await;
            Ok(())
        }
        Role::Consumer => {
            let consumer =
                Consumer::builder("consumer", pool).handler("counter.*", Note).build()?;
            let running = consumer.start().await?;
            let principal = Principal::new(SOURCE, "counters", [Secret::parse(SECRET)?])?;
            let setup = |receiver| PushReceiver::new(receiver).principal(principal);
            let listener = PushListener::bind(address, setup).await.context("listen")?;
            let counted = Arc::new(Counted(consumer));
            Box::new(listener).run(counted, CancellationToken::new()).await?;
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

struct Note;

#[async_trait]
impl<DB: Kit> Handler<DB> for Note {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let key = message.key.as_deref().ok_or("no key")?;
        DB::note(tx, key, message.decode()?).await?;
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
