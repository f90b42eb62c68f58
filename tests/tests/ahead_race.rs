//! Many schedules of the race that unordered consumers and lanes must win: several processes get
//! the same batches, in any order, several times, at once, with handlers that fail now and then,
//! while the watermark moves over what they applied. Every message takes effect once.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use sqlx::{MySql, Pool, Postgres, Sqlite};
use syncline::{
    Consumer, Envelope, Message, RetryPolicy, Verdict,
    consumer::ConsumerBuilder,
    handler_fn,
    message::{Batch, Link, Origin, Position},
    transport::Receive,
};
use syncline_tests::{
    kit::{Kit, check_applied},
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use uuid::Uuid;

const MESSAGES: usize = 20;
const PER_BATCH: usize = 4;
const ROUNDS: u64 = 4;
const KEYS: usize = 5;

/// A small generator, so that a seed says which schedule failed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn batches(round: u64) -> Vec<Batch> {
    let origin = Arc::new(Origin {
        source: format!("/race/{round}"),
        incarnation: Uuid::from_u128(7),
        stream: "s".into(),
        version: 1,
        shard: 0,
    });
    let mut last = Link::START;
    let messages: Vec<Envelope> = (0..MESSAGES)
        .map(|n| {
            let count = i64::try_from(n / KEYS).expect("small") + 1;
            let message = Message::json("counter.raised", &count).expect("JSON");
            let message = message.key(format!("{round} {}", n % KEYS));
            let position = Position(i64::try_from(n).expect("small") * 2 + 1);
            let prev = std::mem::replace(&mut last, Link { position, id: message.id });
            Envelope { origin: Arc::clone(&origin), position, prev, message: message.into() }
        })
        .collect();
    let cut = |messages: &[Envelope]| {
        let last = messages.last().expect("not empty").link();
        let (origin, messages) = (Arc::clone(&origin), messages.to_vec());
        Batch { origin, messages, through: last.position, last, handover: None, continues: None }
    };
    messages.chunks(PER_BATCH).map(cut).collect()
}

fn process<DB: Kit>(
    pool: &Pool<DB>,
    order: fn(ConsumerBuilder<DB>) -> ConsumerBuilder<DB>,
    seed: u64,
) -> Consumer<DB> {
    let dice = std::sync::Mutex::new(Dice(seed * 2 + 1));
    let handler = handler_fn(move |tx, message: &Envelope| {
        let (fails, pause) = {
            let mut dice = dice.lock().expect("no panic");
            (dice.roll(10) == 0, dice.roll(4))
        };
        Box::pin(async move {
            DB::note(tx, message.key.as_deref().unwrap_or_default(), message.decode()?).await?;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if fails { Err("now and then".into()) } else { Ok(Verdict::Done) }
        })
    });
    let retry = RetryPolicy {
        max_attempts: 1_000,
        base: Duration::from_millis(1),
        max: Duration::from_millis(1),
    };
    let consumer = order(Consumer::builder("c", pool.clone()).handler("*", handler).retry(retry));
    consumer.build().expect("a consumer")
}

async fn races<DB: Kit>(
    pool: &Pool<DB>,
    ordered: bool,
    order: fn(ConsumerBuilder<DB>) -> ConsumerBuilder<DB>,
) {
    DB::prepare(pool).await.expect("prepare");
    let processes: Vec<_> = (1..=3).map(|seed| process(pool, order, seed)).collect();
    for round in 0..ROUNDS {
        let batches = batches(round);
        let feeds = processes.iter().enumerate().map(|(n, process)| {
            let batches = batches.clone();
            let mut dice = Dice(round * 31 + n as u64 + 1);
            async move {
                for _ in 0..batches.len() * 2 {
                    let at = dice.roll(batches.len() as u64) as usize;
                    let few = (at..(at + 3).min(batches.len())).map(|at| batches[at].clone());
                    // Answers do not matter here: everything comes again.
                    join_all(few.map(|batch| process.receive(batch))).await;
                }
            }
        });
        join_all(feeds).await;
        // A relay sends until it is told that all is done.
        let end = batches[batches.len() - 1].through;
        let mut reached = Position::START;
        for _ in 0..200 {
            for batch in &batches {
                let ack = processes[0].receive(batch.clone()).await.expect("an answer");
                reached = ack.watermark;
            }
            if reached == end {
                break;
            }
        }
        assert_eq!(reached, end, "round {round}");
    }
    let running = processes[0].start().await.expect("starts");
    for _ in 0..400 {
        if DB::held(pool, true, 0, 1).await.expect("held").is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
    assert!(DB::ahead(pool, None).await.expect("ahead").is_empty());
    let counters: Vec<(String, i64)> = (0..ROUNDS)
        .flat_map(|round| (0..KEYS).map(move |key| format!("{round} {key}")))
        .map(|key| (key, (MESSAGES / KEYS) as i64))
        .collect();
    let mut applied = DB::applied(pool).await.expect("applied");
    assert_eq!(applied.len(), MESSAGES * ROUNDS as usize, "every message once");
    if !ordered {
        applied.sort_unstable();
    }
    check_applied(&counters, &applied).expect("every message once, in order where there is one");
}

macro_rules! on_each {
    ($($name:ident: $ordered:literal $order:expr;)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let (_directory, url) = sqlite_database();
                let pool = Sqlite::connect(&url, 8).await.expect("connect");
                syncline::migrate(&pool).await.expect("migrate");
                races(&pool, $ordered, $order).await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(url) = postgres_database().await else { return };
                let pool = Postgres::connect(&url, 12).await.expect("connect");
                syncline::migrate(&pool).await.expect("migrate");
                races(&pool, $ordered, $order).await;
            })*
        }
        mod mariadb {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(url) = mariadb_database().await else { return };
                let pool = MySql::connect(&url, 12).await.expect("connect");
                syncline::migrate(&pool).await.expect("migrate");
                races(&pool, $ordered, $order).await;
            })*
        }
    };
}

on_each! {
    unordered_processes_apply_every_message_once: false ConsumerBuilder::unordered;
    lanes_in_several_processes_keep_the_order_of_a_key: true |builder| builder.lanes(3);
    ordered_processes_keep_the_order_of_a_key: true |builder| builder;
}
