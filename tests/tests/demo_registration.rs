//! The registration of the demo, which is a saga over both services: refused in the middle, sent
//! several times, withdrawn, and with each service killed in the middle of it.

mod demo;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use syncline_tests::{
    own_server::free_port,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio::process::{Child, Command};

use demo::{Pair, Way, flags_of, registration};

/// A number in a database.
async fn number(url: &str, sql: &'static str) -> i64 {
    let found = match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let pool = sqlx::SqlitePool::connect(url).await.expect("connect");
            sqlx::query_scalar(sql).fetch_one(&pool).await
        }
        Some("postgres") => {
            let pool = sqlx::PgPool::connect(url).await.expect("connect");
            sqlx::query_scalar(sql).fetch_one(&pool).await
        }
        _ => {
            let pool = sqlx::MySqlPool::connect(url).await.expect("connect");
            sqlx::query_scalar(sql).fetch_one(&pool).await
        }
    };
    found.expect(sql)
}

const ACTIVE: &str = "SELECT count(*) FROM users WHERE status = 'active'";
const USERS: &str = "SELECT count(*) FROM users";
const NAMES: &str = "SELECT count(*) FROM display_names";
const MAILS: &str = "SELECT count(*) FROM mailbox";
const OPEN: &str = "SELECT count(*) FROM syncline_saga WHERE ended_at IS NULL";
const SAGAS: &str = "SELECT count(*) FROM syncline_saga";
const LOGINS: &str = "SELECT count(*) FROM accounts";

/// That so many are registered, each with everything, and that nothing is left of any other.
async fn holds(pair: &Pair, [a, b]: [&str; 2], users: i64, names: i64) {
    pair.until("no open saga", async || (number(a, OPEN).await == 0).then_some(())).await;
    for (url, sql, expected) in
        [(a, USERS, users), (a, ACTIVE, users), (a, MAILS, users), (a, NAMES, names)]
    {
        assert_eq!(number(url, sql).await, expected, "{sql}");
    }
    assert_eq!(number(b, LOGINS).await, users, "{LOGINS}");
}

fn reason(shown: &Value) -> &str {
    shown["user"]["reason"].as_str().unwrap_or_default()
}

async fn refused(databases: [&str; 2], way: Way) {
    let pair = Pair::start_by(databases, way).await;
    let ann = registration("ann", "ann@example.org", Some("Ann"));
    let (status, shown) = pair.ask(&ann, None).await;
    assert_eq!((status, &shown["user"]["status"]), (StatusCode::ACCEPTED, &json!("pending")));
    let shown = pair.becomes("ann", "active").await;
    assert_eq!(shown["user"]["display_name"], "Ann");

    // By the other service.
    pair.ask(&registration("spammer", "x@SPAM.example", Some("Spammer")), None).await;
    let shown = pair.becomes("spammer", "rejected").await;
    assert!(reason(&shown).contains("spam.example"), "{shown}");
    // By this one, when the other one has made a login.
    let namesake = registration("namesake", "namesake@example.org", Some("ANN"));
    pair.ask(&namesake, None).await;
    let shown = pair.becomes("namesake", "rejected").await;
    assert!(reason(&shown).contains("taken"), "{shown}");
    holds(&pair, databases, 1, 1).await;
    for id in ["spammer", "namesake"] {
        let login = pair.login(id, &format!("password of {id}")).await;
        assert_eq!(login.0, StatusCode::UNAUTHORIZED);
        let password = format!("password of {id}");
        let change = pair.as_user(Method::PATCH, (id, &password), &json!({ "name": "x" })).await;
        assert_eq!(change.0, StatusCode::CONFLICT, "{change:?}");
    }

    // The refused ones can go, and come again as somebody acceptable: address and id are free.
    assert_eq!(pair.ask(&namesake, None).await.0, StatusCode::OK, "still refused");
    let other = registration("namesake", "namesake@example.org", Some("Ann II"));
    assert_eq!(pair.ask(&other, None).await.0, StatusCode::CONFLICT);
    let gone =
        pair.as_user(Method::DELETE, ("namesake", "password of namesake"), &Value::Null).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    assert_eq!(pair.ask(&other, None).await.0, StatusCode::ACCEPTED);
    pair.becomes("namesake", "active").await;
    holds(&pair, databases, 2, 2).await;

    // Two at once want the same name, a third one when they are through.
    let wanted =
        ["one", "two"].map(|id| registration(id, &format!("{id}@example.org"), Some("Zoe")));
    let asked = join_all(wanted.iter().map(|body| pair.ask(body, None))).await;
    assert!(asked.iter().all(|(status, _)| *status == StatusCode::ACCEPTED), "{asked:?}");
    let (mut active, mut rejected) = (0, 0);
    for id in ["one", "two"] {
        let shown = pair.until("a decision", async || {
            let (_, shown) = pair.user(Method::GET, id, &Value::Null).await;
            (shown["user"]["status"] != "pending").then_some(shown)
        });
        match shown.await["user"]["status"].as_str() {
            Some("active") => active += 1,
            _ => rejected += 1,
        }
    }
    assert_eq!((active, rejected), (1, 1), "both wanted the same display name");
    holds(&pair, databases, 3, 3).await;
    pair.stop().await;
}

