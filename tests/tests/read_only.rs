//! A database that took no writes for a while, and takes them again: a session stays as it was when it
//! was made, so connections that say "read only" are closed, and a service says that it is not ready.

mod demo;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use demo::Pair;
use sqlx::{AssertSqlSafe, Executor, MySql, Pool, Postgres, Sqlite, sqlite::SqlitePoolOptions};
use syncline::{Error, Relay, Route, Stream, begin, error::Trouble, storage::check_writes};
use syncline_tests::{
    kit::Kit,
    own_server::OwnServer,
    relays::{Direct, check, eventually, noting, start, write},
    servers::{mariadb_database, postgres_database, sqlite_database},
};

/// How many sessions the service has.
const SESSIONS: usize = 5;

#[async_trait]
trait Fenced: Kit {
    /// Whether sessions that are made from now on may write.
    async fn fence(admin: &Pool<Self>, on: bool);
    /// Ends all sessions of this database but the one that asks, and says how many there are after.
    async fn cut(admin: &Pool<Self>);
    /// How many others there are.
    async fn sessions(admin: &Pool<Self>) -> i64;
}

#[async_trait]
impl Fenced for Postgres {
    async fn fence(admin: &Pool<Self>, on: bool) {
        let name: String =
            sqlx::query_scalar("SELECT current_database()").fetch_one(admin).await.expect("a name");
        let alter = format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}");
        Self::execute(admin, &alter).await.expect("alter");
    }

    async fn cut(admin: &Pool<Self>) {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        Self::execute(admin, cut).await.expect("cut");
    }

    async fn sessions(admin: &Pool<Self>) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()";
        Self::count(admin, count).await.expect("count")
    }
}

#[async_trait]
impl Fenced for MySql {
    async fn fence(admin: &Pool<Self>, on: bool) {
        let set = format!("SET GLOBAL tx_read_only = {on}");
        Self::execute(admin, &set).await.expect("set");
    }

    async fn cut(admin: &Pool<Self>) {
        let others = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
                      WHERE db = DATABASE() AND id <> CONNECTION_ID()";
        let others: Vec<i64> =
            sqlx::query_scalar(others).fetch_all(admin).await.expect("the others");
        for id in others {
            // One that has ended meanwhile is unknown.
            drop(admin.execute(AssertSqlSafe(format!("KILL {id}"))).await);
        }
    }

    async fn sessions(admin: &Pool<Self>) -> i64 {
        let count = "SELECT COUNT(*) FROM information_schema.processlist \
                     WHERE db = DATABASE() AND id <> CONNECTION_ID()";
        Self::count(admin, count).await.expect("count")
    }
}

/// The service, its relay and a consumer, all in one database.
async fn goes_on<DB: Fenced>(url: &str) {
    let pool = DB::connect(url, 8).await.expect("connect");
    let admin = DB::connect(url, 1).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    let consumer = noting("c", pool.clone()).build().expect("a consumer");
    let background = consumer.start().await.expect("it starts");
    let stream = Stream::new("all").topic("counter.raised");
    let route = Route::new("there", "all", Direct::to(consumer));
    let relay = start(&pool, stream, vec![route], |_| {}).await;
    write(&pool, 3).await;
    check(&pool, &pool, &["c"]).await;

    DB::fence(&admin, true).await;
    DB::cut(&admin).await;
    eventually("the service is told so", async || match begin(&pool).await {
        Err(Error::ReadOnly { .. }) => Some(()),
        // It has not noticed yet that its connections are cut.
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            None
        }
        // Nor is a connection that is being cut.
        Ok(_) => None,
    })
    .await;
    let another =
        Relay::builder("/tests", pool.clone()).stream(Stream::new("all").topic("counter.raised"));
    let refused = another.check().await.expect_err("a relay could not start");
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    let mut all = Vec::new();
    while all.len() < SESSIONS {
        all.push(pool.acquire().await.expect("a connection"));
    }
    eventually("the relay has connected again", async || {
        (DB::sessions(&admin).await > SESSIONS as i64 + 1).then_some(())
    })
    .await;
    drop(all);
    eventually("they are back", async || (pool.num_idle() >= SESSIONS).then_some(())).await;

    DB::fence(&admin, false).await;
    write(&pool, 24).await;
    check(&pool, &pool, &["c"]).await;
    relay.stop().await;
    background.stop().await;
}

/// A consumer whose own database takes no writes: nothing of what it refuses is missing.
async fn refuses<DB: Fenced>(source: &str, target: &str) {
    let (source, admin) = (DB::connect(source, 8).await, DB::connect(target, 1).await);
    let (source, admin) = (source.expect("connect"), admin.expect("connect"));
    let target = DB::connect(target, 8).await.expect("connect");
    told(&source, &target, async |on| {
        DB::fence(&admin, on).await;
        if on {
            DB::cut(&admin).await;
        }
    })
    .await;
}

