//! The outbox and the log.

use std::collections::HashMap;

use sqlx::Pool;

use super::support::{PAGE, commit, message, number, read_all, sealer, whole_log};
use crate::{
    Error, Message, Storage, begin, enqueue,
    message::{Limits, Position},
    outbox::enqueue_all,
    storage::{Awaited, LogRow, PageLimit},
};

fn numbers(rows: &[LogRow]) -> Vec<i64> {
    rows.iter().map(|row| number(&row.message)).collect()
}

/// Whether a relay that rests finds that there is something to seal.
async fn finds_some<DB: Storage>(pool: &Pool<DB>) -> bool {
    let awaited = Awaited { log: true, ..Awaited::default() };
    DB::pulse(pool, &awaited).await.expect("the pulse").unsealed
}

/// The log is read the same in pages of any size, from any place, and by position. It is short.
async fn reads_alike<DB: Storage>(pool: &Pool<DB>, rows: &[LogRow]) {
    let (one, few, bytes) = (
        PageLimit { rows: 1, ..PAGE },
        PageLimit { rows: 100, ..PAGE },
        PageLimit { bytes: 1, ..PAGE },
    );
    for page in [one, PageLimit { rows: 2, ..PAGE }, few, bytes] {
        assert_eq!(read_all(pool, page).await, rows, "{page:?}");
    }
    for (row, rest) in rows.iter().zip(1..).map(|(row, n)| (row, &rows[n..])) {
        let found = DB::locate(pool, row.cursor.position).await.expect("locate");
        assert_eq!(found, row.cursor);
        for page in [few, PAGE] {
            let read = DB::read(pool, row.cursor, page).await.expect("read");
            assert_eq!(read, rest, "{page:?} after {:?}", row.cursor);
        }
    }
}

pub(super) async fn messages_of_a_rolled_back_transaction_are_not_in_the_log<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let mut tx = begin(&pool).await.expect("begin");
    enqueue(&mut tx, &message("in", "k", 1)).await.expect("enqueue").committed();
    tx.rollback().await.expect("roll back");
    commit(&pool, &[message("in", "k", 2)]).await;
    let rows = whole_log(&pool, &lease).await;
    assert_eq!(numbers(&rows), [2]);
    assert_eq!(rows[0].cursor.position, Position(1));
}

pub(super) async fn many_messages_keep_their_order_and_every_attribute<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let mut sent: Vec<Message> = (0..500).map(|n| message("in", "ключ 🔑", n)).collect();
    sent.push(
        Message::new("in.binary", "application/octet-stream", vec![0, 255, 1])
            .schema_version(7)
            .header("traceparent", "00-a-b-01")
            .header("note", "\"quoted\" \\ ü"),
    );
    sent.push(Message::new("in.big", "text/plain", vec![b'x'; 1 << 20]));
    sent.push(Message::new("in.json", "application/json", r#"{"n":1e400,"z":"\u0000"}"#));
    commit(&pool, &sent).await;
    let rows = whole_log(&pool, &lease).await;
    assert_eq!(rows.iter().map(|row| (*row.message).clone()).collect::<Vec<_>>(), sent);
}

pub(super) async fn pages_are_the_same_whatever_their_size<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    for n in 0..40 {
        commit(&pool, &[message("in", "a", n), message("in", "b", n)]).await;
        if n % 3 == 0 {
            DB::seal(&pool, &lease, 5).await.expect("seal");
        }
    }
    let rows = whole_log(&pool, &lease).await;
    let positions: Vec<i64> = rows.iter().map(|row| row.cursor.position.0).collect();
    assert_eq!(positions, (1..=80).collect::<Vec<_>>(), "positions are dense");
    for size in [1, 2, 3, 7, 79, 80, 500] {
        assert_eq!(
            read_all(&pool, PageLimit { rows: size, ..PAGE }).await,
            rows,
            "pages of {size}"
        );
    }
    assert_eq!(DB::head(&pool).await.expect("head"), Position(80));
    for row in &rows {
        let found = DB::locate(&pool, row.cursor.position).await.expect("locate");
        assert_eq!(found, row.cursor);
    }
}

pub(super) async fn a_page_is_cut_at_its_bytes_and_never_empty<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let sent: Vec<_> =
        (0..10).map(|_| Message::new("in", "text/plain", vec![b'x'; 1_000])).collect();
    commit(&pool, &sent).await;
    assert_eq!(whole_log(&pool, &lease).await.len(), 10);
    let all = read_all(&pool, PAGE).await;
    for (bytes, first) in [(1, 1), (1_000, 1), (2_500, 2), (10_000, 10)] {
        // So few rows that they are read at once with where they stand, and more than that.
        for rows in [100, 1_000] {
            let page = PageLimit { rows, bytes };
            let rows = DB::read(&pool, Default::default(), page).await.expect("read");
            assert_eq!(rows.len(), first, "{page:?}");
            assert_eq!(read_all(&pool, page).await, all, "{page:?}");
        }
    }
}

