//! Transactions of the demo lock in one order: held messages, the saga, the user, the user's messages. With
//! two orders each of two could wait for the other.

mod demo;

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{Executor, MySql, Postgres};
use syncline::{
    Envelope, Message, begin,
    message::{Link, Origin, Position},
    storage::{HeldReason, Holding},
};
use syncline_tests::{
    kit::Kit,
    relays::eventually,
    servers::{mariadb_database, postgres_database},
};

use demo::{Pair, registration};

/// Holds both services' rows of a user; lets the answer come, and sees what it has locked while it waits
/// for the user. `waiting` counts the sessions that do.
async fn an_answer_locks_the_user_first<DB: Kit>(databases: [String; 2], waiting: &str)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let pair = Pair::start([&databases[0], &databases[1]]).await;
    let asked = pair.ask(&registration("ann", "ann@example.org", None), None).await;
    assert_eq!(asked.0, StatusCode::ACCEPTED, "{asked:?}");
    pair.becomes("ann", "active").await;

    let at_a = DB::connect(&databases[0], 2).await.expect("connect");
    let at_b = DB::connect(&databases[1], 1).await.expect("connect");
    let mut account = at_b.begin().await.expect("begin");
    let hold = "SELECT email FROM accounts WHERE user_id = 'ann' FOR UPDATE";
    (*account).execute(hold).await.expect("hold the account");
    let change = json!({ "name": "Ann" });
    let changed = pair.as_user(Method::PATCH, ("ann", "password of ann"), &change).await;
    assert_eq!(changed.0, StatusCode::OK, "{changed:?}");
    let mut user = at_a.begin().await.expect("begin");
    let hold = "SELECT id FROM users WHERE id = 'ann' FOR UPDATE";
    (*user).execute(hold).await.expect("hold the user");
    account.rollback().await.expect("let go");

    eventually("the answer waits for the user", async || {
        (DB::count(&at_a, waiting).await.expect("count") > 0).then_some(())
    })
    .await;
    // A relay that gives positions has the rows locked for a moment, the answer would for as long as it waits.
    let messages = "SELECT count(*) FROM (SELECT seq FROM syncline_outbox
        WHERE topic = 'user.updated' FOR UPDATE NOWAIT) AS messages";
    let mut free = DB::count(&at_a, messages).await;
    for _ in 0..20 {
        if free.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            free = DB::count(&at_a, messages).await;
        }
    }
    assert_eq!(free.expect("nobody has locked the update's message"), 1);
    user.rollback().await.expect("let go");

    let gone = pair.as_user(Method::DELETE, ("ann", "password of ann"), &json!(null)).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT, "{gone:?}");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_locks_the_user_first_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query LIKE '%FROM users%FOR UPDATE%'";
    an_answer_locks_the_user_first::<Postgres>([a, b], waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_locks_the_user_first_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    let waiting = "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE()
        AND id <> CONNECTION_ID() AND time_ms > 200 AND info LIKE '%FROM users%FOR UPDATE%'";
    an_answer_locks_the_user_first::<MySql>([a, b], waiting).await;
}

/// Parks ann's key at a service, with a dead letter.
async fn parks_ann<DB: Kit>(url: &str, consumer: &str, (source, stream): (&str, &str)) {
    let pool = DB::connect(url, 1).await.expect("connect");
    let id = uuid::Uuid::nil();
    let origin = Origin {
        source: source.to_owned(),
        incarnation: id,
        stream: stream.to_owned(),
        version: 1,
        shard: 0,
    };
    let message = Message::json("user.updated", &"nothing").expect("JSON").key("ann");
    let envelope = Envelope {
        origin: Arc::new(origin),
        position: Position(1),
        prev: Link { position: Position(0), id },
        message: Arc::new(message),
    };
    let mut tx = begin(&pool).await.expect("begin");
    DB::park(&mut tx, consumer, source, "ann", None).await.expect("park");
    let dead = Holding { reason: HeldReason::Failed, error: Some("it fails"), dead: true };
    DB::hold(&mut tx, consumer, "ann", &envelope, dead).await.expect("hold");
    tx.commit().await.expect("commit");
}

