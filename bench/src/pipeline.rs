//! Ours from log to table, and the same by hand.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use syncline::{
    BatchHandler, Consumer, Envelope, Handler, HandlerError, Relay, RelayHandle, Route, Start,
    Stream, Verdict, enqueue_all,
    message::Batch,
    transport::{Ack, Outcome, PublishError, Publisher, Receive, Subscriber, in_process},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    floor::Floor,
    work::{KEYS, message},
};

pub(crate) const SOURCE: &str = "/bench";
pub(crate) const STREAM: &str = "all";
/// Messages of one batch of ours (the default) and rows of one page of the floor.
pub(crate) const PAGE: usize = 2_000;
/// Nothing that is measured takes as long.
const LIMIT: Duration = Duration::from_secs(1_800);

/// Where messages are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Outbox,
    Plain,
    Both,
}

/// Commits `count` messages.
pub(crate) async fn fill<DB: Floor>(
    pool: &Pool<DB>,
    count: usize,
    into: Into,
) -> anyhow::Result<()> {
    for from in (0..count).step_by(5_000) {
        let messages =
            (from..(from + 5_000).min(count)).map(message).collect::<anyhow::Result<Vec<_>>>()?;
        let mut tx = syncline::begin(pool).await?;
        if into != Into::Plain {
            drop(enqueue_all(&mut tx, &messages).await?);
        }
        if into != Into::Outbox {
            DB::insert(&mut tx, &messages).await?;
        }
        tx.commit().await?;
    }
    DB::settle(pool).await?;
    Ok(())
}

/// How many have arrived, and whether those of each key came in order.
#[derive(Debug)]
pub(crate) struct Arrived {
    count: AtomicUsize,
    wanted: usize,
    done: Notify,
    /// When the first ones came, and how many those were.
    first: OnceLock<(Instant, usize)>,
    /// The last position of each key, and how many messages did not follow it.
    last: Mutex<(Vec<i64>, usize)>,
}

impl Arrived {
    pub(crate) fn new(wanted: usize) -> Arc<Self> {
        let last = Mutex::new((vec![0; KEYS], 0));
        Arc::new(Self {
            count: AtomicUsize::new(0),
            wanted,
            done: Notify::new(),
            first: OnceLock::new(),
            last,
        })
    }

    fn tell(&self, messages: &[Envelope]) {
        self.first.get_or_init(|| (Instant::now(), messages.len()));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, disorder) = &mut *last;
        for message in messages {
            let key = message.key.as_deref().unwrap_or_default();
            let key: usize = key.trim_start_matches("key ").parse().unwrap_or(0);
            let before = std::mem::replace(&mut last[key % KEYS], message.position.0);
            *disorder += usize::from(before >= message.position.0);
        }
        let before = self.count.fetch_add(messages.len(), Ordering::Relaxed);
        if before + messages.len() >= self.wanted {
            self.done.notify_one();
        }
    }

    /// Waits for the last one.
    pub(crate) async fn wait(&self) -> anyhow::Result<()> {
        let arrived = || self.count.load(Ordering::Relaxed);
        while arrived() < self.wanted {
            let done = tokio::time::timeout(LIMIT, self.done.notified()).await;
            done.with_context(|| format!("{} of {} arrived", arrived(), self.wanted))?;
        }
        self.in_order()
    }

    /// Fails unless those of each key came in order, each once.
    pub(crate) fn in_order(&self) -> anyhow::Result<()> {
        let disorder = self.last.lock().unwrap_or_else(PoisonError::into_inner).1;
        ensure!(disorder == 0, "{disorder} messages came before or beside another of their key");
        Ok(())
    }

    /// Microseconds for each message since the first ones came, without those: what it takes to
    /// start is not in it.
    pub(crate) fn each(&self) -> f64 {
        self.first.get().map_or(f64::NAN, |(at, first)| {
            1e6 * at.elapsed().as_secs_f64() / (self.count().saturating_sub(*first)) as f64
        })
    }

    /// When the first ones came.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.first.get().map(|(at, _)| *at)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

fn item(message: &Envelope) -> (i64, &str, &[u8]) {
    (message.position.0, message.key.as_deref().unwrap_or_default(), &message.data)
}

/// Upserts a batch, set-based.
pub(crate) struct BySet(pub(crate) Arc<Arrived>);

#[async_trait]
impl<DB: Floor> BatchHandler<DB> for BySet {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        messages: &[Envelope],
    ) -> Result<Verdict, HandlerError> {
        let items: Vec<_> = messages.iter().map(item).collect();
        DB::apply_all(tx, &items).await?;
        // What shows afterwards that each was applied once.
        DB::progress(tx, items.last().map_or(0, |item| item.0), items.len() as i64).await?;
        self.0.tell(messages);
        Ok(Verdict::Done)
    }
}

