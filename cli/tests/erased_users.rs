//! After a user of the demo was deleted, no command of the operator's program shows the user's hash,
//! address, names or passwords on either service's database, whatever was under way, held or dead.

#![allow(clippy::expect_used, clippy::unwrap_used)]

#[path = "../../tests/tests/demo/mod.rs"]
mod demo;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use demo::{Pair, registration};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{MySql, Postgres, Sqlite};
use syncline::begin;
use syncline_tests::{
    kit::Kit,
    servers::{mariadb_database, postgres_database, sqlite_database},
};

/// Beginnings of addresses, names, display names, passwords and hashes.
const SECRETS: [&str; 5] = ["hush-", "name of", "shown as", "password of", "$argon2"];
const USERS: [&str; 6] = ["ann", "kit", "hob", "dea", "una", "wil"];
/// The consumer and the source of what service B holds.
const HOLDS: (&str, &str) = ("login", "/demo/register");

/// Which secrets a text has, as they are or in hexadecimal digits.
fn found_in(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let has = |secret: &&str| text.contains(*secret) || text.contains(&hex(secret));
    SECRETS.into_iter().filter(has).collect()
}

/// All that `syncline` says when it is called so.
fn said(url: &str, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.args(args).env("DATABASE_URL", url).env_remove("RUST_LOG").env_remove("COLUMNS");
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    let code = output.status.code().expect("an exit code");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let said = text(output.stdout) + &text(output.stderr);
    // All is well; what was named is gone; nothing to do; something is failing.
    assert!([0, 6, 7, 8].contains(&code), "{args:?}: {code}: {said}");
    said
}

fn document(url: &str, args: &[&str]) -> Value {
    let said = said(url, args);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"))
}

/// The ids in the items of a list.
fn ids(url: &str, args: &[&str]) -> Vec<String> {
    let list = document(url, args);
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| item["id"].to_string().trim_matches('"').to_owned()).collect()
}

/// Output of every command that shows something, as text and as JSON. `held` are the ids of messages
/// that are, or were, held.
fn shown(url: &str, held: &[String]) -> Vec<(String, String)> {
    let mut calls: Vec<Vec<&str>> = [
        "status",
        "doctor",
        "operations",
        "route list",
        "inbox list",
        "stream list",
        "process list",
        "held list",
        "dead list",
        "lock list",
        "saga list",
        "saga list --failing",
        "saga list --stuck",
        "outbox lag",
        "outbox tail -n 1000",
        "outbox tail -n 1000 --data",
    ]
    .iter()
    .map(|call| call.split(' ').collect())
    .collect();
    for user in USERS {
        calls.push(vec!["trace", user]);
        calls.push(vec!["outbox", "tail", "--key", user]);
        calls.push(vec!["outbox", "tail", "--data", "--key", user]);
    }
    let sagas = ids(url, &["saga", "list", "-n", "1000", "--json"]);
    for saga in &sagas {
        calls.push(vec!["saga", "show", saga]);
        calls.push(vec!["saga", "show", "--data", saga]);
    }
    calls.extend(held.iter().map(|id| vec!["dead", "show", id.as_str()]));
    let both = calls.into_iter().flat_map(|call| {
        let json = call.iter().copied().chain(["--json"]).collect();
        [call, json]
    });
    both.map(|call| (call.join(" "), said(url, &call))).collect()
}

/// The calls whose output has secrets, and which.
fn leaks(shown: &[(String, String)]) -> Vec<String> {
    let found = shown.iter().map(|(call, text)| (call, found_in(text)));
    found.filter(|(_, secrets)| !secrets.is_empty()).map(|(c, s)| format!("{c}: {s:?}")).collect()
}

fn password(user: &str) -> String {
    format!("password of {user}")
}

async fn registers(pair: &Pair, user: &str, display_name: &str) {
    let body = registration(user, &format!("hush-{user}@example.org"), Some(display_name));
    let asked = pair.ask(&body, None).await;
    assert_eq!(asked.0, StatusCode::ACCEPTED, "{user}: {asked:?}");
}

/// Changes a user's name, address and password; `name` is what makes service B fail, or does not.
async fn changes(pair: &Pair, user: &str, name: &str) {
    let name = format!("{name} {user}");
    let change = json!({ "name": name, "email": format!("hush-{user}-2@example.org") });
    let changed = pair.as_user(Method::PATCH, (user, &password(user)), &change).await;
    assert_eq!(changed.0, StatusCode::OK, "{user}: {changed:?}");
}

async fn deletes(pair: &Pair, user: &str) {
    let gone = pair.as_user(Method::DELETE, (user, &password(user)), &Value::Null).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT, "{user}: {gone:?}");
}

