//! Sagas of three steps, each one INSERT, as the suite *saga* runs them: the definition, what takes
//! part, and the same steps by hand.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{PgPool, Postgres, Transaction};
use syncline::{
    Consumer, Envelope, HandlerError, Message, Relay, RelayHandle, Route, Stream,
    saga::{Outcome, Saga, SagaBuilder, SagaHandler, Sagas, SagasHandle, wire::REPLY},
    transport::{Publisher, Receive, Subscriber, in_process},
};
use tokio_util::sync::CancellationToken;

use crate::child::{self, Process, Ready, Task};

/// The saga, and the source of the service that runs it.
pub(crate) const SAGA: &str = "order";
pub(crate) const ORDERS: &str = "/orders";
pub(crate) const STEPS: &str = "/steps";
pub(crate) const COMMANDS: &str = "commands";
pub(crate) const REPLIES: &str = "replies";
/// One in so many is refused at its last step, and its other two are compensated.
pub(crate) const REFUSED: i64 = 10;
/// Sagas from here on only warm up.
pub(crate) const WARM: i64 = 1_000_000_000;
const NAMES: [&str; 3] = ["step.one", "step.two", "step.three"];
/// Enough for as many workers and batches as there are at once.
const CONNECTIONS: u32 = 16;

/// Where the steps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In the database of the service itself.
    Local,
    /// In another database, brought there within the process.
    InProcess,
    /// In another process with its own database, over signed HTTP.
    Http,
}

impl Place {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Local => "three local steps",
            Self::InProcess => "three remote steps in process",
            Self::Http => "three remote steps over HTTP, two processes",
        }
    }
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

fn outcome<T>(saga: i64, step: &str, done: T) -> Outcome<T> {
    match step == NAMES[2] && saga % REFUSED == 0 {
        true => Outcome::Refuse("it is the tenth".to_owned()),
        false => Outcome::Done(done),
    }
}

pub(crate) fn definition(place: Place) -> anyhow::Result<Saga<Postgres>> {
    let mut saga = SagaBuilder::<Postgres, i64>::new(SAGA, 1);
    for step in NAMES {
        let pivot = step == NAMES[2];
        if place == Place::Local {
            let local = saga.local(step, (), move |tx, call| {
                Box::pin(async move {
                    effect(tx, call.input, step, true).await?;
                    Ok(outcome(call.input, step, call.input))
                })
            });
            match pivot {
                true => local.pivot().add(),
                false => local
                    .compensate(move |tx, call, _| {
                        Box::pin(async move { Ok(effect(tx, call.input, step, false).await?) })
                    })
                    .add(),
            };
        } else {
            let remote =
                saga.remote::<_, i64>(step, (), move |call| Ok(Message::json(step, &call.input)?));
            if pivot {
                remote.pivot().add()
            } else {
                remote.compensated().add()
            };
        }
    }
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
        Ok(outcome(saga, &command.topic, json!(saga)))
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

/// The service that has the steps, and its way back.
async fn participant(pool: &PgPool, to: impl Publisher + 'static) -> anyhow::Result<RelayHandle> {
    let relay = Relay::builder(STEPS, pool.clone())
        .stream(Stream::new(REPLIES).topic(REPLY))
        .route(Route::new("orders", REPLIES, to));
    Ok(relay.start().await?)
}

fn steps(pool: &PgPool) -> anyhow::Result<Consumer<Postgres>> {
    Ok(Consumer::builder("steps", pool.clone()).participant("step.*", Step).build()?)
}

async fn listen(
    (source, stream): (&str, &str),
    consumer: Consumer<Postgres>,
    stop: &CancellationToken,
) -> anyhow::Result<String> {
    let listener = child::listener(source, stream).await?;
    let url = listener.url();
    let consumer: Arc<dyn Receive> = Arc::new(consumer);
    tokio::spawn(Box::new(listener).run(consumer, stop.clone()));
    Ok(url)
}

fn channel(consumer: Consumer<Postgres>, stop: &CancellationToken) -> impl Publisher + 'static {
    let (publisher, subscriber) = in_process::channel(16);
    tokio::spawn(Box::new(subscriber).run(Arc::new(consumer), stop.clone()));
    publisher
}

