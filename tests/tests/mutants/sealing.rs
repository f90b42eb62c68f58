//! Sealing and emptying, as they are and with a mistake.

use super::*;

/// The error with which MariaDB 11.6.2 and newer refuse a locking read of what has changed.
pub(crate) const CHANGED: u16 = 1020;

/// Seals while writers commit: the reading of what has no position takes half a second a row, as
/// it may on a busy server. Returns the log. `locking`: rows are locked, and locked ones skipped.
pub(crate) async fn seal_slowly(pool: &MySqlPool, locking: bool) -> Option<Vec<i64>> {
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
        let real = include_str!("../../../framework/src/storage/mysql/sql/seal_rows.sql");
        let slow = real.replace("position = 0", "position = 0 AND SLEEP(0.5) = 0");
        let sql = if locking { format!("{slow} FOR UPDATE SKIP LOCKED") } else { slow };
        let mut tx = begin(pool).await.expect("begin");
        let head: i64 = sqlx::query_scalar(include_str!(
            "../../../framework/src/storage/mysql/sql/log_hold.sql"
        ))
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
        sqlx::query(include_str!("../../../framework/src/storage/mysql/sql/seal.sql"))
            .bind(serde_json::to_string(&rows).expect("JSON"))
            .bind(head)
            .execute(&mut *tx)
            .await
            .expect("seal");
        sqlx::query(include_str!("../../../framework/src/storage/mysql/sql/seal_head.sql"))
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

/// Two sealers, each at first with an id of its own if `locked`; then the schedule that the
/// model found. Returns how many of three committed messages are in the log.
pub(crate) async fn seal_after_a_write(pool: &PgPool, locked: bool) -> usize {
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
        sqlx::query(include_str!("../../../framework/src/storage/postgres/sql/seal.sql"))
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

/// The number of rows in the partition that the first messages of these tests go to.
pub(crate) async fn rows_of_the_first(pool: &PgPool) -> i64 {
    let sql = "SELECT CASE WHEN to_regclass('syncline_outbox_1') IS NULL THEN 0
                   ELSE pg_relation_size('syncline_outbox_1') END";
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("the size")
}

/// A transaction is open whose row stands in a partition that the log has passed otherwise, and
/// every message that has a position may go. It commits while the partition is emptied, or is not.
/// Returns what the log holds after that.
pub(crate) async fn empty_under_a_late_writer(pool: &PgPool, rule: bool) -> Vec<i64> {
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
