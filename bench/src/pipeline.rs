//! PostgreSQL to PostgreSQL over HTTP push, with signature, inbox and order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{PgPool, Postgres, Transaction};
use syncline::{
    BatchHandler, Consumer, Envelope, HandlerError, Message, Relay, RelayHandle, Route, Stream,
    Verdict, enqueue,
    transport::{
        Receive, Subscriber,
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Scale, drain, report};

const SOURCE: &str = "/bench";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Upserts a batch, set-based, and tells of every message it has applied.
struct Upsert(mpsc::UnboundedSender<(usize, Option<i64>)>);

#[async_trait]
impl BatchHandler<Postgres> for Upsert {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        messages: &[Envelope],
    ) -> Result<Verdict, HandlerError> {
        sqlx::query(
            "INSERT INTO applied (key, position, data)
             SELECT DISTINCT ON (key) key, position, data
             FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS m (key, position, data)
             ORDER BY key, position DESC
             ON CONFLICT (key) DO UPDATE SET position = excluded.position, data = excluded.data",
        )
        .bind(messages.iter().map(|m| m.key.as_deref()).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| m.position.0).collect::<Vec<_>>())
        .bind(messages.iter().map(|m| &m.data[..]).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
        let sent = messages.first().and_then(|m| m.headers.get("sent")?.parse().ok());
        self.0.send((messages.len(), sent)).map_err(|_| "the measurement has ended")?;
        Ok(Verdict::Done)
    }
}

/// A running pipeline.
struct Pipeline {
    relay: RelayHandle,
    applied: mpsc::UnboundedReceiver<(usize, Option<i64>)>,
    stop: CancellationToken,
}

async fn start(from: &PgPool, to: &PgPool) -> anyhow::Result<Pipeline> {
    let (sender, applied) = mpsc::unbounded_channel();
    let consumer = Consumer::builder("bench", to.clone()).batch_handler("*", Upsert(sender));
    let consumer: Arc<dyn Receive> = Arc::new(consumer.build()?);
    let principal = Principal::new(SOURCE, "all", [Secret::parse(SECRET)?])?;
    let setup = |receiver| PushReceiver::new(receiver).principal(principal);
    let listener = PushListener::bind("127.0.0.1:0", setup).await?;
    let publisher =
        PushPublisher::builder(listener.url()).secret(Secret::parse(SECRET)?).build()?;
    let stop = CancellationToken::new();
    tokio::spawn(Box::new(listener).run(consumer, stop.clone()));
    let relay = Relay::builder(SOURCE, from.clone())
        .stream(Stream::new("all").topic("*"))
        .route(Route::new("bench", "all", publisher))
        .options(|options| options.batch_messages = 5_000)
        .start()
        .await?;
    Ok(Pipeline { relay, applied, stop })
}

/// Moves a backlog.
pub(crate) async fn throughput(from: &PgPool, to: &PgPool, scale: Scale) -> anyhow::Result<()> {
    drain::fill(from, scale.backlog, false).await?;
    let began = Instant::now();
    let mut pipeline = start(from, to).await?;
    let (mut count, mut batches) = (0, 0);
    while count < scale.backlog {
        let applied =
            tokio::time::timeout(Duration::from_secs(60), pipeline.applied.recv()).await?;
        count += applied.map_or(0, |(messages, _)| messages);
        batches += 1;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!(
        "end to end over HTTP, one process: {rate:.0} messages/s, {count} messages in {batches} batches"
    );
    pipeline.relay.stop().await;
    pipeline.stop.cancel();
    Ok(())
}

/// Sends single messages, 200 a second, and takes the time from their commit to their handler's
/// end. One process, one clock.
pub(crate) async fn delay(from: &PgPool, to: &PgPool, scale: Scale) -> anyhow::Result<()> {
    let mut pipeline = start(from, to).await?;
    let (epoch, pool) = (Instant::now(), from.clone());
    let total = 200 * scale.seconds * 5;
    let writer = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        for n in 0..total {
            ticks.tick().await;
            let mut tx = pool.begin().await?;
            let sent = epoch.elapsed().as_micros().to_string();
            let message =
                Message::json("bench.delay", &n)?.key(format!("{n}")).header("sent", sent);
            let receipt = enqueue(&mut tx, &message).await?;
            tx.commit().await?;
            receipt.committed();
        }
        anyhow::Ok(())
    });
    let (mut delays, mut count) = (Vec::new(), 0);
    while count < total {
        let applied =
            tokio::time::timeout(Duration::from_secs(30), pipeline.applied.recv()).await?;
        let Some((messages, Some(sent))) = applied else { continue };
        count += messages as u64;
        let now = i64::try_from(epoch.elapsed().as_micros())?;
        delays.push((now - sent) as f64 / 1_000.0);
    }
    writer.await??;
    let at = |percent| report::percentile(&delays, percent);
    println!(
        "delay at 200/s, from before the INSERT and its commit to the end of the handler: p50 \
         {:.1} ms, p99 {:.1} ms, of {} batches with {count} messages",
        at(50),
        at(99),
        delays.len()
    );
    pipeline.relay.stop().await;
    pipeline.stop.cancel();
    Ok(())
}
