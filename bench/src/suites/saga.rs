//! Sagas a second.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::FutureExt;
use sqlx::{Executor, Postgres};
use syncline::begin;

use crate::{
    bench::{Bench, Suite},
    counts::{Counter, Counts},
    floor::Floor,
    results::Goal,
    sagas::{Place, REFUSED, SAGA, Services, WARM, by_hand, open},
};

pub(crate) const SUITE: Suite = Suite {
    name: "saga",
    title: "sagas of three steps, each one INSERT; one in ten is refused at its last step and \
            compensated",
    floor: "the same steps by hand: a transaction each, no bookkeeping",
    run: |bench| async move { run(bench).await }.boxed(),
};

const CHECKED: &str = "every effect stands once, and those of refused sagas were taken back";
const AT_ONCE: usize = 16;
const MANY: usize = 128;
const PATIENCE: Duration = Duration::from_secs(60);
const TABLE: &str = "CREATE TABLE IF NOT EXISTS effect (
    saga bigint NOT NULL, step text NOT NULL, done boolean NOT NULL, PRIMARY KEY (saga, step, done))";
/// Remote steps, each with three commits, the start and what is decided of it.
const REMOTE_LEAST: f64 = 3.0 * 3.0 + 2.0;
/// The start and what is decided of it, in which local steps run.
const LOCAL_LEAST: f64 = 2.0;

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let rate = Some(Goal::AtLeast(1_200.0));
    let ratio = Some(Goal::RatioAtLeast(0.5));
    for (place, at_once) in [
        (Place::Local, AT_ONCE),
        (Place::InProcess, AT_ONCE),
        (Place::Http, AT_ONCE),
        (Place::Local, MANY),
        (Place::InProcess, MANY),
    ] {
        let what = format!("{}, {at_once} at once", place.text());
        if !bench.wants(&what) {
            continue;
        }
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for round in bench.rounds() {
            let urls = databases(bench, round == 0).await?;
            let time = Duration::from_secs(4);
            ours.push(sagas(place, at_once, urls.each_ref().map(|url| &url[..]), time).await?);
            floor.push(floors(&databases(bench, false).await?[1], at_once, time).await?);
        }
        let goals = place == Place::Local && at_once == AT_ONCE;
        let both = (ours.clone(), floor);
        bench.line(&what, "sagas/s", both, ratio.filter(|_| goals));
        if goals {
            bench.line(format!("{what}: the rate"), "sagas/s", (ours, Vec::new()), rate);
        }
    }
    for (place, at_once) in [
        (Place::Local, 1),
        (Place::Local, AT_ONCE),
        (Place::InProcess, 1),
        (Place::InProcess, AT_ONCE),
    ] {
        if bench.wants(&format!("{}, {at_once} at once", place.text())) {
            costs(bench, place, at_once).await?;
        }
    }
    bench.check(CHECKED, true)
}

/// Two databases, for the orchestrator and for the steps.
async fn databases(bench: &mut Bench, settings: bool) -> anyhow::Result<[String; 2]> {
    let mut urls = [String::new(), String::new()];
    for of in &mut urls {
        let (pool, url) = bench.database::<Postgres>(2).await?;
        pool.execute(TABLE).await?;
        if settings {
            bench.results.server = Postgres::settings(&pool).await?;
        }
        pool.close().await;
        *of = url;
    }
    Ok(urls)
}

/// Where the effects are.
fn effects(place: Place, urls: [&str; 2]) -> &str {
    if place == Place::Local { urls[0] } else { urls[1] }
}

/// Each connection opens, and plans each statement five times anew, before it is as quick as it gets.
const WARMING: Duration = Duration::from_secs(3);

/// Sagas a second.
async fn sagas(
    place: Place,
    at_once: usize,
    urls: [&str; 2],
    time: Duration,
) -> anyhow::Result<f64> {
    let services = Services::start(place, urls).await?;
    through(&services, at_once, WARM, Until::Time(WARMING)).await?;
    let began = Instant::now();
    let count = through(&services, at_once, 0, Until::Time(time)).await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    services.end().await?;
    check(effects(place, urls), count).await?;
    Ok(rate)
}

