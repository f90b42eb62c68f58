//! Several engines of one database: one that is frozen in its transaction is taken over from, and
//! one of another process is woken. And one engine with several transactions at once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use futures::FutureExt;
use sqlx::{MySql, Pool, Postgres, postgres::PgListener};
use syncline::{
    begin,
    saga::{Outcome, Saga, SagaBuilder, Sagas, operate},
    storage::{LogStore, Signal},
};
use syncline_tests::{
    kit::Kit,
    relays::eventually,
    servers::{mariadb_database, postgres_database},
};
use tokio::sync::Notify;

const SAGA: &str = "one-step";
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the first engine that runs the step stands still, until it is let go.
struct Ice {
    first: AtomicBool,
    frozen: mpsc::Sender<()>,
    thawed: Mutex<mpsc::Receiver<()>>,
}

impl Ice {
    /// Stops the whole thread, and so the engine's runtime, as SIGSTOP does.
    fn freeze(&self) {
        if self.first.swap(false, Ordering::SeqCst) {
            self.frozen.send(()).expect("somebody waits");
            let thawed = self.thawed.lock().expect("no panic");
            thawed.recv_timeout(PATIENCE * 2).expect("it is let go");
        }
    }
}

fn definition<DB: Kit>(ice: Option<Arc<Ice>>) -> Saga<DB> {
    let mut saga = SagaBuilder::<DB, i64>::new(SAGA, 1);
    saga.local("note", (), move |tx, call| {
        let ice = ice.clone();
        async move {
            DB::note(tx, "noted", call.input).await?;
            if let Some(ice) = ice {
                ice.freeze();
            }
            Ok(Outcome::Done(()))
        }
        .boxed()
    })
    .deadline(PATIENCE * 3)
    .try_limit(PATIENCE * 3)
    .pivot()
    .add();
    saga.build().expect("a sound definition")
}

fn engine<DB: Kit>(pool: &Pool<DB>, ice: Option<Arc<Ice>>, poll: Duration) -> Sagas<DB> {
    let sagas = Sagas::builder("/one", pool.clone()).saga(definition(ice)).poll(poll);
    sagas.build().expect("an engine")
}

/// Starts one, and tells nobody.
async fn start<DB: Kit>(pool: &Pool<DB>, sagas: &Sagas<DB>, n: i64) -> syncline::saga::Started {
    let mut tx = begin(pool).await.expect("begin");
    let started = sagas.start(&mut tx, SAGA, &format!("{n}"), &n).await.expect("start");
    tx.commit().await.expect("commit");
    started
}

async fn completed<DB: Kit>(pool: &Pool<DB>, id: uuid::Uuid) {
    eventually("it is completed", async || {
        let shown = operate::show(pool, id).await.expect("ask").expect("it is there");
        (shown.summary.status == "completed").then_some(())
    })
    .await;
}

async fn takes_over<DB: Kit>(url: String) {
    let pool = DB::connect(&url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    let (frozen, is_frozen) = mpsc::channel();
    let (thaw, thawed) = mpsc::channel();
    let ice = Ice { first: AtomicBool::new(true), frozen, thawed: Mutex::new(thawed) };
    let ice = Arc::new(ice);
    let poll = Duration::from_millis(200);
    let starter = engine(&pool, None, poll);
    let started = start(&pool, &starter, 1).await;
    // A process of its own, as far as that matters: one thread, its own pool.
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let pool = DB::connect(&url, 4).await.expect("connect");
            let running = engine(&pool, Some(Arc::clone(&ice)), poll).run().await;
            while ice.first.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // It is let go, and then stopped.
            running.expect("it starts").stop().await;
        });
    });
    let waited = tokio::task::spawn_blocking(move || is_frozen.recv_timeout(PATIENCE));
    waited.await.expect("no panic").expect("it is frozen inside its transaction");
    let running = starter.run().await.expect("another one starts");
    completed(&pool, started.id).await;
    thaw.send(()).expect("it waits");
    tokio::task::spawn_blocking(|| process.join()).await.expect("no panic").expect("it ends");
    running.stop().await;
    assert_eq!(DB::applied(&pool).await.expect("read"), [("noted".to_owned(), 1)], "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_frozen_in_its_transaction_is_taken_over_from_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    takes_over::<Postgres>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_frozen_in_its_transaction_is_taken_over_from_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    takes_over::<MySql>(url).await;
}

