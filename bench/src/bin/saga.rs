//! Sagas of three remote steps, each one INSERT, one in ten compensated, sixteen at once, on
//! PostgreSQL: against the same steps written by hand, one transaction each, without bookkeeping.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use clap::Parser;
use serde_json::{Value, json};
use sqlx::{Executor, PgPool, Postgres, Transaction, postgres::PgPoolOptions};
use syncline::{
    Consumer, Envelope, HandlerError, Message, Relay, RelayHandle, Route, Stream, begin,
    saga::{Outcome, Saga, SagaBuilder, SagaHandler, Sagas, SagasHandle, wire::REPLY},
    transport::{
        Publisher, Receive, Subscriber,
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
        in_process,
    },
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{Mutex, oneshot},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const SAGA: &str = "order";
const SOURCE: &str = "/orders";
const STEPS: &str = "/steps";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// So many sagas run at once.
const AT_ONCE: usize = 16;
/// One in so many is refused at its last step.
const REFUSED: i64 = 10;
const PATIENCE: Duration = Duration::from_secs(60);
const TABLE: &str = "CREATE TABLE IF NOT EXISTS effect (
    saga bigint NOT NULL, step text NOT NULL, done boolean NOT NULL, PRIMARY KEY (saga, step, done))";

#[derive(Parser)]
struct Arguments {
    /// A superuser's URL.
    #[arg(long, env = "SYNCLINE_TEST_POSTGRES", hide_env_values = true)]
    server: String,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The participant's process: its database, and where the orchestrator listens.
    #[arg(long, num_args = 2)]
    participant: Option<Vec<String>>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { server, rounds, seconds, participant } = Arguments::parse();
    if let Some(participant) = participant {
        return take_part(&participant[0], &participant[1]).await;
    }
    let time = Duration::from_secs(seconds);
    for http in [false, true] {
        let (mut ratios, mut rates) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let ours = ours(&server, time, http).await?;
            let floor = floor(&server, time).await?;
            ratios.push(ours.rate / floor);
            rates.push(ours.rate);
            println!(
                "http {http} round {round}: {:.0} sagas/s, floor {floor:.0}/s, ratio {:.2}, {:.1} ms \
                 each, commits {:.1}, statements {:.1} a saga",
                ours.rate,
                ours.rate / floor,
                AT_ONCE as f64 / ours.rate * 1_000.0,
                ours.commits,
                ours.statements,
            );
        }
        ratios.sort_by(f64::total_cmp);
        rates.sort_by(f64::total_cmp);
        println!(
            "http {http}: median {:.0} sagas/s, ratio {:.2}",
            rates[rounds / 2],
            ratios[rounds / 2]
        );
    }
    Ok(())
}

async fn database(server: &str) -> anyhow::Result<String> {
    let name = format!("bench_{}", Uuid::now_v7().simple());
    let admin = PgPool::connect(server).await.context("cannot reach the server")?;
    admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    admin.close().await;
    let url = format!("{}/{name}", server.rsplit_once('/').context("a URL with a database")?.0);
    let pool = open(&url, 2).await?;
    syncline::migrate(&pool).await?;
    pool.execute(TABLE).await?;
    pool.close().await;
    Ok(url)
}

async fn open(url: &str, connections: u32) -> anyhow::Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(connections).connect(url).await?)
}

/// What every step does: one INSERT.
async fn effect(
    tx: &mut Transaction<'_, Postgres>,
    saga: i64,
    step: &str,
    done: bool,
) -> sqlx::Result<()> {
    let insert = sqlx::query("INSERT INTO effect (saga, step, done) VALUES ($1, $2, $3)");
    insert.bind(saga).bind(step).bind(done).execute(&mut **tx).await?;
    Ok(())
}

fn is_refused(saga: i64, step: &str) -> bool {
    step == "step.three" && saga % REFUSED == 0
}

fn definition() -> anyhow::Result<Saga<Postgres>> {
    let mut saga = SagaBuilder::<Postgres, i64>::new(SAGA, 1);
    saga.remote::<_, i64>("one", (), |call| Ok(Message::json("step.one", &call.input)?))
        .compensated()
        .add();
    saga.remote::<_, i64>("two", (), |call| Ok(Message::json("step.two", &call.input)?))
        .compensated()
        .add();
    saga.remote::<_, i64>("three", (), |call| Ok(Message::json("step.three", &call.input)?))
        .pivot()
        .add();
    Ok(saga.build()?)
}

struct Step;

#[async_trait]
impl SagaHandler<Postgres> for Step {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        let saga: i64 = command.decode()?;
        effect(tx, saga, &command.topic, true).await?;
        Ok(match is_refused(saga, &command.topic) {
            true => Outcome::Refuse("it is the tenth".to_owned()),
            false => Outcome::Done(json!(saga)),
        })
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        command: &Envelope,
        _applied: &Value,
    ) -> Result<(), HandlerError> {
        Ok(effect(tx, command.decode()?, &command.topic, false).await?)
    }
}

/// What stands still again when it is stopped.
struct Service {
    relay: RelayHandle,
    stop: CancellationToken,
}

