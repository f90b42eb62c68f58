//! An orchestrator and its participant in one database. Steps write their effects as messages on
//! topic `out` (key: the instance), so that no SQL is needed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::super::support::{linked, sealer, whole_log};
use crate::{
    Consumer, Envelope, HandlerError, Message, Storage, begin,
    saga::{
        Call, Outcome, Retry, Saga, SagaBuilder, SagaHandler, Sagas, SagasHandle, StartError,
        Started, operate, wire,
    },
    storage::Lease,
    transport::Receive,
};

pub(super) const SOURCE: &str = "/suite";
const RETRY: Retry =
    Retry { attempts: 3, base: Duration::from_millis(10), longest: Duration::from_millis(40) };
/// How long the local pivot and the remote one may take.
pub(super) const SHORT: Duration = Duration::from_millis(300);
/// The time for the pivot of `shipping`: a slow server, too, begins it in time.
pub(super) const SHIPPING: Duration = Duration::from_secs(1);

/// What a step does at its next try; without a word it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    Work,
    Refuse,
    Fail,
    Panic,
    Hang,
    /// It goes on after a statement that the database refuses.
    Swallow,
}

type Input = (String, i64);

/// What steps do at their next tries, by their names; a compensation has a `-` before its.
#[derive(Debug, Clone, Default)]
pub(super) struct Script(Arc<Mutex<HashMap<String, VecDeque<Does>>>>);

impl Script {
    pub(super) fn when(&self, step: &str, does: impl IntoIterator<Item = Does>) {
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        script.insert(step.to_owned(), does.into_iter().collect());
    }

    fn next(&self, step: &str) -> Does {
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        script.get_mut(step).and_then(VecDeque::pop_front).unwrap_or(Does::Work)
    }

    /// Writes the effect first, and then does what the script says.
    async fn play<DB: Storage>(
        &self,
        tx: &mut Transaction<'_, DB>,
        id: &str,
        step: &str,
    ) -> Result<Outcome<Value>, HandlerError> {
        let sign = if step.starts_with('-') { "" } else { "+" };
        DB::append(tx, &[Message::json("out", &format!("{sign}{step}"))?.key(id)]).await?;
        match self.next(step) {
            Does::Work => Ok(Outcome::Done(json!(step))),
            Does::Refuse => Ok(Outcome::Refuse("as it was told to".to_owned())),
            Does::Fail => Err("it failed as it was told to".into()),
            Does::Panic => panic!("it panicked as it was told to"),
            Does::Hang => std::future::pending().await,
            Does::Swallow => {
                let mut refused = Message::json("out", &0)?;
                refused.topic = "\0".to_owned();
                assert!(DB::append(tx, &[refused]).await.is_err(), "no database takes it");
                Ok(Outcome::Done(json!(step)))
            }
        }
    }
}

struct Part(Script, &'static str);

#[async_trait]
impl<DB: Storage> SagaHandler<DB> for Part {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        self.0.play(tx, &command.decode::<String>()?, self.1).await
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        _applied: &Value,
    ) -> Result<(), HandlerError> {
        let step = format!("-{}", self.1);
        self.0.play(tx, &command.decode::<String>()?, &step).await.map(drop)
    }
}

fn command(topic: &'static str) -> impl Fn(Call<Input, ()>) -> Result<Message, HandlerError> {
    move |call| Ok(Message::json(topic, &call.id.to_string())?)
}

pub(super) fn order<DB: Storage>(script: &Script, version: i32) -> Saga<DB> {
    let mut saga = SagaBuilder::<DB, Input>::new("order", version).locks(|input: &Input| {
        let (entity, _) = input;
        if entity.is_empty() { Vec::new() } else { vec![entity.clone()] }
    });
    let (act, undo, approve) = (script.clone(), script.clone(), script.clone());
    saga.local::<_, Value, _>("open", (), move |tx, call| {
        let script = act.clone();
        Box::pin(async move { script.play(tx, &call.id.to_string(), "open").await })
    })
    .compensate(move |tx, call, _| {
        let script = undo.clone();
        Box::pin(async move { script.play(tx, &call.id.to_string(), "-open").await.map(drop) })
    })
    .retry(RETRY)
    .add();
    saga.remote::<_, Value>("credit", (), command("cmd.credit")).compensated().retry(RETRY).add();
    saga.remote::<_, Value>("claim", (), command("cmd.claim")).compensated().retry(RETRY).add();
    saga.local::<_, Value, _>("approve", (), move |tx, call| {
        let script = approve.clone();
        Box::pin(async move { script.play(tx, &call.id.to_string(), "approve").await })
    })
    .pivot()
    .deadline(SHORT)
    .retry(RETRY)
    .add();
    saga.remote::<_, Value>("tell", (), command("cmd.tell")).retriable().retry(RETRY).add();
    saga.build().expect("a sound definition")
}

fn shipping<DB: Storage>() -> Saga<DB> {
    let mut saga = SagaBuilder::<DB, Input>::new("shipping", 1);
    saga.remote::<_, Value>("credit", (), command("cmd.credit")).compensated().retry(RETRY).add();
    let ship = saga.remote::<_, Value>("ship", (), command("cmd.ship")).pivot();
    ship.deadline(SHIPPING).retry(RETRY).add();
    saga.remote::<_, Value>("tell", (), command("cmd.tell")).retriable().retry(RETRY).add();
    saga.build().expect("a sound definition")
}

