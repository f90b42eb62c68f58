//! What goes wrong when the participant's barrier is changed a little, on the real databases: each
//! mutant is caught by the check that the real one passes under the same schedule.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Message, Verdict,
    message::{Batch, Link, Origin, Position},
    saga::{
        Outcome, SagaHandler,
        wire::{Ask, Command},
    },
    storage::BarrierKey,
    transport::{self, Receive},
};
use syncline_tests::{
    kit::Kit,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use uuid::Uuid;

/// What a participant takes a step for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Barrier {
    Real,
    /// None: every command has its effect.
    None,
    /// Repeats are known, but a compensation before its action leaves nothing behind.
    WithoutBar,
    /// It is read first and written when the handler is done.
    ReadFirst,
}

/// Notes 1 for what it applies and -1 for what it takes back. It takes its time.
#[derive(Clone, Copy)]
struct Slow;

const KEY: &str = "the account";

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Slow {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        _command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        DB::note(tx, KEY, 1).await?;
        Ok(Outcome::Done(Value::Null))
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        _command: &Envelope,
        _applied: &Value,
    ) -> Result<(), HandlerError> {
        DB::note(tx, KEY, -1).await?;
        Ok(())
    }
}

struct Mutant<DB: Kit>(Barrier, Pool<DB>);

impl<DB: Kit> Mutant<DB> {
    /// What is recorded; `ReadFirst` looks with a transaction of its own, and so locks nothing.
    async fn recorded(
        &self,
        tx: &mut Transaction<'_, DB>,
        key: BarrierKey<'_>,
    ) -> Result<(String, bool), HandlerError> {
        let row = match self.0 {
            Barrier::ReadFirst => {
                let mut apart = syncline::begin(&self.1).await?;
                let row = DB::claim_barrier(&mut apart, key).await?;
                apart.rollback().await?;
                row
            }
            _ => DB::claim_barrier(tx, key).await?,
        };
        Ok((row.record, row.undone))
    }
}

#[async_trait]
impl<DB: Kit> Handler<DB> for Mutant<DB> {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let command = Command::read(message)?;
        let apply = command.ask == Ask::Apply;
        let (saga, step) = (command.saga, command.step.as_str());
        let key = BarrierKey { source: &message.origin.source, saga, step };
        let (record, undone) = match self.0 {
            Barrier::None if apply => (String::new(), false),
            Barrier::None => ("applied".to_owned(), false),
            _ => self.recorded(tx, key).await?,
        };
        match (apply, record.as_str(), undone) {
            (true, "", _) => {
                Slow.apply(tx, message).await?;
            }
            (false, "applied", false) => Slow.compensate(tx, message, &Value::Null).await?,
            (false, "", _) if self.0 == Barrier::WithoutBar => {
                DB::leave_barrier(tx, key).await?;
                return Ok(Verdict::Done);
            }
            _ => return Ok(Verdict::Done),
        }
        if self.0 != Barrier::None {
            DB::claim_barrier(tx, key).await?;
            DB::record_barrier(tx, key, "applied", !apply, None).await?;
        }
        Ok(Verdict::Done)
    }
}

