//! The database server is killed, restarted and frozen under load: the writer, the relay and the
//! consumer of this process are never started anew, and everything arrives once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{MySql, Pool, Postgres};
use syncline::{Error, Message, Result, Route, Stream, begin, enqueue, relay::RouteState};
use syncline_tests::{
    kit::{KEYS, Kit},
    own_server::{OwnServer, Served},
    relays::{Direct, check, eventually, noting, start},
};

/// Writes until it is told to stop, whatever becomes of the server, and counts what was
/// confirmed.
struct Writer {
    stop: Arc<AtomicBool>,
    confirmed: Arc<AtomicU64>,
    running: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn start<DB: Kit>(pool: Pool<DB>) -> Self {
        let (stop, confirmed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&confirmed));
        let running = tokio::spawn(async move {
            let mut n = 0;
            while !stopped.load(Ordering::Relaxed) {
                n = (n + 1) % KEYS;
                match raise(&pool, &format!("key {n}")).await {
                    Ok(()) => drop(counted.fetch_add(1, Ordering::Relaxed)),
                    // What a service can see of a lost server is that it may try again.
                    Err(error) => assert!(error.is_transient(), "{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Self { stop, confirmed, running }
    }

    fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.await.expect("the writer met only what may pass");
    }
}

async fn raise<DB: Kit>(pool: &Pool<DB>, key: &str) -> Result<()> {
    let failed = |source| Error::Database { action: "write", source };
    let mut tx = begin(pool).await?;
    let n = DB::raise(&mut tx, key).await.map_err(failed)?;
    let receipt = enqueue(&mut tx, &Message::json("counter.raised", &n)?.key(key)).await?;
    tx.commit().await.map_err(failed)?;
    receipt.committed();
    Ok(())
}

async fn everything_arrives<DB: Served>() {
    let Some(mut server) = OwnServer::<DB>::start().await else { return };
    let (from, to) = (server.database(None).await, server.database(None).await);
    let source: Pool<DB> = DB::connect(&from, 8).await.expect("connect");
    let target: Pool<DB> = DB::connect(&to, 8).await.expect("connect");
    for pool in [&source, &target] {
        syncline::migrate(pool).await.expect("migrate");
        DB::prepare(pool).await.expect("prepare");
    }
    let consumer = noting("c", target.clone()).build().expect("a consumer");
    let retries = consumer.start().await.expect("the consumer starts");
    let stream = Stream::new("s").topic("counter.*").shards(4);
    let route = Route::new("c", "s", Direct::to(consumer));
    let relay = start(&source, stream, vec![route], |_| {}).await;
    let writer = Writer::start(source.clone());

    let flows = async || {
        let applied = async || {
            let pool = DB::connect(&to, 1).await.ok()?;
            let applied = DB::applied(&pool).await.ok()?.len();
            pool.close().await;
            Some(applied)
        };
        let before = eventually("the server answers", applied).await;
        let written = writer.confirmed();
        eventually("messages are written and applied again", async || {
            let more = applied().await? > before + 20 && writer.confirmed() > written + 20;
            more.then_some(())
        })
        .await;
    };
    flows().await;
    for _ in 0..2 {
        server.kill();
        // Long enough that leases run out, and that everybody has failed several times.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        server.restart().await;
        flows().await;
    }
    server.stop();
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart().await;
    flows().await;
    server.freeze();
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.thaw();
    flows().await;

    let confirmed = writer.confirmed();
    writer.stop().await;
    check(&source, &target, &["c"]).await;
    let counters = DB::counters(&source).await.expect("counters");
    let all: i64 = counters.iter().map(|(_, n)| n).sum();
    assert!(all.unsigned_abs() >= confirmed, "{confirmed} were confirmed, {all} are there");
    let idle = async || {
        let all = relay.status();
        all.iter().all(|route| route.state == RouteState::Idle).then_some(())
    };
    eventually("every shard is idle", idle).await;
    relay.stop().await;
    retries.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_when_postgres_is_killed_restarted_and_frozen() {
    everything_arrives::<Postgres>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_when_mariadb_is_killed_restarted_and_frozen() {
    everything_arrives::<MySql>().await;
}
