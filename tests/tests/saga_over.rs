//! Waiting until an instance of a saga is over: the engine of the same process tells, of another
//! one's the database is asked, and nobody waits longer than they said.

use std::time::{Duration, Instant};

use futures::FutureExt;
use sqlx::{MySql, Pool, Postgres, Sqlite};
use syncline::{
    begin,
    saga::{End, Outcome, Over, SagaBuilder, Sagas, Started},
};
use syncline_tests::{
    kit::Kit,
    servers::{mariadb_database, postgres_database, sqlite_database},
};

const SAGA: &str = "one-step";
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing is heard by polling.
const HOUR: Duration = Duration::from_secs(3_600);

/// An engine whose saga refuses what is below nought.
fn engine<DB: Kit>(pool: &Pool<DB>, poll: Duration) -> Sagas<DB> {
    let mut saga = SagaBuilder::<DB, i64>::new(SAGA, 1);
    saga.local("note", (), move |tx, call| {
        async move {
            DB::note(tx, "noted", call.input).await?;
            Ok(match call.input < 0 {
                true => Outcome::Refuse("it is below nought".to_owned()),
                false => Outcome::Done(()),
            })
        }
        .boxed()
    })
    .pivot()
    .add();
    let saga = saga.build().expect("a sound definition");
    Sagas::builder("/one", pool.clone()).saga(saga).poll(poll).build().expect("an engine")
}

/// Starts one, with who waits for it from before the commit on.
async fn start<DB: Kit>(pool: &Pool<DB>, sagas: &Sagas<DB>, n: i64) -> (Started, Over) {
    let mut tx = begin(pool).await.expect("begin");
    let started = sagas.start(&mut tx, SAGA, &format!("{n}"), &n).await.expect("start");
    let over = started.over();
    tx.commit().await.expect("commit");
    (started, over)
}

async fn is_heard_of<DB: Kit>(url: String) {
    let pool = DB::connect(&url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");

    let sagas = engine(&pool, HOUR);
    let running = sagas.run().await.expect("it starts");
    let began = Instant::now();
    for (n, end) in [(1, End::Completed), (-2, End::Compensated)] {
        let (started, over) = start(&pool, &sagas, n).await;
        // Another one who waits for the same, and one who does no more.
        let (other, gone) = (started.over(), started.over());
        drop(gone);
        started.committed();
        assert_eq!(over.within(PATIENCE).await.expect("asked"), Some(end), "{n}");
        assert_eq!(other.within(PATIENCE).await.expect("asked"), Some(end), "{n}");
    }
    // It is over before anybody asks.
    let (again, over) = start(&pool, &sagas, 1).await;
    assert!(again.repeated);
    assert_eq!(over.within(PATIENCE).await.expect("asked"), Some(End::Completed));
    assert!(began.elapsed() < PATIENCE, "the database was not asked before the limit");
    running.stop().await;

    // Nobody decides it, and it was not even committed.
    let sagas = engine(&pool, Duration::from_millis(20));
    let (_started, over) = start(&pool, &sagas, 3).await;
    let mut tx = begin(&pool).await.expect("begin");
    let unmade = sagas.start(&mut tx, SAGA, "4", &4).await.expect("start").over();
    tx.rollback().await.expect("rollback");
    let began = Instant::now();
    let limit = Duration::from_millis(200);
    assert_eq!(over.within(limit).await.expect("asked"), None);
    assert_eq!(unmade.within(limit).await.expect("asked"), None);
    assert!(began.elapsed() >= limit * 2 && began.elapsed() < PATIENCE, "{:?}", began.elapsed());

    // Another process decides: its engine tells nobody here.
    let running = engine(&pool, HOUR).run().await.expect("it starts");
    let (started, over) = start(&pool, &sagas, 5).await;
    started.committed();
    let began = Instant::now();
    assert_eq!(over.within(PATIENCE).await.expect("asked"), Some(End::Completed));
    assert!(began.elapsed() < PATIENCE, "it was asked at each poll");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_instance_is_heard_of_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    is_heard_of::<Postgres>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_instance_is_heard_of_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    is_heard_of::<MySql>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_instance_is_heard_of_on_sqlite() {
    let (_directory, url) = sqlite_database();
    is_heard_of::<Sqlite>(url).await;
}
