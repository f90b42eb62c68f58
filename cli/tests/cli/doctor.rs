//! `syncline doctor` on databases on which nothing should run, and the commands that refuse them.

mod servers;
mod writes;

use sqlx::{Connection, Executor, MySqlConnection, PgConnection, SqliteConnection};
use syncline_tests::servers::{mariadb_database, postgres_database, sqlite_database};

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

/// Transaction ids that are higher than the server's, as a dump brings them to another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_sealed_is_named() {
    let Some(url) = postgres_database().await else { return };
    syncline(&url, "migrate up").expect(0);
    assert_eq!(check(&syncline(&url, "doctor --json").expect(0), "log").0, "ok");
    let restored = "UPDATE syncline_seal SET lows = '{}', snapshot = format('%s:%s:',
        pg_snapshot_xmin(snapshot)::text::bigint + 1000000,
        pg_snapshot_xmax(snapshot)::text::bigint + 1000000)::pg_snapshot";
    postgres(&url, restored).await;
    let (result, text) = check(&syncline(&url, "doctor --json").expect(8), "log");
    assert_eq!(result, "failed", "{text}");
    assert!(text.contains("syncline stream rebase"), "{text}");
    syncline(&url, "stream rebase --head --yes").expect(0);
    syncline(&url, "doctor").expect(0);
}

/// MariaDB takes no CHECK on a number that it gives itself: one by hand can use all of them up. The
/// way out is the one of docs/operating.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_was_given_by_hand_is_named_and_can_be_put_right() {
    let Some(url) = mariadb_database().await else { return };
    syncline(&url, "migrate up").expect(0);
    assert_eq!(check(&syncline(&url, "doctor --json").expect(0), "numbers").0, "ok");
    let mut connection = MySqlConnection::connect(&url).await.expect("connect");
    let insert = "INSERT INTO syncline_outbox (topic, data) VALUES ('t', '1')";
    connection.execute(insert).await.expect("a message");
    let by_hand = "INSERT INTO syncline_outbox (seq, topic, data)
                   VALUES (9223372036854775807, 't', '2')";
    connection.execute(by_hand).await.expect("MariaDB takes it");
    connection.execute(insert).await.expect_err("no number is left");
    let (result, text) = check(&syncline(&url, "doctor --json").expect(8), "numbers");
    assert_eq!(result, "failed", "{text}");
    assert!(text.contains("9223372036854775807") && text.contains("operating.md"), "{text}");

    let page = include_str!("../../../docs/operating.md");
    let section = page.split("### A number that was given by hand").nth(1).expect("a section");
    let code = section.split("```sql").nth(1).and_then(|rest| rest.split("```").next());
    let procedure = sqlx::AssertSqlSafe(code.expect("SQL").to_owned());
    connection.execute(sqlx::raw_sql(procedure)).await.expect("the procedure");
    connection.execute(insert).await.expect("numbers are left again");
    let numbers = sqlx::query_scalar("SELECT seq FROM syncline_outbox ORDER BY seq");
    let numbers: Vec<i64> = numbers.fetch_all(&mut connection).await.expect("the numbers");
    assert_eq!(numbers, [1, 2, 3]);
    syncline(&url, "doctor").expect(0);
}
