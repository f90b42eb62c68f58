//! `syncline doctor` on databases on which nothing should run, and the commands that refuse them.

use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use syncline_tests::servers::{postgres_database, sqlite_database};

use crate::{Run, syncline};

/// The result of one check of doctor, and all its text.
fn check(run: &Run, name: &str) -> (String, String) {
    let report = run.json();
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["check"] == name);
    let check = check.unwrap_or_else(|| panic!("no check {name}: {report}"));
    (check["result"].as_str().expect("a result").to_owned(), check.to_string())
}

async fn postgres(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.expect("connect");
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    connection.execute(statement).await.expect("a statement");
}

/// The URL with another user.
fn of_user(url: &str, user: &str) -> String {
    let (_, rest) = url.split_once("//").expect("a URL");
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("postgres://{user}@{host}")
}

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_that_hides_messages_is_named_and_refused() {
    let Some(url) = postgres_database().await else { return };
    syncline(&url, "migrate up").expect(0);
    let path = url.split('?').next().expect("a path");
    let role = format!("role_{}", path.rsplit('/').next().expect("a name"));
    let grants = format!(
        "CREATE ROLE {role} LOGIN;
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
    );
    postgres(&url, &grants).await;
    let relay = of_user(&url, &role);
    let run = syncline(&relay, "doctor --json").expect(0);
    assert_eq!(check(&run, "row level security").0, "ok");
    for table in ["syncline_outbox", "syncline_timer", "syncline_outbox_default"] {
        postgres(&url, &format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")).await;
        let run = syncline(&relay, "doctor --json").expect(4);
        let (result, text) = check(&run, "row level security");
        assert_eq!(result, "failed", "{text}");
        assert!(text.contains(table) && text.contains("BYPASSRLS"), "{text}");
        let run = syncline(&relay, "outbox lag").expect(1);
        assert!(run.stderr.contains("row level security"), "{}", run.stderr);
        // The owner of the table sees all of it, unless row level security is forced.
        syncline(&url, "doctor").expect(0);
        postgres(&url, &format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")).await;
    }
    syncline(&relay, "doctor").expect(0);
    postgres(&url, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf_8_is_named_and_refused() {
    let Some(url) = postgres_database().await else { return };
    let name = url.split('?').next().and_then(|path| path.rsplit('/').next()).expect("a name");
    for (encoding, suffix) in [("SQL_ASCII", "ascii"), ("LATIN1", "latin")] {
        let other = format!("{name}_{suffix}");
        postgres(
            &url,
            &format!(
                "CREATE DATABASE {other} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            ),
        )
        .await;
        let other = url.replace(name, &other);
        refused(&other, encoding);
    }

    let (directory, url) = sqlite_database();
    let mut connection = SqliteConnection::connect(&url).await.expect("connect");
    let make = "PRAGMA encoding = 'UTF-16'; CREATE TABLE own (n INTEGER)";
    connection.execute(make).await.expect("make it");
    connection.close().await.expect("close");
    refused(&url, "UTF-16");
    drop(directory);
}

fn refused(url: &str, encoding: &str) {
    let run = syncline(url, "migrate up");
    assert_ne!(run.code, 0, "{}", run.stdout);
    assert!(run.stderr.contains(encoding) && run.stderr.contains("UTF-8"), "{}", run.stderr);
    let run = syncline(url, "doctor --json");
    assert_ne!(run.code, 0, "{}", run.stdout);
    let (result, text) = check(&run, "encoding");
    assert_eq!(result, "failed", "{text}");
    assert!(text.contains(encoding), "{text}");
}
