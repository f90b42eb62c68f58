//! PostgreSQL behind a pooler, which drops settings, and sessions whose durability is switched off.

use std::time::Duration;

use sqlx::{Executor, PgPool, Postgres};
use syncline::{
    Consumer, Error, Message, Relay, Route, Stream, begin, enqueue,
    saga::{End, Sagas, wire::REPLY},
    storage::{LeaseStore, LogStore},
};
use syncline_tests::{
    kit::{Kit, check_applied},
    orders::{SAGA, SOURCE, definition, participant},
    pooler::Pooler,
    relays::{Direct, eventually, noting, write},
    servers::postgres_database,
};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_durable_whatever_its_session_says() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 4).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    // Looks when the seal commits.
    let look = "CREATE TABLE seen (setting text);
        CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER look AFTER INSERT ON syncline_seal
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look();
        DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
        END $$";
    pool.execute(sqlx::raw_sql(look)).await.expect("look");
    let pool = Postgres::connect(&url, 4).await.expect("connect");
    let mut tx = begin(&pool).await.expect("begin");
    let _ = enqueue(&mut tx, &Message::json("in", &1).expect("JSON")).await.expect("enqueue");
    tx.commit().await.expect("commit");
    let lease = Postgres::acquire(&pool, "seal", Uuid::now_v7(), Duration::from_secs(60)).await;
    let lease = lease.expect("acquire").expect("it is free");
    assert_eq!(Postgres::seal(&pool, &lease, 10).await.expect("seal").count, 1);
    let seen: Vec<String> =
        sqlx::query_scalar("SELECT setting FROM seen").fetch_all(&pool).await.expect("seen");
    assert_eq!(seen, ["on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_behind_a_pooler_has_its_settings_or_is_refused() {
    let Some(url) = postgres_database().await else { return };
    let direct = Postgres::connect(&url, 4).await.expect("connect");
    syncline::migrate(&direct).await.expect("migrate");
    for mode in ["session", "transaction"] {
        let Some(pooler) = Pooler::start(mode) else { return };
        let url = pooler.before(&url);
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        let options = options.statement_cache_capacity(0);
        let pool = eventually("the pooler serves", async || {
            sqlx::postgres::PgPoolOptions::new().connect_with(options.clone()).await.ok()
        })
        .await;
        let relay = Relay::builder("/pooled", pool).stream(Stream::new("s").topic("*")).feeds("s");
        let checked = relay.check().await;
        match (mode, checked) {
            ("session", Ok(())) => {}
            ("transaction", Err(Error::NotDurable { setting, remedy, .. })) => {
                assert_eq!(setting, "the connection");
                assert!(remedy.contains("direct"), "{remedy}");
            }
            (_, other) => panic!("{mode}: {other:?}"),
        }
    }
}

/// A service's pool by way of a pooler.
async fn behind(pooler: &Pooler, url: &str) -> PgPool {
    let url = pooler.before(url);
    eventually("the pooler serves", async || Postgres::connect(&url, 12).await.ok()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_does_not_track_prepared_statements_is_refused() {
    let Some(url) = postgres_database().await else { return };
    let direct = Postgres::connect(&url, 4).await.expect("connect");
    syncline::migrate(&direct).await.expect("migrate");
    let Some(pooler) = Pooler::start("transaction") else { return };
    let pool = behind(&pooler, &url).await;
    let consumer = noting("c", pool.clone()).build().expect("a consumer");
    let sagas = Sagas::builder(SOURCE, pool.clone()).saga(definition().expect("sound"));
    let sagas = sagas.build().expect("an engine");
    for refused in [consumer.start().await.map(drop), sagas.run().await.map(drop)] {
        match refused {
            Err(Error::Unfit { setting: "the connection", remedy, .. }) => {
                assert!(remedy.contains("max_prepared_statements"), "{remedy}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The service writes, consumes, decides sagas and takes part in them; only its relay is not behind
/// the pooler. Its connections share six of the server's, each for a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_works_behind_a_pooler_of_transactions() {
    let Some(url) = postgres_database().await else { return };
    let direct = Postgres::connect(&url, 4).await.expect("connect");
    syncline::migrate(&direct).await.expect("migrate");
    Postgres::prepare(&direct).await.expect("prepare");
    let Some(pooler) = Pooler::tracking() else { return };
    let pool = behind(&pooler, &url).await;
    let sagas = Sagas::builder(SOURCE, pool.clone()).saga(definition().expect("sound"));
    let sagas = sagas.poll(Duration::from_millis(200)).build().expect("an engine");
    let engine = sagas.run().await.expect("it runs");
    let replies = Consumer::builder("orders", pool.clone()).batch_handler(REPLY, sagas.replies());
    let mut relay = Relay::builder(SOURCE, direct.clone());
    let mut running = Vec::new();
    for (name, topic, consumer) in [
        ("counting", "counter.*", noting("counting", pool.clone())),
        ("stock", "stock.*", participant("stock", pool.clone(), true)),
        ("bank", "bank.*", participant("bank", pool.clone(), true)),
        ("replies", REPLY, replies),
    ] {
        let consumer = consumer.build().expect("a consumer");
        running.push(consumer.start().await.expect("it starts"));
        relay = relay.stream(Stream::new(name).topic(topic)).route(Route::new(
            name,
            name,
            Direct::to(consumer),
        ));
    }
    let relay = relay.start().await.expect("the relay starts");
    tokio::join!(write(&pool, 100), write(&pool, 100), write(&pool, 100));
    let mut started = Vec::new();
    for order in 1..=20_i64 {
        let mut tx = begin(&pool).await.expect("begin");
        let start = sagas.start(&mut tx, SAGA, &order.to_string(), &order).await.expect("start");
        tx.commit().await.expect("commit");
        start.clone().committed();
        started.push(start);
    }
    for (order, start) in (1..).zip(started) {
        let end = start.over().within(Duration::from_secs(60)).await.expect("asked");
        let right = if order % 10 == 0 { End::Compensated } else { End::Completed };
        assert_eq!(end, Some(right), "order {order}");
    }
    let counters = Postgres::counters(&direct).await.expect("counters");
    let counters: Vec<_> =
        counters.into_iter().map(|(k, n)| (format!("counting {k}"), n)).collect();
    assert_eq!(counters.iter().map(|(_, n)| n).sum::<i64>(), 300);
    let mut wrong = None;
    for _ in 0..600 {
        let applied = Postgres::applied(&direct).await.expect("applied");
        wrong = check_applied(&counters, &applied).err();
        if wrong.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(wrong, None);
    relay.stop().await;
    engine.stop().await;
    for consumer in running {
        consumer.stop().await;
    }
}
