//! After a user was deleted at one of the demo's services, neither of them has the user's hash or
//! addresses any more: not in a table, not in a page of a feed, not in a log, and not in a file.

mod demo;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, sqlite::SqliteConnectOptions};
use syncline_tests::{
    logged::Logged,
    relays::eventually,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tracing_subscriber::filter::LevelFilter;

use demo::{Pair, TOKEN, Way};

/// Beginnings of addresses and of hashes, which must not be found.
const SECRETS: [&str; 4] = ["ann-first", "ann-second", "thief-own", "$argon2"];

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Which secrets a text has, written as they are or in hexadecimal digits.
fn found_in(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let has = |secret: &&str| text.contains(*secret) || text.contains(&hex(secret));
    SECRETS.into_iter().filter(has).collect()
}

/// The rows of every table of a database that have a secret: the table and the secrets.
async fn tables_with_secrets(url: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |table: &str, row: &str| {
        let secrets = found_in(row);
        if !secrets.is_empty() {
            found.push(format!("{table}: {secrets:?}"));
        }
    };
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let pool = sqlx::SqlitePool::connect(url).await.expect("connect");
            let columns = "SELECT t.name, group_concat('hex(\"' || c.name || '\")', '||''|''||')
                 FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
                 WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' GROUP BY t.name";
            let tables: Vec<(String, String)> =
                sqlx::query_as(columns).fetch_all(&pool).await.expect("tables");
            for (table, columns) in tables {
                let rows = AssertSqlSafe(format!("SELECT {columns} FROM \"{table}\""));
                let rows: Vec<String> =
                    sqlx::query_scalar(rows).fetch_all(&pool).await.expect("rows");
                rows.iter().for_each(|row| note(&table, row));
            }
            pool.close().await;
        }
        Some("postgres") => {
            let pool = sqlx::PgPool::connect(url).await.expect("connect");
            let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
            let tables: Vec<String> =
                sqlx::query_scalar(tables).fetch_all(&pool).await.expect("tables");
            for table in tables {
                let rows = AssertSqlSafe(format!("SELECT t::text FROM {table} AS t"));
                let rows: Vec<String> =
                    sqlx::query_scalar(rows).fetch_all(&pool).await.expect("rows");
                rows.iter().for_each(|row| note(&table, row));
            }
        }
        _ => {
            let pool = sqlx::MySqlPool::connect(url).await.expect("connect");
            let columns =
                "SELECT CONVERT(table_name USING utf8mb4), CONVERT(column_name USING utf8mb4)
                 FROM information_schema.columns WHERE table_schema = DATABASE()";
            let columns: Vec<(String, String)> =
                sqlx::query_as(columns).fetch_all(&pool).await.expect("columns");
            for (table, column) in columns {
                let rows =
                    format!("SELECT HEX(`{column}`) FROM `{table}` WHERE `{column}` IS NOT NULL");
                let rows = sqlx::query(AssertSqlSafe(rows)).fetch_all(&pool).await.expect("rows");
                rows.iter().for_each(|row| note(&table, &row.get::<String, _>(0)));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// All pages of a service's feed.
async fn feed(pair: &Pair, url: &str, stream: &str) -> String {
    let url = format!("{url}/feed/{stream}/0?messages=2000");
    let answer = pair.http.get(url).bearer_auth(TOKEN).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    answer.text().await.expect("a body")
}

async fn deleted(databases: [&str; 2], way: Way) {
    let pair = Pair::start_by(databases, way).await;
    pair.register("ann", "ann-first@example.org", "password 1").await;
    pair.becomes("ann", "active").await;
    let hashes_are_in = async |tables: &[&str]| {
        let a = tables_with_secrets(databases[0]).await;
        let mut hashes = a.iter().filter(|row| row.contains("argon2"));
        let kept = |row: &String| row.split_once(':').is_some_and(|(of, _)| tables.contains(&of));
        hashes.all(kept).then_some(())
    };
    let users = ["users", "user_versions"];
    // By the hash of a refused registration its user is known who deletes it.
    let and_refused = ["users", "user_versions", "registrations"];
    // The end of the registration has taken the hash out of its state, its commands and the log.
    pair.until("the hash is where it is needed alone", async || hashes_are_in(&users).await).await;

    // Refused by the other service, and refused as a change.
    pair.register("thief", "ann-first@example.org", "password 2").await;
    pair.becomes("thief", "rejected").await;
    let change = json!({ "email": "ann-second@example.org", "password": "password 3" });
    let changed = pair.as_user(Method::PATCH, ("ann", "password 1"), &change).await;
    assert_eq!(changed.0, StatusCode::OK, "{changed:?}");
    pair.until("the new address", async || {
        let b = tables_with_secrets(databases[1]).await;
        let moved = |row: &String| row.starts_with("accounts:") && row.contains("ann-second");
        b.iter().any(moved).then_some(())
    })
    .await;
    // Its acceptance has taken the hash out of the message.
    let again = async || hashes_are_in(&and_refused).await;
    pair.until("the hash is where it is needed alone again", again).await;
    pair.register("ben", "thief-own@example.org", "password 4").await;
    pair.becomes("ben", "active").await;
    let taken = json!({ "email": "ann-second@example.org" });
    let changed = pair.as_user(Method::PATCH, ("ben", "password 4"), &taken).await;
    assert_eq!(changed.0, StatusCode::OK, "{changed:?}");
    pair.until("the refused change goes back", async || {
        let (_, shown) = pair.user(Method::GET, "ben", &Value::Null).await;
        shown["user"]["reason"].is_string().then_some(())
    })
    .await;
    assert!(!tables_with_secrets(databases[0]).await.is_empty(), "the look finds what is there");
    assert!(!tables_with_secrets(databases[1]).await.is_empty(), "the look finds what is there");

    for user in [("thief", "password 2"), ("ann", "password 3"), ("ben", "password 4")] {
        let gone = pair.as_user(Method::DELETE, user, &Value::Null).await;
        assert_eq!(gone.0, StatusCode::NO_CONTENT, "{user:?}: {gone:?}");
    }
    // At once where the user was deleted, and where it is told as soon as it is told.
    assert_eq!(tables_with_secrets(databases[0]).await, [""; 0]);
    let left = std::sync::Mutex::new(Vec::new());
    let gone = async || {
        let found = tables_with_secrets(databases[1]).await;
        let none = found.is_empty();
        *left.lock().expect("no panic") = found;
        none.then_some(())
    };
    pair.until("nothing is left at the other service", gone).await;
    for (url, stream) in [(&pair.a, "users"), (&pair.b, "accounts")] {
        let pages = feed(&pair, url, stream).await;
        assert_eq!(found_in(&pages), [""; 0], "{pages}");
    }
    pair.stop().await;
}

fn private(path: &Path) {
    let mode = fs::metadata(path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{}", path.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_deleted_user_on_sqlite_nor_in_files_and_logs() {
    let logged = Logged::start(LevelFilter::INFO);
    let ((one, a), (two, b)) = (sqlite_database(), sqlite_database());
    deleted([&a, &b], Way::Push).await;
    let text = logged.text();
    assert!(!text.is_empty());
    assert_eq!(found_in(&text), [""; 0], "{text}");
    for (directory, url) in [(&one, &a), (&two, &b)] {
        private(&directory.path().join("test.db"));
        // Pages may hold copies of rows that were moved: they go when the file is written anew.
        let options: SqliteConnectOptions = url.parse().expect("a URL");
        let mut connection = options.connect().await.expect("connect");
        // The services' last connections may still be closing.
        for command in ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] {
            let run = async || sqlx::query(command).execute(&mut connection).await.ok();
            eventually(command, run).await;
        }
        connection.close().await.expect("close");
        for entry in fs::read_dir(directory.path()).expect("a directory") {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).expect("a file");
            let found = found_in(&String::from_utf8_lossy(&bytes));
            assert_eq!(found, [""; 0], "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_running_service_are_its_owners_alone() {
    let ((one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start_some([&a, &b], false).await;
    pair.register("ann", "ann-first@example.org", "password 1").await;
    let files: Vec<_> = fs::read_dir(one.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(files.len() >= 2, "the database and its log: {files:?}");
    files.iter().for_each(|path| private(path));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_deleted_user_who_was_pulled_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    deleted([&a, &b], Way::PullBoth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_deleted_user_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    deleted([&a, &b], Way::Push).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_deleted_user_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    deleted([&a, &b], Way::Push).await;
}