/// The first instance stands still in its step until the second one is over, which the same engine
/// decides meanwhile, in another transaction; then many come at once.
async fn decides_several_at_once<DB: Kit>(url: String) {
    let pool = DB::connect(&url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut saga = SagaBuilder::<DB, i64>::new(SAGA, 1);
    let (says, waits) = (Arc::clone(&begun), Arc::clone(&go));
    saga.local("note", (), move |tx, call| {
        let (says, waits) = (Arc::clone(&says), Arc::clone(&waits));
        async move {
            DB::note(tx, "noted", call.input).await?;
            if call.input == 1 {
                says.notify_one();
                waits.notified().await;
            }
            Ok(Outcome::Done(()))
        }
        .boxed()
    })
    .deadline(PATIENCE * 3)
    .try_limit(PATIENCE * 3)
    .pivot()
    .add();
    let saga = saga.build().expect("a sound definition");
    let sagas = Sagas::builder("/one", pool.clone()).saga(saga).at_once(3).batch(4);
    let sagas = sagas.build().expect("an engine");
    let running = sagas.run().await.expect("it starts");
    let first = start(&pool, &sagas, 1).await;
    let id = first.id;
    first.committed();
    tokio::time::timeout(PATIENCE, begun.notified()).await.expect("its step begins");
    let second = start(&pool, &sagas, 2).await;
    let other = second.id;
    second.committed();
    completed(&pool, other).await;
    let shown = operate::show(&pool, id).await.expect("ask").expect("it is there");
    assert_ne!(shown.summary.status, "completed", "it stands still");
    go.notify_one();
    completed(&pool, id).await;
    let mut ids = Vec::new();
    for n in 3..=60 {
        let started = start(&pool, &sagas, n).await;
        ids.push(started.id);
        started.committed();
    }
    for id in ids {
        completed(&pool, id).await;
    }
    running.stop().await;
    let mut noted = DB::applied(&pool).await.expect("read");
    noted.sort_unstable();
    let once: Vec<_> = (1..=60).map(|n| ("noted".to_owned(), n)).collect();
    assert_eq!(noted, once, "each of them once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_decides_in_several_transactions_at_once_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    decides_several_at_once::<Postgres>(url).await;
}

/// The trouble that the first instance meets: a deadlock in its step, or at its commit.
const DEADLOCK: &str = "DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$";
const AT_COMMIT: &str = "
    CREATE TABLE once (n bigint);
    CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$;
    CREATE CONSTRAINT TRIGGER meet AFTER INSERT ON once DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION meet()";

/// The first instance meets a deadlock; how many of the steps of twelve others ran at once then.
async fn most_after_a_deadlock(url: &str, trouble: &'static str) -> usize {
    let pool = Postgres::connect(url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    sqlx::raw_sql(AT_COMMIT).execute(&pool).await.expect("prepare");
    let (first, met) = (AtomicBool::new(true), Arc::new(AtomicBool::new(false)));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let first = Arc::new(first);
    let mut saga = SagaBuilder::<Postgres, i64>::new(SAGA, 1);
    let (meets, counts, peak) = (Arc::clone(&met), Arc::clone(&running), Arc::clone(&most));
    saga.local("note", (), move |tx, _| {
        let (first, meets) = (Arc::clone(&first), Arc::clone(&meets));
        let (running, most) = (Arc::clone(&counts), Arc::clone(&peak));
        async move {
            if first.swap(false, Ordering::SeqCst) {
                meets.store(true, Ordering::SeqCst);
                sqlx::raw_sql(trouble).execute(&mut **tx).await?;
                return Ok(Outcome::Done(()));
            }
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            // Long enough for another one to be claimed meanwhile, if that were allowed.
            tokio::time::sleep(Duration::from_millis(20)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(Outcome::Done(()))
        }
        .boxed()
    })
    .pivot()
    .add();
    let saga = saga.build().expect("a sound definition");
    let sagas = Sagas::builder("/one", pool.clone()).saga(saga).at_once(3).batch(1);
    let sagas = sagas.build().expect("an engine");
    let engine = sagas.run().await.expect("it starts");
    let started = start(&pool, &sagas, 0).await;
    let id = started.id;
    started.committed();
    // The transaction that met it is over, and the instance was decided in another one.
    completed(&pool, id).await;
    assert!(met.load(Ordering::SeqCst), "it met a deadlock");
    let mut tx = begin(&pool).await.expect("begin");
    let mut all = Vec::new();
    for n in 1..=12 {
        all.push(sagas.start(&mut tx, SAGA, &format!("{n}"), &n).await.expect("start"));
    }
    tx.commit().await.expect("commit");
    for started in all {
        let id = started.id;
        started.committed();
        completed(&pool, id).await;
    }
    engine.stop().await;
    most.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_deadlock_one_transaction_decides_at_a_time_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    assert_eq!(most_after_a_deadlock(&url, DEADLOCK).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_deadlock_at_a_commit_one_transaction_decides_at_a_time_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    assert_eq!(most_after_a_deadlock(&url, "INSERT INTO once VALUES (1)").await, 1);
}

/// One that would not find it by polling for an hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_wakes_the_engine_of_another_process_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    Postgres::prepare(&pool).await.expect("prepare");
    let hour = Duration::from_secs(3_600);
    // A process without an engine signals.
    let starter = engine(&pool, None, hour);
    let mut listener = PgListener::connect(&url).await.expect("connect");
    listener.listen("syncline_saga").await.expect("listen");
    start(&pool, &starter, 1).await.committed();
    let heard = tokio::time::timeout(PATIENCE, listener.recv()).await;
    heard.expect("it is told").expect("listening");
    // One with an engine hears it, and finds what it was not told of in its own process.
    let running = engine(&pool, None, hour).run().await.expect("it starts");
    eventually("it listens", async || {
        let listens = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        let count: i64 = sqlx::query_scalar(listens).fetch_one(&pool).await.expect("ask");
        (count == 2).then_some(())
    })
    .await;
    // What was there when it started is done: it has looked, and rests.
    eventually("it has begun", async || {
        let applied = Postgres::applied(&pool).await.expect("read");
        (applied.len() == 1).then_some(())
    })
    .await;
    let started = start(&pool, &starter, 2).await;
    Postgres::signal(&pool, Signal::Sagas).await.expect("signal");
    completed(&pool, started.id).await;
    running.stop().await;
}