/// Upserts one message.
pub(crate) struct ByRow(pub(crate) Arc<Arrived>);

#[async_trait]
impl<DB: Floor> Handler<DB> for ByRow {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        DB::apply(tx, item(message)).await?;
        self.0.tell(std::slice::from_ref(message));
        Ok(Verdict::Done)
    }
}

/// How a consumer of ours applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Set,
    Row,
}

/// A consumer that applies into `to`.
pub(crate) fn consumer<DB: Floor>(
    to: &Pool<DB>,
    way: Way,
    start: Start,
    arrived: &Arc<Arrived>,
) -> anyhow::Result<Arc<dyn Receive>> {
    let builder = Consumer::builder("bench", to.clone()).start_at(start);
    let builder = match way {
        Way::Set => builder.batch_handler("*", BySet(Arc::clone(arrived))),
        Way::Row => builder.handler("*", ByRow(Arc::clone(arrived))),
    };
    Ok(Arc::new(builder.build()?))
}

/// A relay with one route.
pub(crate) async fn relay<DB: Floor>(
    from: &Pool<DB>,
    (route, start): (&str, Start),
    publisher: impl Publisher,
) -> anyhow::Result<RelayHandle> {
    let relay = Relay::builder(SOURCE, from.clone())
        .stream(Stream::new(STREAM).topic("*"))
        .route(Route::new(route, STREAM, publisher).start(start));
    Ok(relay.start().await?)
}

/// Moves the whole log in this process; messages a second. `route` must be new.
pub(crate) async fn in_process<DB: Floor>(
    from: &Pool<DB>,
    to: &Pool<DB>,
    (route, way): (&str, Way),
    count: usize,
) -> anyhow::Result<f64> {
    DB::reset(to).await?;
    let arrived = Arrived::new(count);
    let stop = CancellationToken::new();
    let (publisher, subscriber) = in_process::channel(16);
    let consumer = consumer(to, way, Start::Beginning, &arrived)?;
    let taking = tokio::spawn(Box::new(subscriber).run(consumer, stop.clone()));
    let began = Instant::now();
    let relay = relay(from, (route, Start::Beginning), publisher).await?;
    arrived.wait().await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    relay.stop().await;
    stop.cancel();
    taking.await??;
    checked(to, count, way).await?;
    Ok(rate)
}

/// The same by hand: page after page, each applied in one transaction with how far it got.
pub(crate) async fn by_hand<DB: Floor>(
    from: &Pool<DB>,
    to: &Pool<DB>,
    way: Way,
    count: usize,
) -> anyhow::Result<f64> {
    DB::reset(to).await?;
    let began = Instant::now();
    let (mut after, mut done) = (0, 0);
    while done < count {
        let page = DB::page(from, after, PAGE as i64).await?;
        let last = page.last().context("the plain table ended too early")?.place;
        let items: Vec<_> =
            page.iter().map(|item| (item.place, &item.key[..], &item.data[..])).collect();
        let mut tx = syncline::begin(to).await?;
        match way {
            Way::Set => DB::apply_all(&mut tx, &items).await?,
            Way::Row => {
                for item in &items {
                    DB::apply(&mut tx, *item).await?;
                }
            }
        }
        DB::progress(&mut tx, last, items.len() as i64).await?;
        tx.commit().await?;
        (after, done) = (last, done + items.len());
    }
    let rate = done as f64 / began.elapsed().as_secs_f64();
    checked(to, count, Way::Set).await?;
    Ok(rate)
}

/// Fails unless every message was applied once.
pub(crate) async fn checked<DB: Floor>(
    to: &Pool<DB>,
    count: usize,
    way: Way,
) -> anyhow::Result<()> {
    // The last handler's transaction may be committing.
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let (applied, keys) = DB::applied(to).await?;
        let (wanted, keys_wanted) = (count as i64, count.min(KEYS) as i64);
        if (applied == wanted || way == Way::Row) && keys == keys_wanted {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "{applied} messages of {wanted} and {keys} keys of {keys_wanted} were applied"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What every suite that applies has checked.
pub(crate) const CHECKED: &str =
    "every message was applied once (a sum that commits with it), those of a key in order";

/// Takes everything and does nothing.
pub(crate) struct Null(pub(crate) Arc<Arrived>);

#[async_trait]
impl Publisher for Null {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        self.0.tell(&batch.messages);
        Ok(Ack { watermark: batch.through, last: batch.last, outcome: Outcome::Complete })
    }
}
