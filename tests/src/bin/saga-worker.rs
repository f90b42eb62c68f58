//! One service of the sagas' kill campaign, on PostgreSQL: the orchestrator, which also starts the
//! sagas, or one that takes part. It runs until it is killed.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Parser;
use sqlx::{PgPool, Postgres};
use syncline::{
    Consumer, Relay, Route, Stream,
    consumer::ConsumerBuilder,
    relay::RelayBuilder,
    saga::{Sagas, StartError, wire::REPLY},
    transport::{
        Subscriber,
        http_push::{Principal, PushListener, PushPublisher, Secret},
    },
};
use syncline_tests::{
    kit::Kit,
    orders::{SAGA, SOURCE, definition, participant},
};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Parser)]
struct Arguments {
    /// `orders`, `stock` or `bank`.
    service: String,
    /// Its database.
    url: String,
    /// Where each service listens: `service=address`.
    #[arg(long = "at", value_parser = place)]
    places: Vec<(String, SocketAddr)>,
    /// How many sagas the orchestrator starts.
    #[arg(long, default_value_t = 0)]
    sagas: i64,
    /// The pause between two starts.
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
}

fn place(text: &str) -> Result<(String, SocketAddr), String> {
    let (service, address) = text.split_once('=').ok_or("it is not service=address")?;
    let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
    Ok((service.to_owned(), address))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let pool = Postgres::connect(&arguments.url, 8).await.context("connect")?;
    let places: HashMap<String, SocketAddr> = arguments.places.iter().cloned().collect();
    match arguments.service.as_str() {
        "orders" => orchestrate(pool, &places, &arguments).await,
        "stock" | "bank" => take_part(pool, &places, &arguments.service).await,
        other => anyhow::bail!("there is no service {other}"),
    }
}

fn at(places: &HashMap<String, SocketAddr>, service: &str) -> anyhow::Result<SocketAddr> {
    places.get(service).copied().with_context(|| format!("where is {service}?"))
}

fn publisher(places: &HashMap<String, SocketAddr>, service: &str) -> anyhow::Result<PushPublisher> {
    let url = format!("http://{}/", at(places, service)?);
    let publisher = PushPublisher::builder(&url).secret(Secret::parse(SECRET)?);
    Ok(publisher.timeout(Duration::from_secs(10)).build()?)
}

/// With short leases: what a killed process was at must not rest for long.
async fn relay(builder: RelayBuilder<Postgres>) -> anyhow::Result<syncline::RelayHandle> {
    let builder = builder.options(|options| {
        options.lease = Duration::from_millis(600);
        options.max_backoff = Duration::from_millis(500);
        options.progress_every = Duration::from_millis(500);
    });
    Ok(builder.start().await?)
}

/// Listens for what `streams`, each a source with its stream, send; for ever.
async fn listen(
    address: SocketAddr,
    consumer: ConsumerBuilder<Postgres>,
    streams: &[(&str, &str)],
) -> anyhow::Result<()> {
    let consumer = consumer.build()?;
    let _running = consumer.start().await?;
    let mut principals = Vec::new();
    for (source, stream) in streams {
        principals.push(Principal::new(*source, *stream, [Secret::parse(SECRET)?])?);
    }
    let setup = |receiver| {
        let receiver = syncline::transport::http_push::PushReceiver::new(receiver);
        principals.into_iter().fold(receiver, |receiver, one| receiver.principal(one))
    };
    let listener = PushListener::bind(address, setup).await.context("listen")?;
    Box::new(listener).run(Arc::new(consumer), CancellationToken::new()).await?;
    Ok(())
}

async fn take_part(
    pool: PgPool,
    places: &HashMap<String, SocketAddr>,
    service: &str,
) -> anyhow::Result<()> {
    let replies = Relay::builder(format!("/{service}"), pool.clone())
        .stream(Stream::new("replies").topic(REPLY))
        .route(Route::new("orders", "replies", publisher(places, "orders")?));
    let _relay = relay(replies).await?;
    let consumer = participant(service, pool, true);
    listen(at(places, service)?, consumer, &[(SOURCE, service)]).await
}

async fn orchestrate(
    pool: PgPool,
    places: &HashMap<String, SocketAddr>,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let sagas = Sagas::builder(SOURCE, pool.clone()).saga(definition()?).build()?;
    let _engine = sagas.run().await?;
    let mut commands = Relay::builder(SOURCE, pool.clone());
    for service in ["stock", "bank"] {
        commands = commands
            .stream(Stream::new(service).topic(format!("{service}.*")))
            .route(Route::new(service, service, publisher(places, service)?));
    }
    let _relay = relay(commands).await?;
    let consumer = Consumer::builder("orders", pool.clone()).batch_handler(REPLY, sagas.replies());
    let replies = [("/stock", "replies"), ("/bank", "replies")];
    let (listened, started) = tokio::join!(
        listen(at(places, "orders")?, consumer, &replies),
        start(&sagas, &pool, arguments)
    );
    listened.and(started)
}

/// Starts every saga. One that was killed begins again with the first: the key of each names the
/// same request.
async fn start(
    sagas: &Sagas<Postgres>,
    pool: &PgPool,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut orders: VecDeque<i64> = (0..arguments.sagas).collect();
    while let Some(order) = orders.pop_front() {
        let mut tx = syncline::begin(pool).await?;
        match sagas.start(&mut tx, SAGA, &format!("order {order}"), &order).await {
            Ok(started) if started.repeated => continue,
            Ok(started) => {
                tx.commit().await?;
                started.committed();
            }
            // Its customer has another order under way.
            Err(StartError::Locked { entity, .. }) => {
                ensure!(entity.starts_with("customer "), "{entity} is locked");
                orders.push_back(order);
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(arguments.pause_ms)).await;
    }
    Ok(())
}
