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
    cut::Proxy,
    kit::Kit,
    relays::{Direct, eventually, noting, start},
    servers::{POSTGRES, mariadb_database, postgres_database, sqlite_database},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
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

/// What becomes of the connections through a proxy that there are.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Reset,
    Stall,
}

/// A proxy before the server; connections that are made after a fault work.
async fn unsteady() -> (watch::Sender<Fault>, u16) {
    let server = std::env::var(POSTGRES).expect("a server");
    let (_, server) = server.split_once('@').expect("a user");
    let server = server.split('/').next().expect("host:port").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let fault = watch::Sender::new(Fault::None);
    let faults = fault.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut faults = faults.subscribe();
            let mut server = TcpStream::connect(&server).await.expect("the server");
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = faults.changed() => {
                        let fault = *faults.borrow();
                        match fault {
                            Fault::Stall => std::future::pending().await,
                            _ => client.set_zero_linger().expect("a reset"),
                        }
                    }
                }
            });
        }
    });
    (fault, port)
}

/// Counts what a listener says, without a relay: that one would look by itself.
async fn listening(url: &str) -> (JoinHandle<()>, Arc<AtomicUsize>) {
    let pool = Postgres::connect(url, 8).await.expect("connect");
    let mut watch = Postgres::watch(&pool, Signal::Outbox).await.expect("listen");
    let heard = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&heard);
    let task = tokio::spawn(async move {
        loop {
            // As its owners do, who often stop waiting for it.
            let changed = timeout(Duration::from_millis(300), watch.changed()).await;
            counted.fetch_add(usize::from(changed.is_ok()), Ordering::SeqCst);
        }
    });
    (task, heard)
}

/// Waits until more than `before` was heard, and says how much.
async fn hears(heard: &AtomicUsize, before: usize) -> usize {
    eventually("it hears", async || {
        let now = heard.load(Ordering::SeqCst);
        (now > before).then_some(now)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_was_cut_off_listens_again_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 8).await.expect("connect");
    let (task, heard) = listening(&url).await;
    let mut before = 0;
    for _ in 0..3 {
        Postgres::signal(&pool, Signal::Outbox).await.expect("signal");
        before = hears(&heard, before).await;
        end_listeners(&pool).await;
        // Nobody signals: what it would have been told meanwhile is lost, so it says that there may
        // have been something, once it listens again.
        before = hears(&heard, before).await;
    }
    Postgres::signal(&pool, Signal::Outbox).await.expect("signal");
    hears(&heard, before).await;
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_connection_is_reset_or_dead_listens_again_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 8).await.expect("connect");
    let (fault, port) = unsteady().await;
    let (task, heard) = listening(&Proxy::url(&url, port)).await;
    Postgres::signal(&pool, Signal::Outbox).await.expect("signal");
    let mut before = hears(&heard, 0).await;
    fault.send_replace(Fault::Reset);
    before = hears(&heard, before).await;
    Postgres::signal(&pool, Signal::Outbox).await.expect("signal");
    before = hears(&heard, before).await;
    // Nothing comes through any more, and nobody says so.
    fault.send_replace(Fault::Stall);
    before = hears(&heard, before).await;
    Postgres::signal(&pool, Signal::Outbox).await.expect("signal");
    hears(&heard, before).await;
    task.abort();
}
