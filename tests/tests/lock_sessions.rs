//! A table is locked by another session for long. What a relay and a consumer have given up ends at the
//! server, too: a client that goes away while it waits for a lock leaves a session that waits on, and
//! each new try would add one.

use std::time::Duration;

use sqlx::{MySql, Pool, Postgres};
use syncline::{Consumer, Route, Stream};
use syncline_tests::{
    kit::Kit,
    relays::{Direct, eventually, noting, start, write},
    servers::{mariadb_database, postgres_database},
    world::World,
};
use tokio::time::sleep;

/// After this an answer is given up here.
const ANSWER: Duration = Duration::from_secs(2);
/// The most sessions that wait at one time: a relay has a few connections, each waits for at most five
/// seconds, and a pool is replaced every two.
const MOST: i64 = 24;

/// Number of sessions of the database that wait for a lock.
async fn waiting<DB: Kit>(pool: &Pool<DB>) -> i64 {
    let statement = match DB::LABEL {
        "PostgreSQL" => {
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'"
        }
        _ => {
            "SELECT COUNT(*) FROM information_schema.processlist
             WHERE db = DATABASE() AND state LIKE 'Waiting for %'"
        }
    };
    DB::count(pool, statement).await.expect("count")
}

/// Locks `tables` until it is dropped.
async fn lock<DB: Kit>(url: &str, tables: &[&str]) -> Pool<DB> {
    let holder = DB::connect(url, 1).await.expect("connect");
    let statement = match DB::LABEL {
        "PostgreSQL" => {
            format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", "))
        }
        _ => format!("LOCK TABLES {} WRITE", tables.join(" WRITE, ")),
    };
    DB::execute(&holder, &statement).await.expect("lock");
    holder
}

/// The numbers of sessions that wait, looked at for `seconds`.
async fn watched<DB: Kit>(pool: &Pool<DB>, seconds: u32) -> Vec<i64> {
    let mut seen = Vec::new();
    for _ in 0..seconds {
        sleep(Duration::from_secs(1)).await;
        seen.push(waiting(pool).await);
    }
    println!("{}: sessions that wait: {seen:?}", DB::LABEL);
    seen
}

/// Some wait, and never many; after the lock none does.
async fn bounded<DB: Kit>(pool: &Pool<DB>, holder: Pool<DB>) {
    let seen = watched(pool, 25).await;
    let most = seen.iter().max().copied().unwrap_or_default();
    assert!((1..=MOST).contains(&most), "sessions that wait, second by second: {seen:?}");
    holder.close().await;
    eventually("no session waits", async || (waiting(pool).await == 0).then_some(())).await;
}

async fn a_relay_leaves_none<DB: Kit>(world: World<DB>) {
    let consumer = noting("c", world.target.clone()).build().expect("a consumer");
    let routes = vec![Route::new("c", "s", Direct::to(consumer))];
    let stream = Stream::new("s").topic("counter.*");
    let relay = start(&world.source, stream, routes, |options| options.answer_within = ANSWER);
    let relay = relay.await;
    write(&world.source, 3).await;
    applied(&world, 3).await;
    let watcher = DB::connect(&world.source_url, 1).await.expect("connect");
    let tables = ["syncline_route", "syncline_lease", "syncline_process"];
    let holder = lock::<DB>(&world.source_url, &tables).await;
    bounded(&watcher, holder).await;
    write(&world.source, 3).await;
    applied(&world, 6).await;
    relay.stop().await;
}

async fn a_consumer_leaves_none<DB: Kit>(world: World<DB>) {
    let consumer: Consumer<DB> =
        noting("c", world.target.clone()).answer_within(ANSWER).build().expect("a consumer");
    let running = consumer.clone().start().await.expect("start");
    let routes = vec![Route::new("c", "s", Direct::to(consumer))];
    let relay = start(&world.source, Stream::new("s").topic("counter.*"), routes, |_| {}).await;
    write(&world.source, 3).await;
    applied(&world, 3).await;
    let watcher = DB::connect(&world.target_url, 1).await.expect("connect");
    let tables = ["syncline_inbox", "syncline_parked", "syncline_held", "syncline_process"];
    let holder = lock::<DB>(&world.target_url, &tables).await;
    write(&world.source, 3).await;
    bounded(&watcher, holder).await;
    applied(&world, 6).await;
    running.stop().await;
    relay.stop().await;
}

/// Other sessions go on.
async fn named_sessions_end<DB: Kit>(world: World<DB>) {
    let holder = lock::<DB>(&world.source_url, &["syncline_held"]).await;
    let watcher = DB::connect(&world.source_url, 1).await.expect("connect");
    let (mut tasks, mut names) = (Vec::new(), Vec::new());
    for name in ["one", "other"] {
        // MariaDB names sessions itself.
        let url = match DB::LABEL {
            "PostgreSQL" => format!("{}?application_name={name}", world.source_url),
            _ => world.source_url.clone(),
        };
        let pool = DB::connect(&url, 1).await.expect("connect");
        let mut connection = pool.acquire().await.expect("acquire");
        names.push(DB::session_name(&mut connection).await.expect("read").expect("a name"));
        drop(connection);
        let look = "SELECT COUNT(*) FROM syncline_held";
        tasks.push(tokio::spawn(async move { DB::count(&pool, look).await }));
    }
    eventually("both wait", async || (waiting(&watcher).await == 2).then_some(())).await;
    DB::end_sessions(&watcher, &names[..1]).await.expect("end");
    eventually("one waits", async || (waiting(&watcher).await == 1).then_some(())).await;
    holder.close().await;
    let (other, one) = (tasks.remove(1).await.expect("ran"), tasks.remove(0).await.expect("ran"));
    assert!(one.is_err() && other.is_ok(), "{one:?}, {other:?}");
}

async fn applied<DB: Kit>(world: &World<DB>, all: usize) {
    eventually("all is applied", async || {
        (DB::applied(&world.target).await.expect("applied").len() >= all).then_some(())
    })
    .await;
}

macro_rules! on_servers {
    ($($name:ident: $case:ident),* $(,)?) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                if let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) {
                    $case(World::<Postgres>::new(a, b).await).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                if let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) {
                    $case(World::<MySql>::new(a, b).await).await;
                }
            }
        }
    )*};
}

on_servers! {
    what_a_relay_gives_up_does_not_wait_on: a_relay_leaves_none,
    what_a_consumer_gives_up_does_not_wait_on: a_consumer_leaves_none,
    sessions_end_by_their_names: named_sessions_end,
}
