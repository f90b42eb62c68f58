//! A business transaction with `enqueue`, against the same with a plain INSERT, and with none.

use std::time::{Duration, Instant};

use futures::FutureExt;
use sqlx::{Pool, Postgres};
use syncline::{Message, enqueue_all};

use crate::{
    bench::{Bench, Suite},
    counts::{Counter, Counts},
    floor::Floor,
    results::Goal,
    stats::median,
    work::message,
};

pub(crate) const SUITE: Suite = Suite {
    name: "write",
    title: "a business transaction (one INSERT) that enqueues",
    floor: "the same transaction with a plain INSERT of equal width (a), and with none (b)",
    run: |bench| async move { run(bench).await }.boxed(),
};

/// Writers at once, messages in a transaction.
const SHAPES: [(usize, usize); 6] = [(1, 1), (8, 1), (32, 1), (1, 10), (8, 10), (32, 10)];
/// Messages in a transaction of the bulk.
const BULK: usize = 1_000;

#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Enqueue,
    Plain,
    None,
}

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let (pool, url) = bench.database::<Postgres>(40).await?;
    bench.results.server = Postgres::settings(&pool).await?;
    for (writers, messages) in SHAPES {
        let goal = Some(Goal::RatioAtLeast(0.97));
        rates(bench, &pool, "", (writers, messages), goal).await?;
    }
    rates(bench, &pool, "", (1, BULK), Some(Goal::RatioAtLeast(0.97))).await?;
    counts(bench, &pool, &url).await
}

/// Rounds of the three ways.
pub(super) async fn rates<DB: Floor>(
    bench: &mut Bench,
    pool: &Pool<DB>,
    prefix: &str,
    (writers, messages): (usize, usize),
    goal: Option<Goal>,
) -> anyhow::Result<()> {
    let time = Duration::from_secs(1);
    let (mut ours, mut plain, mut none) = (Vec::new(), Vec::new(), Vec::new());
    // The first run of each way opens its connections and prepares its statements.
    for way in [Way::Enqueue, Way::Plain, Way::None] {
        rate(pool, Duration::from_millis(300), (writers, messages), way).await?;
    }
    for _ in bench.rounds() {
        ours.push(rate(pool, time, (writers, messages), Way::Enqueue).await?);
        plain.push(rate(pool, time, (writers, messages), Way::Plain).await?);
        none.push(rate(pool, time, (writers, messages), Way::None).await?);
    }
    let what = format!(
        "{prefix}{writers} writer{}, {messages} message{} a transaction",
        if writers == 1 { "" } else { "s" },
        if messages == 1 { "" } else { "s" }
    );
    bench.line(format!("{what}, to (a)"), "tx/s", (ours.clone(), plain), goal);
    bench.line(format!("{what}, to (b)"), "tx/s", (ours, none), None);
    Ok(())
}

/// Transactions a second.
async fn rate<DB: Floor>(
    pool: &Pool<DB>,
    time: Duration,
    (writers, messages): (usize, usize),
    way: Way,
) -> anyhow::Result<f64> {
    let began = Instant::now();
    let write = |writer: usize| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while began.elapsed() < time {
                transaction(&pool, writer * 1_000_000 + done * messages, messages, way).await?;
                done += 1;
            }
            anyhow::Ok(done)
        })
    };
    let tasks: Vec<_> = (0..writers).map(write).collect();
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

async fn transaction<DB: Floor>(
    pool: &Pool<DB>,
    first: usize,
    count: usize,
    way: Way,
) -> anyhow::Result<()> {
    let messages = (first..first + count).map(message).collect::<anyhow::Result<Vec<Message>>>()?;
    let mut tx = syncline::begin(pool).await?;
    DB::business(&mut tx, &messages[0]).await?;
    let mut receipts = Vec::new();
    match way {
        Way::Enqueue => receipts = enqueue_all(&mut tx, &messages).await?,
        Way::Plain => DB::insert(&mut tx, &messages).await?,
        Way::None => {}
    }
    tx.commit().await?;
    if let Some(receipt) = receipts.pop() {
        receipt.committed();
    }
    Ok(())
}

/// What a message costs the database, in figures that do not depend on the machine.
async fn counts(bench: &mut Bench, pool: &Pool<Postgres>, url: &str) -> anyhow::Result<()> {
    const TRANSACTIONS: usize = 1_000;
    Postgres::settle(pool).await?;
    pool.close().await;
    for messages in [1, 10] {
        let mut wal = (Vec::new(), Vec::new());
        let mut last = (Counts::default(), Counts::default());
        for _ in bench.rounds() {
            let mut each = Vec::new();
            for way in [Way::Enqueue, Way::Plain, Way::None] {
                let pool = Postgres::open(url, 1).await?;
                transaction(&pool, 0, messages, way).await?;
                let counter = Counter::start(url).await?;
                for n in 0..TRANSACTIONS {
                    transaction(&pool, n * messages, messages, way).await?;
                }
                pool.close().await;
                each.push(counter.end().await?);
            }
            let more = |counts: &Counts| {
                (counts.wal_bytes - each[2].wal_bytes) / (TRANSACTIONS * messages) as f64
            };
            wal.0.push(more(&each[0]));
            wal.1.push(more(&each[1]));
            last = (each[0], each[1]);
        }
        let what = format!("a transaction of {messages}, one writer");
        bench.count(what, "transaction", last.0.each(TRANSACTIONS as f64, Some(last.1)));
        eprintln!("  WAL a message: {:.0} and {:.0}", median(&wal.0), median(&wal.1));
        let what = format!("WAL a message, {messages} a transaction, without the business row's");
        bench.line(what, "bytes", wal, Some(Goal::RatioAtMost(1.15)));
    }
    Ok(())
}