async fn floors(url: &str, at_once: usize, time: Duration) -> anyhow::Result<f64> {
    // As many connections as sagas, each with its statements prepared.
    let pool = open(url, u32::try_from(at_once.min(AT_ONCE))?).await?;
    let steps = pool.clone();
    let one = move |number| {
        let pool = steps.clone();
        async move { by_hand(&pool, number).await }
    };
    many(at_once, WARM, Until::Time(Duration::from_millis(300)), one.clone()).await?;
    let began = Instant::now();
    let count = many(at_once, 0, Until::Time(time), one).await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    pool.close().await;
    check(url, count).await?;
    Ok(rate)
}

/// What so many sagas make both databases do, and the least that durability asks for.
async fn costs(bench: &mut Bench, place: Place, at_once: usize) -> anyhow::Result<()> {
    let count = bench.pick(20, 100) * at_once as i64;
    let urls = databases(bench, false).await?;
    let urls = urls.each_ref().map(|url| &url[..]);
    let services = Services::start(place, urls).await?;
    // The first ones make inboxes.
    through(&services, at_once, WARM, Until::Count(at_once as i64)).await?;
    let counters = [Counter::start(urls[0]).await?, Counter::start(urls[1]).await?];
    through(&services, at_once, 0, Until::Count(count)).await?;
    services.end().await?;
    let [orders, steps] = counters;
    let (orders, steps) = (orders.end().await?, steps.end().await?);
    check(effects(place, urls), count).await?;
    let all = Counts {
        statements: orders.statements + steps.statements,
        trips: orders.trips + steps.trips,
        commits: orders.commits + steps.commits,
        dead_rows: orders.dead_rows + steps.dead_rows,
        // These are counted for the whole server.
        ..orders
    };
    // A refused one has two compensations instead of one more step.
    let remote = REMOTE_LEAST + 3.0 * 2.0 / REFUSED as f64;
    let least = if place == Place::Local { LOCAL_LEAST } else { remote };
    let mut figures = all.each(count as f64, None);
    for (what, _, floor) in &mut figures {
        *floor = (what == "writing transactions").then_some(least);
    }
    let what = format!("{}, {at_once} at once; the least without others", place.text());
    bench.count(what, "saga", figures);
    Ok(())
}

/// Every effect stands once, and those of a refused saga were taken back.
async fn check(url: &str, sagas: i64) -> anyhow::Result<()> {
    let pool = open(url, 1).await?;
    let (whole, back, others): (i64, i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE done = 3 AND undone = 0), count(*) FILTER (WHERE done = 2 AND undone = 2),
                count(*) FILTER (WHERE NOT (done = 3 AND undone = 0 AND saga % $2 <> 0
                                            OR done = 2 AND undone = 2 AND saga % $2 = 0))
         FROM (SELECT saga, count(*) FILTER (WHERE done) AS done, count(*) FILTER (WHERE NOT done) AS undone
               FROM effect WHERE saga < $1 GROUP BY 1) AS s",
    )
    .bind(WARM)
    .bind(REFUSED)
    .fetch_one(&pool)
    .await?;
    pool.close().await;
    ensure!(whole + back == sagas && others == 0, "{whole} whole, {back} back, {others} neither");
    Ok(())
}

/// How long sagas are run.
#[derive(Clone, Copy)]
enum Until {
    Time(Duration),
    Count(i64),
}

/// Runs `one` with numbers from `first`, so many at once; how often.
async fn many<F>(
    at_once: usize,
    first: i64,
    until: Until,
    one: impl Fn(i64) -> F + Clone + Send + Sync + 'static,
) -> anyhow::Result<i64>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let began = Instant::now();
    let tasks: Vec<_> = (0..at_once as i64)
        .map(|task| {
            let one = one.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while match until {
                    Until::Time(time) => began.elapsed() < time,
                    Until::Count(count) => task + done * (at_once as i64) < count,
                } {
                    one(first + task + done * at_once as i64).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            })
        })
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(total)
}

/// Starts sagas and waits until they are over.
async fn through(
    services: &Services,
    at_once: usize,
    first: i64,
    until: Until,
) -> anyhow::Result<i64> {
    let (sagas, orders) = (services.sagas.clone(), services.orders.clone());
    let one = move |number: i64| {
        let (sagas, orders) = (sagas.clone(), orders.clone());
        async move {
            let mut tx = begin(&orders).await?;
            let key = format!("order {number}");
            let started = sagas.start(&mut tx, SAGA, &key, &number).await?;
            let over = started.over();
            tx.commit().await?;
            started.committed();
            over.within(PATIENCE).await?.context("a saga does not end")?;
            Ok(())
        }
    };
    many(at_once, first, until, one).await
}