/// Has the message that B holds of a user be a dead letter, as after its last try.
async fn dies<DB: Kit>(url: &str, user: &str) {
    let pool = DB::connect(url, 2).await.expect("connect");
    let mut tx = begin(&pool).await.expect("begin");
    let (consumer, source) = HOLDS;
    assert!(DB::lock_parked(&mut tx, consumer, source, user).await.expect("lock"));
    let held = DB::held_of_key(&mut tx, consumer, source, user, true, 2).await.expect("held");
    let [held] = &held[..] else { panic!("one is held: {held:?}") };
    DB::tried(&mut tx, held.id, "its last try", true).await.expect("tried");
    DB::park(&mut tx, consumer, source, user, None).await.expect("park");
    tx.commit().await.expect("commit");
}

/// `fails` has B's database refuse a user who is called "name of failing ...".
async fn nothing_is_shown<DB: Kit>(urls: [&str; 2], fails: &str) {
    let [a, b] = urls;
    let pair = Pair::start(urls).await;
    let at_b = DB::connect(b, 2).await.expect("connect");
    DB::execute(&at_b, fails).await.expect("a rule");
    for user in ["ann", "hob", "dea", "una"] {
        registers(&pair, user, &format!("Shown as {user}")).await;
        pair.becomes(user, "active").await;
    }
    // Refused after B has made the login, with a reason that has the name.
    registers(&pair, "kit", "SHOWN AS ANN").await;
    pair.becomes("kit", "rejected").await;
    changes(&pair, "ann", "Name of").await;

    // One message is held at B, one is dead.
    for user in ["hob", "dea"] {
        changes(&pair, user, "Name of failing").await;
    }
    let list = ["held", "list", "--json"];
    let held = pair
        .until("both are held", async || Some(ids(b, &list)).filter(|held| held.len() == 2))
        .await;
    dies::<DB>(b, "dea").await;
    assert_eq!(ids(b, &["dead", "list", "--json"]).len(), 1);

    // And one update is under way, as is one registration.
    said(a, &["route", "pause", "login", "--by", "ada", "--why", "a rehearsal"]);
    // A relay notices within a third of its lease.
    tokio::time::sleep(Duration::from_secs(5)).await;
    changes(&pair, "una", "Name of").await;
    registers(&pair, "wil", "Shown as wil").await;
    pair.until("the command is written", async || {
        let texts = said(a, &["outbox", "tail", "--data"]);
        texts.contains("hush-wil@").then_some(())
    })
    .await;

    let (before_a, before_b) = (shown(a, &[]), shown(b, &held));
    let texts: Vec<&str> =
        before_a.iter().chain(&before_b).map(|(_, text)| text.as_str()).collect();
    let seen = found_in(&texts.concat());
    let expected: Vec<_> = SECRETS.into_iter().filter(|one| *one != "password of").collect();
    assert_eq!(seen, expected, "the look finds what is there");
    assert!(leaks(&before_b).iter().any(|call| call.starts_with("dead show")), "{before_b:?}");

    let withdrawn = pair.as_user(Method::DELETE, ("wil", &password("wil")), &Value::Null).await;
    assert_eq!(withdrawn.0, StatusCode::ACCEPTED, "{withdrawn:?}");
    for user in ["ann", "kit", "hob", "dea", "una"] {
        deletes(&pair, user).await;
    }
    said(a, &["route", "resume", "login"]);
    pair.becomes("wil", "rejected").await;
    deletes(&pair, "wil").await;

    // At once where they were deleted; at B when it is told.
    assert_eq!(leaks(&shown(a, &[])), [""; 0]);
    let accounts = "SELECT COUNT(*) FROM accounts";
    pair.until("B has deleted them", async || {
        (DB::count(&at_b, accounts).await.expect("count") == 0).then_some(())
    })
    .await;
    assert_eq!(ids(b, &list), [""; 0], "nothing is held of them");
    assert_eq!(leaks(&shown(b, &held)), [""; 0]);
    assert_eq!(leaks(&shown(a, &[])), [""; 0], "nothing has come back");
    pair.stop().await;
}

const CHECK: &str =
    "ALTER TABLE accounts ADD CONSTRAINT failing CHECK (name NOT LIKE 'Name of failing%')";
const TRIGGER: &str = "CREATE TRIGGER failing BEFORE UPDATE ON accounts
    WHEN NEW.name LIKE 'Name of failing%' BEGIN SELECT RAISE(ABORT, 'it fails'); END";

#[tokio::test(flavor = "multi_thread")]
async fn no_command_shows_a_deleted_user_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    nothing_is_shown::<Sqlite>([&a, &b], TRIGGER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_shows_a_deleted_user_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    nothing_is_shown::<Postgres>([&a, &b], CHECK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_shows_a_deleted_user_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    nothing_is_shown::<MySql>([&a, &b], CHECK).await;
}
