//! Whoever changes a user at the registering service locks the user's row before its messages, and so
//! does the one that takes an answer in: with two orders each could wait for the other.

mod demo;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{Executor, MySql, Postgres};
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
