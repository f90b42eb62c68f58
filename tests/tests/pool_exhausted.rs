//! A service that has used up its pool: whoever asks for a connection fails soon and is told why. The
//! relay and the consumer go on with connections of their own; on SQLite, where the consumer uses the
//! service's, it answers that it cannot serve.

use std::time::{Duration, Instant};

use sqlx::{MySql, Pool, Postgres, Sqlite, pool::PoolOptions};
use syncline::{
    Message, Route, Stream, begin,
    message::shard_of,
    transport::{Outcome, Receive, ReceiveError},
};
use syncline_tests::{
    kit::{KEYS, Kit, check_applied},
    letters::numbered,
    relays::{Direct, eventually, noting, start, write},
    servers::{mariadb_database, postgres_database, sqlite_database},
};

/// How long the service's pool lets wait for a connection.
const WAIT: Duration = Duration::from_millis(400);
/// Soon is sooner than this.
const SOON: Duration = Duration::from_millis(1_500);

const SHARDS: i32 = 4;

/// A pool of two connections of the same database.
async fn small<DB: Kit>(pool: &Pool<DB>) -> Pool<DB> {
    let options = PoolOptions::<DB>::new().max_connections(2).acquire_timeout(WAIT);
    options.connect_with((*pool.connect_options()).clone()).await.expect("connect")
}

async fn exhausted<DB: Kit>(source_url: String, target_url: String, own_connections: bool) {
    let source = DB::connect(&source_url, 4).await.expect("connect");
    let target = DB::connect(&target_url, 4).await.expect("connect");
    for pool in [&source, &target] {
        syncline::migrate(pool).await.expect("migrate");
        DB::prepare(pool).await.expect("prepare");
    }
    let service = small(&source).await;
    let consumers = small(&target).await;
    let consumer = noting("c", consumers.clone()).build().expect("a consumer");
    let route = Route::new("c", "s", Direct::to(consumer.clone()));
    let stream = Stream::new("s").topic("counter.*").shards(SHARDS);
    let relay = start(&service, stream, vec![route], |_| {}).await;
    let applied = async || DB::applied(&target).await.expect("applied").len() as i64;

    // The service's pool is used up for as long as these live.
    let taken = (service.acquire().await.expect("one"), service.acquire().await.expect("two"));
    let began = Instant::now();
    let error = begin(&service).await.expect_err("no connection is free");
    assert!(began.elapsed() >= WAIT && began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("pool timed out"), "it says why: {error}");
    write(&source, KEYS).await;
    eventually("the relay delivers all the same", async || (applied().await == KEYS).then_some(()))
        .await;
    drop(taken);
    drop(begin(&service).await.expect("free again"));

    let taken = (consumers.acquire().await.expect("one"), consumers.acquire().await.expect("two"));
    if own_connections {
        write(&source, KEYS).await;
        eventually("the consumer applies all the same", async || {
            (applied().await == 2 * KEYS).then_some(())
        })
        .await;
        drop(taken);
    } else {
        // It says that it cannot serve, soon, and nothing is acknowledged.
        let began = Instant::now();
        match consumer.receive(numbered(3)).await {
            Err(ReceiveError::Storage(error)) => assert!(error.is_transient(), "{error:?}"),
            other => panic!("{other:?}"),
        }
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        write(&source, KEYS).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(applied().await, KEYS, "nothing of it is applied");
        // One at a time they were written: each key's second message stands KEYS after its first.
        let lags = DB::route_lags(&source).await.expect("lags");
        for n in 0..KEYS {
            let shard =
                shard_of(&Message::json("in", &n).expect("JSON").key(format!("key {n}")), SHARDS);
            let lag = lags.iter().find(|lag| lag.shard == shard).expect("a shard");
            assert!(lag.position.0 <= KEYS + n, "key {n} is acknowledged: {lag:?}");
        }
        drop(taken);
        eventually("it recovers", async || (applied().await == 2 * KEYS).then_some(())).await;
    }
    let ack = consumer.receive(numbered(3)).await.expect("an answer");
    assert_eq!(ack.outcome, Outcome::Complete);
    relay.stop().await;

    let counters = DB::counters(&source).await.expect("counters");
    let of_c: Vec<_> = counters.iter().map(|(key, n)| (format!("c {key}"), *n)).collect();
    let applied = DB::applied(&target).await.expect("applied");
    check_applied(&of_c, &applied).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(applied.len() as i64, 2 * KEYS + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_is_told_soon_and_stops_no_relay_on_postgres() {
    let (Some(source), Some(target)) = (postgres_database().await, postgres_database().await)
    else {
        return;
    };
    exhausted::<Postgres>(source, target, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_is_told_soon_and_stops_no_relay_on_mariadb() {
    let (Some(source), Some(target)) = (mariadb_database().await, mariadb_database().await) else {
        return;
    };
    exhausted::<MySql>(source, target, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_is_told_soon_and_stops_no_relay_on_sqlite() {
    let ((_one, source), (_two, target)) = (sqlite_database(), sqlite_database());
    exhausted::<Sqlite>(source, target, false).await;
}
