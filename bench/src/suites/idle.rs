//! What a service costs that has nothing to do.

use std::time::{Duration, Instant};

use futures::FutureExt;
use sqlx::{PgPool, Postgres};

use crate::{
    bench::{Bench, Suite},
    child::{Process, Ready, Task},
    floor::Floor,
    machine::cpu_seconds,
    results::Goal,
};

pub(crate) const SUITE: Suite = Suite {
    name: "idle",
    title: "two services that have nothing to do, connected by HTTP push",
    floor: "nothing",
    run: |bench| async move { run(bench).await }.boxed(),
};

/// Start-up is over then, and every pause has grown to its longest.
const SETTLING: Duration = Duration::from_secs(12);

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let (from, from_url) = bench.database::<Postgres>(4).await?;
    let (to, to_url) = bench.database::<Postgres>(4).await?;
    bench.results.server = Postgres::settings(&from).await?;
    let task = Task::Listen { url: to_url, count: usize::MAX, from_now: false };
    let mut consumer = Process::start(&task)?;
    let target = consumer.hear::<Ready>().await?.address.unwrap_or_default();
    let mut relay =
        Process::start(&Task::Push { url: from_url, target, route: "idle".to_owned() })?;
    relay.hear::<Ready>().await?;
    relay.tell("go")?;
    tokio::time::sleep(SETTLING).await;
    let time = Duration::from_secs(bench.pick(20, 60));
    let (mut source, mut target) = (Vec::new(), Vec::new());
    let (mut relay_cpu, mut consumer_cpu) = (Vec::new(), Vec::new());
    let cpu = |process: &Process| cpu_seconds(process.pid()).unwrap_or(f64::NAN);
    let mut calls = Vec::new();
    for _ in 0..bench.pick(2, 5) {
        let began = Instant::now();
        let before = (calls_of(&from).await?, calls_of(&to).await?);
        let used = (cpu(&relay), cpu(&consumer));
        tokio::time::sleep(time).await;
        let after = (calls_of(&from).await?, calls_of(&to).await?);
        let seconds = began.elapsed().as_secs_f64();
        source.push((total(&after.0) - total(&before.0)) / seconds);
        target.push((total(&after.1) - total(&before.1)) / seconds);
        relay_cpu.push(100.0 * (cpu(&relay) - used.0) / seconds);
        consumer_cpu.push(100.0 * (cpu(&consumer) - used.1) / seconds);
        calls = difference(&before.0, &after.0, seconds);
        calls.extend(difference(&before.1, &after.1, seconds));
    }
    relay.end().await?;
    consumer.end().await?;
    let goal = Some(Goal::AtMost(1.0));
    bench.line("statements in the source's database", "/s", (source, Vec::new()), goal);
    bench.line("statements in the consumer's database", "/s", (target, Vec::new()), goal);
    bench.line("processor, the source's process", "%", (relay_cpu, Vec::new()), goal);
    bench.line("processor, the consumer's process", "%", (consumer_cpu, Vec::new()), goal);
    for (query, rate, micros) in calls {
        bench.note(format!("{rate:.2}/s, {micros:.0} µs each: `{query}`"));
    }
    Ok(())
}

type Calls = Vec<(i64, String, f64, f64)>;

/// Each statement of the database with its calls and its milliseconds, those of this look apart.
async fn calls_of(pool: &PgPool) -> anyhow::Result<Calls> {
    let sql = "SELECT queryid, left(regexp_replace(query, '\\s+', ' ', 'g'), 90), calls::float8,
            total_exec_time
        FROM pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND query NOT LIKE '%pg_stat_%'";
    Ok(sqlx::query_as(sql).fetch_all(pool).await?)
}

fn total(calls: &Calls) -> f64 {
    calls.iter().map(|call| call.2).sum()
}

/// What was called between two looks: a second, and how long each took.
fn difference(before: &Calls, after: &Calls, seconds: f64) -> Vec<(String, f64, f64)> {
    let known = |id| before.iter().find(|call| call.0 == id).map_or((0.0, 0.0), |c| (c.2, c.3));
    let mut all: Vec<_> = after
        .iter()
        .map(|(id, query, calls, millis)| {
            (query.clone(), calls - known(*id).0, millis - known(*id).1)
        })
        .filter(|(_, calls, _)| *calls > 0.0)
        .map(|(query, calls, millis)| (query, calls / seconds, 1_000.0 * millis / calls))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}