async fn listen(
    source: &'static str,
    stream: &str,
    consumer: Consumer<Postgres>,
    stop: &CancellationToken,
) -> anyhow::Result<String> {
    let consumer: Arc<dyn Receive> = Arc::new(consumer);
    let principal = Principal::new(source, stream, [Secret::parse(SECRET)?])?;
    let setup = |receiver| PushReceiver::new(receiver).principal(principal);
    let listener = PushListener::bind("127.0.0.1:0", setup).await?;
    let url = listener.url().to_string();
    tokio::spawn(Box::new(listener).run(consumer, stop.clone()));
    Ok(url)
}

fn push(url: &str) -> anyhow::Result<PushPublisher> {
    Ok(PushPublisher::builder(url).secret(Secret::parse(SECRET)?).build()?)
}

fn channel(consumer: Consumer<Postgres>, stop: &CancellationToken) -> impl Publisher + 'static {
    let (publisher, subscriber) = in_process::channel(16);
    tokio::spawn(Box::new(subscriber).run(Arc::new(consumer), stop.clone()));
    publisher
}

async fn participant(
    pool: &PgPool,
    to: impl Publisher + 'static,
    stop: CancellationToken,
) -> anyhow::Result<Service> {
    let relay = Relay::builder(STEPS, pool.clone())
        .stream(Stream::new("replies").topic(REPLY))
        .route(Route::new("orders", "replies", to))
        .start()
        .await?;
    Ok(Service { relay, stop })
}

fn steps(pool: &PgPool) -> anyhow::Result<Consumer<Postgres>> {
    Ok(Consumer::builder("steps", pool.clone()).participant("step.*", Step).build()?)
}

/// The participant as a process of its own: says where it listens, and works until its input ends.
async fn take_part(database: &str, to: &str) -> anyhow::Result<()> {
    let (pool, stop) = (open(database, 8).await?, CancellationToken::new());
    println!("{}", listen(SOURCE, "commands", steps(&pool)?, &stop).await?);
    let service = participant(&pool, push(to)?, stop).await?;
    BufReader::new(tokio::io::stdin()).lines().next_line().await?;
    service.relay.stop().await;
    service.stop.cancel();
    Ok(())
}

struct Orchestrator {
    sagas: Sagas<Postgres>,
    engine: SagasHandle,
    relay: RelayHandle,
    other: Other,
    stop: CancellationToken,
}

enum Other {
    Here(Service),
    Process(Child),
}

async fn start(orders: &PgPool, steps_url: &str, http: bool) -> anyhow::Result<Orchestrator> {
    let stop = CancellationToken::new();
    let sagas = Sagas::builder(SOURCE, orders.clone()).saga(definition()?).build()?;
    let replies = Consumer::builder("orders", orders.clone());
    let replies = replies.batch_handler(REPLY, sagas.replies()).build()?;
    let builder =
        Relay::builder(SOURCE, orders.clone()).stream(Stream::new("commands").topic("step.*"));
    let (relay, other) = if http {
        let here = listen(STEPS, "replies", replies, &stop).await?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--server", "-", "--participant", steps_url, &here])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = child.stdout.take().context("the participant's output")?;
        let line = BufReader::new(out).lines().next_line().await?;
        let there = line.context("the participant has ended")?;
        let relay = builder.route(Route::new("steps", "commands", push(&there)?)).start().await?;
        (relay, Other::Process(child))
    } else {
        let pool = open(steps_url, 8).await?;
        let there = channel(steps(&pool)?, &stop);
        let service = participant(&pool, channel(replies, &stop), stop.clone()).await?;
        let relay = builder.route(Route::new("steps", "commands", there)).start().await?;
        (relay, Other::Here(service))
    };
    let engine = sagas.run().await?;
    Ok(Orchestrator { sagas, engine, relay, other, stop })
}

/// Who waits for which instance to be over.
type Waiting = Arc<Mutex<HashMap<Uuid, oneshot::Sender<()>>>>;

/// Tells of instances that are over; there is one for all of them.
async fn watch(pool: PgPool, waiting: Waiting) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let mut waiting = waiting.lock().await;
        let ids: Vec<Uuid> = waiting.keys().copied().collect();
        let over: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM syncline_saga WHERE id = ANY ($1) AND ended_at IS NOT NULL",
        )
        .bind(ids)
        .fetch_all(&pool)
        .await?;
        for id in over {
            if let Some(sender) = waiting.remove(&id) {
                sender.send(()).ok();
            }
        }
    }
}

struct Figures {
    rate: f64,
    commits: f64,
    statements: f64,
}

