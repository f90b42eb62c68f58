//! What others notice of a writing transaction that stays open.

use std::time::Duration;

use futures::FutureExt;
use sqlx::{PgPool, Postgres};
use syncline::{Message, enqueue};

use super::delay::{Over, Place};
use crate::{
    bench::{Bench, Suite},
    floor::Floor,
    results::{Goal, Plot},
    stats::quantile,
};

pub(crate) const SUITE: Suite = Suite {
    name: "open-transaction",
    title: "delay of other keys at 200/s while a transaction that has enqueued stays open, in \
            process, in milliseconds",
    floor: "the same without that transaction",
    run: |bench| async move { run(bench).await }.boxed(),
};

const RATE: f64 = 200.0;

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut place = Place::make(bench).await?;
    let time = Duration::from_secs(5);
    let (mut open, mut none) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for _ in bench.rounds() {
        for disturbed in [true, false] {
            let tx = if disturbed { Some(opened(&place.from).await?) } else { None };
            let delays = place.delays(Over::InProcess, RATE, time).await?;
            let into = if disturbed { &mut open } else { &mut none };
            into[0].push(quantile(&delays, 0.5));
            into[1].push(quantile(&delays, 0.99));
            if let Some(tx) = tx {
                tx.rollback().await?;
            }
        }
    }
    let undisturbed = none[0].clone();
    let [p50, p99] = open;
    let [floor50, floor99] = none;
    let goal = Some(Goal::RatioAtMost(1.2));
    bench.line("p50", "ms", (p50, floor50), goal);
    bench.line("p99", "ms", (p99, floor99), None);
    // And one that stays open for long.
    let long = Duration::from_secs(bench.pick(60, 600));
    let tx = opened(&place.from).await?;
    let delays = place.delays(Over::InProcess, RATE, long).await?;
    let dead = dead_rows(&place.from).await?;
    tx.rollback().await?;
    let minutes: Vec<_> = delays.chunks((RATE as usize) * bench.pick(5, 30)).collect();
    let p50: Vec<f64> = minutes.iter().map(|part| quantile(part, 0.5)).collect();
    let last = *p50.last().unwrap_or(&f64::NAN);
    let what = format!("p50 of the last part of {} s with it open", long.as_secs());
    bench.line(what, "ms", (vec![last], vec![crate::stats::median(&undisturbed)]), goal);
    bench.line(
        "dead rows in the log meanwhile",
        "rows",
        (vec![dead], Vec::new()),
        Some(Goal::AtMost(0.0)),
    );
    let step = long.as_secs_f64() / minutes.len() as f64;
    let points = p50.into_iter().enumerate().map(|(n, p50)| (step * (n + 1) as f64, p50));
    bench.plot(Plot {
        name: "long".to_owned(),
        title: "Delay while a writing transaction stays open".to_owned(),
        x: "seconds since it began".to_owned(),
        y: "p50, ms from commit to commit".to_owned(),
        log_x: false,
        log_y: false,
        series: vec![("p50".to_owned(), points.collect())],
    });
    bench.check("every message of another transaction was applied meanwhile", true)
}

/// A transaction that has written a message and goes on.
async fn opened(pool: &PgPool) -> anyhow::Result<sqlx::Transaction<'static, Postgres>> {
    let mut tx = syncline::begin(pool).await?;
    let message = Message::json("bench.message", &"open")?.key("open");
    // Its business row would be in the way of those that are counted.
    let _ = enqueue(&mut tx, &message).await?;
    Ok(tx)
}

/// Versions of outbox rows that were replaced or deleted.
pub(super) async fn dead_rows(pool: &PgPool) -> anyhow::Result<f64> {
    Postgres::settle(pool).await?;
    let sql = "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::float8 FROM pg_stat_user_tables
        WHERE relname LIKE 'syncline_outbox%'";
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}
