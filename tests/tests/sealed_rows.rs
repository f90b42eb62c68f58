//! On PostgreSQL the few rows that a seal closes come with it, whatever was open when the seal
//! before it was taken; many and large ones do not, and are read.

use std::time::Duration;

use sqlx::{Executor, PgPool, Postgres};
use syncline::{
    Message, begin, enqueue, enqueue_all,
    message::Position,
    storage::{Cursor, Lease, LeaseStore, LogRow, LogStore, PageLimit, Sealed},
};
use syncline_tests::{kit::Kit, servers::postgres_database};
use uuid::Uuid;

async fn commit(pool: &PgPool, data: impl IntoIterator<Item = Vec<u8>>) {
    let messages: Vec<_> = data
        .into_iter()
        .map(|data| Message::new("in", "text/plain", data).key("k").header("note", "a \"b\""))
        .collect();
    let mut tx = begin(pool).await.expect("begin");
    let _ = enqueue_all(&mut tx, &messages).await.expect("enqueue");
    tx.commit().await.expect("commit");
}

/// A new database, and the lease to seal its log.
async fn sealer() -> Option<(PgPool, Lease)> {
    let pool = Postgres::connect(&postgres_database().await?, 4).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    let lease = Postgres::acquire(&pool, "seal", Uuid::now_v7(), Duration::from_mins(10)).await;
    Some((pool, lease.expect("acquire").expect("free")))
}

/// What is read after `after`.
async fn read(pool: &PgPool, after: Cursor) -> Vec<LogRow> {
    let all = PageLimit { rows: 1_000, bytes: usize::MAX };
    Postgres::read(pool, after, all).await.expect("read")
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rows_come_with_their_seal_as_they_are_read() {
    let Some((pool, lease)) = sealer().await else { return };
    let seal = async || Postgres::seal(&pool, &lease, 1_000).await.expect("seal");
    assert_eq!(seal().await, Sealed::default(), "there is nothing");

    let text = |n: u64| n.to_string().into_bytes();
    commit(&pool, (0..2).map(text)).await;
    let mut after = Cursor::default();
    let mut comes = async |sealed: Sealed, count: usize| {
        assert_eq!(sealed.count, count as u64);
        let rows = read(&pool, after).await;
        assert_eq!(rows.len(), count);
        after = rows[count - 1].cursor;
        assert_eq!(sealed.head, Some(after.position));
        (sealed.rows, rows)
    };
    let (came, rows) = comes(seal().await, 2).await;
    assert_eq!(came, rows);

    // Two that stay open over a seal; what comes late has a place of its own.
    let mut open = begin(&pool).await.expect("begin");
    let late = Message::new("in", "text/plain", "late").key("k");
    let _ = enqueue(&mut open, &late).await.expect("enqueue");
    let mut later = begin(&pool).await.expect("begin");
    let _ = enqueue(&mut later, &late).await.expect("enqueue");
    commit(&pool, (2..5).map(text)).await;
    let (came, rows) = comes(seal().await, 3).await;
    assert_eq!(came, rows);
    open.commit().await.expect("commit");
    commit(&pool, (5..6).map(text)).await;
    let (came, rows) = comes(seal().await, 2).await;
    assert_eq!(came, rows);
    assert_eq!(&came[0].message.data[..], b"late");
    later.commit().await.expect("commit");
    let (came, rows) = comes(seal().await, 1).await;
    assert_eq!(came, rows);

    let (most, large) = (64, 16 << 10);
    commit(&pool, (0..most).map(text)).await;
    let (came, rows) = comes(seal().await, most as usize).await;
    assert_eq!(came, rows);
    commit(&pool, (0..=most).map(text)).await;
    assert!(comes(seal().await, most as usize + 1).await.0.is_empty(), "too many");
    commit(&pool, [vec![b'x'; large]]).await;
    let (came, rows) = comes(seal().await, 1).await;
    assert_eq!(came, rows);
    commit(&pool, [text(1), vec![b'x'; large + 1]]).await;
    assert!(comes(seal().await, 2).await.0.is_empty(), "one is too large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_scan_that_found_nothing_is_remembered_by_an_empty_seal() {
    let Some((pool, lease)) = sealer().await else { return };
    let seal = async || Postgres::seal(&pool, &lease, 1_000).await.expect("seal");
    let seals = async || {
        Postgres::count(&pool, "SELECT max(seal) FROM syncline_seal").await.expect("count")
    };
    // More values than are looked through each time, of transactions that were rolled back.
    pool.execute("SELECT setval('syncline_outbox_seq', 20000)").await.expect("far on");
    commit(&pool, [b"1".to_vec()]).await;
    assert_eq!((seal().await.count, seals().await), (1, 1));
    let empty = seal().await;
    assert_eq!((empty.count, empty.head), (0, Some(Position(1))));
    assert_eq!(seals().await, 2, "the next one does not look there again");
    commit(&pool, [b"2".to_vec()]).await;
    assert_eq!(seal().await.count, 1);
    let data: Vec<_> = read(&pool, Cursor::default()).await;
    assert!(data.iter().map(|row| &row.message.data[..]).eq([b"1", b"2"]), "{data:?}");
}
