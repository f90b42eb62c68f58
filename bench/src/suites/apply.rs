//! A backlog to a table.

use futures::FutureExt;
use sqlx::{Pool, Postgres};

use crate::{
    bench::{Bench, Suite},
    counts::Counter,
    floor::Floor,
    pipeline::{CHECKED, Into, Way, by_hand, fill, in_process},
    results::Goal,
};

pub(crate) const SUITE: Suite = Suite {
    name: "apply",
    title: "a backlog to a table of another database, in one process",
    floor: "page after page by hand: an ordered SELECT, the same upserts, one UPDATE of how far it \
            got, one transaction a page",
    run: |bench| async move { run(bench).await }.boxed(),
};

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let (from, _) = bench.database::<Postgres>(20).await?;
    let (to, url) = bench.database::<Postgres>(20).await?;
    bench.results.server = Postgres::settings(&from).await?;
    let count = 100_000;
    let goals = (Some(Goal::RatioAtLeast(0.85)), Some(Goal::RatioAtLeast(0.9)));
    rates(bench, (&from, &to), "", count, goals).await?;
    // What it costs the consumer's database.
    to.close().await;
    let mut each = Vec::new();
    for ours in [true, false] {
        let to = Postgres::open(&url, 4).await?;
        Postgres::reset(&to).await?;
        let counter = Counter::start(&url).await?;
        match ours {
            true => in_process(&from, &to, ("counted", Way::Set), count).await?,
            false => by_hand(&from, &to, Way::Set, count).await?,
        };
        to.close().await;
        each.push(counter.end().await?);
    }
    let figures = each[0].each(count as f64 / 1_000.0, Some(each[1]));
    bench.count("set-based, the consumer's database", "1,000 messages", figures);
    Ok(())
}

pub(super) async fn rates<DB: Floor>(
    bench: &mut Bench,
    (from, to): (&Pool<DB>, &Pool<DB>),
    prefix: &str,
    count: usize,
    (by_set, by_row): (Option<Goal>, Option<Goal>),
) -> anyhow::Result<()> {
    fill(from, count, Into::Both).await?;
    in_process(from, to, ("sealing", Way::Set), count).await?;
    by_hand(from, to, Way::Set, count).await?;
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for round in bench.rounds() {
        ours.push(in_process(from, to, (&format!("set-{round}"), Way::Set), count).await?);
        floor.push(by_hand(from, to, Way::Set, count).await?);
    }
    bench.line(format!("{prefix}batch handler, set-based"), "messages/s", (ours, floor), by_set);
    // Statement by statement it takes longer: fewer of them. The log is that of the other database.
    let rows = count / 5;
    let (few, _) = bench.database::<DB>(20).await?;
    fill(&few, rows, Into::Both).await?;
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for round in bench.rounds() {
        ours.push(in_process(&few, to, (&format!("row-{round}"), Way::Row), rows).await?);
        floor.push(by_hand(&few, to, Way::Row, rows).await?);
    }
    bench.line(
        format!("{prefix}handler by row, one transaction a batch"),
        "messages/s",
        (ours, floor),
        by_row,
    );
    bench.check(CHECKED, true)
}
