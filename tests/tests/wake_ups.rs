//! Wake-ups that are lost: of a writer that sends none, of a listener that is cut off. Polling
//! covers, and the listener comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Executor, MySql, Pool, Postgres, Sqlite};
use syncline::{
    Message, RelayHandle, Route, Stream, begin,
    relay::RouteState,
    storage::{LogStore, Signal},
};
use syncline_tests::{
    kit::Kit,
    relays::{Direct, eventually, noting, start},
    servers::{mariadb_database, postgres_database, sqlite_database},
};

/// A relay that looks of itself now and then, over a consumer of the same database.
async fn relay<DB: Kit>(pool: &Pool<DB>) -> RelayHandle {
    syncline::migrate(pool).await.expect("migrate");
    DB::prepare(pool).await.expect("prepare");
    let consumer = noting("c", pool.clone()).build().expect("a consumer");
    let route = Route::new("c", "s", Direct::to(consumer));
    let relay = start(pool, Stream::new("s").topic("in"), vec![route], |options| {
        options.idle = Duration::from_millis(300);
    })
    .await;
    eventually("the relay is idle", async || {
        (relay.status()[0].state == RouteState::Idle).then_some(())
    })
    .await;
    relay
}

/// Writes as a process does that wakes nobody.
async fn append<DB: Kit>(pool: &Pool<DB>, n: i64) {
    let mut tx = begin(pool).await.expect("begin");
    let message = Message::json("in", &n).expect("JSON").key("k");
    DB::append(&mut tx, &[message]).await.expect("append");
    tx.commit().await.expect("commit");
}

async fn arrives<DB: Kit>(pool: &Pool<DB>, n: i64) {
    eventually(&format!("message {n} arrives"), async || {
        (DB::applied(pool).await.expect("applied").len() as i64 == n).then_some(())
    })
    .await;
}

async fn covered_by_polling<DB: Kit>(url: String, cut: impl AsyncFn(&Pool<DB>) -> usize) {
    let pool = DB::connect(&url, 8).await.expect("connect");
    let relay = relay(&pool).await;
    for n in 1..=5 {
        // Whoever listens is cut off before each, so that what it would be told is lost.
        let ended = cut(&pool).await;
        assert!(ended > 0, "somebody was cut off");
        append(&pool, n).await;
        arrives(&pool, n).await;
    }
    relay.stop().await;
}

/// Ends the sessions that listen for wake-ups, and says how many there were.
async fn end_listeners(pool: &Pool<Postgres>) -> usize {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    eventually("somebody listens", async || {
        let ended = pool.fetch_all(end).await.expect("end them").len();
        (ended > 0).then_some(ended)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_covers_a_lost_wake_up_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    covered_by_polling(url, async |pool: &Pool<Postgres>| end_listeners(pool).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_covers_a_lost_wake_up_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    // Nobody listens there, but looks; all connections of the relay are cut.
    let cut = async |pool: &Pool<MySql>| {
        let others = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
                      WHERE db = DATABASE() AND id <> CONNECTION_ID() AND command = 'Sleep'";
        let ids: Vec<i64> = sqlx::query_scalar(others).fetch_all(pool).await.expect("sessions");
        for id in &ids {
            // One may have ended meanwhile.
            drop(pool.execute(AssertSqlSafe(format!("KILL {id}"))).await);
        }
        ids.len()
    };
    covered_by_polling(url, cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_covers_a_lost_wake_up_on_sqlite() {
    let (_dir, url) = sqlite_database();
    // There is no connection to cut and nobody to tell.
    covered_by_polling(url, async |_: &Pool<Sqlite>| 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_was_cut_off_listens_again_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 8).await.expect("connect");
    // Without a relay: that one would look by itself.
    let mut watch = Postgres::watch(&pool, Signal::Outbox).await.expect("listen");
    let heard = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&heard);
    let listening = tokio::spawn(async move {
        loop {
            watch.changed().await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    for _ in 0..3 {
        let listens = "SELECT 1 FROM pg_stat_activity \
                       WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        eventually("it listens", async || {
            pool.fetch_optional(listens).await.expect("sessions").map(drop)
        })
        .await;
        let before = heard.load(Ordering::SeqCst);
        Postgres::signal(&pool, Signal::Outbox).await.expect("signal");
        eventually("it hears", async || (heard.load(Ordering::SeqCst) > before).then_some(()))
            .await;
        end_listeners(&pool).await;
    }
    listening.abort();
}