/// Holds ann's dead letter at a service (0 or 1), or her saga, as one who tries or decides it; deletes her,
/// and sees that the deletion, while it waits, has not locked the row that the other one would want next.
async fn a_deletion_locks_the_user_last<DB: Kit>(
    databases: [String; 2],
    at: usize,
    held: &str,
    waiting: &str,
) where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let pair = Pair::start([&databases[0], &databases[1]]).await;
    let asked = pair.ask(&registration("ann", "ann@example.org", None), None).await;
    assert_eq!(asked.0, StatusCode::ACCEPTED, "{asked:?}");
    pair.becomes("ann", "active").await;
    let of = [("register", ("/demo/login", "accounts")), ("login", ("/demo/register", "users"))];
    parks_ann::<DB>(&databases[at], of[at].0, of[at].1).await;

    let pool = DB::connect(&databases[at], 2).await.expect("connect");
    let over = "SELECT COUNT(*) FROM syncline_saga WHERE ended_at IS NULL";
    eventually("the registration is over", async || {
        (DB::count(&pool, over).await.expect("count") == 0).then_some(())
    })
    .await;
    let mut holds = pool.begin().await.expect("begin");
    (*holds)
        .execute(sqlx::AssertSqlSafe(format!("SELECT 1 FROM {held} FOR UPDATE")))
        .await
        .expect("hold");
    let waiting = waiting.replace("{held}", held);
    let next = [
        "SELECT count(*) FROM (SELECT id FROM users WHERE id = 'ann' FOR UPDATE NOWAIT) AS free",
        "SELECT count(*) FROM (SELECT 1 FROM accounts WHERE user_id = 'ann' FOR UPDATE NOWAIT) AS free",
    ];
    let looks = async {
        eventually("the deletion waits", async || {
            (DB::count(&pool, &waiting).await.expect("count") > 0).then_some(())
        })
        .await;
        let free = DB::count(&pool, next[at]).await;
        holds.rollback().await.expect("let go");
        free
    };
    let none = json!(null);
    let deletes = pair.as_user(Method::DELETE, ("ann", "password of ann"), &none);
    let (gone, free) = tokio::join!(deletes, looks);
    assert_eq!(gone.0, StatusCode::NO_CONTENT, "{gone:?}");
    assert_eq!(free.expect("it is not locked"), 1);
    let accounts = DB::connect(&databases[1], 1).await.expect("connect");
    eventually("it is done, dead letter or not", async || {
        let left = "SELECT (SELECT COUNT(*) FROM accounts) + (SELECT COUNT(*) FROM syncline_held)";
        (DB::count(&accounts, left).await.expect("count") == 0).then_some(())
    })
    .await;
    pair.stop().await;
}

const WAITS_ON_POSTGRES: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%{held}%FOR UPDATE%'";
const WAITS_ON_MARIADB: &str = "SELECT count(*) FROM information_schema.processlist
    WHERE db = DATABASE() AND id <> CONNECTION_ID() AND time_ms > 200 AND info LIKE '%{held}%FOR UPDATE%'";
const PLACES: [(usize, &str); 3] =
    [(0, "syncline_parked"), (0, "syncline_saga"), (1, "syncline_parked")];

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_locks_the_user_last_on_postgres() {
    for (at, held) in PLACES {
        let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else {
            return;
        };
        a_deletion_locks_the_user_last::<Postgres>([a, b], at, held, WAITS_ON_POSTGRES).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_locks_the_user_last_on_mariadb() {
    for (at, held) in PLACES {
        let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else {
            return;
        };
        a_deletion_locks_the_user_last::<MySql>([a, b], at, held, WAITS_ON_MARIADB).await;
    }
}
