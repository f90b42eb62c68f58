//! A backlog to a null sink.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use futures::FutureExt;
use sqlx::{Pool, Postgres};
use syncline::{
    Start,
    storage::{Cursor, PageLimit},
};

use crate::{
    bench::{Bench, Suite},
    floor::Floor,
    pipeline::{Arrived, Into, Null, PAGE, fill, relay},
    results::Goal,
};

pub(crate) const SUITE: Suite = Suite {
    name: "drain",
    title: "a backlog to a null sink, from the first batch on",
    floor: "an ordered SELECT of the same bytes by the same driver, whose rows are not looked at; \
            and DELETE ... RETURNING with SKIP LOCKED",
    run: |bench| async move { run(bench).await }.boxed(),
};

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let (pool, _) = bench.database::<Postgres>(20).await?;
    bench.results.server = Postgres::settings(&pool).await?;
    let goal = Some(Goal::RatioAtLeast(0.7));
    let count = bench.pick(100_000, 300_000);
    rates(bench, &pool, "", count, goal).await
}

pub(super) async fn rates<DB: Floor>(
    bench: &mut Bench,
    pool: &Pool<DB>,
    prefix: &str,
    count: usize,
    goal: Option<Goal>,
) -> anyhow::Result<()> {
    fill(pool, count, Into::Both).await?;
    // The first round seals, too.
    let sealing = drained(pool, "sealing", count).await?.whole;
    let (mut ours, mut pages, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let mut starts = Vec::new();
    for round in bench.rounds() {
        let drained = drained(pool, &format!("round-{round}"), count).await?;
        ours.push(drained.rate);
        starts.push(drained.start);
        let began = Instant::now();
        let rows = DB::drain(pool, PAGE as i64).await?;
        anyhow::ensure!(rows == count, "{rows} rows of {count}");
        plain.push(rows as f64 / began.elapsed().as_secs_f64());
        pages.push(paged(pool, count).await?);
    }
    bench.line(
        format!("{prefix}a relay with a null publisher"),
        "messages/s",
        (ours.clone(), plain.clone()),
        goal,
    );
    bench.line(format!("{prefix}the log's pages alone"), "messages/s", (pages, plain), None);
    let what = format!("{prefix}a relay that has to seal the backlog first");
    bench.line(what, "messages/s", (vec![sealing], Vec::new()), None);
    let what = format!("{prefix}from a relay's start to its first batch");
    bench.line(what, "ms", (starts, Vec::new()), None);
    let mut deleted = Vec::new();
    for _ in bench.rounds() {
        let began = Instant::now();
        let mut rows = 0;
        loop {
            match DB::take(pool, PAGE as i64).await? {
                0 => break,
                more => rows += more,
            }
        }
        deleted.push(rows as f64 / began.elapsed().as_secs_f64());
        fill(pool, count, Into::Plain).await?;
    }
    let what = format!("{prefix}a relay with a null publisher, to the DELETE form");
    let goal = goal.map(|_| Goal::RatioAtLeast(3.0));
    bench.line(what, "messages/s", (ours, deleted), goal);
    bench.check("a relay's messages of a key came in order", true)
}

/// How a backlog was drained.
struct Drained {
    /// Milliseconds until the first batch: connections, the schema's check, the route, the leases.
    start: f64,
    /// Messages a second from then on: the floor, too, has its connection when it begins.
    rate: f64,
    /// Messages a second with the start.
    whole: f64,
}

/// A relay from the beginning of the log to its end.
async fn drained<DB: Floor>(pool: &Pool<DB>, route: &str, count: usize) -> anyhow::Result<Drained> {
    let arrived = Arrived::new(count);
    let began = Instant::now();
    let relay = relay(pool, (route, Start::Beginning), Null(Arc::clone(&arrived))).await?;
    arrived.wait().await?;
    let (each, whole) = (arrived.each(), count as f64 / began.elapsed().as_secs_f64());
    relay.stop().await;
    let start =
        1_000.0 * arrived.began().context("nothing arrived")?.duration_since(began).as_secs_f64();
    Ok(Drained { start, rate: 1e6 / each, whole })
}

/// The log read by position, page after page.
async fn paged<DB: Floor>(pool: &Pool<DB>, count: usize) -> anyhow::Result<f64> {
    let began = Instant::now();
    let (mut at, mut rows) = (Cursor::default(), 0);
    while rows < count {
        let limit = PageLimit { rows: PAGE as i64, bytes: 16 << 20 };
        let page = DB::read(pool, at, limit).await?;
        let Some(last) = page.last() else { anyhow::bail!("the log ended at {rows}") };
        (at, rows) = (last.cursor, rows + page.len());
    }
    Ok(rows as f64 / began.elapsed().as_secs_f64())
}