pub(super) struct World<DB: Storage> {
    pub(super) pool: Pool<DB>,
    pub(super) sagas: Sagas<DB>,
    pub(super) script: Script,
    lease: Lease,
    life: Uuid,
    commands: Consumer<DB>,
    replies: Consumer<DB>,
}

impl<DB: Storage> World<DB> {
    pub(super) async fn new(pool: Pool<DB>) -> (Self, SagasHandle) {
        let world = Self::idle(pool).await;
        let handle = world.sagas.run().await.expect("run");
        (world, handle)
    }

    /// Without a running engine.
    pub(super) async fn idle(pool: Pool<DB>) -> Self {
        let script = Script::default();
        let sagas = engine(&pool, &script, 1);
        let mut commands = Consumer::builder("participant", pool.clone());
        for step in ["credit", "claim", "tell", "ship"] {
            commands = commands.participant(format!("cmd.{step}"), Part(script.clone(), step));
        }
        let commands = commands.build().expect("a consumer");
        let replies = Consumer::builder("orchestrator", pool.clone());
        let replies = replies.batch_handler(wire::REPLY, sagas.replies());
        let replies = replies.build().expect("a consumer");
        let lease = sealer(&pool).await;
        Self { pool, sagas, script, lease, life: Uuid::now_v7(), commands, replies }
    }

    pub(super) async fn try_start(
        &self,
        saga: &str,
        key: &str,
        entity: &str,
        n: i64,
    ) -> Result<Started, StartError> {
        let mut tx = begin(&self.pool).await.expect("begin");
        let input = (entity.to_owned(), n);
        let started = self.sagas.start(&mut tx, saga, key, &input).await?;
        tx.commit().await.expect("commit");
        started.clone().committed();
        Ok(started)
    }

    pub(super) async fn start(&self, key: &str) -> Uuid {
        self.try_start("order", key, "", 1).await.expect("started").id
    }

    /// Hands every command over, from the first one, as a relay that has lost its checkpoint does.
    pub(super) async fn pump_commands(&self) {
        let log = whole_log(&self.pool, &self.lease).await;
        let batch = linked(log, "commands", "cmd.*", self.life);
        self.commands.receive(batch).await.expect("commands");
    }

    /// The same for the replies.
    pub(super) async fn pump_replies(&self) {
        let log = whole_log(&self.pool, &self.lease).await;
        let batch = linked(log, "replies", wire::REPLY, self.life);
        self.replies.receive(batch).await.expect("replies");
    }

    pub(super) async fn status(&self, id: Uuid) -> String {
        let shown = operate::show(&self.pool, id).await.expect("show").expect("it is there");
        shown.summary.status
    }

    /// Whether the instance's log has a line.
    pub(super) async fn has_logged(&self, id: Uuid, what: &str) -> bool {
        let shown = operate::show(&self.pool, id).await.expect("show").expect("it is there");
        shown.log.iter().any(|line| line.what == what)
    }

    /// Carries messages until the instance has one of these states.
    pub(super) async fn until(&self, id: Uuid, states: &[&str]) -> String {
        for _ in 0..6_000 {
            self.pump_commands().await;
            self.pump_replies().await;
            let status = self.status(id).await;
            if states.contains(&status.as_str()) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let shown = operate::show(&self.pool, id).await.expect("show");
        panic!("waited in vain for {states:?}: {shown:#?}")
    }

    /// Carries messages and has them decided, one after the other, without a running engine.
    pub(super) async fn drive(&self, id: Uuid, end: &str) {
        for _ in 0..40 {
            self.pump_commands().await;
            self.pump_replies().await;
            self.sagas.work_off().await.expect("decide");
            if self.status(id).await == end {
                return;
            }
        }
        let shown = operate::show(&self.pool, id).await.expect("show");
        panic!("it does not come to be {end}: {shown:#?}")
    }

    /// What the steps of an instance have done, in commit order.
    pub(super) async fn effects(&self, id: Uuid) -> Vec<String> {
        let key = id.to_string();
        let log = whole_log(&self.pool, &self.lease).await;
        let own = log.into_iter().map(|row| row.message);
        let own = own.filter(|m| m.topic == "out" && m.key.as_deref() == Some(&key));
        own.map(|message| message.decode().expect("an effect")).collect()
    }
}

/// An engine like that of another process.
pub(super) fn engine<DB: Storage>(pool: &Pool<DB>, script: &Script, version: i32) -> Sagas<DB> {
    let builder = Sagas::builder(SOURCE, pool.clone()).poll(Duration::from_millis(20));
    let sagas = builder.saga(order(script, version)).saga(shipping()).build();
    sagas.expect("an engine")
}

/// One whose definition of version 1 has another step.
pub(super) fn changed_engine<DB: Storage>(pool: &Pool<DB>) -> Sagas<DB> {
    let mut saga = SagaBuilder::<DB, Input>::new("order", 1);
    saga.remote::<_, Value>("credit", (), command("cmd.credit")).compensated().add();
    let builder = Sagas::builder(SOURCE, pool.clone()).poll(Duration::from_millis(20));
    builder.saga(saga.build().expect("sound")).build().expect("an engine")
}