async fn told<DB: Kit>(source: &Pool<DB>, target: &Pool<DB>, fence: impl AsyncFn(bool)) {
    for pool in [source, target] {
        syncline::migrate(pool).await.expect("migrate");
        DB::prepare(pool).await.expect("prepare");
    }
    let consumer =
        noting("c", target.clone()).hold_early(100, 1 << 20).build().expect("a consumer");
    let background = consumer.start().await.expect("it starts");
    let stream = Stream::new("all").topic("counter.raised");
    let route = Route::new("there", "all", Direct::to(consumer.clone()));
    let relay = start(source, stream, vec![route], |_| {}).await;
    write(source, 3).await;
    check(source, target, &["c"]).await;
    assert!(consumer.status().refused.is_empty());
    check_writes(target).await.expect("it takes writes");

    fence(true).await;
    write(source, 3).await;
    let refused = eventually("the consumer knows that it refuses", async || {
        let refused = consumer.status().refused;
        refused.into_iter().find(|one| one.trouble == Some(Trouble::ReadOnly) && one.tries > 1)
    })
    .await;
    assert_eq!((refused.origin.stream.as_str(), refused.origin.shard), ("all", 0));
    let error = check_writes(target).await.expect_err("it takes no writes");
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    let why = "refused by the receiver: its database is read-only";
    eventually("the sender says why, and stores it", async || {
        let lag = DB::route_lags(source).await.ok()?.pop()?;
        lag.problem.filter(|problem| problem.text.contains(why))
    })
    .await;
    // A report of problems comes every 15 seconds.
    let problems = eventually("so does the consumer's handle", async || {
        let problems = background.problems();
        problems.iter().any(|one| one.contains("itself refuses")).then_some(problems)
    })
    .await;
    assert!(!problems.iter().any(|one| one.contains("are missing")), "{problems:?}");

    fence(false).await;
    write(source, 3).await;
    check(source, target, &["c"]).await;
    eventually("nothing is refused", async || consumer.status().refused.is_empty().then_some(()))
        .await;
    eventually("it takes writes", async || check_writes(target).await.ok()).await;
    relay.stop().await;
    background.stop().await;
}

async fn says_so<DB: Fenced>(url: &str) {
    let pair = Pair::start_some([url, url], false).await;
    let admin = DB::connect(url, 1).await.expect("connect");
    DB::fence(&admin, true).await;
    DB::cut(&admin).await;
    is_unready(&pair).await;
    DB::fence(&admin, false).await;
    pair.ready(&pair.a).await;
}

async fn is_unready(pair: &Pair) {
    eventually("it is not ready", async || {
        let answer = pair.http.get(format!("{}/readyz", pair.a)).send().await.ok()?;
        let (status, body) = (answer.status(), answer.text().await.ok()?);
        (status.as_u16() == 503 && !body.contains("ready")).then_some(())
    })
    .await;
    // And stays so.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = pair.http.get(format!("{}/readyz", pair.a)).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_only_is_written_to_again_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    goes_on::<Postgres>(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_only_is_written_to_again_on_mariadb() {
    let Some(server) = OwnServer::<MySql>::start().await else { return };
    goes_on::<MySql>(&server.database(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_says_that_its_database_is_read_only_on_postgres() {
    let Some(source) = postgres_database().await else { return };
    let Some(target) = postgres_database().await else { return };
    refuses::<Postgres>(&source, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_says_that_its_database_is_read_only_on_mariadb() {
    let Some(source) = mariadb_database().await else { return };
    let Some(server) = OwnServer::<MySql>::start().await else { return };
    refuses::<MySql>(&source, &server.database(None).await).await;
}

/// Sets whether a session may write.
async fn query_only(connection: &mut sqlx::SqliteConnection, on: bool) -> sqlx::Result<()> {
    connection.execute(AssertSqlSafe(format!("PRAGMA query_only = {on}"))).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_says_that_its_database_is_read_only_on_sqlite() {
    let ((_one, source), (_other, target)) = (sqlite_database(), sqlite_database());
    let source = Sqlite::connect(&source, 8).await.expect("connect");
    let read_only = Arc::new(AtomicBool::new(false));
    let (kept, made) = (Arc::clone(&read_only), Arc::clone(&read_only));
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .before_acquire(move |connection, _| {
            let fenced = kept.load(Ordering::SeqCst);
            Box::pin(async move { query_only(connection, fenced).await.map(|()| true) })
        })
        .after_connect(move |connection, _| {
            let fenced = made.load(Ordering::SeqCst);
            Box::pin(query_only(connection, fenced))
        });
    let target = pool.connect(&target).await.expect("connect");
    told(&source, &target, async |on| read_only.store(on, Ordering::SeqCst)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_not_ready_while_its_database_is_read_only_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    says_so::<Postgres>(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_not_ready_while_its_database_is_read_only_on_mariadb() {
    let Some(server) = OwnServer::<MySql>::start().await else { return };
    let url = server.database(None).await;
    says_so::<MySql>(&url).await;

    // As after a fail-over, for those who are no administrators.
    let url = server.database(None).await;
    let admin = MySql::connect(&url, 1).await.expect("connect");
    let (_, name) = url.rsplit_once('/').expect("a name");
    for statement in [
        "CREATE USER plain@'127.0.0.1' IDENTIFIED BY ''".to_owned(),
        format!("GRANT ALL ON {name}.* TO plain@'127.0.0.1'"),
    ] {
        MySql::execute(&admin, &statement).await.expect("a user");
    }
    let pair = Pair::start_some([&url.replace("root@", "plain@"), &url], false).await;
    MySql::execute(&admin, "SET GLOBAL read_only = 1").await.expect("set");
    is_unready(&pair).await;
    MySql::execute(&admin, "SET GLOBAL read_only = 0").await.expect("set");
    pair.ready(&pair.a).await;
}
