//! A new incarnation decides about the log that was previewed, and about nothing that came after it.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, MySql, Pool, Postgres, Transaction};
use syncline::{
    begin,
    incarnation::{Agreed, Rebase, Unsealed},
};
use syncline_tests::{
    kit::Kit,
    relays::{eventually, write},
    servers::{mariadb_database, postgres_database},
};

const UNSEALED: &str = "SELECT count(*) FROM syncline_outbox";

/// While `holder` keeps the new incarnation waiting, one more message is committed.
async fn a_later_message_is_not_discarded<DB: Kit>(
    url: String,
    held: &str,
    waiting: &str,
    late: impl AsyncFnOnce(&Pool<DB>, Transaction<'static, DB>),
) where
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
    DB::Connection: Connection,
{
    let pool = DB::connect(&url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    write(&pool, 3).await;
    let mut holder = begin(&pool).await.expect("begin");
    sqlx::Executor::execute(&mut *holder, sqlx::raw_sql(AssertSqlSafe(held))).await.expect("hold");
    let discarding = Rebase::new(Agreed::Head).unsealed(Unsealed::Discard);
    let rebasing = {
        let (pool, discarding) = (pool.clone(), discarding.clone());
        tokio::spawn(async move { discarding.run(&pool).await })
    };
    eventually("it waits", async || {
        (DB::count(&pool, waiting).await.expect("a count") > 0).then_some(())
    })
    .await;
    late(&pool, holder).await;
    let refused = rebasing.await.expect("no panic").expect_err("it is refused");
    assert!(refused.to_string().contains("stop the service"), "{refused}");
    assert_eq!(DB::count(&pool, UNSEALED).await.expect("a count"), 4, "nothing was removed");
    assert_eq!(discarding.run(&pool).await.expect("again").discarded, 4);
    tokio::time::timeout(Duration::from_secs(5), pool.close()).await.expect("nothing is held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_committed_after_the_preview_is_not_discarded_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let insert = "INSERT INTO syncline_outbox (topic, data) VALUES ('counter.raised', '1')";
    let waiting = "SELECT count(*) FROM pg_locks
                   WHERE NOT granted AND relation = 'syncline_outbox'::regclass";
    a_later_message_is_not_discarded::<Postgres>(url, insert, waiting, async |_, holder| {
        holder.commit().await.expect("commit");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_committed_after_the_preview_is_not_discarded_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let head = "SELECT position FROM syncline_head FOR UPDATE";
    let waiting = "SELECT count(*) FROM information_schema.processlist
                   WHERE db = database() AND id <> connection_id() AND info LIKE '%FOR UPDATE%'";
    a_later_message_is_not_discarded::<MySql>(url, head, waiting, async |pool, holder| {
        write(pool, 1).await;
        holder.rollback().await.expect("roll back");
    })
    .await;
}
