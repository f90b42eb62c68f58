//! The disk is full: at the source nothing is half written, at the consumer nothing is
//! acknowledged that is not there; when there is room again, everything goes on.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, Error, Handler, HandlerError, Message, RelayHandle, Result, Route, Stream,
    Verdict, begin, enqueue, enqueue_all, error::Trouble, message::Position, relay::RouteState,
    storage::check_writes,
};
use syncline_tests::{
    kit::{KEYS, Kit},
    own_server::{OwnServer, Served},
    relays::{Direct, check, eventually, start},
    small_disk::SmallDisk,
};
use tempfile::TempDir;

/// How many messages may wait for the consumer.
const BACKLOG: i64 = 50;

/// What fills pages: `kib` KiB of messages that are none of the stream. Each is small enough to
/// stay in its row: MariaDB's server ends itself when there is no room for what would not.
fn padding(kib: usize) -> Vec<Message> {
    let message = || Message::json("padding", &"x".repeat(1_000)).expect("JSON");
    std::iter::repeat_with(message).take(kib).collect()
}

/// Raises a counter with its message, and takes `kib` KiB more.
async fn raise<DB: Kit>(pool: &Pool<DB>, n: i64, kib: usize) -> Result<()> {
    let failed = |source| Error::Database { action: "write", source };
    let key = format!("key {}", n % KEYS);
    let mut tx = begin(pool).await?;
    let count = DB::raise(&mut tx, &key).await.map_err(failed)?;
    let receipt = enqueue(&mut tx, &Message::json("counter.raised", &count)?.key(key)).await?;
    let _ = enqueue_all(&mut tx, &padding(kib)).await?;
    tx.commit().await.map_err(failed)?;
    receipt.committed();
    Ok(())
}

/// Notes each message, and takes room for it.
struct Greedy;

#[async_trait]
impl<DB: Kit> Handler<DB> for Greedy {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let key = format!("c {}", message.key.as_deref().unwrap_or_default());
        DB::note(tx, &key, message.decode()?).await?;
        let _ = enqueue_all(tx, &padding(60)).await?;
        Ok(Verdict::Done)
    }
}

async fn relay<DB: Kit>(source: &Pool<DB>, target: &Pool<DB>) -> (RelayHandle, Consumer<DB>) {
    for pool in [source, target] {
        syncline::migrate(pool).await.expect("migrate");
        DB::prepare(pool).await.expect("prepare");
    }
    let consumer = Consumer::builder("c", target.clone()).handler("counter.*", Greedy);
    let consumer = consumer.build().expect("a consumer");
    let stream = Stream::new("s").topic("counter.*").shards(2);
    let route = Route::new("c", "s", Direct::to(consumer.clone()));
    (start(source, stream, vec![route], |_| {}).await, consumer)
}

async fn idle_at_the_head<DB: Kit>(source: &Pool<DB>, relay: &RelayHandle) {
    eventually("the checkpoints are saved up to the head", async || {
        let lags = DB::route_lags(source).await.ok()?;
        let head = DB::head(source).await.ok()?;
        let all = relay.status();
        let idle = all.iter().all(|route| route.state == RouteState::Idle);
        (idle && lags.iter().all(|lag| lag.position == head)).then_some(())
    })
    .await;
}

async fn full_at_the_source<DB: Kit>(disk: &SmallDisk, source: Pool<DB>, target: Pool<DB>) {
    let (relay, _) = relay(&source, &target).await;
    for n in 0..20 {
        raise(&source, n, 0).await.expect("there is room");
    }
    idle_at_the_head(&source, &relay).await;
    let mut written = 0;
    for round in 0..2 {
        disk.fill();
        // There may be room in what the database has taken already, but not for long.
        let error = loop {
            written += 1;
            assert!(written < 5_000, "the disk is full and everything can be written");
            if let Err(error) = raise(&source, written, 60).await {
                break error;
            }
        };
        println!("{}, round {round}, after {written}: {error}", DB::LABEL);
        assert!(error.is_transient(), "{error:?}");
        for n in 0..10 {
            // Some may pass; what failed must have left nothing.
            drop(raise(&source, n, 100).await);
        }
        // Long enough that leases run out and checkpoints cannot be saved.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        disk.free();
        eventually("it can be written again", async || raise(&source, 1, 60).await.ok()).await;
    }
    check(&source, &target, &["c"]).await;
    idle_at_the_head(&source, &relay).await;
    relay.stop().await;
}

