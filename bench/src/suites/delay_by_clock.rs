//! From a message's commit to the commit that applied it, on databases that do not tell when a
//! transaction committed: all in one process, by its clock, from when the writer's COMMIT has
//! returned to when the consumer's has.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::ensure;
use async_trait::async_trait;
use sqlx::Pool;
use syncline::{
    Message, Start, enqueue,
    message::{Batch, Origin},
    transport::{Ack, Reached, Receive, ReceiveError, Subscriber, in_process},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use super::delay::paced;
use crate::{
    bench::Bench,
    floor::Floor,
    pipeline::{Arrived, Way, consumer, relay},
    stats::quantile,
};

/// How long stragglers may take.
const LIMIT: Duration = Duration::from_secs(60);

/// When each message was written, and when it was applied.
#[derive(Debug, Default)]
struct Stamps(Mutex<[HashMap<String, Instant>; 2]>);

impl Stamps {
    fn all(&self) -> MutexGuard<'_, [HashMap<String, Instant>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, key: &str, at: Instant) {
        self.all()[0].insert(key.to_owned(), at);
    }

    fn applied(&self, keys: Vec<String>) {
        let now = Instant::now();
        self.all()[1].extend(keys.into_iter().map(|key| (key, now)));
    }

    /// Waits for the last one; the delays in milliseconds.
    async fn delays(&self, count: usize) -> anyhow::Result<Vec<f64>> {
        let until = Instant::now() + LIMIT;
        while self.all()[1].len() < count {
            ensure!(Instant::now() < until, "{} of {count} were applied", self.all()[1].len());
            sleep(Duration::from_millis(10)).await;
        }
        let [written, applied] = &*self.all();
        ensure!(applied.len() == count && written.len() == count, "a message that nobody wrote");
        let delay = |(key, at): (&String, &Instant)| {
            // It may be applied before its writer has noticed that it is committed.
            let applied = applied.get(key)?.saturating_duration_since(*at);
            Some(applied.as_secs_f64() * 1_000.0)
        };
        let delays: Vec<f64> = written.iter().filter_map(delay).collect();
        ensure!(delays.len() == count, "{} of {count} were applied", delays.len());
        Ok(delays)
    }
}

/// Notes when a batch was applied.
struct Stamped(Arc<dyn Receive>, Arc<Stamps>);

#[async_trait]
impl Receive for Stamped {
    async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        let keys = batch.messages.iter().filter_map(|message| message.key.clone()).collect();
        let ack = self.0.receive(batch).await?;
        self.1.applied(keys);
        Ok(ack)
    }

    async fn reached(&self, origin: &Origin) -> Result<Option<Reached>, ReceiveError> {
        self.0.reached(origin).await
    }
}

/// Ours and the floor, at a fixed pace. `seals`: whether the log must be sealed by a commit of its
/// own, which the floor makes, too.
pub(super) async fn rates<DB: Floor>(
    bench: &mut Bench,
    (from, to): (&Pool<DB>, &Pool<DB>),
    seals: bool,
) -> anyhow::Result<()> {
    for rate in [1.0, 50.0, 200.0] {
        let time =
            Duration::from_secs(if rate < 10.0 { bench.pick(6, 10) } else { bench.pick(4, 5) });
        let (mut ours, mut floor) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
        for round in bench.rounds() {
            let route = format!("delay-{rate}-{round}");
            let all = [
                (self::ours(from, to, &route, rate, time).await?, &mut ours),
                (by_hand(from, to, seals, rate, time).await?, &mut floor),
            ];
            for (delays, into) in all {
                for (share, column) in [0.5, 0.99].into_iter().zip(into) {
                    column.push(quantile(&delays, share));
                }
            }
        }
        for ((percentile, ours), floor) in ["p50", "p99"].into_iter().zip(ours).zip(floor) {
            let what = format!("delay: {rate}/s, in process, {percentile}");
            bench.line(what, "ms", (ours, floor), None);
        }
    }
    bench.note(
        "The delays are by the clock of the process: from COMMIT to COMMIT, as each returned.",
    );
    Ok(())
}

