//! The demo's users and those who are not: only a user changes or deletes itself, tries of passwords are
//! limited without keeping the user out, and a name is one name however it is written.

mod demo;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use syncline_tests::servers::{mariadb_database, postgres_database, sqlite_database};

use demo::{Pair, Way, registration};

const WRONG: &str = "not the password";

/// A client at 127.0.0.`last`: on Linux each of these is an address of this machine.
#[cfg(target_os = "linux")]
fn at(last: u8) -> Client {
    let address = std::net::IpAddr::from([127, 0, 0, last]);
    Client::builder().no_proxy().local_address(address).build().expect("a client")
}

/// Says a password at one of the doors.
type Ask<'a> = dyn Fn(&Client, &str) -> RequestBuilder + 'a;

fn login(client: &Client, pair: &Pair, id: &str, password: &str) -> RequestBuilder {
    let body = json!({ "user_id": id, "password": password });
    client.post(format!("{}/login", pair.b)).json(&body)
}

async fn status(request: RequestBuilder) -> StatusCode {
    Pair::answer(request).await.0
}

async fn active(pair: &Pair, id: &str) {
    let asked = pair.ask(&registration(id, &format!("{id}@example.org"), None), None).await;
    assert_eq!(asked.0, StatusCode::ACCEPTED, "{asked:?}");
    pair.becomes(id, "active").await;
}