async fn full_at_the_consumer<DB: Kit>(disk: &SmallDisk, source: Pool<DB>, target: Pool<DB>) {
    let (relay, consumer) = relay(&source, &target).await;
    for n in 0..20 {
        raise(&source, n, 0).await.expect("there is room");
    }
    idle_at_the_head(&source, &relay).await;
    let applied = async || DB::applied(&target).await.expect("it can be read").len() as i64;
    let mut all = 20;
    for round in 0..2 {
        disk.fill();
        let (mut n, began) = (0, Instant::now());
        let error = loop {
            assert!(n < 5_000, "the disk is full and everything can be applied");
            assert!(began.elapsed() < Duration::from_secs(60), "the consumer does not pause");
            // What waits must fit the disk later, however late it is seen that the consumer pauses.
            if applied().await + BACKLOG > all {
                (n, all) = (n + 1, all + 1);
                raise(&source, n, 0).await.expect("the source has room");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            let waits = relay.status().into_iter().find_map(|route| match route.state {
                RouteState::Backoff { error, .. } => Some(error),
                _ => None,
            });
            if let Some(error) = waits {
                break error;
            }
        };
        println!("{}, round {round}, after {n}: {error}", DB::LABEL);
        eventually("both sides know why", async || {
            let refused = consumer.status().refused;
            let told = relay.status().into_iter().any(|route| match route.state {
                RouteState::Backoff { error, .. } => error.contains("no room left on its disk"),
                _ => false,
            });
            let full = refused.iter().any(|one| one.trouble == Some(Trouble::DiskFull));
            (full && told).then_some(())
        })
        .await;
        for n in 0..2 * KEYS {
            raise(&source, n, 0).await.expect("the source has room");
        }
        all += 2 * KEYS;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        // What the source takes for acknowledged has been applied.
        let lags = DB::route_lags(&source).await.expect("lags");
        let through = lags.iter().map(|lag| lag.position).max().unwrap_or(Position::START);
        let there = applied().await;
        assert!(there < all, "nothing is applied without room");
        assert!(lags.iter().any(|lag| lag.behind > 0), "nothing false is acknowledged: {through}");
        let held = DB::held(&target, true, 0, 9).await.expect("held");
        assert!(held.is_empty(), "no message is blamed: {held:?}");
        disk.free();
        eventually("everything is applied", async || (applied().await == all).then_some(())).await;
        let none = async || consumer.status().refused.is_empty().then_some(());
        eventually("nothing is refused", none).await;
    }
    check(&source, &target, &["c"]).await;
    idle_at_the_head(&source, &relay).await;
    relay.stop().await;
}

/// The test write needs room each time.
async fn full_for_a_test<DB: Kit>(disk: &SmallDisk, small: Pool<DB>) {
    syncline::migrate(&small).await.expect("migrate");
    check_writes(&small).await.expect("there is room");
    disk.fill();
    let mut tries = 0;
    let error = loop {
        tries += 1;
        assert!(tries < 500, "the disk is full and everything can be written");
        if let Err(error) = check_writes(&small).await {
            break error;
        }
    };
    assert_eq!(error.trouble(), Trouble::DiskFull, "{error}");
    disk.free();
    eventually("it takes writes", async || check_writes(&small).await.ok()).await;
    let left = DB::processes(&small).await.expect("rows");
    assert!(left.is_empty(), "{left:?}");
}

/// A database on a small disk, another one beside it, and what they need to be there.
async fn served<DB: Served>() -> Option<(SmallDisk, OwnServer<DB>, Pool<DB>, Pool<DB>)> {
    let server = OwnServer::<DB>::start().await?;
    let disk = SmallDisk::mount(64)?;
    let small = server.database(Some(disk.path())).await;
    let small = DB::connect(&small, 12).await.expect("connect");
    let large = DB::connect(&server.database(None).await, 12).await.expect("connect");
    Some((disk, server, small, large))
}

async fn sqlite() -> Option<(SmallDisk, TempDir, Pool<Sqlite>, Pool<Sqlite>)> {
    let disk = SmallDisk::mount(64)?;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = async |dir: &Path| {
        let url = format!("sqlite://{}?mode=rwc", dir.join("test.db").display());
        Sqlite::connect(&url, 8).await.expect("connect")
    };
    let (small, large) = (open(disk.path()).await, open(dir.path()).await);
    Some((disk, dir, small, large))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_source_leaves_no_half_on_postgres() {
    let Some((disk, _server, small, large)) = served::<Postgres>().await else { return };
    full_at_the_source(&disk, small, large).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_source_leaves_no_half_on_mariadb() {
    let Some((disk, _server, small, large)) = served::<MySql>().await else { return };
    full_at_the_source(&disk, small, large).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_source_leaves_no_half_on_sqlite() {
    let Some((disk, _dir, small, large)) = sqlite().await else { return };
    full_at_the_source(&disk, small, large).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_write_finds_a_full_disk_on_postgres() {
    let Some((disk, _server, small, _)) = served::<Postgres>().await else { return };
    full_for_a_test(&disk, small).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_write_finds_a_full_disk_on_sqlite() {
    let Some((disk, _dir, small, _)) = sqlite().await else { return };
    full_for_a_test(&disk, small).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_consumer_acknowledges_nothing_on_postgres() {
    let Some((disk, _server, small, large)) = served::<Postgres>().await else { return };
    full_at_the_consumer(&disk, large, small).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_consumer_acknowledges_nothing_on_mariadb() {
    let Some((disk, _server, small, large)) = served::<MySql>().await else { return };
    full_at_the_consumer(&disk, large, small).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_consumer_acknowledges_nothing_on_sqlite() {
    let Some((disk, _dir, small, large)) = sqlite().await else { return };
    full_at_the_consumer(&disk, large, small).await;
}
