//! Rows that a seal of PostgreSQL counted and that are gone are an error, whatever is read at once:
//! what follows them never gets their positions.

use std::time::Duration;

use sqlx::{PgPool, Postgres};
use syncline::{
    Error, Message, begin, enqueue,
    storage::{Cursor, LeaseStore, LogStore, PageLimit},
};
use syncline_tests::{kit::Kit, servers::postgres_database};
use uuid::Uuid;

/// Three seals of two messages each.
async fn sealed(pool: &PgPool) {
    let ttl = Duration::from_secs(60);
    let lease =
        Postgres::acquire(pool, "seal", Uuid::nil(), ttl).await.expect("ask").expect("a lease");
    for _ in 0..3 {
        let mut tx = begin(pool).await.expect("begin");
        for n in 0..2 {
            let message = Message::json("t", &n).expect("JSON");
            let _ = enqueue(&mut tx, &message).await.expect("enqueue");
        }
        tx.commit().await.expect("commit");
        assert_eq!(Postgres::seal(pool, &lease, 100).await.expect("seal").count, 2);
    }
}

async fn read(pool: &PgPool, rows: i64) -> Result<Vec<i64>, Error> {
    let read = Postgres::read(pool, Cursor::default(), PageLimit { rows, bytes: 1 << 20 }).await?;
    Ok(read.iter().map(|row| row.cursor.position.0).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_gone_are_an_error_whatever_is_read_at_once() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 2).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    sealed(&pool).await;
    // So few that they are read with their seals, and so many that they are not.
    for rows in [3, 4, 6, 100, 1_000] {
        let all: Vec<i64> = (1..=rows.min(6)).collect();
        let read = read(&pool, rows).await.expect("read");
        // Of seals that do not fit as a whole only the first ones are read, or a part of the last.
        assert!(read.len() >= 2 && all.starts_with(&read), "{rows}: {read:?}");
    }
    // One row of the first seal, then all of them.
    for _ in 0..2 {
        let sql = "DELETE FROM syncline_outbox WHERE seq = (SELECT min(seq) FROM syncline_outbox)";
        sqlx::query(sql).execute(&pool).await.expect("delete");
        for rows in [3, 4, 6, 100, 1_000] {
            let error = read(&pool, rows).await.expect_err("rows are gone");
            assert!(matches!(error, Error::LogBroken { .. }), "{rows}: {error}");
        }
    }
}
