//! On PostgreSQL the inbox row is locked and the parked keys are asked for in one statement, whose
//! snapshot may be older than the lock: what it says counts only when nothing was parked meanwhile.

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, Postgres};
use syncline::{
    begin,
    message::{Link, Origin, Position},
    storage::{HeldStore, InboxRow, InboxStore},
};
use syncline_tests::{kit::Kit, relays::eventually, servers::postgres_database};
use uuid::Uuid;

fn row(at: i64) -> InboxRow {
    let last = Link { position: Position(at), id: Uuid::from_u128(at.unsigned_abs().into()) };
    InboxRow { incarnation: Uuid::nil(), watermark: last.position, last, ended: None }
}

/// How many sessions wait for a lock.
async fn waiting(pool: &PgPool) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("look")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_for_the_inbox_is_not_told_that_no_key_is_parked() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    let origin = Arc::new(Origin {
        source: "/s".to_owned(),
        incarnation: Uuid::nil(),
        stream: "s".to_owned(),
        version: 1,
        shard: 0,
    });
    let ask = async |pool: &PgPool| {
        let mut tx = begin(pool).await.expect("begin");
        let asked = Postgres::lock_inbox_asking(&mut tx, "c", &origin, row(1)).await;
        tx.commit().await.expect("commit");
        asked.expect("asked")
    };
    assert_eq!(ask(&pool).await, (row(1), None), "it was made just now");
    assert_eq!(ask(&pool).await, (row(1), Some(true)));

    let mut tx = begin(&pool).await.expect("begin");
    let held = Postgres::lock_inbox(&mut tx, "c", &origin, row(1)).await.expect("lock");
    let asking = tokio::spawn({
        let (pool, origin) = (pool.clone(), Arc::clone(&origin));
        async move {
            let mut tx = begin(&pool).await.expect("begin");
            Postgres::lock_inbox_asking(&mut tx, "c", &origin, row(1)).await.expect("asked")
        }
    });
    eventually("it waits", async || (waiting(&pool).await > 0).then_some(())).await;
    Postgres::park(&mut tx, "c", "/s", "k", Some(Duration::from_mins(1))).await.expect("park");
    Postgres::save_inbox(&mut tx, "c", &origin, row(2)).await.expect("save");
    tx.commit().await.expect("commit");
    assert_eq!(held, row(1));
    assert_eq!(asking.await.expect("asked"), (row(2), None), "nobody knows");
    assert_eq!(ask(&pool).await, (row(2), Some(false)));
}