fn message(n: usize) -> anyhow::Result<Message> {
    let payload = serde_json::json!({ "n": n, "pad": "x".repeat(118) });
    Ok(Message::json("bench.message", &payload)?.key(format!("key {n}")))
}

async fn ours<DB: Floor>(
    from: &Pool<DB>,
    to: &Pool<DB>,
    route: &str,
    rate: f64,
    time: Duration,
) -> anyhow::Result<Vec<f64>> {
    DB::reset(to).await?;
    let (stamps, stop) = (Arc::<Stamps>::default(), CancellationToken::new());
    let (publisher, subscriber) = in_process::channel(16);
    let consumer = consumer(to, Way::Set, Start::Now, &Arrived::new(usize::MAX))?;
    let stamped = Arc::new(Stamped(consumer, Arc::clone(&stamps)));
    let taking = tokio::spawn(Box::new(subscriber).run(stamped, stop.clone()));
    let relay = relay(from, (route, Start::Now), publisher).await?;
    let send = |n| {
        let (from, stamps) = (from.clone(), Arc::clone(&stamps));
        async move {
            let message = message(n)?;
            let mut tx = syncline::begin(&from).await?;
            DB::business(&mut tx, &message).await?;
            let receipt = enqueue(&mut tx, &message).await?;
            tx.commit().await?;
            stamps.written(message.key.as_deref().unwrap_or_default(), Instant::now());
            receipt.committed();
            Ok(())
        }
    };
    // It is up when a first message is through; that one counts for nothing.
    send(0).await?;
    stamps.delays(1).await?;
    *stamps.all() = Default::default();
    let count = paced(rate, time, send).await?;
    let delays = stamps.delays(count).await;
    relay.stop().await;
    stop.cancel();
    taking.await??;
    delays
}

/// By hand: whoever has written tells a task in memory, which commits that it has seen it, if need
/// be, and applies what there is in one transaction.
async fn by_hand<DB: Floor>(
    from: &Pool<DB>,
    to: &Pool<DB>,
    seals: bool,
    rate: f64,
    time: Duration,
) -> anyhow::Result<Vec<f64>> {
    DB::reset(to).await?;
    let stamps = Arc::<Stamps>::default();
    let (tell, mut told) = mpsc::unbounded_channel::<String>();
    let (source, target, applied) = (from.clone(), to.clone(), Arc::clone(&stamps));
    let taking = tokio::spawn(async move {
        let mut keys = Vec::new();
        while told.recv_many(&mut keys, 1_000).await > 0 {
            if seals {
                let mut tx = syncline::begin(&source).await?;
                DB::progress(&mut tx, 0, keys.len() as i64).await?;
                tx.commit().await?;
            }
            let items: Vec<_> = keys.iter().map(|key| (0, &key[..], &[b'x'; 140][..])).collect();
            let mut tx = syncline::begin(&target).await?;
            DB::apply_all(&mut tx, &items).await?;
            DB::progress(&mut tx, 0, items.len() as i64).await?;
            tx.commit().await?;
            applied.applied(std::mem::take(&mut keys));
        }
        anyhow::Ok(())
    });
    let send = |n| {
        let (from, stamps, tell) = (from.clone(), Arc::clone(&stamps), tell.clone());
        async move {
            let message = message(n)?;
            let key = message.key.clone().unwrap_or_default();
            let mut tx = syncline::begin(&from).await?;
            DB::business(&mut tx, &message).await?;
            DB::insert(&mut tx, std::slice::from_ref(&message)).await?;
            tx.commit().await?;
            stamps.written(&key, Instant::now());
            Ok(tell.send(key)?)
        }
    };
    let count = paced(rate, time, send).await?;
    let delays = stamps.delays(count).await;
    drop(tell);
    taking.await??;
    delays
}