/// Two consumer processes, with pools of their own.
async fn consumers<DB: Kit>(url: &str, barrier: Barrier) -> (Pool<DB>, [Consumer<DB>; 2]) {
    let pool = DB::connect(url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    let mut consumers = Vec::new();
    for _ in 0..2 {
        let pool = DB::connect(url, 8).await.expect("connect");
        let consumer = Consumer::builder("c", pool.clone());
        let consumer = match barrier {
            Barrier::Real => consumer.participant("in", Slow),
            mutant => consumer.handler("in", Mutant(mutant, pool)),
        };
        consumers.push(consumer.build().expect("a consumer"));
    }
    (pool, consumers.try_into().ok().expect("two"))
}

/// The command in a stream of its own: nothing but the barrier orders it.
async fn send<DB: Kit>(consumer: &Consumer<DB>, saga: Uuid, ask: Ask) {
    let step = "s".to_owned();
    let command =
        Command { saga, step, ask, attempt: 1, not_after: None, confirms: None, why: None };
    let message = command.address(Message::json("in", &0).expect("JSON"));
    let (source, stream) = ("/orders".to_owned(), Uuid::now_v7().to_string());
    let origin = Origin { source, incarnation: Uuid::max(), stream, version: 1, shard: 0 };
    let origin = Arc::new(origin);
    let last = Link { position: Position(1), id: message.id };
    let envelope = Envelope {
        origin: Arc::clone(&origin),
        position: last.position,
        prev: Link::START,
        message: message.into(),
    };
    let (messages, through) = (vec![envelope], last.position);
    let batch = Batch { origin, messages, through, last, handover: None, continues: None };
    let ack = consumer.receive(batch).await.expect("an answer");
    assert_eq!(ack.outcome, transport::Outcome::Complete);
}

async fn notes<DB: Kit>(pool: &Pool<DB>) -> Vec<i64> {
    DB::applied(pool).await.expect("read").into_iter().map(|(_, n)| n).collect()
}

/// The same action three times, one after the other, and its compensation twice.
async fn repeats<DB: Kit>(url: String, barrier: Barrier) -> Vec<i64> {
    let (pool, [one, two]) = consumers::<DB>(&url, barrier).await;
    let saga = Uuid::now_v7();
    for consumer in [&one, &two, &one] {
        send(consumer, saga, Ask::Apply).await;
    }
    for consumer in [&two, &one] {
        send(consumer, saga, Ask::Compensate).await;
    }
    notes(&pool).await
}

/// The compensation, and then its action.
async fn late_action<DB: Kit>(url: String, barrier: Barrier) -> Vec<i64> {
    let (pool, [one, two]) = consumers::<DB>(&url, barrier).await;
    let saga = Uuid::now_v7();
    send(&one, saga, Ask::Compensate).await;
    send(&two, saga, Ask::Apply).await;
    notes(&pool).await
}

/// The same action at two processes at once.
async fn at_once<DB: Kit>(url: String, barrier: Barrier) -> Vec<i64> {
    let (pool, [one, two]) = consumers::<DB>(&url, barrier).await;
    let saga = Uuid::now_v7();
    tokio::join!(send(&one, saga, Ask::Apply), send(&two, saga, Ask::Apply));
    notes(&pool).await
}

#[tokio::test]
async fn without_a_barrier_a_repeated_command_has_two_effects() {
    let (_one, real) = sqlite_database();
    let (_two, mutant) = sqlite_database();
    assert_eq!(repeats::<Sqlite>(real, Barrier::Real).await, [1, -1]);
    assert_eq!(repeats::<Sqlite>(mutant, Barrier::None).await, [1, 1, 1, -1, -1]);
    if let (Some(real), Some(mutant)) = (postgres_database().await, postgres_database().await) {
        assert_eq!(repeats::<Postgres>(real, Barrier::Real).await, [1, -1]);
        assert_eq!(repeats::<Postgres>(mutant, Barrier::None).await, [1, 1, 1, -1, -1]);
    }
    if let (Some(real), Some(mutant)) = (mariadb_database().await, mariadb_database().await) {
        assert_eq!(repeats::<MySql>(real, Barrier::Real).await, [1, -1]);
        assert_eq!(repeats::<MySql>(mutant, Barrier::None).await, [1, 1, 1, -1, -1]);
    }
}

#[tokio::test]
async fn a_compensation_that_leaves_nothing_behind_lets_the_late_action_through() {
    let (_one, real) = sqlite_database();
    let (_two, mutant) = sqlite_database();
    assert!(late_action::<Sqlite>(real, Barrier::Real).await.is_empty());
    assert_eq!(late_action::<Sqlite>(mutant, Barrier::WithoutBar).await, [1]);
    if let (Some(real), Some(mutant)) = (postgres_database().await, postgres_database().await) {
        assert!(late_action::<Postgres>(real, Barrier::Real).await.is_empty());
        assert_eq!(late_action::<Postgres>(mutant, Barrier::WithoutBar).await, [1]);
    }
    if let (Some(real), Some(mutant)) = (mariadb_database().await, mariadb_database().await) {
        assert!(late_action::<MySql>(real, Barrier::Real).await.is_empty());
        assert_eq!(late_action::<MySql>(mutant, Barrier::WithoutBar).await, [1]);
    }
}

/// SQLite has one writer at a time: there it cannot happen.
#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_that_is_read_before_it_is_written_lets_two_through() {
    if let (Some(real), Some(mutant)) = (postgres_database().await, postgres_database().await) {
        assert_eq!(at_once::<Postgres>(real, Barrier::Real).await, [1]);
        assert_eq!(at_once::<Postgres>(mutant, Barrier::ReadFirst).await, [1, 1]);
    }
    if let (Some(real), Some(mutant)) = (mariadb_database().await, mariadb_database().await) {
        assert_eq!(at_once::<MySql>(real, Barrier::Real).await, [1]);
        assert_eq!(at_once::<MySql>(mutant, Barrier::ReadFirst).await, [1, 1]);
    }
}
