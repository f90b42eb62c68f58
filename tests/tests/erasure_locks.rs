//! Erasing locks in one order whatever was asked for, and nothing escapes it that is being moved.

use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, MySql, Pool, Postgres};
use syncline::{Message, begin, enqueue, erasure::Erase};
use syncline_tests::{
    kit::Kit,
    relays::eventually,
    servers::{mariadb_database, postgres_database},
};

const SECRET: &str = "hush@example.org";

/// What differs between the databases.
struct Words {
    /// Counts sessions that wait for a lock.
    waiting: &'static str,
    /// Counts payloads that are there, of delayed messages and in the log.
    payloads: &'static str,
    /// Moves what is delayed into the log.
    moves: [&'static str; 3],
}

const POSTGRES: Words = Words {
    waiting: "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock'",
    payloads: "SELECT (SELECT count(*) FROM syncline_outbox WHERE length(data) > 0)
        + (SELECT count(*) FROM syncline_delayed WHERE length(data) > 0)",
    moves: [
        "INSERT INTO syncline_outbox (id, topic, key, time, content_type, schema_version, headers, data)
         SELECT id, topic, key, time, content_type, schema_version, headers, data FROM syncline_delayed",
        "DELETE FROM syncline_delayed",
        "DELETE FROM syncline_timer WHERE kind = 'delayed'",
    ],
};

const MARIADB: Words = Words {
    waiting: "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE()
        AND id <> CONNECTION_ID() AND time_ms > 200 AND command <> 'Sleep'",
    payloads: POSTGRES.payloads,
    moves: [
        "INSERT INTO syncline_outbox (id, topic, `key`, time, content_type, schema_version, headers, data)
         SELECT id, topic, `key`, time, content_type, schema_version, headers, data FROM syncline_delayed",
        POSTGRES.moves[1],
        POSTGRES.moves[2],
    ],
};

async fn prepared<DB: Kit>(url: &str) -> Pool<DB> {
    let pool = DB::connect(url, 4).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    pool
}

async fn writes<DB: Kit>(pool: &Pool<DB>, message: Message) -> Option<i64> {
    let mut tx = begin(pool).await.expect("begin");
    let receipt = enqueue(&mut tx, &message).await.expect("enqueue");
    tx.commit().await.expect("commit");
    receipt.appended.map(|appended| appended.seq)
}

fn told(key: &str) -> Message {
    Message::json("user.changed", &json!({ "email": SECRET })).expect("JSON").key(key)
}

/// Erases while `before` has run in another transaction, which does `after` once the erasure waits for it
/// and then commits. Returns what `free` counted meanwhile.
async fn erased_meanwhile<DB: Kit>(
    pool: &Pool<DB>,
    (erase, waiting): (Erase, &str),
    (before, after): (&[&str], &[&str]),
    free: &str,
) -> i64
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let mut other = begin(pool).await.expect("begin");
    for statement in before {
        (*other).execute(AssertSqlSafe(*statement)).await.expect(statement);
    }
    let erases = async {
        let mut tx = begin(pool).await.expect("begin");
        erase.run(&mut tx).await.expect("erase");
        tx.commit().await.expect("commit");
    };
    let meanwhile = async {
        eventually("it waits", async || {
            (DB::count(pool, waiting).await.expect("count") > 0).then_some(())
        })
        .await;
        let free = DB::count(pool, free).await.expect("it is not locked");
        for statement in after {
            (*other).execute(AssertSqlSafe(*statement)).await.expect(statement);
        }
        other.commit().await.expect("commit");
        free
    };
    let both = async { tokio::join!(erases, meanwhile).1 };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("neither waits for ever")
}

/// A message that is named and those of a key are locked by their place in the log, not in the order in
/// which they were asked for.
async fn messages_are_locked_in_the_log_s_order<DB: Kit>(url: &str, words: &Words)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let pool = prepared::<DB>(url).await;
    let first = writes(&pool, told("ann")).await.expect("a place");
    let last = writes(&pool, told("ben")).await.expect("a place");
    let row = |seq| format!("SELECT seq FROM syncline_outbox WHERE seq = {seq} FOR UPDATE");
    let erase = Erase::new().message(last).key("ann");
    let free = format!("SELECT count(*) FROM ({} NOWAIT) AS free", row(last));
    let before = [&*row(first)];
    let free = erased_meanwhile(&pool, (erase, words.waiting), (&before, &[]), &free).await;
    assert_eq!(free, 1);
    assert_eq!(DB::count(&pool, words.payloads).await.expect("count"), 0);
}

/// A delayed message whose time has come is moved while it is erased: whichever commits first, its payload
/// is gone.
async fn what_is_being_moved_is_erased<DB: Kit>(url: &str, words: &Words)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let pool = prepared::<DB>(url).await;
    let late = Duration::from_secs(3_600);
    assert_eq!(writes(&pool, told("ann").delay(late)).await, None, "it is delayed");
    let timer = "SELECT 1 FROM syncline_timer WHERE kind = 'delayed' FOR UPDATE";
    let free = "SELECT count(*) FROM (SELECT id FROM syncline_delayed FOR UPDATE NOWAIT) AS free";
    let erase = (Erase::new().key("ann"), words.waiting);
    let free = erased_meanwhile(&pool, erase, (&[timer], &words.moves), free).await;
    assert_eq!(free, 1, "the timer is locked before the message, as by those who move it");
    let moved = "SELECT count(*) FROM syncline_outbox";
    assert_eq!(DB::count(&pool, moved).await.expect("count"), 1);
    assert_eq!(DB::count(&pool, words.payloads).await.expect("count"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_locked_in_the_log_s_order_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    messages_are_locked_in_the_log_s_order::<Postgres>(&url, &POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_locked_in_the_log_s_order_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    messages_are_locked_in_the_log_s_order::<MySql>(&url, &MARIADB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_moved_is_erased_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    what_is_being_moved_is_erased::<Postgres>(&url, &POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_moved_is_erased_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    what_is_being_moved_is_erased::<MySql>(&url, &MARIADB).await;
}
