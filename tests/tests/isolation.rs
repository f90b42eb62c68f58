//! Servers whose transactions are not READ COMMITTED unless somebody says so: what is promised holds
//! at every default isolation level, and at every level of a transaction of the user's own.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use sqlx::{MySql, Pool, Postgres, Transaction};
use syncline::{
    Consumer, Envelope, Error, Message, Verdict, begin, enqueue, handler_fn,
    message::{Batch, Link, Origin, Position},
    outbox::cancel,
    storage::{InboxRow, InboxStore},
    transport::Receive,
};
use syncline_tests::{
    isolation::{Leveled, mariadb_at, postgres_at},
    kit::Kit,
    own_server::OwnServer,
    relays::eventually,
    servers::postgres_database,
};
use uuid::Uuid;

/// What is known of a stream of which nothing is known.
const FIRST: InboxRow = InboxRow {
    incarnation: Uuid::from_u128(7),
    watermark: Position::START,
    last: Link::START,
    ended: None,
};

/// Messages 1 and 2 of one stream.
fn two() -> [Envelope; 2] {
    let origin = Arc::new(Origin {
        source: "/isolation".into(),
        incarnation: Uuid::from_u128(7),
        stream: "s".into(),
        version: 1,
        shard: 0,
    });
    let mut prev = Link::START;
    [1, 2].map(|n| {
        let message = Message::json("counter.raised", &n).expect("JSON").key(format!("key {n}"));
        let position = Position(n);
        let link = Link { position, id: message.id };
        let prev = std::mem::replace(&mut prev, link);
        Envelope { origin: Arc::clone(&origin), position, prev, message: message.into() }
    })
}

fn batch(messages: &[Envelope]) -> Batch {
    let last = messages.last().expect("not empty").link();
    let (origin, messages) = (Arc::clone(&messages[0].origin), messages.to_vec());
    Batch { origin, messages, through: last.position, last, handover: None, continues: None }
}

fn unordered<DB: Kit>(pool: &Pool<DB>) -> Arc<Consumer<DB>> {
    let handler = handler_fn(move |tx, message: &Envelope| {
        Box::pin(async move {
            DB::note(tx, message.key.as_deref().unwrap_or_default(), message.decode()?).await?;
            Ok(Verdict::Done)
        })
    });
    let consumer = Consumer::builder("c", pool.clone()).handler("*", handler).unordered();
    Arc::new(consumer.build().expect("a consumer"))
}

/// A process waits for the row of message 1 while another one applies message 2 and moves the
/// watermark over it: what the first reads after its wait must not be older than the wait.
async fn moved_while_it_waited<DB: Leveled>(pool: Pool<DB>) {
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    let (a, b) = (unordered(&pool), unordered(&pool));
    let [first, second] = two();
    a.receive(batch(std::slice::from_ref(&first))).await.expect("an answer");
    let mut holder = begin(&pool).await.expect("begin");
    assert!(DB::add_ahead(&mut holder, "c", &first, false).await.expect("held"));
    let both = batch(&[first, second.clone()]);
    let waiting = tokio::spawn(async move { b.receive(both).await });
    eventually("the second process waits for the row", async || {
        (DB::waiting(&pool).await.expect("look") == 1).then_some(())
    })
    .await;
    let next = batch(std::slice::from_ref(&second));
    let moving = tokio::spawn(async move { a.receive(next).await });
    // On MariaDB the watermark's way waits for that row, too.
    eventually("the watermark is moved, or waits", async || {
        let waiting = DB::waiting(&pool).await.expect("look");
        (moving.is_finished() || waiting == 2).then_some(())
    })
    .await;
    holder.rollback().await.expect("roll back");
    let ack = moving.await.expect("no panic").expect("an answer");
    assert_eq!(ack.watermark, Position(2));
    let ack = waiting.await.expect("no panic").expect("an answer");
    assert_eq!(ack.watermark, Position(2));
    let mut applied = DB::applied(&pool).await.expect("applied");
    applied.sort_unstable();
    assert_eq!(applied, [("key 1".to_owned(), 1), ("key 2".to_owned(), 2)], "each once");
    assert!(DB::ahead(&pool, None).await.expect("ahead").is_empty());
}

