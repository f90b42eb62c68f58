//! From a message's commit to the commit that applied it, by the server's clock.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::FutureExt;
use sqlx::{Executor, PgPool, Postgres, postgres::PgListener};
use syncline::{
    Message, RelayHandle, Start, enqueue,
    transport::{Subscriber, in_process},
};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, UnboundedReceiver},
    },
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    bench::{Bench, Suite},
    child::{self, Process, Ready, Task},
    floor::Floor,
    pipeline::{Arrived, Way, consumer, relay},
    results::{Goal, Plot},
    stats::quantile,
};

pub(crate) const SUITE: Suite = Suite {
    name: "delay",
    title: "from a message's commit to the commit that applied it, in milliseconds by the server's \
            clock; single messages, sent at a fixed pace whatever becomes of them",
    floor: "NOTIFY in the business transaction, a listener, one transaction that applies what has come and \
            counts it; for HTTP \
            the sum of that, of one more commit (the seal's) and of one exchange over a loopback \
            connection",
    run: |bench| async move { run(bench).await }.boxed(),
};

/// At most so many transactions are under way.
const WRITERS: usize = 24;
/// How long stragglers may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How messages get from one database to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    InProcess,
    /// To a consumer in another process.
    Http,
    /// Without the framework.
    Ping,
}

/// Two databases, and what is between them.
pub(super) struct Place {
    pub(super) from: PgPool,
    pub(super) to: PgPool,
    to_url: String,
    routes: usize,
}

impl Place {
    pub(super) async fn make(bench: &mut Bench) -> anyhow::Result<Self> {
        let (from, _) = bench.database::<Postgres>(40).await?;
        let (to, to_url) = bench.database::<Postgres>(20).await?;
        bench.results.server = Postgres::settings(&from).await?;
        let on: String = sqlx::query_scalar("SHOW track_commit_timestamp").fetch_one(&from).await?;
        ensure!(on == "on", "track_commit_timestamp is needed: bench/run starts a server with it");
        Ok(Self { from, to, to_url, routes: 0 })
    }

    /// Sends `rate` messages a second for `time`; the delay of each in milliseconds, in order.
    pub(super) async fn delays(
        &mut self,
        over: Over,
        rate: f64,
        time: Duration,
    ) -> anyhow::Result<Vec<f64>> {
        Postgres::reset(&self.to).await?;
        self.from.execute("TRUNCATE business").await?;
        self.routes += 1;
        let link = Link::start(self, over, &format!("delay-{}", self.routes)).await?;
        // The link is up when a first message is through.
        send(&self.from, over, 0).await?;
        self.applied(1).await?;
        let send = |n| {
            let from = self.from.clone();
            async move { send(&from, over, n).await }
        };
        let count = paced(rate, time, send).await?;
        self.applied(count as i64 + 1).await?;
        link.stop().await?;
        let written = commits(&self.from, "business").await?;
        let applied = commits(&self.to, "applied").await?;
        ensure!(written.len() == applied.len(), "{} of {}", applied.len(), written.len());
        let pairs = written.iter().zip(&applied).skip(1);
        pairs
            .map(|((n, committed), (m, applied))| {
                ensure!(n == m, "message {n} was not applied");
                Ok((applied - committed) / 1_000.0)
            })
            .collect()
    }

