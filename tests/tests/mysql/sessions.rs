//! Names, times and transactions, whatever the session's settings are and however the server ends
//! them.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, MySql, MySqlPool};
use syncline::{
    Consumer, Envelope, Error, HandlerError, Message, Verdict, begin, enqueue, enqueue_all,
    handler_fn,
    message::{Link, Position},
    storage::{
        Base, Checkpoint, Cursor, HeldStore, Inspect, LogStore, NewShard, RouteStore, Save,
        ShardKey, Signal,
    },
    transport::{Outcome, Receive},
};
use syncline_tests::{kit::Kit, letters::numbered};
use uuid::Uuid;

use crate::{PAGE, lease, log, migrated};

#[tokio::test]
async fn names_are_compared_by_byte() {
    let Some(pool) = migrated().await else { return };
    let names = ["k", "K", "k ", "ķ", "k\u{301}"];
    let mut tx = begin(&pool).await.unwrap();
    for name in names {
        MySql::park(&mut tx, "c", "s", name, Some(Duration::ZERO)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = begin(&pool).await.unwrap();
    let keys = MySql::parked_keys(&mut tx, "c", "s", 99).await.unwrap();
    let mut sorted = names.map(str::to_owned);
    sorted.sort_unstable();
    assert_eq!(keys, sorted);
    assert!(MySql::lock_parked(&mut tx, "c", "s", "K").await.unwrap());
    assert!(!MySql::lock_parked(&mut tx, "C", "s", "k").await.unwrap());
    assert!(!MySql::lock_parked(&mut tx, "c", "s", "K ").await.unwrap());
}

#[tokio::test]
async fn a_plain_insert_has_its_time_in_utc_its_own_id_and_is_never_cut() {
    let Some(pool) = migrated().await else { return };
    let mut connection = pool.acquire().await.unwrap();
    connection.execute("SET time_zone = '+09:00', sql_mode = ''").await.unwrap();
    connection
        .execute("INSERT INTO syncline_outbox (topic, `key`, data) VALUES ('a', 'k', '1'), ('a', 'k', '2')")
        .await
        .unwrap();
    for too_long in [
        "INSERT INTO syncline_outbox (topic, `key`, data) VALUES ('a', REPEAT('k', 256), '1')",
        "INSERT INTO syncline_outbox (topic, `key`, data) VALUES ('a', REPEAT('k', 9999), '1')",
        "INSERT INTO syncline_outbox (topic, data) VALUES (REPEAT('a', 999), '1')",
    ] {
        let error = connection.execute(too_long).await.unwrap_err();
        assert!(error.to_string().contains("CONSTRAINT"), "{error}");
    }
    let rows = log(&pool).await;
    let age = chrono::Utc::now() - rows[0].time;
    assert!(age.num_seconds().abs() < 60, "{age}");
    assert_ne!(rows[0].id, rows[1].id);
    assert_eq!(rows.iter().map(|row| &row.data[..]).collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(rows[0].content_type, "application/json");
}

#[tokio::test]
async fn receipts_name_the_rows_in_steps_of_the_server() {
    let Some(pool) = migrated().await else { return };
    for (step, count) in [(1, 1), (1, 40), (7, 40), (7, 3)] {
        let mut connection = pool.acquire().await.unwrap();
        let set = format!("SET auto_increment_increment = {step}");
        connection.execute(sqlx::AssertSqlSafe(set)).await.unwrap();
        let mut tx = connection.begin().await.unwrap();
        let messages: Vec<_> = (0..count).map(|n| Message::json("in", &n).unwrap()).collect();
        for receipt in enqueue_all(&mut tx, &messages).await.unwrap() {
            let id: Uuid = sqlx::query_scalar("SELECT id FROM syncline_outbox WHERE seq = ?")
                .bind(receipt.appended.expect("it is in the outbox").seq)
                .fetch_one(&mut *tx)
                .await
                .unwrap();
            assert_eq!(id, receipt.id);
        }
        tx.commit().await.unwrap();
        connection.execute("SET auto_increment_increment = 1").await.unwrap();
    }
}

/// A handler that loses a deadlock on purpose, swallows the error and goes on.
async fn careless(
    pool: &MySqlPool,
    tx: &mut sqlx::Transaction<'_, MySql>,
    message: &Envelope,
) -> Result<Verdict, HandlerError> {
    let n: i64 = message.decode()?;
    MySql::note(tx, "noted before", n).await?;
    if n == 2 {
        MySql::raise(tx, "key 1").await?;
        let mut other = begin(pool).await?;
        // The other one has written more, so that the server gives this one up.
        for _ in 0..50 {
            MySql::note(&mut other, "other", 0).await?;
        }
        MySql::raise(&mut other, "key 2").await?;
        let (mine, others) =
            tokio::join!(MySql::raise(tx, "key 2"), MySql::raise(&mut other, "key 1"));
        others?;
        other.rollback().await?;
        let error = Error::Database { action: "", source: mine.unwrap_err() };
        assert!(error.is_transient(), "{error}");
    }
    Ok(Verdict::Done)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_goes_on_after_a_deadlock_commits_no_half_of_the_work() {
    let Some(pool) = migrated().await else { return };
    MySql::prepare(&pool).await.unwrap();
    let inner = pool.clone();
    let handler = handler_fn(move |tx, message| {
        let pool = inner.clone();
        Box::pin(async move { careless(&pool, tx, message).await })
    });
    let consumer = Consumer::builder("c", pool.clone()).handler("*", handler).build().unwrap();
    let batch = numbered(3);
    let ack = consumer.receive(batch.clone()).await.unwrap();
    assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position(3)));
    // The others are applied once, what the careless one did before is undone, its key is parked.
    let applied = MySql::applied(&pool).await.unwrap();
    let noted: Vec<i64> = applied.iter().map(|(_, n)| *n).collect();
    assert_eq!(noted, [1, 3], "{applied:?}");
    let held = MySql::held(&pool, true, 0, 9).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].position, Position(2));
    let error = held[0].error.clone().unwrap();
    assert!(error.contains("transaction was over"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_commits_by_changing_tables_is_found_out() {
    let Some(pool) = migrated().await else { return };
    MySql::prepare(&pool).await.unwrap();
    let handler = handler_fn(|tx: &mut sqlx::Transaction<'_, MySql>, _: &Envelope| {
        Box::pin(async move {
            tx.execute("CREATE TABLE IF NOT EXISTS surprise (n INT)").await?;
            Ok(Verdict::Done)
        })
    });
    let consumer = Consumer::builder("c", pool.clone()).handler("*", handler).build().unwrap();
    consumer.receive(numbered(1)).await.unwrap();
    let held = MySql::held(&pool, true, 0, 9).await.unwrap();
    assert!(held[0].error.clone().unwrap().contains("transaction was over"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_by_itself_is_transient_and_the_rest_is_not() {
    let Some(pool) = migrated().await else { return };
    MySql::prepare(&pool).await.unwrap();
    let said = |source: sqlx::Error| {
        let text = source.to_string();
        (Error::Database { action: "", source }.is_transient(), text)
    };
    let mut holder = begin(&pool).await.unwrap();
    MySql::raise(&mut holder, "key 1").await.unwrap();
    let mut waiter = pool.acquire().await.unwrap();
    waiter.execute("SET innodb_lock_wait_timeout = 1").await.unwrap();
    let waits = "UPDATE counters SET n = n + 1 WHERE `key` = 'key 1'";
    let (transient, text) = said(waiter.execute(waits).await.unwrap_err());
    assert!(transient && text.contains("Lock wait"), "{text}");
    holder.rollback().await.unwrap();
    let id: u64 = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS UNSIGNED)")
        .fetch_one(&mut *waiter)
        .await
        .unwrap();
    let kill = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let kill = sqlx::AssertSqlSafe(format!("KILL {id}"));
        pool.execute(kill).await.unwrap();
    };
    let (killed, ()) = tokio::join!(waiter.execute("DO SLEEP(5)"), kill);
    let (transient, text) = said(killed.unwrap_err());
    assert!(transient, "{text}");
    let mut reader = pool.acquire().await.unwrap();
    reader.execute("SET SESSION TRANSACTION READ ONLY").await.unwrap();
    let (transient, text) = said(reader.execute(waits).await.unwrap_err());
    assert!(transient && text.contains("READ ONLY"), "{text}");
    reader.detach();
    for wrong in ["SELEC 1", "INSERT INTO counters VALUES ('key 1', 1)", "SELECT * FROM nowhere"] {
        let (transient, text) = said(pool.execute(wrong).await.unwrap_err());
        assert!(!transient, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_waits_for_a_take_over_that_is_under_way() {
    let Some(pool) = migrated().await else { return };
    let old = lease(&pool, "route/r").await;
    let key = ShardKey::new("r", 1, 0);
    let new = NewShard { key: key.clone(), at: Position::START, closed: false };
    MySql::create_shards(&pool, "s", &[new]).await.unwrap();
    let mut other = begin(&pool).await.unwrap();
    other.execute("UPDATE syncline_lease SET epoch = epoch + 1").await.unwrap();
    let began = Instant::now();
    let to = Checkpoint { cursor: Cursor::default(), last: Link::START };
    // With the relay's settings: in its isolation a subquery locks nothing by itself.
    let save = tokio::spawn({
        let pool = <MySql as Base>::relay_pool(&pool, 2, std::sync::Arc::new(|_| ()));
        let save = Save { key, lease: old, to, closed: false };
        async move { MySql::save_checkpoints(&pool, &[save], &|| true).await.unwrap()[0] }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    other.commit().await.unwrap();
    assert!(!save.await.unwrap(), "the old epoch is refused");
    assert!(began.elapsed() > Duration::from_millis(250));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealer_that_lost_its_lease_while_it_waited_seals_nothing() {
    let Some(pool) = migrated().await else { return };
    let old = lease(&pool, "seal").await;
    let mut tx = begin(&pool).await.unwrap();
    let _ = enqueue(&mut tx, &Message::json("in", &1).unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    let mut other = begin(&pool).await.unwrap();
    other.execute("SELECT * FROM syncline_head FOR UPDATE").await.unwrap();
    let seal = tokio::spawn({
        let pool = pool.clone();
        async move { MySql::seal(&pool, &old, 10).await.unwrap().count }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    pool.execute("UPDATE syncline_lease SET epoch = epoch + 1").await.unwrap();
    other.commit().await.unwrap();
    assert_eq!(seal.await.unwrap(), 0);
    assert_eq!(MySql::unsealed(&pool).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealer_that_is_frozen_while_it_holds_the_head_is_put_an_end_to() {
    let Some(pool) = migrated().await else { return };
    let mut tx = begin(&pool).await.unwrap();
    let _ = enqueue(&mut tx, &Message::json("in", &1).unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    let relay = || <MySql as Base>::relay_pool(&pool, 2, std::sync::Arc::new(|_| ()));
    // As it is between two statements of `seal`.
    let frozen_pool = relay();
    let mut frozen = begin(&frozen_pool).await.unwrap();
    frozen.execute("SELECT * FROM syncline_head WHERE one = 1 FOR UPDATE").await.unwrap();
    let (began, lease, other) = (Instant::now(), lease(&pool, "seal").await, relay());
    let sealed = loop {
        match MySql::seal(&other, &lease, 10).await {
            Ok(sealed) => break sealed.count,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        assert!(began.elapsed() < Duration::from_secs(12), "the other one waits");
    };
    assert_eq!(sealed, 1);
    assert!(began.elapsed() > Duration::from_secs(1), "it was frozen: {:?}", began.elapsed());
    println!("the other one sealed after {:?}", began.elapsed());
    frozen.execute("UPDATE syncline_head SET position = 0").await.expect_err("it is over");
    assert_eq!(MySql::head(&pool).await.unwrap(), Position(1));
}

#[tokio::test]
async fn a_commit_of_another_process_is_noticed() {
    let Some(pool) = migrated().await else { return };
    let mut watch = MySql::watch(&pool, Signal::Outbox).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(300), watch.changed()).await;
    assert!(quiet.is_err(), "nothing has changed");
    let other = MySqlPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
    let mut tx = begin(&other).await.unwrap();
    let _ = enqueue(&mut tx, &Message::json("in", &1).unwrap()).await.unwrap();
    let open = tokio::time::timeout(Duration::from_millis(300), watch.changed()).await;
    assert!(open.is_err(), "nothing was committed");
    tx.commit().await.unwrap();
    tokio::time::timeout(Duration::from_secs(3), watch.changed()).await.expect("it is noticed");
}

#[tokio::test]
async fn a_row_that_is_gone_is_an_error_and_not_the_end() {
    let Some(pool) = migrated().await else { return };
    let mut tx = begin(&pool).await.unwrap();
    let messages: Vec<_> = (0..5).map(|n| Message::json("in", &n).unwrap()).collect();
    let _ = enqueue_all(&mut tx, &messages).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(log(&pool).await.len(), 5);
    for (gone, after) in [(3, 0), (5, 4)] {
        pool.execute(sqlx::AssertSqlSafe(format!(
            "DELETE FROM syncline_outbox WHERE position = {gone}"
        )))
        .await
        .unwrap();
        let after = Cursor { position: Position(after), ..Cursor::default() };
        let error = MySql::read(&pool, after, PAGE).await.unwrap_err();
        assert!(matches!(error, Error::LogBroken { position, .. } if position == gone), "{error}");
    }
}

/// MySQL's own lists of transactions cannot be read while such a statement runs.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_writer_is_named_while_it_runs_a_statement_of_any_text() {
    let Some(pool) = migrated().await else { return };
    let mut writer = begin(&pool).await.unwrap();
    let _receipt = enqueue(&mut writer, &Message::json("late", &1).unwrap()).await.unwrap();
    let asleep = tokio::spawn(async move {
        sqlx::raw_sql("SELECT SLEEP(20), '🔑'").execute(&mut *writer).await.unwrap();
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let found = MySql::oldest_writer(&pool).await.unwrap().expect("a writer is open");
    assert!(found.who.starts_with("connection "), "{found:?}");
    assert!(found.age >= 1, "{found:?}");
    assert!(MySql::findings(&pool).await.is_ok());
    asleep.abort();
}
