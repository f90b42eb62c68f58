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
    stats::median,
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
    let time = Duration::from_secs(8);
    let (mut held, mut free, mut dead) = (Vec::new(), Vec::new(), Vec::new());
    for _ in bench.rounds() {
        for old in [true, false] {
            let Flow { rate, dead: of_log, .. } = disturbed(bench, old, time).await?;
            if old {
                dead.push(of_log);
                held.push(rate);
            } else {
                free.push(rate);
            }
        }
    }
    bench.line("rate", "messages/s", (held, free), Some(Goal::RatioAtLeast(0.95)));
    bench.line("dead rows in the log", "rows", (dead, Vec::new()), Some(Goal::AtMost(0.0)));
    long(bench).await?;
    bench.check("messages of a key came in order", true)
}

/// One that stays open for long: what grows meanwhile, and what that costs.
async fn long(bench: &mut Bench) -> anyhow::Result<()> {
    let time = Duration::from_secs(bench.pick(40, 180));
    let (mut rates, mut dead, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for (old, name) in [(true, "with an old snapshot"), (false, "without")] {
        let flow = disturbed(bench, old, time).await?;
        let end = &flow.points[flow.points.len() - flow.points.len() / 4..];
        last.push(end.iter().map(|look| look.rate).collect::<Vec<_>>());
        let at =
            |of: fn(&Look) -> f64| flow.points.iter().map(|look| (look.at, of(look))).collect();
        rates.push((name.to_owned(), at(|look| look.rate)));
        dead.push((name.to_owned(), at(|look| look.dead)));
        if old {
            for (table, rows) in flow.tables {
                bench.note(format!("{rows:.0} dead rows in {table} after {} s.", time.as_secs()));
            }
        }
    }
    let what = format!("rate second by second, last quarter of {} s", time.as_secs());
    let (free, held) = (last.pop().unwrap_or_default(), last.pop().unwrap_or_default());
    // No pairs: those of one run have nothing to do with those of the other.
    let (held, free) = (vec![median(&held)], vec![median(&free)]);
    bench.line(what, "messages/s", (held, free), Some(Goal::RatioAtLeast(0.95)));
    for (name, title, y, series) in [
        ("rate", "Messages a second while an old snapshot is held", "messages/s", rates),
        ("dead", "Dead rows of all our tables at the source", "rows", dead),
    ] {
        bench.plot(Plot {
            name: name.to_owned(),
            title: title.to_owned(),
            x: "seconds".to_owned(),
            y: y.to_owned(),
            log_x: false,
            log_y: false,
            series,
        });
    }
    Ok(())
}

/// What came through.
struct Flow {
    rate: f64,
    points: Vec<Look>,
    /// Dead rows of the log in the end.
    dead: f64,
    /// And of every other table of ours that has any.
    tables: Vec<(String, f64)>,
}

/// One second of it.
struct Look {
    at: f64,
    rate: f64,
    /// Dead rows of all our tables.
    dead: f64,
}

/// Two new databases, with an old snapshot at the source or without.
async fn disturbed(bench: &mut Bench, old: bool, time: Duration) -> anyhow::Result<Flow> {
    let (from, _) = bench.database::<Postgres>(20).await?;
    let (to, _) = bench.database::<Postgres>(20).await?;
    bench.results.server = Postgres::settings(&from).await?;
    let mut reader = from.acquire().await?;
    if old {
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        reader.execute("SELECT count(*) FROM syncline_outbox").await?;
    }
    let (rate, points) = flow(&from, &to, time).await?;
    let tables = "SELECT relname::text, n_dead_tup::float8 FROM pg_stat_user_tables
        WHERE relname LIKE 'syncline%' AND n_dead_tup > 0 ORDER BY 2 DESC";
    let tables = sqlx::query_as(tables).fetch_all(&from).await?;
    if old {
        reader.execute("COMMIT").await?;
    }
    let dead = dead_rows(&from).await?;
    drop(reader);
    from.close().await;
    to.close().await;
    Ok(Flow { rate, points, dead, tables })
}
/// Writes as fast as it goes; messages a second that arrive, in all and second by second.
async fn flow(from: &PgPool, to: &PgPool, time: Duration) -> anyhow::Result<(f64, Vec<Look>)> {
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
    let (mut points, mut before, mut since) = (Vec::new(), 0, 0.0);
    while began.elapsed() < time {
        tokio::time::sleep(STEP).await;
        let now = arrived.count();
        let sql = "SELECT coalesce(sum(n_dead_tup), 0)::float8 FROM pg_stat_user_tables
            WHERE relname LIKE 'syncline%'";
        let dead = sqlx::query_scalar(sql).fetch_one(from).await?;
        let at = began.elapsed().as_secs_f64();
        points.push(Look { at, rate: (now - before) as f64 / (at - since), dead });
        (before, since) = (now, at);
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
