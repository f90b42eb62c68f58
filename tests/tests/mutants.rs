//! What goes wrong when the algorithms are changed a little, on the real databases: each
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

/// Seals while writers commit: the reading of what has no position takes half a second a row, as
/// it may on a busy server. Returns the log. `locking`: rows are locked, and locked ones skipped.
async fn seal_slowly(pool: &MySqlPool, locking: bool) -> Option<Vec<i64>> {
    let lease = acquire(pool, "seal", LONG).await;
    MySql::prepare(pool).await.expect("prepare");
    let mut late = begin(pool).await.expect("begin");
    MySql::raise(&mut late, "key 0").await.expect("raise");
    let _ = enqueue(&mut late, &raised(1)).await.expect("enqueue");
    let mut other = begin(pool).await.expect("begin");
    let _ = enqueue(&mut other, &raised(100)).await.expect("enqueue");
    other.commit().await.expect("commit");

    let writers = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        late.commit().await.expect("commit");
        // The next one of the key: it waited for the first one's row.
        let mut next = begin(pool).await.expect("begin");
        MySql::raise(&mut next, "key 0").await.expect("raise");
        let _ = enqueue(&mut next, &raised(2)).await.expect("enqueue");
        next.commit().await.expect("commit");
    };
    let sealer = async {
        let real = include_str!("../../framework/src/storage/mysql/sql/seal_rows.sql");
        let slow = real.replace("position = 0", "position = 0 AND SLEEP(0.5) = 0");
        let sql = if locking { format!("{slow} FOR UPDATE SKIP LOCKED") } else { slow };
        let mut tx = begin(pool).await.expect("begin");
        let head: i64 =
            sqlx::query_scalar(include_str!("../../framework/src/storage/mysql/sql/log_hold.sql"))
                .fetch_one(&mut *tx)
                .await
                .expect("lock the head");
        let rows: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(&lease.name)
            .bind(lease.holder)
            .bind(lease.epoch)
            .bind(10_i64)
            .fetch_all(&mut *tx)
            .await?;
        sqlx::query(include_str!("../../framework/src/storage/mysql/sql/seal.sql"))
            .bind(serde_json::to_string(&rows).expect("JSON"))
            .bind(head)
            .execute(&mut *tx)
            .await
            .expect("seal");
        sqlx::query(include_str!("../../framework/src/storage/mysql/sql/seal_head.sql"))
            .bind(head + rows.len() as i64)
            .execute(&mut *tx)
            .await
            .expect("move the head");
        tx.commit().await.expect("commit");
        Ok::<_, sqlx::Error>(())
    };
    let ((), sealed) = tokio::join!(writers, sealer);
    match sealed {
        Ok(()) => Some(log(pool, &lease).await),
        Err(error) => {
            let error = error.into_database_error().expect("the server's");
            let number = error.downcast_ref::<MySqlDatabaseError>().number();
            assert_eq!(number, CHANGED, "{error}");
            None
        }
    }
}

/// The error with which MariaDB 11.6.2 and newer refuse a locking read of what has changed.
const CHANGED: u16 = 1020;

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