async fn repeated(databases: [&str; 2]) {
    let pair = Pair::start(databases).await;
    let ann = registration("ann", "ann@example.org", Some("Ann"));
    let mut accepted = 0;
    for _ in 0..3 {
        let asked = join_all((0..5).map(|_| pair.ask(&ann, Some("request-1")))).await;
        for (status, answer) in asked {
            accepted += usize::from(status == StatusCode::ACCEPTED);
            // One that the database has not let through says so, and may come again.
            let fine = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];
            assert!(fine.contains(&status), "{status} {answer}");
        }
    }
    assert_eq!(accepted, 1, "registrations that began");
    pair.becomes("ann", "active").await;
    assert_eq!(pair.ask(&ann, Some("request-1")).await.0, StatusCode::OK);
    assert_eq!(pair.ask(&ann, Some("request-2")).await.0, StatusCode::OK, "the same user");
    assert_eq!(pair.ask(&ann, None).await.0, StatusCode::OK);
    let ben = registration("ben", "ben@example.org", None);
    let other = pair.ask(&ben, Some("request-1")).await;
    assert_eq!(other.0, StatusCode::UNPROCESSABLE_ENTITY, "{other:?}");
    let bad = pair.ask(&ben, Some("a b")).await;
    assert_eq!(bad.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
    holds(&pair, databases, 1, 1).await;
    assert_eq!(number(databases[0], SAGAS).await, 1, "{SAGAS}");

    // The key names that request for good, also when its user has left.
    let gone = pair.as_user(Method::DELETE, ("ann", "password of ann"), &Value::Null).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    let late = pair.ask(&ann, Some("request-1")).await;
    assert_eq!(late.0, StatusCode::CONFLICT, "{late:?}");
    assert_eq!(pair.ask(&ann, Some("request-3")).await.0, StatusCode::ACCEPTED);
    pair.becomes("ann", "active").await;
    holds(&pair, databases, 1, 1).await;
    pair.stop().await;
}

/// Both services as processes.
struct Processes<'a> {
    databases: [&'a str; 2],
    ports: [u16; 2],
    pair: Pair,
}

impl Processes<'_> {
    /// Starts one of them, told that the other one is at `peer`.
    async fn start(&self, service: usize, peer: u16) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo-worker"));
        command.arg(["register", "login"][service]);
        let (port, database) = (self.ports[service], self.databases[service]);
        command.args(flags_of(port, peer, database, (false, false)));
        let child = command.kill_on_drop(true).spawn().expect("start a process");
        self.pair.ready([&self.pair.a, &self.pair.b][service]).await;
        child
    }

    async fn register(&self, n: usize) {
        let id = |what: &str| format!("{what}-{n}");
        let people = [
            registration(&id("good"), &format!("good-{n}@example.org"), Some(&id("Good"))),
            registration(&id("spammer"), &format!("{n}@spam.example"), None),
            registration(&id("namesake"), &format!("namesake-{n}@example.org"), Some("ANN")),
        ];
        for body in &people {
            let (status, answer) = self.pair.ask(body, None).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        }
        self.pair
            .until("the accounts are made, and wait", async || {
                let pending = "SELECT count(*) FROM users WHERE status = 'pending'";
                (number(self.databases[0], pending).await == 3).then_some(())
            })
            .await;
    }

    async fn ends(&self, n: usize) {
        self.pair.becomes(&format!("good-{n}"), "active").await;
        for id in [format!("spammer-{n}"), format!("namesake-{n}")] {
            self.pair.becomes(&id, "rejected").await;
        }
        let users = i64::try_from(n).expect("small") + 1;
        holds(&self.pair, self.databases, users, users).await;
        let (id, password) = (format!("good-{n}"), format!("password of good-{n}"));
        assert_eq!(self.pair.login(&id, &password).await.0, StatusCode::OK);
    }
}