    /// Waits until so many messages are applied.
    async fn applied(&self, count: i64) -> anyhow::Result<()> {
        let until = Instant::now() + LIMIT;
        loop {
            let (_, applied) = Postgres::applied(&self.to).await?;
            if applied >= count {
                return Ok(());
            }
            ensure!(Instant::now() < until, "{applied} of {count} messages were applied");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// When each row's transaction committed, in microseconds, by its number.
async fn commits(pool: &PgPool, table: &str) -> anyhow::Result<Vec<(i64, f64)>> {
    let sql = match table {
        "business" => {
            "SELECT substr(key, 5)::bigint AS n,
                (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1e6)::float8
             FROM business ORDER BY n"
        }
        _ => {
            "SELECT substr(key, 5)::bigint AS n,
                (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1e6)::float8
             FROM applied ORDER BY n"
        }
    };
    Ok(sqlx::query_as(sql).fetch_all(pool).await?)
}

/// One business transaction with a message.
async fn send(pool: &PgPool, over: Over, n: usize) -> anyhow::Result<()> {
    let payload = serde_json::json!({ "n": n, "pad": "x".repeat(118) });
    let message = Message::json("bench.message", &payload)?.key(format!("key {n}"));
    let mut tx = syncline::begin(pool).await?;
    Postgres::business(&mut tx, &message).await?;
    if over == Over::Ping {
        sqlx::query("SELECT pg_notify('bench', $1)").bind(n.to_string()).execute(&mut *tx).await?;
        tx.commit().await?;
        return Ok(());
    }
    let receipt = enqueue(&mut tx, &message).await?;
    tx.commit().await?;
    receipt.committed();
    Ok(())
}

/// Starts transactions at a fixed pace, whether those before have ended or not; how many.
pub(super) async fn paced<F>(
    rate: f64,
    time: Duration,
    send: impl Fn(usize) -> F,
) -> anyhow::Result<usize>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let count = (rate * time.as_secs_f64()) as usize;
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let room = Arc::new(Semaphore::new(WRITERS));
    let mut under_way: Vec<JoinHandle<anyhow::Result<()>>> = Vec::with_capacity(count);
    for n in 1..=count {
        ticks.tick().await;
        let permit = Arc::clone(&room).acquire_owned().await?;
        let sending = send(n);
        under_way.push(tokio::spawn(async move {
            let sent = sending.await;
            drop(permit);
            sent
        }));
    }
    for sent in under_way {
        sent.await??;
    }
    Ok(count)
}

/// What is between the databases while messages flow.
struct Link {
    relay: Option<RelayHandle>,
    child: Option<Process>,
    stop: CancellationToken,
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Link {
    async fn start(place: &Place, over: Over, route: &str) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let mut link = Self { relay: None, child: None, stop: stop.clone(), task: None };
        match over {
            Over::InProcess => {
                let (publisher, subscriber) = in_process::channel(16);
                let consumer =
                    consumer(&place.to, Way::Set, Start::Now, &Arrived::new(usize::MAX))?;
                let run = Box::new(subscriber).run(consumer, stop);
                link.task = Some(tokio::spawn(async move { Ok(run.await?) }));
                link.relay = Some(relay(&place.from, (route, Start::Now), publisher).await?);
            }
            Over::Http => {
                let url = place.to_url.clone();
                let mut child =
                    Process::start(&Task::Listen { url, count: usize::MAX, from_now: true })?;
                let target = child.hear::<Ready>().await?.address.context("its address")?;
                let publisher = child::publisher(&target)?;
                link.relay = Some(relay(&place.from, (route, Start::Now), publisher).await?);
                link.child = Some(child);
            }
            Over::Ping => {
                let mut listener = PgListener::connect_with(&place.from).await?;
                listener.listen("bench").await?;
                let (tell, told) = mpsc::unbounded_channel();
                let listening = async move {
                    while let Some(ping) = stop.run_until_cancelled(listener.recv()).await {
                        tell.send(format!("key {}", ping?.payload()))?;
                    }
                    anyhow::Ok(())
                };
                let applying = apply_pings(place.to.clone(), told);
                link.task =
                    Some(tokio::spawn(
                        async move { tokio::try_join!(listening, applying).map(drop) },
                    ));
            }
        }
        Ok(link)
    }

    async fn stop(self) -> anyhow::Result<()> {
        if let Some(relay) = self.relay {
            relay.stop().await;
        }
        self.stop.cancel();
        if let Some(task) = self.task {
            task.await??;
        }
        match self.child {
            Some(child) => child.end().await,
            None => Ok(()),
        }
    }
}

/// Applies what there is in one transaction, again and again.
async fn apply_pings(to: PgPool, mut told: UnboundedReceiver<String>) -> anyhow::Result<()> {
    let mut keys = Vec::new();
    while told.recv_many(&mut keys, 1_000).await > 0 {
        let items: Vec<_> = keys.iter().map(|key| (0, &key[..], &[b'x'; 140][..])).collect();
        let mut tx = to.begin().await?;
        match items[..] {
            [item] => Postgres::apply(&mut tx, item).await?,
            _ => Postgres::apply_all(&mut tx, &items).await?,
        }
        // As our handler does, whose sum is checked.
        Postgres::progress(&mut tx, 0, items.len() as i64).await?;
        tx.commit().await?;
        keys.clear();
    }
    Ok(())
}

/// How long a one-row commit takes, and an exchange over a loopback connection: medians in
/// milliseconds.
async fn parts(pool: &PgPool) -> anyhow::Result<(f64, f64)> {
    let mut commits = Vec::new();
    for n in 0..200_i64 {
        let began = Instant::now();
        sqlx::query("UPDATE progress SET place = $1 WHERE one = 1").bind(n).execute(pool).await?;
        commits.push(began.elapsed().as_secs_f64() * 1_000.0);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let exchanges = tokio::task::spawn_blocking(exchanges).await??;
    Ok((quantile(&commits, 0.5), quantile(&exchanges, 0.5)))
}

/// A request of 800 bytes and an answer of 300, again and again.
fn exchanges() -> anyhow::Result<Vec<f64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut request = [0; 800];
        while stream.read_exact(&mut request).is_ok() {
            stream.write_all(&[0; 300])?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut took = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        stream.write_all(&[0; 800])?;
        stream.read_exact(&mut [0; 300])?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(stream);
    server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    Ok(took)
}

async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut place = Place::make(bench).await?;
    let seconds = |quick, full| Duration::from_secs(bench.pick(quick, full));
    let mut series = Vec::new();
    for (name, rate, time) in [
        ("idle (one a second)", 1.0, seconds(8, 10)),
        ("50/s", 50.0, seconds(4, 5)),
        ("200/s", 200.0, seconds(4, 10)),
        ("2,000/s", 2_000.0, seconds(4, 5)),
    ] {
        if !bench.wants(name) {
            continue;
        }
        let mut all = [const { Vec::new() }; 3];
        let (mut sums, mut parts_of) = (Vec::new(), Vec::new());
        let mut tables = [const { [const { Vec::new() }; 3] }; 3];
        for _ in bench.rounds() {
            for (way, over) in [Over::InProcess, Over::Http, Over::Ping].into_iter().enumerate() {
                let delays = place.delays(over, rate, time).await?;
                for (share, column) in [0.5, 0.99, 0.999].into_iter().zip(&mut tables[way]) {
                    column.push(quantile(&delays, share));
                }
                all[way].extend(delays);
            }
            let (commit, exchange) = parts(&place.from).await?;
            parts_of.push((commit, exchange));
            sums.push(tables[2][0].last().copied().unwrap_or(f64::NAN) + commit + exchange);
        }
        let at_200 = rate == 200.0;
        let [inside, http, ping] = tables;
        let goal = |goal| at_200.then_some(goal);
        let percentiles = ["p50", "p99", "p99.9"];
        let goals = [Some(1.0), None, None].into_iter().zip([Some(2.5), Some(8.0), None]);
        for ((at, percentile), (inside_most, http_most)) in
            percentiles.into_iter().enumerate().zip(goals)
        {
            let floor = ping[at].clone();
            let most = |most: Option<f64>| most.and_then(|most| goal(Goal::AtMost(most)));
            let what = format!("{name}, in process, {percentile}");
            bench.line(what, "ms", (inside[at].clone(), floor.clone()), most(inside_most));
            let what = format!("{name}, over HTTP to another process, {percentile}");
            bench.line(what, "ms", (http[at].clone(), floor), most(http_most));
        }
        let what = format!("{name}, over HTTP, p50, to the sum of its parts");
        bench.line(what, "ms", (http[0].clone(), sums), goal(Goal::RatioAtMost(1.5)));
        if at_200 {
            let commit: Vec<f64> = parts_of.iter().map(|parts| parts.0).collect();
            let exchange: Vec<f64> = parts_of.iter().map(|parts| parts.1).collect();
            bench.line("one commit of one row, p50", "ms", (commit, Vec::new()), None);
            bench.line("one exchange over loopback, p50", "ms", (exchange, Vec::new()), None);
            for (name, delays) in ["in process", "HTTP", "ping"].into_iter().zip(&all) {
                let shares = (1..=200).map(|n| f64::from(n) / 200.0);
                let points = shares.map(|s| (100.0 * s, quantile(delays, s))).collect();
                series.push((name.to_owned(), points));
            }
        }
    }
    bench.plot(Plot {
        name: "200".to_owned(),
        title: "Delay at 200 messages a second".to_owned(),
        x: "percent of the messages".to_owned(),
        y: "ms from commit to commit".to_owned(),
        log_x: false,
        log_y: true,
        series,
    });
    bench.check("every message was applied", true)
}