pub(super) async fn bad_messages_are_refused_and_the_transaction_goes_on<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let bad = [
        Message::new("a b", "text/plain", "x"),
        message("in", "nul\0", 1),
        message("in", "k", 1).header("Bad-Name", "x"),
        Message::new("in", "application/json", "{"),
        Message::new("in", "application/json", "[".repeat(100_000)),
        Message::new("in", "text/plain", vec![0; Limits::DEFAULT.max_bytes + 1]),
    ];
    let mut tx = begin(&pool).await.expect("begin");
    for bad in bad {
        let together = [message("in", "k", 0), bad];
        let refused = enqueue_all(&mut tx, &together).await;
        assert!(matches!(refused, Err(Error::Message(_))), "{refused:?}");
    }
    enqueue(&mut tx, &message("in", "k", 9)).await.expect("enqueue").committed();
    tx.commit().await.expect("commit");
    let rows = whole_log(&pool, &lease).await;
    assert_eq!(numbers(&rows), [9]);
}

pub(super) async fn a_transaction_that_no_snapshot_has_listed_is_sealed<DB: Storage>(
    pool: Pool<DB>,
) {
    if DB::LABEL == "SQLite" {
        // It has one writer.
        return;
    }
    let (lease, mut log) = (sealer(&pool).await, Vec::new());
    let seal = async || DB::seal(&pool, &lease, 10).await.expect("seal").count;
    // The number of later seals that list it before it commits.
    for listed in 0..3 {
        let at = log.len() as i64;
        // It gets its id first, and has nothing in the log yet.
        let mut first = begin(&pool).await.expect("begin");
        DB::park(&mut first, "c", "/suite", &format!("k{listed}"), None).await.expect("park");
        let mut second = begin(&pool).await.expect("begin");
        enqueue(&mut second, &message("in", "b", at)).await.expect("enqueue").committed();
        enqueue(&mut first, &message("in", "a", at + 1)).await.expect("enqueue").committed();
        first.commit().await.expect("commit");
        log.push(at + 1);
        // Where nobody else is on the server, the open one's id is higher than all that have ended:
        // this seal does not list it as running.
        assert_eq!(seal().await, 1);
        for n in at + 2..at + 2 + listed {
            commit(&pool, &[message("in", "a", n)]).await;
            assert_eq!(seal().await, 1);
            log.push(n);
        }
        second.commit().await.expect("commit");
        assert_eq!(numbers(&read_all(&pool, PAGE).await), log, "what is sealed stays as it is");
        assert_eq!((DB::unsealed(&pool).await.expect("look"), finds_some(&pool).await), (1, true));
        log.push(at);
        assert_eq!(numbers(&whole_log(&pool, &lease).await), log, "{listed}");
    }
    reads_alike(&pool, &read_all(&pool, PAGE).await).await;
}

pub(super) async fn a_transaction_that_stays_open_over_many_seals_is_sealed<DB: Storage>(
    pool: Pool<DB>,
) {
    if DB::LABEL == "SQLite" {
        return;
    }
    let lease = sealer(&pool).await;
    let mut open = begin(&pool).await.expect("begin");
    enqueue(&mut open, &message("in", "a", 0)).await.expect("enqueue").committed();
    for n in 1..=4 {
        commit(&pool, &[message("in", "b", n)]).await;
        assert_eq!(DB::seal(&pool, &lease, 10).await.expect("seal").count, 1, "{n}");
    }
    enqueue(&mut open, &message("in", "a", 5)).await.expect("enqueue").committed();
    open.commit().await.expect("commit");
    assert_eq!((DB::unsealed(&pool).await.expect("look"), finds_some(&pool).await), (2, true));
    let rows = whole_log(&pool, &lease).await;
    assert_eq!(numbers(&rows), [1, 2, 3, 4, 0, 5]);
    reads_alike(&pool, &rows).await;
}

pub(super) async fn concurrent_writers_lose_nothing_and_keep_their_keys_order<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for n in 0..25 {
                    commit(&pool, &[message("in", &format!("k{writer}"), n)]).await;
                }
            })
        })
        .collect();
    for writer in writers {
        DB::seal(&pool, &lease, 3).await.expect("seal");
        writer.await.expect("a writer");
    }
    let mut next = HashMap::<String, i64>::new();
    for row in whole_log(&pool, &lease).await {
        let expected = next.entry(row.message.key.clone().unwrap_or_default()).or_default();
        assert_eq!(number(&row.message), *expected);
        *expected += 1;
    }
    assert_eq!(next.len(), 8);
    assert!(next.values().all(|count| *count == 25), "{next:?}");
}