/// What a user's transaction at `level` does, until the database lets it.
async fn repeated<DB: Leveled>(
    pool: &Pool<DB>,
    level: &str,
    what: impl AsyncFn(&mut Transaction<'static, DB>) -> syncline::Result<()>,
) -> u32 {
    for tries in 1..200 {
        let mut tx = DB::begin_at(pool, level).await.expect("begin");
        let done = match what(&mut tx).await {
            Ok(()) => {
                tx.commit().await.map_err(|source| Error::Database { action: "commit", source })
            }
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => return tries,
            Err(error) => assert!(error.is_transient(), "at {level}: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(u64::from(tries % 7))).await;
    }
    panic!("a transaction at {level} was never let through");
}

/// A message under a key that others use, too, a plain one, and a delayed one that is cancelled.
async fn write_all<DB: Leveled>(
    tx: &mut Transaction<'static, DB>,
    n: usize,
    key: &str,
) -> syncline::Result<()> {
    // The transaction's view is older than what it is to find.
    DB::look(tx).await.map_err(|source| Error::Database { action: "look", source })?;
    tokio::task::yield_now().await;
    let once = Message::json("once", &n).expect("JSON").key("k");
    let _ = enqueue(tx, &once.idempotency_key(key)).await?;
    let plain = Message::json("plain", &n).expect("JSON").key("k");
    let _ = enqueue(tx, &plain).await?;
    let late = Message::json("late", &n).expect("JSON").delay(Duration::from_secs(3_600));
    let _ = enqueue(tx, &late).await?;
    assert!(cancel(tx, late.id).await?, "it was in time");
    Ok(())
}

/// Many of the user's own transactions at once, with plain messages, with messages under keys that
/// others use, too, and with delayed ones that are cancelled: each is done or can be repeated.
async fn own_transactions<DB: Leveled>(pool: Pool<DB>) {
    const WRITERS: usize = 6;
    const KEYS: usize = 5;
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    for (n, level) in DB::LEVELS.iter().enumerate() {
        let writers = (0..WRITERS).map(async |_| {
            for key in 0..KEYS {
                let key = format!("{n} {key}");
                repeated(&pool, level, async |tx| write_all(tx, n, &key).await).await;
            }
        });
        join_all(writers).await;
        let count = async |topic: &str| DB::enqueued(&pool, topic).await.expect("count");
        let (once, plain) = (count("once").await, count("plain").await);
        assert_eq!(once, ((n + 1) * KEYS) as i64, "at {level}: one under each key");
        assert_eq!(plain, ((n + 1) * KEYS * WRITERS) as i64, "at {level}");
    }
    assert_eq!(DB::delayed(&pool).await.expect("delayed").waiting, 0);
}

/// What an operator's and a service's own statements do while others move the same rows.
async fn statements_alone<DB: Leveled>(pool: Pool<DB>) {
    syncline::migrate(&pool).await.expect("migrate");
    let route = "INSERT INTO syncline_route (name, stream, version, shard) VALUES ('r', 's', 1, 0)";
    DB::execute(&pool, route).await.expect("a route");
    let writers = (0..4).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for turn in 0..100 {
                DB::set_paused(&pool, "r", (n + turn) % 2 == 0).await.expect("pause");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_message_takes_effect_once_when_the_watermark_moved_while_it_waited() {
        for level in Postgres::LEVELS {
            let Some(url) = postgres_at(level).await else { return };
            moved_while_it_waited(Postgres::connect(&url, 8).await.expect("connect")).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_users_own_transaction_works_or_can_be_repeated_at_every_level() {
        let Some(url) = postgres_database().await else { return };
        own_transactions(Postgres::connect(&url, 8).await.expect("connect")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_statement_alone_does_not_fail_because_another_one_was_first() {
        for level in Postgres::LEVELS {
            let Some(url) = postgres_at(level).await else { return };
            statements_alone(Postgres::connect(&url, 8).await.expect("connect")).await;
        }
    }
}

mod mariadb {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_source_is_not_told_of_a_watermark_that_is_not_committed() {
        let Some(server) = OwnServer::<MySql>::start().await else { return };
        let url = mariadb_at(&server, "READ-UNCOMMITTED").await;
        let pool = MySql::connect(&url, 8).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        MySql::prepare(&pool).await.expect("prepare");
        let consumer = unordered(&pool);
        let [first, second] = two();
        consumer.receive(batch(std::slice::from_ref(&first))).await.expect("an answer");
        let mut tx = begin(&pool).await.expect("begin");
        let row = MySql::lock_inbox(&mut tx, "c", &first.origin, FIRST).await.expect("locked");
        let further = InboxRow { watermark: second.position, last: second.link(), ..row };
        MySql::save_inbox(&mut tx, "c", &first.origin, further).await.expect("saved");
        let seen = MySql::inbox(&pool, "c", &first.origin).await.expect("read").expect("a row");
        assert_eq!(seen, row, "only what is committed is told");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_message_takes_effect_once_when_the_watermark_moved_while_it_waited() {
        let Some(server) = OwnServer::<MySql>::start().await else { return };
        for level in MySql::LEVELS {
            let url = mariadb_at(&server, level).await;
            moved_while_it_waited(MySql::connect(&url, 8).await.expect("connect")).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_users_own_transaction_works_or_can_be_repeated_at_every_level() {
        let Some(server) = OwnServer::<MySql>::start().await else { return };
        let url = server.database(None).await;
        own_transactions(MySql::connect(&url, 8).await.expect("connect")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_statement_alone_does_not_fail_because_another_one_was_first() {
        let Some(server) = OwnServer::<MySql>::start().await else { return };
        for level in MySql::LEVELS {
            let url = mariadb_at(&server, level).await;
            statements_alone(MySql::connect(&url, 8).await.expect("connect")).await;
        }
    }
}
