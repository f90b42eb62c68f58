//! A reader whose old snapshot keeps vacuum from removing anything.

use std::time::{Duration, Instant};

use futures::FutureExt;
use sqlx::{Executor, PgPool, Postgres};
use syncline::{
    Start, enqueue_all,
    transport::{Subscriber, in_process},
};
use tokio_util::sync::CancellationToken;

use super::open_transaction::dead_rows;
use crate::{
    bench::{Bench, Suite},
    floor::Floor,
    pipeline::{Arrived, Way, consumer, relay},
    results::{Goal, Plot},
    work::message,
};

pub(crate) const SUITE: Suite = Suite {
    name: "held-xmin",
    title: "messages a second from 4 writers through to the other database while a REPEATABLE READ \
            reader stays open at the source",
    floor: "the same without that reader",
    run: |bench| async move { run(bench).await }.boxed(),
};

const WRITERS: usize = 4;
/// Messages of one transaction.
const EACH: usize = 10;
/// One look at how many have come.
const STEP: Duration = Duration::from_secs(1);

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let time = Duration::from_secs(bench.pick(8, 60));
    let (mut held, mut free, mut dead) = (Vec::new(), Vec::new(), Vec::new());
    let mut series = Vec::new();
    for round in bench.rounds() {
        for old in [true, false] {
            let (from, _) = bench.database::<Postgres>(20).await?;
            let (to, _) = bench.database::<Postgres>(20).await?;
            bench.results.server = Postgres::settings(&from).await?;
            let mut reader = from.acquire().await?;
            if old {
                reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
                reader.execute("SELECT count(*) FROM syncline_outbox").await?;
            }
            let (rate, points) = flow(&from, &to, time).await?;
            if old {
                reader.execute("COMMIT").await?;
                dead.push(dead_rows(&from).await?);
                held.push(rate);
            } else {
                free.push(rate);
            }
            if round == 0 {
                let name = if old { "with an old snapshot" } else { "without" };
                series.push((name.to_owned(), points));
            }
            drop(reader);
            from.close().await;
            to.close().await;
        }
    }
    bench.line("rate", "messages/s", (held, free), Some(Goal::RatioAtLeast(0.95)));
    bench.line("dead rows in the log", "rows", (dead, Vec::new()), Some(Goal::AtMost(0.0)));
    bench.plot(Plot {
        name: "rate".to_owned(),
        title: "Messages a second while an old snapshot is held".to_owned(),
        x: "seconds".to_owned(),
        y: "messages/s".to_owned(),
        log_x: false,
        log_y: false,
        series,
    });
    bench.check("messages of a key came in order", true)
}

/// Writes as fast as it goes; messages a second that arrive, in all and second by second.
async fn flow(
    from: &PgPool,
    to: &PgPool,
    time: Duration,
) -> anyhow::Result<(f64, Vec<(f64, f64)>)> {
    let arrived = Arrived::new(usize::MAX);
    let stop = CancellationToken::new();
    let (publisher, subscriber) = in_process::channel(16);
    let taking = tokio::spawn(
        Box::new(subscriber).run(consumer(to, Way::Set, Start::Beginning, &arrived)?, stop.clone()),
    );
    let relay = relay(from, ("held", Start::Beginning), publisher).await?;
    let began = Instant::now();
    let writer = |writer: usize| {
        let from = from.clone();
        tokio::spawn(async move {
            let mut n = 0;
            while began.elapsed() < time {
                // Each writer has keys of its own: the order of a key needs one writer.
                let numbers = (n..n + EACH).map(|n| n * WRITERS + writer);
                let messages = numbers.map(message).collect::<anyhow::Result<Vec<_>>>()?;
                let mut tx = syncline::begin(&from).await?;
                Postgres::business(&mut tx, &messages[0]).await?;
                let mut receipts = enqueue_all(&mut tx, &messages).await?;
                tx.commit().await?;
                if let Some(receipt) = receipts.pop() {
                    receipt.committed();
                }
                n += EACH;
            }
            anyhow::Ok(n)
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(writer).collect();
    let (mut points, mut before) = (Vec::new(), 0);
    while began.elapsed() < time {
        tokio::time::sleep(STEP).await;
        let now = arrived.count();
        points.push((began.elapsed().as_secs_f64(), (now - before) as f64 / STEP.as_secs_f64()));
        before = now;
    }
    let mut written = 0;
    for writer in writers {
        written += writer.await??;
    }
    // What is still under way counts when it is there.
    let until = Instant::now() + Duration::from_secs(60);
    while arrived.count() < written && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rate = written as f64 / began.elapsed().as_secs_f64();
    anyhow::ensure!(arrived.count() >= written, "{} of {written} arrived", arrived.count());
    relay.stop().await;
    stop.cancel();
    taking.await??;
    arrived.in_order()?;
    Ok((rate, points))
}