async fn killed(databases: [&str; 2]) {
    let ports = [free_port(), free_port()];
    let here = Processes { databases, ports, pair: Pair::at(ports[0], ports[1]) };
    let mut a = here.start(0, ports[1]).await;
    let mut b = here.start(1, ports[0]).await;
    here.pair.ask(&registration("ann", "ann@example.org", Some("Ann")), None).await;
    here.pair.becomes("ann", "active").await;

    // The commands are under way when the login service dies, and then the register service.
    b.kill().await.expect("kill -9");
    here.register(1).await;
    a.kill().await.expect("kill -9");
    a = here.start(0, ports[1]).await;
    assert_eq!(number(databases[0], OPEN).await, 3, "{OPEN}");
    b = here.start(1, ports[0]).await;
    here.ends(1).await;

    // The login service has done its part and cannot say so, when both die. Nobody listens there.
    b.kill().await.expect("kill -9");
    b = here.start(1, 1).await;
    here.register(2).await;
    here.pair
        .until("the logins are made", async || {
            (number(databases[1], LOGINS).await == 4).then_some(())
        })
        .await;
    assert_eq!(number(databases[0], OPEN).await, 3, "{OPEN}");
    a.kill().await.expect("kill -9");
    b.kill().await.expect("kill -9");
    a = here.start(0, ports[1]).await;
    b = here.start(1, ports[0]).await;
    here.ends(2).await;
    a.kill().await.expect("kill -9");
    b.kill().await.expect("kill -9");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_refused_in_the_middle_is_taken_back_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    refused([&a, &b], Way::Push).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_refused_in_the_middle_is_taken_back_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    refused([&a, &b], Way::Push).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_refused_in_the_middle_is_taken_back_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    refused([&a, &b], Way::Push).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_answers_of_a_registration_can_be_pulled() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    refused([&a, &b], Way::PullBoth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_registers_once_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    repeated([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_registers_once_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    repeated([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_registers_once_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    repeated([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_end_whole_or_not_at_all_when_services_are_killed_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    killed([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_end_whole_or_not_at_all_when_services_are_killed_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    killed([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_end_whole_or_not_at_all_when_services_are_killed_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    killed([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_withdrawn_under_way_is_taken_back() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let alone = Pair::start_some([&a, &b], false).await;
    alone.ask(&registration("ann", "ann@example.org", Some("Ann")), None).await;
    let change =
        alone.as_user(Method::PATCH, ("ann", "password of ann"), &json!({ "name": "x" })).await;
    assert_eq!(change.0, StatusCode::CONFLICT, "{change:?}");
    let withdrawn = alone.as_user(Method::DELETE, ("ann", "password of ann"), &Value::Null).await;
    assert_eq!(withdrawn.0, StatusCode::ACCEPTED, "{withdrawn:?}");
    alone.stop().await;

    let pair = Pair::start([&a, &b]).await;
    let shown = pair.becomes("ann", "rejected").await;
    assert!(reason(&shown).contains("withdrawn"), "{shown}");
    holds(&pair, [&a, &b], 0, 0).await;
    let gone = pair.as_user(Method::DELETE, ("ann", "password of ann"), &Value::Null).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    assert_eq!(pair.user(Method::GET, "ann", &Value::Null).await.0, StatusCode::NOT_FOUND);
    pair.stop().await;
}