/// Two sealers, each at first with an id of its own if `locked`; then the schedule that the
/// model found. Returns how many of three committed messages are in the log.
async fn seal_after_a_write(pool: &PgPool, locked: bool) -> usize {
    let lease = acquire(pool, "seal", LONG).await;
    let mut sealers = Vec::new();
    for name in ["one", "two"] {
        acquire(pool, name, LONG).await;
        let mut tx = pool.begin().await.expect("begin");
        if locked {
            let sql = "UPDATE syncline_lease SET expires_at = expires_at WHERE name = $1";
            sqlx::query(sql).bind(name).execute(&mut *tx).await.expect("lock the lease row");
        }
        sealers.push(tx);
    }
    let mut pair = begin(pool).await.expect("begin");
    pair.execute("SELECT pg_current_xact_id()").await.expect("an id");
    let mut late = begin(pool).await.expect("begin");
    let _ = enqueue(&mut late, &raised(1)).await.expect("enqueue");
    for n in [2, 3] {
        let _ = enqueue(&mut pair, &raised(n)).await.expect("enqueue");
    }
    pair.commit().await.expect("commit");
    for mut tx in sealers {
        sqlx::query(include_str!("../../framework/src/storage/postgres/sql/seal.sql"))
            .bind(1_i64)
            .bind(&lease.name)
            .bind(lease.holder)
            .bind(lease.epoch)
            .bind(10_000_i64)
            // The rows need not come with it.
            .bind(0_i64)
            .bind(0_i32)
            .execute(&mut *tx)
            .await
            .expect("seal");
        tx.commit().await.expect("commit");
    }
    late.commit().await.expect("commit");
    log(pool, &lease).await.len()
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

/// A relay that dies between its two steps, and the one that comes after it.
async fn relay_that_dies<DB: Kit>(pool: &Pool<DB>, checkpoint_first: bool) -> Vec<i64> {
    let lease = acquire(pool, "seal", LONG).await;
    let route = acquire(pool, "route/r", LONG).await;
    let mut tx = begin(pool).await.expect("begin");
    let _ = enqueue(&mut tx, &raised(1)).await.expect("enqueue");
    tx.commit().await.expect("commit");
    log(pool, &lease).await;
    let mut published = Vec::new();
    for dies in [true, false] {
        let at = open(pool).await;
        let rows = DB::read(pool, at.cursor, PAGE).await.expect("read");
        let Some(last) = rows.last() else { break };
        let last = Link { position: last.cursor.position, id: last.message.id };
        let to = Checkpoint { cursor: rows[rows.len() - 1].cursor, last };
        let mut publish = || published.extend(rows.iter().map(|row| row.message.decode::<i64>()));
        if !checkpoint_first {
            publish();
        }
        if checkpoint_first || !dies {
            assert!(save(pool, &route, to).await);
        }
        if checkpoint_first && !dies {
            publish();
        }
    }
    published.into_iter().map(|n| n.expect("a number")).collect()
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

/// The first messages of the log as a relay sends them.
async fn batch<DB: Kit>(pool: &Pool<DB>, lease: &Lease) -> Batch {
    let mut tx = begin(pool).await.expect("begin");
    DB::raise(&mut tx, "key 0").await.expect("raise");
    let message = raised(1);
    let _ = enqueue(&mut tx, &message).await.expect("enqueue");
    tx.commit().await.expect("commit");
    log(pool, lease).await;
    let origin = std::sync::Arc::new(Origin {
        source: "/mutants".into(),
        incarnation: DB::incarnation(pool).await.expect("incarnation"),
        stream: Stream::new("s").name().into(),
        version: 1,
        shard: 0,
    });
    let last = Link { position: Position(1), id: message.id };
    let envelope = Envelope {
        origin: origin.clone(),
        position: last.position,
        prev: Link::START,
        message: message.into(),
    };
    Batch {
        origin,
        messages: vec![envelope],
        through: last.position,
        last,
        handover: None,
        continues: None,
    }
}

async fn note<DB: Kit>(
    tx: &mut sqlx::Transaction<'_, DB>,
    message: &Envelope,
) -> Result<Verdict, HandlerError> {
    DB::note(tx, message.key.as_deref().unwrap_or_default(), message.decode()?).await?;
    Ok(Verdict::Done)
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

async fn apply_outside<DB: Kit>(
    pool: Pool<DB>,
    begin_again: impl AsyncFn(&Pool<DB>) -> sqlx::Result<()>,
) {
    DB::prepare(&pool).await.expect("prepare");
    let batch = batch(&pool, &acquire(&pool, "seal", LONG).await).await;
    let counters = [("key 0".to_owned(), 1)];

    // The mutant applies, commits, and dies before it notes the watermark; then it comes again.
    for dies in [true, false] {
        let first = InboxRow {
            incarnation: batch.origin.incarnation,
            watermark: Position::START,
            last: Link::START,
            ended: None,
        };
        let mut tx = begin(&pool).await.expect("begin");
        let row = DB::lock_inbox(&mut tx, "mutant", &batch.origin, first).await.expect("lock");
        if row.watermark < batch.through {
            note(&mut tx, &batch.messages[0]).await.expect("note");
        }
        tx.commit().await.expect("commit");
        if dies {
            continue;
        }
        let mut tx = begin(&pool).await.expect("begin");
        let row = DB::lock_inbox(&mut tx, "mutant", &batch.origin, row).await.expect("lock");
        let done = InboxRow { watermark: batch.through, last: batch.last, ..row };
        DB::save_inbox(&mut tx, "mutant", &batch.origin, done).await.expect("save");
        tx.commit().await.expect("commit");
    }
    let applied = DB::applied(&pool).await.expect("applied");
    check_applied(&counters, &applied).expect_err("the mutant has applied twice");

    begin_again(&pool).await.expect("begin again");
    let consumer = Consumer::builder("real", pool.clone())
        .handler("*", handler_fn(|tx, message| Box::pin(note(tx, message))))
        .build()
        .expect("a consumer");
    for _ in 0..2 {
        consumer.receive(batch.clone()).await.expect("an answer");
    }
    let applied = DB::applied(&pool).await.expect("applied");
    check_applied(&counters, &applied).expect("the consumer applies once");
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

async fn wake_late<DB: Kit>(pool: &Pool<DB>, mutant: impl AsyncFn(&Pool<DB>) -> sqlx::Result<()>) {
    let old = acquire(pool, "route/r", Duration::from_millis(100)).await;
    open(pool).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let new = acquire(pool, "route/r", LONG).await;
    let at = |position| Checkpoint {
        cursor: Cursor { position: Position(position), seal: position, seq: position },
        last: Link { position: Position(position), id: Uuid::now_v7() },
    };
    assert!(save(pool, &new, at(9)).await);
    // The paused relay wakes up late.
    assert!(!save(pool, &old, at(3)).await);
    let position = async || open(pool).await.cursor.position;
    assert_eq!(position().await, Position(9));
    mutant(pool).await.expect("the mutant's update");
    assert_eq!(position().await, Position(3), "the mutant's checkpoint went back");
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

/// One process takes a message past the watermark while another one applies it and moves the
/// watermark over it: how often the message took effect.
async fn ahead_beside_another<DB: Kit>(pool: &Pool<DB>, watermark_first: bool) -> usize {
    DB::prepare(pool).await.expect("prepare");
    let batch = batch(pool, &acquire(pool, "seal", LONG).await).await;
    let message = &batch.messages[0];
    let noted = handler_fn(|tx, message: &Envelope| {
        Box::pin(async move {
            DB::note(tx, message.key.as_deref().unwrap_or_default(), message.decode()?).await?;
            Ok(Verdict::Done)
        })
    });
    let other = Consumer::builder("c", pool.clone()).handler("*", noted).unordered();
    let other = other.build().expect("a consumer");
    let mut tx = begin(pool).await.expect("begin");
    let origin = &batch.origin;
    let too_early = DB::peek_inbox(&mut tx, "c", origin).await.expect("peek");
    let ack = other.receive(batch.clone()).await.expect("an answer");
    assert_eq!(ack.watermark, batch.through, "the other one has moved the watermark");
    let new = DB::add_ahead(&mut tx, "c", message, false).await.expect("add");
    let row = match watermark_first {
        true => too_early,
        false => DB::peek_inbox(&mut tx, "c", origin).await.expect("peek"),
    };
    if new && row.is_none_or(|row| message.position > row.watermark) {
        let n = message.decode().expect("a number");
        DB::note(&mut tx, message.key.as_deref().unwrap_or_default(), n).await.expect("note");
    }
    tx.commit().await.expect("commit");
    DB::applied(pool).await.expect("applied").len()
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

/// A key is emptied while its next message comes in: how many messages took effect, and how many
/// are held under a key that nobody will look at.
async fn empty_a_key<DB: Kit>(pool: &Pool<DB>, locked: bool) -> (usize, usize) {
    DB::prepare(pool).await.expect("prepare");
    let lease = acquire(pool, "seal", LONG).await;
    let first = batch(pool, &lease).await;
    let message = raised(2);
    let last = Link { position: Position(2), id: message.id };
    let origin = first.origin.clone();
    let next =
        Envelope { origin, position: last.position, prev: first.last, message: message.into() };
    let next = Batch { messages: vec![next], through: last.position, last, ..first.clone() };
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = broken.clone();
    let noted = handler_fn(move |tx, message: &Envelope| {
        let broken = switch.load(std::sync::atomic::Ordering::SeqCst);
        Box::pin(async move {
            DB::note(tx, message.key.as_deref().unwrap_or_default(), message.decode()?).await?;
            if broken { Err("broken".into()) } else { Ok(Verdict::Done) }
        })
    });
    let consumer = Consumer::builder("c", pool.clone()).handler("*", noted);
    let consumer =
        consumer.retry(syncline::RetryPolicy { base: Duration::ZERO, ..Default::default() });
    let consumer = consumer.build().expect("a consumer");
    consumer.receive(first.clone()).await.expect("parked");
    broken.store(false, std::sync::atomic::Ordering::SeqCst);

    // The step that retries, in its order; the mutant leaves the lock out.
    let (source, key) = (first.origin.source.as_str(), "key 0");
    let mut tx = begin(pool).await.expect("begin");
    if locked {
        assert!(DB::take_due(&mut tx, "c", source, key, LONG).await.expect("take"));
    }
    let held = DB::held_of_key(&mut tx, "c", source, key, true, 2).await.expect("held");
    assert_eq!(held.len(), 1);
    let receiving = tokio::spawn({
        let (consumer, next) = (consumer.clone(), next.clone());
        async move { consumer.receive(next).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiving.is_finished(), !locked, "only the lock makes the other one wait");
    DB::note(&mut tx, key, 1).await.expect("note");
    DB::unhold(&mut tx, held[0].id).await.expect("unhold");
    DB::unpark(&mut tx, "c", source, key).await.expect("unpark");
    tx.commit().await.expect("commit");
    let ack = receiving.await.expect("no panic").expect("an answer");
    assert_eq!(ack.watermark, next.through);

    let running = consumer.start().await.expect("retries");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    running.stop().await;
    let stranded = DB::held(pool, true, 0, 9).await.expect("held").len();
    (DB::applied(pool).await.expect("applied").len(), stranded)
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

/// How many rows stand in the partition that the first messages of these tests go to.
async fn rows_of_the_first(pool: &PgPool) -> i64 {
    let sql = "SELECT CASE WHEN to_regclass('syncline_outbox_1') IS NULL THEN 0
                   ELSE pg_relation_size('syncline_outbox_1') END";
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("the size")
}

/// A transaction is open whose row stands in a partition that the log has passed otherwise, and
/// every message that has a position may go. It commits while the partition is emptied, or is not.
/// Returns what the log holds after that.
async fn empty_under_a_late_writer(pool: &PgPool, rule: bool) -> Vec<i64> {
    let lease = acquire(pool, "seal", LONG).await;
    let mut all = Retention::default();
    all.keep_for = Duration::ZERO;
    pool.execute("SELECT setval('syncline_outbox_seq', 99990)").await.expect("near its end");
    Postgres::extend(pool, 1_000).await.expect("partitions");
    let mut late = begin(pool).await.expect("begin");
    let _ = enqueue(&mut late, &raised(1)).await.expect("enqueue");
    let more = async |from: i64| {
        for n in from..from + 30 {
            let mut tx = begin(pool).await.expect("begin");
            let _ = enqueue(&mut tx, &raised(n)).await.expect("enqueue");
            tx.commit().await.expect("commit");
            while Postgres::seal(pool, &lease, 10).await.expect("seal").count > 0 {}
        }
        trim(pool, &all, false).await.expect("trim");
    };
    more(100).await;
    let kept = Postgres::trimmed(pool).await.expect("trimmed");
    assert_eq!(kept.position, Position(30), "the log has no more than that");
    assert!(rows_of_the_first(pool).await > 0, "the real rule leaves it alone");
    let emptying = (!rule).then(|| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.execute("TRUNCATE syncline_outbox_1").await.map(drop) })
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(emptying.as_ref().is_none_or(|task| !task.is_finished()), "it waits for the writer");
    late.commit().await.expect("commit");
    if let Some(emptying) = emptying {
        emptying.await.expect("no panic").expect("emptied");
    }
    while Postgres::seal(pool, &lease, 10).await.expect("seal").count > 0 {}
    let rows = Postgres::read(pool, kept, PAGE).await.expect("read");
    if rule {
        // When it has been sent it goes, and its partition with it. Transactions of other tests
        // may hold the floor back for a while.
        for n in 0..100 {
            more(1_000 + 30 * n).await;
            if rows_of_the_first(pool).await == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(rows_of_the_first(pool).await, 0, "it is emptied in the end");
    }
    rows.iter().map(|row| row.message.decode().expect("a number")).collect()
}

#[tokio::test]
async fn emptying_a_partition_above_the_floor_loses_what_commits_late() {
    for (rule, expected) in [(true, vec![1]), (false, vec![])] {
        let Some(pool) = postgres().await else { return };
        assert_eq!(empty_under_a_late_writer(&pool, rule).await, expected, "by the rule: {rule}");
    }
}
