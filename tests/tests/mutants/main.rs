//! The harm that is done when the algorithms are changed a little, on the real databases: each
//! mutant is caught by the check that the real code passes under the same schedule.

use std::time::Duration;

use sqlx::{Executor, MySql, MySqlPool, PgPool, Pool, Postgres, Sqlite, mysql::MySqlDatabaseError};
use syncline::{
    Consumer, Envelope, HandlerError, Message, Stream, Verdict, begin, enqueue, handler_fn,
    message::{Batch, Link, Origin, Position},
    relay::{Retention, trim},
    storage::{
        Checkpoint, Cursor, InboxRow, Lease, LogStore, NewShard, PageLimit, RetentionStore, Save,
        ShardKey,
    },
    transport::{Outcome, Receive},
};
use syncline_tests::{
    kit::{Kit, check_applied},
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use uuid::Uuid;

mod applying;
mod sealing;

use self::{applying::*, sealing::*};

const PAGE: PageLimit = PageLimit { rows: 100, bytes: usize::MAX };
const LONG: Duration = Duration::from_secs(600);

async fn postgres() -> Option<PgPool> {
    let pool = Postgres::connect(&postgres_database().await?, 12).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    Some(pool)
}

async fn mariadb() -> Option<MySqlPool> {
    let pool = MySql::connect(&mariadb_database().await?, 12).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    Some(pool)
}

async fn acquire<DB: Kit>(pool: &Pool<DB>, name: &str, ttl: Duration) -> Lease {
    let lease = DB::acquire(pool, name, Uuid::now_v7(), ttl).await.expect("acquire");
    lease.expect("the lease is free")
}

/// The checkpoint of route `r`, which is made when it is new.
async fn open<DB: Kit>(pool: &Pool<DB>) -> Checkpoint {
    let key = ShardKey::new("r", 1, 0);
    let new = NewShard { key: key.clone(), at: Position::START, closed: false };
    DB::create_shards(pool, "s", &[new]).await.expect("create");
    DB::shard(pool, &key).await.expect("read").expect("it is there").checkpoint
}

async fn save<DB: Kit>(pool: &Pool<DB>, lease: &Lease, to: Checkpoint) -> bool {
    let save = Save { key: ShardKey::new("r", 1, 0), lease: lease.clone(), to, closed: false };
    DB::save_checkpoints(pool, &[save], &|| true).await.expect("save")[0]
}

fn raised(n: i64) -> Message {
    Message::json("counter.raised", &n).expect("JSON").key("key 0")
}

async fn log<DB: Kit>(pool: &Pool<DB>, lease: &Lease) -> Vec<i64> {
    while DB::seal(pool, lease, 1).await.expect("seal").count > 0 {}
    let rows = DB::read(pool, Cursor::default(), PAGE).await.expect("read");
    rows.iter().map(|row| row.message.decode().expect("a number")).collect()
}

/// Two writers commit in the other order than they enqueued; `by_id` reads the sequence values
/// after one.
async fn read_by_id<DB: Kit>(pool: &Pool<DB>, by_id: impl AsyncFn(i64) -> Vec<i64>) {
    let lease = acquire(pool, "seal", LONG).await;
    let mut first = begin(pool).await.expect("begin");
    let _ = enqueue(&mut first, &raised(1)).await.expect("enqueue");
    let mut second = begin(pool).await.expect("begin");
    let _ = enqueue(&mut second, &raised(2)).await.expect("enqueue");
    second.commit().await.expect("commit");

    let mut naive = by_id(0).await;
    assert_eq!(log(pool, &lease).await, [2]);
    first.commit().await.expect("commit");
    naive.extend(by_id(naive[0]).await);
    assert_eq!(naive.len(), 1, "the mutant has lost a message");
    assert_eq!(log(pool, &lease).await, [2, 1], "the log has not");
}

#[tokio::test]
async fn reading_by_id_greater_than_last_loses_what_commits_late() {
    if let Some(pool) = postgres().await {
        let sql = "SELECT seq FROM syncline_outbox WHERE seq > $1 ORDER BY seq";
        let rows = async |last| sqlx::query_scalar(sql).bind(last).fetch_all(&pool).await;
        read_by_id(&pool, async |last: i64| rows(last).await.expect("read")).await;
    }
    if let Some(pool) = mariadb().await {
        let sql = "SELECT seq FROM syncline_outbox WHERE seq > ? ORDER BY seq";
        let rows = async |last| sqlx::query_scalar(sql).bind(last).fetch_all(&pool).await;
        read_by_id(&pool, async |last: i64| rows(last).await.expect("read")).await;
    }
}

#[tokio::test]
async fn skip_locked_sealing_breaks_the_order_of_a_key() {
    let Some(real) = mariadb().await else { return };
    let real = seal_slowly(&real, false).await;
    assert_eq!(real.as_deref(), Some(&[100, 1, 2][..]), "the plain read keeps the key's order");
    let Some(mutant) = mariadb().await else { return };
    let mutant = seal_slowly(&mutant, true).await;
    if let Some(mutant) = mutant {
        assert_eq!(mutant, [100, 2, 1], "the mutant should have taken the later one first");
    }
}

#[tokio::test]
async fn a_lease_row_locked_before_the_seal_loses_a_message() {
    let Some(real) = postgres().await else { return };
    assert_eq!(seal_after_a_write(&real, false).await, 3, "the real order loses nothing");
    // A writer of another database that ends just then widens the mutant's look back, and hides
    // its fault.
    for _ in 0..20 {
        let Some(mutant) = postgres().await else { return };
        if seal_after_a_write(&mutant, true).await == 2 {
            return;
        }
    }
    panic!("the mutant should have lost a message");
}

#[tokio::test]
async fn a_checkpoint_before_the_publish_loses_a_message() {
    for checkpoint_first in [true, false] {
        let (_directory, url) = sqlite_database();
        let pool = Sqlite::connect(&url, 4).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        let published = relay_that_dies(&pool, checkpoint_first).await;
        assert_eq!(published.is_empty(), checkpoint_first, "{published:?}");
        let Some(pool) = mariadb().await else { continue };
        let published = relay_that_dies(&pool, checkpoint_first).await;
        assert_eq!(published.is_empty(), checkpoint_first, "{published:?}");
    }
}

#[tokio::test]
async fn an_inbox_outside_the_transaction_applies_twice() {
    let (_directory, url) = sqlite_database();
    let pool = Sqlite::connect(&url, 4).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    apply_outside(pool, async |pool| pool.execute("DELETE FROM applied").await.map(drop)).await;
    if let Some(pool) = mariadb().await {
        apply_outside(pool, async |pool| pool.execute("DELETE FROM applied").await.map(drop)).await;
    }
}

#[tokio::test]
async fn a_checkpoint_without_the_epoch_check_goes_back() {
    let mutant = "UPDATE syncline_route SET position = 3 WHERE name = 'r'";
    if let Some(pool) = postgres().await {
        wake_late(&pool, async |pool| pool.execute(mutant).await.map(drop)).await;
    }
    if let Some(pool) = mariadb().await {
        wake_late(&pool, async |pool| pool.execute(mutant).await.map(drop)).await;
    }
}

#[tokio::test]
async fn a_checkpoint_without_the_last_message_cannot_go_on() {
    for left_out in [true, false] {
        let (_directory, url) = sqlite_database();
        let pool = Sqlite::connect(&url, 4).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        Sqlite::prepare(&pool).await.expect("prepare");
        let first = batch(&pool, &acquire(&pool, "seal", LONG).await).await;
        let consumer = Consumer::builder("real", pool.clone())
            .handler("*", handler_fn(|tx, message| Box::pin(note(tx, message))))
            .build()
            .expect("a consumer");
        consumer.receive(first.clone()).await.expect("an answer");
        open(&pool).await;
        let last = if left_out { Link::START } else { first.last };
        let cursor = Cursor { position: first.through, seal: 0, seq: first.through.0 };
        let route = acquire(&pool, "route/r", LONG).await;
        assert!(save(&pool, &route, Checkpoint { cursor, last }).await);

        // The relay that comes after it links the next message to what the checkpoint says.
        let (prev, message) = (open(&pool).await.last, raised(2));
        let origin = first.origin.clone();
        let position = Position(2);
        let next = Envelope { origin: origin.clone(), position, prev, message: message.into() };
        let (last, messages) = (next.link(), vec![next]);
        let next =
            Batch { origin, messages, through: position, last, handover: None, continues: None };
        let ack = consumer.receive(next).await.expect("an answer");
        assert_eq!(ack.outcome == Outcome::Gap, left_out, "{ack:?}");
        assert_eq!(Sqlite::applied(&pool).await.expect("applied").len(), 2 - usize::from(left_out));
    }
}

#[tokio::test]
async fn a_watermark_read_before_the_ahead_row_applies_twice() {
    for (watermark_first, expected) in [(false, 1), (true, 2)] {
        let Some(pool) = postgres().await else { return };
        assert_eq!(ahead_beside_another(&pool, watermark_first).await, expected, "PostgreSQL");
    }
    for (watermark_first, expected) in [(false, 1), (true, 2)] {
        let Some(pool) = mariadb().await else { return };
        assert_eq!(ahead_beside_another(&pool, watermark_first).await, expected, "MariaDB");
    }
}

#[tokio::test]
async fn a_key_that_is_unparked_without_the_lock_strands_a_message() {
    for (locked, expected) in [(true, (2, 0)), (false, (1, 1))] {
        let Some(pool) = postgres().await else { return };
        assert_eq!(empty_a_key(&pool, locked).await, expected, "PostgreSQL");
    }
    for (locked, expected) in [(true, (2, 0)), (false, (1, 1))] {
        let Some(pool) = mariadb().await else { return };
        assert_eq!(empty_a_key(&pool, locked).await, expected, "MariaDB");
    }
}

#[tokio::test]
async fn emptying_a_partition_above_the_floor_loses_what_commits_late() {
    for (rule, expected) in [(true, vec![1]), (false, vec![])] {
        let Some(pool) = postgres().await else { return };
        assert_eq!(empty_under_a_late_writer(&pool, rule).await, expected, "by the rule: {rule}");
    }
}
