//! Longer backlogs, more routes, more keys.

use futures::FutureExt;
use sqlx::{PgPool, Postgres};

use crate::{
    bench::{Bench, Suite},
    child::{Done, Process, Ready, Task},
    floor::Floor,
    machine::peak_mib,
    pipeline::{CHECKED, Way, checked},
    results::{Goal, Plot},
    stats::median,
};

pub(crate) const SUITE: Suite = Suite {
    name: "scale",
    title: "microseconds a message, and memory of the process: a relay with null publishers in a \
            process of its own, and one that pushes to a consumer in another, from the beginning of \
            a log to its end; what it takes to start is not in it",
    floor: "the smallest of the same series",
    run: |bench| async move { run(bench).await }.boxed(),
};

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let backlogs: &[usize] = match bench.quick {
        true => &[10_000, 100_000, 300_000],
        false => &[10_000, 100_000, 1_000_000, 10_000_000],
    };
    let mut memory: f64 = 0.0;
    let (mut points, mut first) = (Vec::new(), Vec::new());
    let (to, to_url) = bench.database::<Postgres>(4).await?;
    let (mut applied_points, mut applied_first) = (Vec::new(), Vec::new());
    let mut consumers = Vec::new();
    for (at, &backlog) in backlogs.iter().enumerate() {
        let (pool, url) = bench.database::<Postgres>(4).await?;
        bench.results.server = Postgres::settings(&pool).await?;
        filled(&pool, backlog, 10_000).await?;
        // One run of the longest takes minutes.
        let (drains, pushes) = if backlog > 1_000_000 { (3, 1) } else { (bench.pick(3, 5), 3) };
        let costs = costs(&url, backlog, 1, "backlog", drains, &mut memory).await?;
        points.push((backlog as f64, median(&costs)));
        if at == 0 {
            first = costs.clone();
        }
        let goal = (at + 1 == backlogs.len()).then_some(Goal::RatioAtMost(1.2));
        bench.line(format!("a backlog of {backlog}"), "µs", (costs, first.clone()), goal);
        // The log is sealed by now.
        let (mut costs, mut most) = (Vec::new(), 0.0_f64);
        for run in 0..pushes {
            Postgres::reset(&to).await?;
            let (relay, consumer) = pushed(&url, &to_url, &format!("push-{run}"), backlog).await?;
            checked(&to, backlog, Way::Set).await?;
            memory = memory.max(relay);
            most = most.max(consumer.peak_mib);
            costs.push(consumer.each);
        }
        consumers.push(most);
        applied_points.push((backlog as f64, median(&costs)));
        if at == 0 {
            applied_first = costs.clone();
        }
        let what = format!("a backlog of {backlog}, applied over HTTP");
        bench.line(what, "µs", (costs, applied_first.clone()), goal);
        pool.close().await;
    }
    bench.plot(Plot {
        name: "backlog".to_owned(),
        title: "Cost of a message by the length of the backlog".to_owned(),
        x: "messages".to_owned(),
        y: "µs a message".to_owned(),
        log_x: true,
        log_y: false,
        series: vec![
            ("relay, null sink".to_owned(), points),
            ("applied over HTTP".to_owned(), applied_points),
        ],
    });
    let backlog = bench.pick(50_000, 500_000);
    let (pool, url) = bench.database::<Postgres>(4).await?;
    filled(&pool, backlog, 10_000).await?;
    let mut first = Vec::new();
    for routes in [1, 8, 64] {
        let costs = costs(&url, backlog, routes, "routes", bench.pick(2, 3), &mut memory).await?;
        if routes == 1 {
            first = costs.clone();
        }
        let what = format!("{routes} routes, each message for all of them");
        bench.line(what, "µs", (costs, first.clone()), None);
    }
    pool.close().await;
    let mut first = Vec::new();
    for keys in [1, 10_000, 1_000_000] {
        let (pool, url) = bench.database::<Postgres>(4).await?;
        filled(&pool, backlog, keys).await?;
        let costs = costs(&url, backlog, 1, "keys", bench.pick(2, 3), &mut memory).await?;
        if keys == 1 {
            first = costs.clone();
        }
        bench.line(format!("{keys} keys"), "µs", (costs, first.clone()), None);
        pool.close().await;
    }
    let goal = Some(Goal::AtMost(128.0));
    let what = "memory of the consumer's process, the most of all";
    let most = consumers.into_iter().fold(0.0, f64::max);
    bench.line(what, "MiB", (vec![most], Vec::new()), goal);
    bench.line(
        "memory of the relay's process, the most of all",
        "MiB",
        (vec![memory], Vec::new()),
        goal,
    );
    bench.check("each route got every message", true)?;
    bench.check(CHECKED, true)
}

/// Messages written by SQL, as a service in another language does.
async fn filled(pool: &PgPool, count: usize, keys: usize) -> anyhow::Result<()> {
    for from in (0..count).step_by(100_000) {
        let to = (from + 100_000).min(count);
        sqlx::query(
            "INSERT INTO syncline_outbox (topic, key, data)
             SELECT 'bench.message', 'key ' || n % $3, decode(repeat('78', 140), 'hex')
             FROM generate_series($1::bigint, $2::bigint - 1) AS n",
        )
        .bind(from as i64)
        .bind(to as i64)
        .bind(keys as i64)
        .execute(pool)
        .await?;
    }
    Postgres::settle(pool).await?;
    Ok(())
}

/// One process pushes, the other applies; the most memory of the first, and what the other found.
async fn pushed(from: &str, to: &str, route: &str, count: usize) -> anyhow::Result<(f64, Done)> {
    let url = to.to_owned();
    let mut consumer = Process::start(&Task::Listen { url, count, from_now: false })?;
    let target = consumer.hear::<Ready>().await?.address.unwrap_or_default();
    let (url, route) = (from.to_owned(), route.to_owned());
    let mut relay = Process::start(&Task::Push { url, target, route })?;
    relay.hear::<Ready>().await?;
    relay.tell("go")?;
    let done = consumer.hear().await?;
    let memory = peak_mib(relay.pid()).unwrap_or(f64::NAN);
    relay.end().await?;
    consumer.end().await?;
    Ok((memory, done))
}

/// Microseconds a message, run by run; the first one, which seals, is not counted.
async fn costs(
    url: &str,
    count: usize,
    routes: usize,
    name: &str,
    runs: usize,
    memory: &mut f64,
) -> anyhow::Result<Vec<f64>> {
    let mut costs = Vec::new();
    for run in 0..=runs {
        let name = format!("{name}-{routes}-{run}");
        let url = url.to_owned();
        let mut relay = Process::start(&Task::Drain { url, count, routes, name })?;
        relay.hear::<Ready>().await?;
        relay.tell("go")?;
        let done: Done = relay.hear().await?;
        relay.end().await?;
        if run > 0 {
            costs.push(done.each);
        }
        *memory = memory.max(done.peak_mib);
    }
    Ok(costs)
}
