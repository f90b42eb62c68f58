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
    service::Part,
};

pub(crate) const SUITE: Suite = Suite {
    name: "idle",
    title: "services that have nothing to do: what they ask of their database, and their processor \
            time",
    floor: "nothing",
    run: |bench| async move { run(bench).await }.boxed(),
};

/// Start-up is over then, and the pauses of every part have grown to their longest; those of
/// retention grow further.
const SETTLING: Duration = Duration::from_secs(40);

const SERVICES: [(&str, &[Part]); 4] = [
    ("a relay with one route", &[Part::Relay]),
    ("a consumer", &[Part::Consumer]),
    ("an engine of sagas", &[Part::Sagas]),
    ("all three in one service", &[Part::Relay, Part::Consumer, Part::Sagas]),
];

/// A service that runs, and what was counted of it.
struct Idle {
    name: &'static str,
    pool: PgPool,
    process: Process,
    statements: Vec<f64>,
    cpu: Vec<f64>,
    calls: Vec<(String, f64, f64)>,
}

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut services = Vec::new();
    for (name, parts) in SERVICES {
        let (pool, url) = bench.database::<Postgres>(2).await?;
        bench.results.server = Postgres::settings(&pool).await?;
        let mut process = Process::start(&Task::Rest { url, parts: parts.to_vec() })?;
        process.hear::<Ready>().await?;
        let (statements, cpu, calls) = (Vec::new(), Vec::new(), Vec::new());
        services.push(Idle { name, pool, process, statements, cpu, calls });
    }
    tokio::time::sleep(SETTLING).await;
    let time = Duration::from_secs(20);
    for _ in 0..bench.pick(3, 10) {
        let mut before = Vec::new();
        for service in &services {
            before.push((Instant::now(), service.looked().await?));
        }
        tokio::time::sleep(time).await;
        for (service, (began, (calls, cpu))) in services.iter_mut().zip(before) {
            let (now, used) = service.looked().await?;
            let seconds = began.elapsed().as_secs_f64();
            service.statements.push((total(&now) - total(&calls)) / seconds);
            service.cpu.push(100.0 * (used - cpu) / seconds);
            service.calls = difference(&calls, &now, seconds);
        }
    }
    let goal = Some(Goal::AtMost(1.0));
    for Idle { name, process, statements, cpu, calls, .. } in services {
        process.end().await?;
        bench.line(format!("statements, {name}"), "/s", (statements, Vec::new()), goal);
        bench.line(format!("processor, {name}"), "%", (cpu, Vec::new()), goal);
        if name == SERVICES[SERVICES.len() - 1].0 {
            for (query, rate, micros) in calls {
                bench.note(format!("{rate:.2}/s, {micros:.0} µs each: `{query}`"));
            }
        }
    }
    Ok(())
}

impl Idle {
    /// Its database's statements and its process's seconds, up to now.
    async fn looked(&self) -> anyhow::Result<(Calls, f64)> {
        let cpu = cpu_seconds(self.process.pid()).unwrap_or(f64::NAN);
        Ok((calls_of(&self.pool).await?, cpu))
    }
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