/// The participant as a process of its own: says where it listens, and works until `end`.
pub(crate) async fn take_part(
    url: &str,
    to: &str,
    ready: impl FnOnce(String) -> anyhow::Result<()>,
    end: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let (pool, stop) = (open(url, CONNECTIONS).await?, CancellationToken::new());
    ready(listen((ORDERS, COMMANDS), steps(&pool)?, &stop).await?)?;
    let relay = participant(&pool, child::publisher(to)?).await?;
    let ended = end.await;
    relay.stop().await;
    stop.cancel();
    pool.close().await;
    ended
}

pub(crate) async fn open(url: &str, connections: u32) -> anyhow::Result<PgPool> {
    <Postgres as crate::floor::Floor>::open(url, connections).await
}

/// A service that runs sagas, and whatever takes part in them.
pub(crate) struct Services {
    pub(crate) sagas: Sagas<Postgres>,
    pub(crate) orders: PgPool,
    engine: SagasHandle,
    relays: Vec<RelayHandle>,
    pools: Vec<PgPool>,
    process: Option<Process>,
    stop: CancellationToken,
}

impl Services {
    /// Over the databases of the orchestrator and of the steps.
    pub(crate) async fn start(place: Place, urls: [&str; 2]) -> anyhow::Result<Self> {
        let orders = open(urls[0], CONNECTIONS).await?;
        let stop = CancellationToken::new();
        let sagas = Sagas::builder(ORDERS, orders.clone()).saga(definition(place)?).build()?;
        let (mut relays, mut pools, mut process) = (Vec::new(), Vec::new(), None);
        if place != Place::Local {
            let replies = Consumer::builder("orders", orders.clone());
            let replies = replies.batch_handler(REPLY, sagas.replies()).build()?;
            let relay = Relay::builder(ORDERS, orders.clone())
                .stream(Stream::new(COMMANDS).topic("step.*"));
            let commands = match place {
                Place::Http => {
                    let to = listen((STEPS, REPLIES), replies, &stop).await?;
                    let task = Task::TakePart { url: urls[1].to_owned(), to };
                    let mut child = Process::start(&task)?;
                    let there = child.hear::<Ready>().await?.address;
                    process = Some(child);
                    let push = child::publisher(&there.context("where it listens")?)?;
                    relay.route(Route::new("steps", COMMANDS, push))
                }
                _ => {
                    let pool = open(urls[1], CONNECTIONS).await?;
                    relays.push(participant(&pool, channel(replies, &stop)).await?);
                    let there = channel(steps(&pool)?, &stop);
                    pools.push(pool);
                    relay.route(Route::new("steps", COMMANDS, there))
                }
            };
            relays.push(commands.start().await?);
        }
        let engine = sagas.run().await?;
        Ok(Self { sagas, orders, engine, relays, pools, process, stop })
    }

    /// Stops all of it, and closes its sessions.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.engine.stop().await;
        for relay in self.relays {
            relay.stop().await;
        }
        self.stop.cancel();
        if let Some(process) = self.process {
            process.end().await?;
        }
        for pool in self.pools {
            pool.close().await;
        }
        self.orders.close().await;
        Ok(())
    }
}

/// The steps of saga `number`: a transaction each.
pub(crate) async fn by_hand(pool: &PgPool, number: i64) -> anyhow::Result<()> {
    for step in NAMES {
        let mut tx = pool.begin().await?;
        effect(&mut tx, number, step, true).await?;
        match outcome(number, step, ()) {
            Outcome::Done(()) => tx.commit().await?,
            Outcome::Refuse(_) => {
                tx.rollback().await?;
                for step in [NAMES[1], NAMES[0]] {
                    let mut tx = pool.begin().await?;
                    effect(&mut tx, number, step, false).await?;
                    tx.commit().await?;
                }
            }
        }
    }
    Ok(())
}
