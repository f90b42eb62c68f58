//! A participant that writes down what it does, commands to it, and what it has answered.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::super::{
    support::{message, number, sealer, whole_log},
    way,
};
use crate::{
    Consumer, Envelope, HandlerError, Message, Storage,
    consumer::ConsumerBuilder,
    message::{Batch, Link, Origin, Position},
    saga::{
        Answer, Outcome, TccHandler, tcc,
        wire::{Ask, Command, REPLY, Reply, Said},
    },
    transport::{Outcome as Received, Receive},
};

/// Writes +1 for what it reserves, -1 for what it cancels and +100 for what it confirms, and then
/// does what the payload says.
struct Counted;

async fn write<DB: Storage>(
    tx: &mut Transaction<'_, DB>,
    command: &Envelope,
    n: i64,
) -> Result<String, HandlerError> {
    let key = command.headers.get("sagaid").map_or("none", String::as_str);
    // First the write, then the trouble: it must be rolled back.
    DB::append(tx, &[message("out", key, n)]).await?;
    Ok(command.decode()?)
}

#[async_trait]
impl<DB: Storage> TccHandler<DB> for Counted {
    async fn reserve(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        match write(tx, command, 1).await?.as_str() {
            "refuse" => Ok(Outcome::Refuse(format!("no\0{}", "!".repeat(9_000)))),
            "fail" => Err("it failed as it was told to".into()),
            "much" => Ok(Outcome::Done(json!("x".repeat(1 << 20)))),
            "deep" => Ok(Outcome::Done((0..64).fold(json!(1), |inner, _| json!([inner])))),
            _ => Ok(Outcome::Done(json!({"n": 7, "text": "a\0b"}))),
        }
    }

    async fn confirm(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        reserved: &Value,
    ) -> Result<Value, HandlerError> {
        assert_eq!(reserved["text"], json!("a\0b"), "what was returned");
        match write(tx, command, 100).await?.as_str() {
            "fail" => Err("it failed as it was told to".into()),
            _ => Ok(json!("confirmed")),
        }
    }

    async fn cancel(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        reserved: &Value,
    ) -> Result<(), HandlerError> {
        assert_eq!(reserved["n"], json!(7), "what was returned");
        match write(tx, command, -1).await?.as_str() {
            "fail" => Err("it failed as it was told to".into()),
            _ => Ok(()),
        }
    }
}

pub(in super::super) fn participant<DB: Storage>(pool: &Pool<DB>) -> ConsumerBuilder<DB> {
    Consumer::builder("c", pool.clone()).participant("in", tcc(Counted)).retry(way::FAST)
}

pub(super) fn command(saga: Uuid, ask: Ask, attempt: u32) -> Command {
    Command { saga, step: "s".into(), ask, attempt, not_after: None, confirms: None, why: None }
}

/// The messages as a batch of a stream that nobody else sends in: only the barrier orders them.
pub(super) fn alone(source: &str, messages: impl IntoIterator<Item = Message>) -> Batch {
    let (source, stream) = (source.to_owned(), Uuid::now_v7().to_string());
    let origin = Origin { source, incarnation: Uuid::max(), stream, version: 1, shard: 0 };
    let (origin, mut last) = (Arc::new(origin), Link::START);
    let messages: Vec<_> = (1..)
        .map(Position)
        .zip(messages)
        .map(|(position, message)| {
            let prev = std::mem::replace(&mut last, Link { position, id: message.id });
            Envelope { origin: Arc::clone(&origin), position, prev, message: message.into() }
        })
        .collect();
    Batch { origin, messages, through: last.position, last, handover: None, continues: None }
}

pub(super) async fn send<DB: Storage>(consumer: &Consumer<DB>, command: &Command, payload: &str) {
    let message = command.address(Message::json("in", payload).expect("JSON"));
    deliver(consumer, alone("/orders", [message])).await;
}

pub(super) async fn deliver<DB: Storage>(consumer: &Consumer<DB>, batch: Batch) {
    let ack = consumer.receive(batch).await.expect("an answer");
    assert_eq!(ack.outcome, Received::Complete);
}

/// What was answered and done so far for each instance, in commit order.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) said: Vec<Said>,
    pub(super) effects: Vec<i64>,
}

pub(super) async fn told<DB: Storage>(pool: &Pool<DB>) -> BTreeMap<Uuid, Told> {
    let lease = sealer(pool).await;
    let rows = whole_log(pool, &lease).await;
    DB::release(pool, &lease).await.expect("release");
    let mut told = BTreeMap::<Uuid, Told>::new();
    for row in rows {
        let key = row.message.key.as_deref().and_then(|key| key.parse().ok()).unwrap_or_default();
        let told = told.entry(key).or_default();
        match row.message.topic.as_str() {
            "out" => told.effects.push(number(&row.message)),
            REPLY => {
                let reply: Reply = row.message.decode().expect("a reply");
                assert_eq!((reply.to.as_str(), reply.saga), ("/orders", key));
                told.said.push(reply.said);
            }
            _ => {}
        }
    }
    told
}

pub(super) fn applied() -> Answer {
    Answer::Applied(json!({"n": 7, "text": "a\0b"}))
}

pub(super) fn refused() -> Answer {
    Answer::Refused(format!("no{}", "!".repeat(1_998)))
}
