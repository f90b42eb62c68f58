//! Servers and sessions that are set up so that nothing should run on them, and rows that wait.

use sqlx::{AssertSqlSafe, Connection, Executor, MySql, MySqlConnection, Postgres};
use syncline_tests::{
    own_server::OwnServer, pooler::Pooler, relays::eventually, servers::postgres_database,
};

use super::{check, postgres};
use crate::{Open, on_each, syncline};

/// Doctor ends with `code`, and its check `name` with `result`, saying each of `said`.
#[track_caller]
fn expect(url: &str, code: i32, name: &str, result: &str, said: &[&str]) {
    let run = syncline(url, "doctor --json").expect(code);
    let (found, text) = check(&run, name);
    assert_eq!(found, result, "{text}");
    for said in said {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_may_not_write_are_named() {
    let Some(url) = postgres_database().await else { return };
    syncline(&url, "migrate up").expect(0);
    let set =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',
               current_database()); END $$";
    postgres(&url, set).await;
    expect(&url, 8, "default_transaction_read_only", "failed", &["on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_loses_commits_is_named_on_postgres() {
    let Some(server) = OwnServer::<Postgres>::start().await else { return };
    let url = server.database(None).await;
    syncline(&url, "migrate up").expect(0);
    syncline(&url, "doctor").expect(0);
    for setting in ["fsync", "full_page_writes"] {
        let set = async |value: &str| {
            postgres(&url, &format!("ALTER SYSTEM SET {setting} = {value}")).await;
            postgres(&url, "SELECT pg_reload_conf()").await;
        };
        set("off").await;
        let told = async || {
            let run = syncline(&url, "doctor --json");
            (check(&run, "durability").0 == "failed").then_some(())
        };
        eventually("the server has read it", told).await;
        expect(&url, 8, "durability", "failed", &[setting, "off"]);
        expect(&url, 8, setting, "failed", &["off"]);
        set("DEFAULT").await;
        eventually("it is as before", async || (syncline(&url, "doctor").code == 0).then_some(()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_service_should_run_on_is_named_on_mariadb() {
    let Some(server) = OwnServer::<MySql>::start().await else { return };
    let url = server.database(None).await;
    syncline(&url, "migrate up").expect(0);
    syncline(&url, "doctor").expect(0);
    let mut admin = MySqlConnection::connect(&url).await.expect("connect");
    for (setting, bad, good, name) in [
        ("innodb_flush_log_at_trx_commit", "2", "1", "durability"),
        ("autocommit", "OFF", "ON", "session"),
        ("completion_type", "CHAIN", "NO_CHAIN", "session"),
        ("sql_safe_updates", "ON", "OFF", "session"),
    ] {
        let set = |value| AssertSqlSafe(format!("SET GLOBAL {setting} = {value}"));
        admin.execute(set(bad)).await.expect("set it");
        expect(&url, 8, name, "failed", &[setting]);
        admin.execute(set(good)).await.expect("set it");
        syncline(&url, "doctor").expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_is_named() {
    let old = "--version=10.5.29-MariaDB";
    let Some(server) = OwnServer::<MySql>::start_with(old).await else { return };
    let url = server.database(None).await;
    expect(&url, 4, "server version", "failed", &["10.5.29-MariaDB", "MariaDB 10.6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_keeps_no_settings_is_named() {
    let Some(url) = postgres_database().await else { return };
    syncline(&url, "migrate up").expect(0);
    let Some(pooler) = Pooler::start("transaction") else { return };
    let pooled = pooler.before(&url);
    eventually("the pooler serves", async || {
        (syncline(&pooled, "migrate status").code != 3).then_some(())
    })
    .await;
    expect(&pooled, 8, "durability", "failed", &["the connection", "direct"]);
}

on_each!(rows_that_cannot_be_sent_and_readers_that_stand_still_are_named);

mod case {
    use std::{future, time::Duration};

    use async_trait::async_trait;
    use serde_json::json;
    use syncline::{
        Message, Relay, Route, Stream, begin, enqueue,
        message::Batch,
        transport::{Ack, PublishError, Publisher},
    };
    use syncline_tests::{
        kit::Kit,
        relays::{Direct, noting},
    };

    use super::*;

    /// Its target never answers.
    struct Silent;

    #[async_trait]
    impl Publisher for Silent {
        async fn publish(&self, _batch: &Batch) -> Result<Ack, PublishError> {
            future::pending().await
        }
    }

    pub(super) async fn rows_that_cannot_be_sent_and_readers_that_stand_still_are_named<
        DB: Open + Kit,
    >(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        expect(url, 0, "rows set aside", "ok", &["none"]);
        expect(url, 0, "retention", "ok", &[]);
        let past_the_rules = match DB::LABEL {
            "PostgreSQL" => {
                "INSERT INTO syncline_outbox (topic, data, checked) VALUES ('a b', '9', true)"
            }
            "SQLite" => {
                "PRAGMA ignore_check_constraints = ON;
                 INSERT INTO syncline_outbox (topic, data) VALUES ('a b', '9')"
            }
            _ => {
                "SET check_constraint_checks = OFF;
                 INSERT INTO syncline_outbox (topic, data) VALUES ('a b', '9')"
            }
        };
        // Its sessions are not used for anything else.
        let other = DB::open(url).await;
        Open::run(&other, past_the_rules).await;
        other.close().await;

        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let mut tx = begin(&pool).await.unwrap();
        for n in 0..6 {
            let message = Message::json("good", &n).unwrap();
            let _ = enqueue(&mut tx, &message).await.unwrap();
        }
        tx.commit().await.unwrap();
        let relay = Relay::builder("/tests", pool.clone())
            .stream(Stream::new("all").topic("*"))
            .route(Route::new("c", "all", Direct::to(noting("c", pool.clone()).build().unwrap())))
            .route(Route::new("silent", "all", Silent))
            .options(|options| {
                options.publish_within = Duration::from_secs(5);
                options.retention.every = Duration::from_millis(100);
                // It is lost when that was said for a minute.
                options.retention.lost_behind = Some(4);
            })
            .start()
            .await
            .unwrap();
        let warned = |name: &str| {
            let run = syncline(url, "doctor --json").expect(0);
            (check(&run, name).0 == "warning").then_some(())
        };
        eventually("the row is set aside", async || warned("rows set aside")).await;
        expect(url, 0, "rows set aside", "warning", &["position 1", "seq 1", "topic"]);
        eventually("a reader holds the log back", async || warned("retention")).await;
        expect(url, 0, "retention", "warning", &["syncline outbox lag"]);
        let lag = syncline(url, "outbox lag --json").expect(0).json();
        let silent = &lag["routes"][1];
        assert_eq!((&silent["route"], &silent["behind"]), (&json!("silent"), &json!(7)), "{lag}");
        let oldest: chrono::DateTime<chrono::Utc> =
            silent["oldest_at"].as_str().unwrap().parse().unwrap();
        assert!(chrono::Utc::now() - oldest < chrono::TimeDelta::minutes(10), "{lag}");
        relay.stop().await;
    }
}