async fn ours(server: &str, time: Duration, http: bool) -> anyhow::Result<Figures> {
    let (orders_url, steps_url) = (database(server).await?, database(server).await?);
    let orders = open(&orders_url, 12).await?;
    let at = start(&orders, &steps_url, http).await?;
    let waiting = Waiting::default();
    let watching = tokio::spawn(watch(open(&orders_url, 1).await?, Arc::clone(&waiting)));
    // The first ones open connections and prepare statements.
    run(&at.sagas, &orders, &waiting, 1_000_000_000, Duration::from_millis(500)).await?;
    let home = PgPool::connect(server).await?;
    // Without it statements are not counted.
    drop(home.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await);
    let before = counted(&home).await?;
    let began = Instant::now();
    let sagas = run(&at.sagas, &orders, &waiting, 0, time).await?;
    let rate = sagas as f64 / began.elapsed().as_secs_f64();
    watching.abort();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let after = counted(&home).await?;
    check(&open(&steps_url, 1).await?, sagas).await?;
    at.engine.stop().await;
    at.relay.stop().await;
    match at.other {
        Other::Here(service) => service.relay.stop().await,
        Other::Process(mut child) => {
            drop(child.stdin.take());
            child.wait().await?;
        }
    }
    at.stop.cancel();
    Ok(Figures {
        rate,
        commits: (after.0 - before.0) as f64 / sagas as f64,
        statements: (after.1 - before.1) as f64 / sagas as f64,
    })
}

/// Transactions that wrote, and statements if the server counts them, until now.
async fn counted(home: &PgPool) -> anyhow::Result<(i64, i64)> {
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    let writing: i64 = sqlx::query_scalar(sql).fetch_one(home).await?;
    // Those of the benchmark's own watch are none of a saga's.
    let sql = "SELECT sum(calls)::bigint FROM pg_stat_statements
               WHERE query NOT LIKE 'SELECT id FROM syncline_saga WHERE id = ANY%'";
    Ok((writing, sqlx::query_scalar(sql).fetch_one(home).await.unwrap_or(0)))
}

/// Runs sagas, so many at once, for a time; how many there were.
async fn run(
    sagas: &Sagas<Postgres>,
    orders: &PgPool,
    waiting: &Waiting,
    first: i64,
    time: Duration,
) -> anyhow::Result<i64> {
    let began = Instant::now();
    let one = |task: usize| {
        let (sagas, orders, waiting) = (sagas.clone(), orders.clone(), Arc::clone(waiting));
        tokio::spawn(async move {
            let mut done = 0;
            while began.elapsed() < time {
                let number = first + task as i64 + done * AT_ONCE as i64;
                let mut tx = begin(&orders).await?;
                let key = format!("order {number}");
                let started = sagas.start(&mut tx, SAGA, &key, &number).await?;
                tx.commit().await?;
                let (sender, over) = oneshot::channel();
                waiting.lock().await.insert(started.id, sender);
                started.committed();
                tokio::time::timeout(PATIENCE, over).await.context("a saga does not end")??;
                done += 1;
            }
            anyhow::Ok(done)
        })
    };
    let tasks: Vec<_> = (0..AT_ONCE).map(one).collect();
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(total)
}

/// Every effect stands once, and those of a refused saga were taken back.
async fn check(steps: &PgPool, sagas: i64) -> anyhow::Result<()> {
    let (whole, back, others): (i64, i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE done = 3 AND undone = 0), count(*) FILTER (WHERE done = 2 AND undone = 2),
                count(*) FILTER (WHERE NOT (done = 3 AND undone = 0 AND saga % 10 <> 0
                                            OR done = 2 AND undone = 2 AND saga % 10 = 0))
         FROM (SELECT saga, count(*) FILTER (WHERE done) AS done, count(*) FILTER (WHERE NOT done) AS undone
               FROM effect WHERE saga < 1000000000 GROUP BY 1) AS s",
    )
    .fetch_one(steps)
    .await?;
    ensure!(whole + back == sagas && others == 0, "{whole} whole, {back} back, {others} neither");
    Ok(())
}

/// The same steps by hand: a transaction each.
async fn floor(server: &str, time: Duration) -> anyhow::Result<f64> {
    let pool = open(&database(server).await?, AT_ONCE as u32).await?;
    // As many connections as tasks, each with its statement prepared.
    by_hand(&pool, 1_000_000_000, Duration::from_millis(300)).await?;
    let began = Instant::now();
    let sagas = by_hand(&pool, 0, time).await?;
    check(&pool, sagas).await?;
    Ok(sagas as f64 / began.elapsed().as_secs_f64())
}

async fn by_hand(pool: &PgPool, first: i64, time: Duration) -> anyhow::Result<i64> {
    let began = Instant::now();
    let one = |task: usize| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while began.elapsed() < time {
                let number = first + task as i64 + done * AT_ONCE as i64;
                for step in ["step.one", "step.two", "step.three"] {
                    let mut tx = pool.begin().await?;
                    effect(&mut tx, number, step, true).await?;
                    match is_refused(number, step) {
                        false => tx.commit().await?,
                        true => {
                            tx.rollback().await?;
                            for step in ["step.two", "step.one"] {
                                let mut tx = pool.begin().await?;
                                effect(&mut tx, number, step, false).await?;
                                tx.commit().await?;
                            }
                        }
                    }
                }
                done += 1;
            }
            anyhow::Ok(done)
        })
    };
    let tasks: Vec<_> = (0..AT_ONCE).map(one).collect();
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(total)
}
