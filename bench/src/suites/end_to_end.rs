//! A backlog from one service to another, with everything on.

use std::time::Instant;

use futures::FutureExt;
use sqlx::{Pool, Postgres};

use crate::{
    bench::{Bench, Suite},
    child::{Done, Process, Ready, Task},
    floor::Floor,
    pipeline::{self, CHECKED, Into, Way, by_hand, fill, in_process},
    results::Goal,
};

pub(crate) const SUITE: Suite = Suite {
    name: "end-to-end",
    title: "a backlog from one service to another: two processes, two databases, set-based handler",
    floor: "the same by hand in one process: an ordered SELECT, the same upserts, one UPDATE of how \
            far it got, one transaction a page; no HTTP, no signature, no inbox",
    run: |bench| async move { run(bench).await }.boxed(),
};

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let count = bench.pick(100_000, 200_000);
    let (from, from_url) = bench.database::<Postgres>(20).await?;
    bench.results.server = Postgres::settings(&from).await?;
    let (to, to_url) = bench.database::<Postgres>(20).await?;
    let goal = Some(Goal::RatioAtLeast(0.75));
    rates(bench, (&from, &from_url), (&to, &to_url), "", count, goal).await
}

pub(super) async fn rates<DB: Floor>(
    bench: &mut Bench,
    (from, from_url): (&Pool<DB>, &str),
    (to, to_url): (&Pool<DB>, &str),
    prefix: &str,
    count: usize,
    goal: Option<Goal>,
) -> anyhow::Result<()> {
    fill(from, count, Into::Both).await?;
    // The first pass seals the log and warms both ways up.
    in_process(from, to, ("sealing", Way::Set), count).await?;
    by_hand(from, to, Way::Set, count).await?;
    let (mut push, mut feed, mut inside) = (Vec::new(), Vec::new(), Vec::new());
    let mut floor = Vec::new();
    for round in bench.rounds() {
        let route = format!("push-{round}");
        DB::reset(to).await?;
        push.push(pushed(from_url, to_url, &route, count).await?);
        pipeline::checked(to, count, Way::Set).await?;
        floor.push(by_hand(from, to, Way::Set, count).await?);
        DB::reset(to).await?;
        feed.push(pulled(from_url, to_url, count).await?);
        pipeline::checked(to, count, Way::Set).await?;
        inside.push(in_process(from, to, (&format!("in-{round}"), Way::Set), count).await?);
    }
    for (what, ours, goal) in [
        ("HTTP push, signed, two processes", push, goal),
        ("HTTP feed, two processes", feed, None),
        ("in process", inside, None),
    ] {
        bench.line(format!("{prefix}{what}"), "messages/s", (ours, floor.clone()), goal);
    }
    bench.check(CHECKED, true)
}

/// One process pushes, the other applies; both are up before the clock starts.
async fn pushed(from: &str, to: &str, route: &str, count: usize) -> anyhow::Result<f64> {
    let task = Task::Listen { url: to.to_owned(), count, from_now: false };
    let mut consumer = Process::start(&task)?;
    let target = consumer.hear::<Ready>().await?.address.unwrap_or_default();
    let (url, route) = (from.to_owned(), route.to_owned());
    let mut relay = Process::start(&Task::Push { url, target, route })?;
    relay.hear::<Ready>().await?;
    let began = Instant::now();
    relay.tell("go")?;
    consumer.hear::<Done>().await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    relay.end().await?;
    consumer.end().await?;
    Ok(rate)
}

/// One process serves its feed, the other reads it.
async fn pulled(from: &str, to: &str, count: usize) -> anyhow::Result<f64> {
    let mut consumer = Process::start(&Task::Pull { url: to.to_owned(), count })?;
    consumer.hear::<Ready>().await?;
    let mut relay = Process::start(&Task::Serve { url: from.to_owned() })?;
    relay.hear::<Ready>().await?;
    let began = Instant::now();
    relay.tell("go")?;
    let address = relay.hear::<Ready>().await?.address.unwrap_or_default();
    consumer.tell(&address)?;
    consumer.hear::<Done>().await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    // The reader first: a server that ends waits for its readers.
    consumer.end().await?;
    relay.end().await?;
    Ok(rate)
}