async fn only_the_user(databases: [&str; 2]) {
    let alone = Pair::start_some(databases, false).await;
    alone.ask(&registration("ann", "ann@example.org", None), None).await;
    let withdrawn = alone.user(Method::DELETE, "ann", &Value::Null).await;
    assert_eq!(withdrawn.0, StatusCode::UNAUTHORIZED, "a registration is the user's, too");
    alone.stop().await;

    let pair = Pair::start(databases).await;
    pair.becomes("ann", "active").await;
    active(&pair, "ben").await;
    let (url, right, own) = (pair.url_of("ann"), "password of ann", "password of ben");
    let shown = pair.user(Method::GET, "ann", &Value::Null).await;
    let change = json!({ "password": "a stranger's" });
    for method in [Method::PATCH, Method::DELETE] {
        let request = || pair.http.request(method.clone(), url.clone()).json(&change);
        let asked = request().send().await.expect("an answer");
        assert_eq!(asked.status(), StatusCode::UNAUTHORIZED, "{method} without a password");
        let challenge = asked.headers().get("www-authenticate").expect("a challenge");
        assert!(challenge.as_bytes().starts_with(b"Basic "), "{challenge:?}");
        let wrong = request().basic_auth("ann", Some(WRONG));
        assert_eq!(status(wrong).await, StatusCode::UNAUTHORIZED, "{method} with a wrong one");
        let bens = request().basic_auth("ben", Some(own));
        assert_eq!(status(bens).await, StatusCode::FORBIDDEN, "{method} with one's own");
        let bens = request().basic_auth("ann", Some(own));
        assert_eq!(status(bens).await, StatusCode::UNAUTHORIZED, "{method} with one's own");
        let bearer = request().bearer_auth("password of ann");
        assert_eq!(status(bearer).await, StatusCode::UNAUTHORIZED, "{method} by another way");
        let twice = request().basic_auth("ben", Some(own)).basic_auth("ann", Some(right));
        assert_eq!(status(twice).await, StatusCode::BAD_REQUEST, "{method} as two at once");
    }
    assert_eq!(pair.user(Method::GET, "ann", &Value::Null).await, shown, "nothing has changed");
    assert_eq!(pair.login("ann", right).await.0, StatusCode::OK);

    let change = json!({ "password": "a new one" });
    let changed = pair.as_user(Method::PATCH, ("ann", right), &change).await;
    assert_eq!(changed.0, StatusCode::OK);
    let old = pair.as_user(Method::DELETE, ("ann", right), &Value::Null).await;
    assert_eq!(old.0, StatusCode::UNAUTHORIZED, "the old password");
    let gone = pair.as_user(Method::DELETE, ("ann", "a new one"), &Value::Null).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    let again = pair.as_user(Method::DELETE, ("ann", "a new one"), &Value::Null).await;
    assert_eq!(again.0, StatusCode::NOT_FOUND);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_user_itself_changes_or_deletes_it_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    only_the_user([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_user_itself_changes_or_deletes_it_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    only_the_user([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_user_itself_changes_or_deletes_it_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    only_the_user([&a, &b]).await;
}

/// By each way to have a password looked at.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn wrong_tries_shut_out_an_address_and_not_the_user() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    active(&pair, "ann").await;
    let change = |client: &Client, password: &str| {
        let request = client.patch(pair.url_of("ann")).basic_auth("ann", Some(password));
        request.json(&json!({ "name": "Ann" }))
    };
    let register = |client: &Client, password: &str| {
        let mut body = registration("ann", "ann@example.org", None);
        body["user"]["password"] = json!(password);
        client.post(format!("{}/register", pair.a)).json(&body)
    };
    let log_in = |client: &Client, password: &str| login(client, &pair, "ann", password);
    let ways: [(&str, StatusCode, &Ask<'_>); 3] = [
        ("logging in", StatusCode::UNAUTHORIZED, &log_in),
        // Before a change, after which the registration would not be the same.
        ("registering again", StatusCode::CONFLICT, &register),
        ("changing", StatusCode::UNAUTHORIZED, &change),
    ];
    for (n, (way, refused, request)) in (0..).zip(ways) {
        let stranger = at(20 + n);
        for _ in 0..10 {
            assert_eq!(status(request(&stranger, WRONG)).await, refused, "{way}");
        }
        for password in [WRONG, "password of ann"] {
            let barred = status(request(&stranger, password)).await;
            assert_eq!(barred, StatusCode::TOO_MANY_REQUESTS, "{way}");
        }
        let user = status(request(&at(10), "password of ann")).await;
        assert_eq!(user, StatusCode::OK, "{way}: the user is elsewhere");
    }
    pair.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn tries_from_many_addresses_do_not_keep_a_user_out() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    active(&pair, "ann").await;
    for last in 20..25 {
        let stranger = at(last);
        for _ in 0..10 {
            let wrong = status(login(&stranger, &pair, "ann", WRONG)).await;
            assert_eq!(wrong, StatusCode::UNAUTHORIZED);
        }
    }
    // From where she never was, and again.
    for _ in 0..3 {
        let right = status(login(&at(10), &pair, "ann", "password of ann")).await;
        assert_eq!(right, StatusCode::OK);
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_each_client_has_limits_of_its_own() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let databases = [a.as_str(), b.as_str()];
    let proxies = ["--trusted-proxies", "127.0.0.0/8,::1"];
    let pair = Pair::start_with(databases, true, Way::Push, &proxies).await;
    active(&pair, "ann").await;
    let from = |hops: &str, password: &str| {
        login(&pair.http, &pair, "ann", password).header("x-forwarded-for", hops)
    };
    for _ in 0..10 {
        assert_eq!(status(from("192.0.2.1", WRONG)).await, StatusCode::UNAUTHORIZED);
    }
    let barred = StatusCode::TOO_MANY_REQUESTS;
    assert_eq!(status(from("192.0.2.1", "password of ann")).await, barred);
    let tale = from("192.0.2.99, 192.0.2.1", "password of ann");
    assert_eq!(status(tale).await, barred, "what the client says of itself does not count");
    assert_eq!(status(from("192.0.2.2", "password of ann")).await, StatusCode::OK);
    pair.stop().await;

    let pair = Pair::start(databases).await;
    let mut answers = Vec::new();
    for n in 0..11 {
        let made_up = login(&pair.http, &pair, "ann", WRONG);
        answers.push(status(made_up.header("x-forwarded-for", format!("192.0.2.{n}"))).await);
    }
    assert_eq!(answers.last(), Some(&barred), "nobody is believed who is not trusted: {answers:?}");
    pair.stop().await;
}

async fn execute(url: &str, sql: &'static str) {
    let done = match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let pool = sqlx::SqlitePool::connect(url).await.expect("connect");
            sqlx::query(sql).execute(&pool).await.map(|done| done.rows_affected())
        }
        Some("postgres") => {
            let pool = sqlx::PgPool::connect(url).await.expect("connect");
            sqlx::query(sql).execute(&pool).await.map(|done| done.rows_affected())
        }
        _ => {
            let pool = sqlx::MySqlPool::connect(url).await.expect("connect");
            sqlx::query(sql).execute(&pool).await.map(|done| done.rows_affected())
        }
    };
    assert_eq!(done.expect(sql), 1, "{sql}");
}

async fn names(databases: [&str; 2]) {
    let pair = Pair::start(databases).await;
    let hidden = [
        (".", "a@b", "A"),
        ("..", "a@b", "A"),
        ("an\u{200b}n", "a@b", "A"),
        ("\u{202e}ann", "a@b", "A"),
        ("\u{2800}", "a@b", "A"),
        ("ann", "a\u{200b}@b", "A"),
        ("ann", "a@exa\u{200d}mple.org", "A"),
        ("ann", "a@ex\u{430}mple.org", "A"),
        ("ann", "a@b", "An\u{200b}n"),
        ("ann", "a@b", "An\u{ad}n"),
        ("ann", "a@b", "\u{3164}"),
    ];
    for (id, email, display_name) in hidden {
        let asked = pair.ask(&registration(id, email, Some(display_name)), None).await;
        assert_eq!(asked.0, StatusCode::UNPROCESSABLE_ENTITY, "{id:?} {email:?} {display_name:?}");
    }

    // One user, composed and decomposed.
    let (composed, decomposed) = ("Zo\u{e9}", "Zoe\u{301}");
    let password = format!("password of {decomposed}");
    let zoe = registration(decomposed, "zoe\u{301}@example.org", Some(composed));
    let (begun, shown) = pair.ask(&zoe, None).await;
    assert_eq!((begun, &shown["user_id"]), (StatusCode::ACCEPTED, &json!(composed)));
    for id in [composed, decomposed] {
        let shown = pair.becomes(id, "active").await;
        assert_eq!(shown["user_id"], composed);
        assert_eq!(pair.login(id, &password).await.0, StatusCode::OK, "{id:?}");
        let own = pair.as_user(Method::PATCH, (id, &password), &json!({ "name": "Z" })).await;
        assert_eq!(own.0, StatusCode::OK, "{id:?}");
    }
    assert_eq!(pair.ask(&registration(composed, "a@b", None), None).await.0, StatusCode::CONFLICT);

    // The name and the address are taken, in whatever spelling.
    let twins = [
        ("case", "case@example.org", Some("ZOE\u{301}"), "taken"),
        ("width", "width@example.org", Some("\u{ff3a}\u{ff4f}\u{e9}"), "taken"),
        ("address", "ZO\u{c9}@Example.org", None, "in use"),
    ];
    for (id, email, display_name, reason) in twins {
        pair.ask(&registration(id, email, display_name), None).await;
        let shown = pair.becomes(id, "rejected").await;
        let why = shown["user"]["reason"].as_str().unwrap_or_default();
        assert!(why.contains(reason), "{shown}");
    }

    // MariaDB takes texts for one that differ by spaces at their end.
    let padded = format!("{composed} ");
    assert_eq!(pair.login(&padded, &password).await.0, StatusCode::UNAUTHORIZED);
    let shown = pair.user(Method::GET, &padded, &Value::Null).await;
    assert_eq!(shown.0, StatusCode::NOT_FOUND, "{shown:?}");

    // A user of before these rules is there as before.
    let old = "INSERT INTO users
        (id, name, email, password_hash, status, reason, version, last_version)
        VALUES ('O\u{200b}le\u{301}', 'Ole', 'o\u{200b}@example.org', '-', 'active', NULL, 1, 1)";
    execute(databases[0], old).await;
    let (found, shown) = pair.user(Method::GET, "O\u{200b}le\u{301}", &Value::Null).await;
    assert_eq!((found, &shown["user"]["name"]), (StatusCode::OK, &json!("Ole")));
    let old = "UPDATE accounts SET user_id = 'Zoe\u{301}' WHERE user_id = 'Zo\u{e9}'";
    execute(databases[1], old).await;
    assert_eq!(pair.login(decomposed, &password).await.0, StatusCode::OK);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_alike_are_one_and_what_cannot_be_seen_is_refused_on_sqlite() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    names([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_alike_are_one_and_what_cannot_be_seen_is_refused_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    names([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_alike_are_one_and_what_cannot_be_seen_is_refused_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    names([&a, &b]).await;
}
