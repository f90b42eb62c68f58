//! Both demo services over loopback HTTP, on every database: the story in small, bad
//! input, and what an abuser of the login meets.

mod demo;

use std::time::Duration;

use clap::Parser;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use syncline_tests::servers::{mariadb_database, postgres_database, sqlite_database};
use tokio_util::sync::CancellationToken;

use demo::{Arguments, Pair, Way, config};

async fn story(databases: [&str; 2]) {
    story_by(databases, Way::Push).await;
}

async fn story_by(databases: [&str; 2], way: Way) {
    let pair = Pair::start_by(databases, way).await;
    let (status, shown) = pair.register("ann", "Ann@example.org", "password 1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(shown["user"]["status"], "pending");
    assert_eq!(pair.register("ann", "Ann@example.org", "password 1").await.0, StatusCode::OK);
    let other = pair.register("ann", "other@example.org", "password 1").await;
    assert_eq!(other.0, StatusCode::CONFLICT);
    let other = pair.register("ann", "Ann@example.org", "password 2").await;
    assert_eq!(other.0, StatusCode::CONFLICT);
    pair.becomes("ann", "active").await;
    let (status, shown) = pair.login("ann", "password 1").await;
    let user = json!({ "name": "Name of ann", "email": "Ann@example.org" });
    assert_eq!((status, shown), (StatusCode::OK, json!({ "user_id": "ann", "user": user })));

    pair.register("thief", "ann@EXAMPLE.org", "password 3").await;
    let shown = pair.becomes("thief", "rejected").await;
    assert!(shown["user"]["reason"].as_str().is_some_and(|r| r.contains("in use")), "{shown}");
    assert_eq!(pair.login("thief", "password 3").await.0, StatusCode::UNAUTHORIZED);
    let change =
        pair.as_user(Method::PATCH, ("thief", "password 3"), &json!({ "name": "x" })).await;
    assert_eq!(change.0, StatusCode::CONFLICT);

    let change = json!({ "email": "new@example.org", "password": "password 4" });
    assert_eq!(pair.as_user(Method::PATCH, ("ann", "password 1"), &change).await.0, StatusCode::OK);
    let logged_in = async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        (pair.login("ann", "password 4").await.0 == StatusCode::OK).then_some(())
    };
    pair.until("the new password", logged_in).await;
    pair.register("ben", "ben@example.org", "password 5").await;
    pair.becomes("ben", "active").await;
    let taken = json!({ "email": "new@example.org" });
    assert_eq!(pair.as_user(Method::PATCH, ("ben", "password 5"), &taken).await.0, StatusCode::OK);
    let back = async || {
        let (_, shown) = pair.user(Method::GET, "ben", &Value::Null).await;
        let user = &shown["user"];
        (user["email"] == "ben@example.org" && user["reason"].is_string()).then_some(())
    };
    pair.until("the refused update goes back", back).await;

    let gone = pair.as_user(Method::DELETE, ("ann", "password 4"), &Value::Null).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    assert_eq!(pair.user(Method::GET, "ann", &Value::Null).await.0, StatusCode::NOT_FOUND);
    let refused = async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        (pair.login("ann", "password 4").await.0 == StatusCode::UNAUTHORIZED).then_some(())
    };
    pair.until("the deletion", refused).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_registered_at_one_logs_in_at_the_other_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    story([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_registered_at_one_logs_in_at_the_other_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    story([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_registered_at_one_logs_in_at_the_other_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    story([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_registered_on_mariadb_logs_in_on_sqlite() {
    let Some(a) = mariadb_database().await else { return };
    let (_two, b) = sqlite_database();
    story([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_pulled_and_answers_pushed_back_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    story_by([&a, &b], Way::Pull).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_pulled_and_answers_pushed_back_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    story_by([&a, &b], Way::Pull).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_pulled_and_answers_pushed_back_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    story_by([&a, &b], Way::Pull).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_answers_are_pulled_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    story_by([&a, &b], Way::PullBoth).await;
}

/// What arrives by push and by pull is one stream with one watermark.
async fn moves_between_push_and_pull(databases: [&str; 2]) {
    for (n, way) in [Way::Push, Way::Pull, Way::PullBoth, Way::Push].into_iter().enumerate() {
        // One is registered while nobody takes it in, and one under way.
        let alone = Pair::start_all(databases, false, way).await;
        let (early, late) = (format!("early-{n}"), format!("late-{n}"));
        let email = |id: &str| format!("{id}@example.org");
        alone.register(&early, &email(&early), "password 1").await;
        alone.stop().await;
        let pair = Pair::start_by(databases, way).await;
        pair.register(&late, &email(&late), "password 1").await;
        for id in [&early, &late] {
            pair.becomes(id, "active").await;
            assert_eq!(pair.login(id, "password 1").await.0, StatusCode::OK, "{way:?} {id}");
        }
        pair.stop().await;
    }
    // Each login was asked for and answered once, by whatever way the command came.
    let url = databases[1];
    let head = match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let pool = sqlx::SqlitePool::connect(url).await.expect("connect");
            syncline::incarnation::lives(&pool).await
        }
        Some("postgres") => {
            let pool = sqlx::PgPool::connect(url).await.expect("connect");
            syncline::incarnation::lives(&pool).await
        }
        _ => {
            let pool = sqlx::MySqlPool::connect(url).await.expect("connect");
            syncline::incarnation::lives(&pool).await
        }
    };
    assert_eq!(head.expect("the log").head.0, 8, "answers in the second service's log");
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_between_push_and_pull_repeats_and_loses_nothing_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    moves_between_push_and_pull([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_between_push_and_pull_repeats_and_loses_nothing_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    moves_between_push_and_pull([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_between_push_and_pull_repeats_and_loses_nothing_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    moves_between_push_and_pull([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_problem_that_says_what_to_do_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    bad_input([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_problem_that_says_what_to_do_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    bad_input([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_problem_that_says_what_to_do_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    bad_input([&a, &b]).await;
}

async fn bad_input(databases: [&str; 2]) {
    let pair = Pair::start(databases).await;
    pair.register("known", "known@example.org", "a good password").await;
    for nothing in [json!({}), json!({ "user": { "name": "wrong place" } })] {
        let answer = pair.as_user(Method::PATCH, ("known", "a good password"), &nothing).await;
        assert_eq!(answer.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let (register, login) = (format!("{}/register", pair.a), format!("{}/login", pair.b));
    let user = |name: &str, email: &str, password: &str| {
        json!({"user_id": "u", "user": {"name": name, "email": email, "password": password}})
            .to_string()
    };
    let good = "a good password";
    let keys = format!("\"{}\"", "\u{1f511}".repeat(64));
    let huge = user(&"x".repeat(100_000), "a@b", good);
    let cases: Vec<(&str, &str, String, u16)> = vec![
        ("POST", &register, "{".into(), 400),
        ("POST", &register, "".into(), 400),
        ("POST", &register, "[]".into(), 422),
        ("POST", &register, "{}".into(), 422),
        ("POST", &register, json!({"user_id": 7, "user": {}}).to_string(), 422),
        ("POST", &register, json!({"user_id": "u"}).to_string(), 422),
        ("POST", &register, user("", "a@b", good), 422),
        ("POST", &register, user("a\u{0}b", "a@b", good), 422),
        ("POST", &register, user(&"x".repeat(201), "a@b", good), 422),
        ("POST", &register, user("n", "no at sign", good), 422),
        ("POST", &register, user("n", "a@b..c", good), 422),
        ("POST", &register, user("n", "a@b", "short"), 422),
        ("POST", &register, user("n", "a@b", &"x".repeat(1025)), 422),
        ("POST", &register, user("n", "a@b", good).replace("\"u\"", "\"..\""), 422),
        ("POST", &register, user("n", "a@b", good).replace("\"u\"", "\"u\",\"more\":1"), 422),
        ("POST", &register, user("n", "a@b", good).replace("\"u\"", "\"a b\""), 422),
        (
            "POST",
            &register,
            user("n", "a@b", good).replace("\"name\"", "\"display_name\":\" \",\"name\""),
            422,
        ),
        ("POST", &register, huge, 413),
        ("POST", &register, user("n", "a@b", good).replace("\"u\"", &keys), 422),
        ("GET", &register, String::new(), 405),
        ("POST", &login, json!({"user_id": "u"}).to_string(), 422),
        ("POST", &login, json!({"user_id": "u", "password": "x".repeat(2000)}).to_string(), 422),
        ("POST", &login, json!({"user_id": "a\u{0}", "password": "x"}).to_string(), 401),
        ("DELETE", &login, String::new(), 405),
    ];
    let nowhere = format!("{}/nowhere", pair.a);
    let unsigned = format!("{}/syncline", pair.b);
    let nul = format!("{}/users/a%00b", pair.a);
    let more = [
        ("GET", nowhere.as_str(), String::new(), 404),
        ("GET", &nul, String::new(), 404),
        ("DELETE", &nul, String::new(), 404),
        ("PATCH", &nul, "{}".into(), 404),
        ("POST", &unsigned, "[]".into(), 401),
    ];
    for (method, url, body, expected) in cases.into_iter().chain(more) {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let kind = match url == unsigned {
            true => "application/cloudevents-batch+json",
            false => "application/json",
        };
        let request = pair.http.request(method, url).header("content-type", kind);
        let shown: String = body.chars().take(60).collect();
        let answer = request.body(body).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{url} {shown}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{url} {shown}");
        let problem: Value = answer.json().await.expect("JSON");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 5), "{problem}");
    }
    let plain = pair.http.post(&register).body("{}").send().await.expect("an answer");
    assert_eq!(plain.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for url in [&pair.a, &pair.b] {
        let api = pair.http.get(format!("{url}/openapi.json")).send().await.expect("an answer");
        let api: Value = api.json().await.expect("JSON");
        assert!(api["paths"].as_object().is_some_and(|paths| paths.len() >= 3), "{api}");
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_users_and_wrong_passwords_are_alike_and_tries_are_limited() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    pair.register("ann", "ann@example.org", "password 1").await;
    pair.becomes("ann", "active").await;
    assert_eq!(pair.login("nobody", "password 1").await, pair.login("ann", "wrong").await);
    let mut last = StatusCode::OK;
    for _ in 0..10 {
        last = pair.login("ann", "wrong").await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let body = json!({ "user_id": "ann", "password": "password 1" });
    let answer = pair.http.post(format!("{}/login", pair.b)).json(&body).send().await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "the right one waits, too");
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(pair.login("ben", "x").await.0, StatusCode::UNAUTHORIZED, "others may try");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_deleted_user_is_not_taken_for_one_to_its_successor() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    for name in ["ann", "ben"] {
        pair.register(name, &format!("{name}@example.org"), "password 1").await;
        pair.becomes(name, "active").await;
    }
    pair.stop().await;

    // All of it is answered in one go, once the other service is there.
    let alone = Pair::start_some([&a, &b], false).await;
    for name in ["second", "third"] {
        let change =
            alone.as_user(Method::PATCH, ("ann", "password 1"), &json!({ "name": name })).await;
        assert_eq!(change.0, StatusCode::OK);
    }
    let gone = alone.as_user(Method::DELETE, ("ann", "password 1"), &Value::Null).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    let again = alone.register("ann", "ben@example.org", "password 2").await;
    assert_eq!(again.0, StatusCode::ACCEPTED);
    alone.stop().await;

    let pair = Pair::start([&a, &b]).await;
    let shown = pair.becomes("ann", "rejected").await;
    assert!(shown["user"]["reason"].as_str().is_some_and(|r| r.contains("in use")), "{shown}");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_that_are_sent_at_once_are_limited_too() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    let tries = futures::future::join_all((0..100).map(|_| pair.login("ann", "wrong"))).await;
    let looked_at = tries.iter().filter(|(status, _)| *status == StatusCode::UNAUTHORIZED).count();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert!((10..10 + cores).contains(&looked_at), "{looked_at} of 100 were looked at");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_keep_a_service_from_stopping() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    let address = pair.a.trim_start_matches("http://");
    let mut half = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let head = "POST /register HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let text = format!("{head}content-length: 100\r\n\r\n{{");
    tokio::io::AsyncWriteExt::write_all(&mut half, text.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    pair.stop().await;
}

#[tokio::test]
async fn a_service_that_cannot_start_says_why_without_secrets() {
    let cases = [
        ("oracle://u:hidden@127.0.0.1/x", "must begin with"),
        ("mysql://u:hidden@127.0.0.1:1/x", "cannot reach MariaDB at 127.0.0.1:1"),
        ("postgres://u:hidden@127.0.0.1:1/x", "cannot reach PostgreSQL at 127.0.0.1:1"),
        ("sqlite:///no/such/directory/hidden-not-secret.db", "cannot make /no/such/directory/"),
    ];
    for (url, expected) in cases {
        let run = demo_register::run(config(0, 1, url), CancellationToken::new());
        let error = run.await.expect_err("it cannot start");
        let text = format!("{error:#}");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hidden@"), "{text}");
    }
    let (_dir, database) = sqlite_database();
    let flags = ["", "--listen", "127.0.0.1:0", "--peer-url", "http://127.0.0.1:1/syncline"];
    let rest = ["--database-url", &database, "--secret-out", "whsec_hidden!", "--secret-in", "x"];
    let config = Arguments::parse_from(flags.into_iter().chain(rest)).config;
    let error = demo_login::run(config, CancellationToken::new()).await.expect_err("no secret");
    let text = format!("{error:#}");
    assert!(text.contains("SECRET_OUT") && !text.contains("hidden"), "{text}");
}
