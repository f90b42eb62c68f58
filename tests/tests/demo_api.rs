//! The demo's HTTP interface as a machine sees it: bodies that are too large, headers that are there twice,
//! and a description of the interface that says what it does.

mod demo;

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use syncline_tests::servers::sqlite_database;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use demo::{Pair, registration};

const AMPLE: Duration = Duration::from_secs(60);

/// Sends a head of these lines, then `body` in one go; returns all that is answered until the connection ends.
async fn exchange(url: &str, head: String, body: &[u8]) -> String {
    let address = url.trim_start_matches("http://");
    let talk = async {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let head = format!("{head}\r\nhost: a\r\ncontent-type: application/json\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        stream.write_all(body).await.expect("the body is sent to its end");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the answer, and no reset");
        String::from_utf8(answer).expect("text")
    };
    timeout(AMPLE, talk).await.expect("an answer in time")
}

fn assert_too_large(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "one answer: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_too_much_gets_an_answer_and_no_reset() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    let large = vec![b'x'; 4 << 20];
    let (large, announced) = (large.as_slice(), &format!("content-length: {}", large.len()));
    let lines = [
        (&pair.a, "POST /register HTTP/1.1"),
        (&pair.b, "POST /login HTTP/1.1"),
        // Also where nobody would read a body.
        (&pair.a, "DELETE /users/ann HTTP/1.1"),
        (&pair.b, "POST /nowhere HTTP/1.1"),
        (&pair.b, "GET /healthz HTTP/1.1"),
    ];
    let all = lines.iter().flat_map(|(url, line)| {
        (0..4).map(move |_| exchange(url, format!("{line}\r\n{announced}"), large))
    });
    for answer in join_all(all).await {
        assert_too_large(&answer);
    }

    // In chunks, which do not say how many there will be.
    let mut chunks = Vec::new();
    for _ in 0..64 {
        chunks.extend_from_slice(b"4000\r\n");
        chunks.resize(chunks.len() + 0x4000, b'x');
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    for (url, line) in lines {
        let answer = exchange(url, format!("{line}\r\ntransfer-encoding: chunked"), &chunks).await;
        assert_too_large(&answer);
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_says_that_it_is_too_large_is_refused_before_it_is_sent() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    for (url, path) in [(&pair.a, "register"), (&pair.b, "login")] {
        let line = format!("POST /{path} HTTP/1.1");
        // Its client waits for the word to go on, which must not come.
        let head = format!("{line}\r\ncontent-length: 99999999999\r\nexpect: 100-continue");
        assert_too_large(&exchange(url, head, b"").await);

        let mut stream =
            TcpStream::connect(url.trim_start_matches("http://")).await.expect("connects");
        let head = format!("{line}\r\nhost: a\r\ncontent-length: 70000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        let mut first = [0; 12];
        let read = timeout(AMPLE, stream.read_exact(&mut first)).await;
        read.expect("an answer in time").expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 413");

        // One that is not too large is asked for.
        let head =
            format!("{line}\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close");
        let answer = exchange(url, head, b"{}").await;
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 422 "), "{answer}");
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_names_one_thing_may_be_there_once() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    let register = || pair.http.post(format!("{}/register", pair.a));
    let body = registration("ann", "ann@example.org", None);
    for second in ["request-1", "request-2"] {
        let request = register().json(&body).header("idempotency-key", "request-1");
        let asked = Pair::answer(request.header("idempotency-key", second)).await;
        assert_eq!(asked.0, StatusCode::BAD_REQUEST, "{asked:?}");
    }
    let kinds = ["application/json", "text/plain"];
    let request =
        kinds.iter().fold(register(), |request, kind| request.header("content-type", *kind));
    let asked = Pair::answer(request.body(body.to_string())).await;
    assert_eq!(asked.0, StatusCode::BAD_REQUEST, "{asked:?}");
    let shown = pair.user(Method::GET, "ann", &Value::Null).await;
    assert_eq!(shown.0, StatusCode::NOT_FOUND, "nothing has begun");
    pair.stop().await;
}

/// The description of one service.
struct Described {
    url: String,
    api: Value,
}

impl Described {
    async fn of(pair: &Pair, url: &str) -> Self {
        let answer = pair.http.get(format!("{url}/openapi.json")).send().await.expect("an answer");
        Self { url: url.to_owned(), api: answer.json().await.expect("JSON") }
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        &self.api["paths"][path][method.to_ascii_lowercase()]
    }

    /// The schema of a property of a request's body.
    fn property<'a>(&'a self, schema: &'a str, property: &str) -> &'a Value {
        &self.api["components"]["schemas"][schema]["properties"][property]
    }

    /// Sends a request whose answer must be described, as to its status, the kind of its body, and what
    /// each problem has.
    async fn ask(
        &self,
        pair: &Pair,
        (method, path, id): (&str, &str, &str),
        with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> StatusCode {
        let place = path.replace("{id}", id);
        let verb = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = with(pair.http.request(verb, format!("{}{place}", self.url)));
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let described = &self.operation(method, path)["responses"][status.as_str()];
        assert!(described.is_object(), "{method} {path}: {status} is not described");
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().expect("text"));
        let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().to_owned());
        let kinds = described["content"].as_object().map(|kinds| kinds.keys().collect::<Vec<_>>());
        match (&kind, &kinds) {
            (Some(kind), Some(kinds)) => assert!(kinds.contains(&kind), "{kind}, {described}"),
            (kind, kinds) => assert_eq!((kind, kinds), (&None, &None), "{method} {path} {status}"),
        }
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            let required = header["required"] == true;
            assert!(!required || answer.headers().contains_key(name), "{name} with {status}");
        }
        if status.is_client_error() {
            let problem: Value = answer.json().await.expect("JSON");
            for member in ["type", "title", "detail"] {
                assert!(problem[member].is_string(), "{problem}");
            }
            assert_eq!(problem["status"], status.as_u16());
            for error in problem["errors"].as_array().into_iter().flatten() {
                assert!(error["field"].is_string() && error["problem"].is_string(), "{problem}");
            }
        }
        status
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_described() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    let (one, other) = (Described::of(&pair, &pair.a).await, Described::of(&pair, &pair.b).await);
    let body = registration("ann", "ann@example.org", None);
    let (register, login) = (("POST", "/register", ""), ("POST", "/login", ""));
    let user = |method| (method, "/users/{id}", "ann");
    let large = "x".repeat(70_000);
    let change = json!({ "name": "Ann" });

    let accepted = one.ask(&pair, register, |request| request.json(&body)).await;
    assert_eq!(accepted, StatusCode::ACCEPTED);
    pair.becomes("ann", "active").await;
    assert_eq!(one.ask(&pair, register, |request| request.json(&body)).await, StatusCode::OK);
    let another = registration("ann", "other@example.org", None);
    assert_eq!(one.ask(&pair, register, |r| r.json(&another)).await, StatusCode::CONFLICT);
    for (service, operation) in [(&one, register), (&other, login), (&one, user("PATCH"))] {
        let auth = |request: reqwest::RequestBuilder| {
            request
                .basic_auth("ann", Some("password of ann"))
                .header("content-type", "application/json")
        };
        let ask = async |body: &str| {
            let body = body.to_owned();
            service.ask(&pair, operation, |request| auth(request).body(body)).await.as_u16()
        };
        assert_eq!(ask("{").await, 400, "{operation:?}");
        assert_eq!(ask(&large).await, 413, "{operation:?}");
        // Arrays of what the members would be, too.
        let user = "[\"ann\", [\"Ann\", \"a@b\", \"password of ann\", null]]";
        let inside =
            "{\"user_id\": \"ann\", \"user\": [\"Ann\", \"a@b\", \"password of ann\", null]}";
        let credentials = "[\"ann\", \"password of ann\"]";
        let names = "[\"Ann\", \"a@b\", \"password 2\"]";
        let arrays = ["[]", user, inside, credentials, names];
        for wrong in ["{}", "{\"more\": 1}", "{\"name\": null}"].into_iter().chain(arrays) {
            assert_eq!(ask(wrong).await, 422, "{operation:?} {wrong}");
        }
        let plain = service.ask(&pair, operation, |request| {
            let request = request.basic_auth("ann", Some("password of ann"));
            request.header("content-type", "text/plain").body("{}")
        });
        assert_eq!(plain.await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{operation:?}");
    }
    assert_eq!(one.ask(&pair, user("GET"), |request| request).await, StatusCode::OK);
    for method in ["GET", "PATCH", "DELETE"] {
        let nobody = (method, "/users/{id}", "nobody");
        let ask = |operation, id: &'static str| {
            one.ask(&pair, operation, move |request| {
                request.basic_auth(id, Some("password")).json(&json!({ "name": "x" }))
            })
        };
        assert_eq!(ask(nobody, "nobody").await, StatusCode::NOT_FOUND);
        assert_eq!(ask((method, "/users/{id}", "%FF"), "x").await, StatusCode::BAD_REQUEST);
        if method != "GET" {
            for id in [nobody, user(method)] {
                assert_eq!(ask(id, "ben").await, StatusCode::FORBIDDEN, "{id:?}");
            }
            assert_eq!(ask(user(method), "ann").await, StatusCode::UNAUTHORIZED);
            let none = one.ask(&pair, user(method), |request| request.json(&change)).await;
            assert_eq!(none, StatusCode::UNAUTHORIZED);
        }
    }
    for _ in 0..10 {
        let wrong = json!({ "user_id": "ann", "password": "wrong" });
        assert_eq!(other.ask(&pair, login, |r| r.json(&wrong)).await, StatusCode::UNAUTHORIZED);
    }
    let right = json!({ "user_id": "ann", "password": "password of ann" });
    let barred = other.ask(&pair, login, |request| request.json(&right)).await;
    assert_eq!(barred, StatusCode::TOO_MANY_REQUESTS);
    let gone = one
        .ask(&pair, user("DELETE"), |request| request.basic_auth("ann", Some("password of ann")));
    assert_eq!(gone.await, StatusCode::NO_CONTENT);
    for (service, path) in
        [(&one, "/healthz"), (&one, "/readyz"), (&other, "/healthz"), (&other, "/readyz")]
    {
        assert_eq!(service.ask(&pair, ("GET", path, ""), |r| r).await, StatusCode::OK);
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_has_limits_problems_and_who_may() {
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let pair = Pair::start([&a, &b]).await;
    let (one, other) = (Described::of(&pair, &pair.a).await, Described::of(&pair, &pair.b).await);
    for (service, schema, property, least, most, pattern) in [
        (&one, "NewRegistration", "user_id", 1, 63, true),
        (&one, "NewUser", "name", 1, 200, true),
        (&one, "NewUser", "email", 3, 254, true),
        (&one, "NewUser", "password", 8, 1024, false),
        (&one, "NewUser", "display_name", 1, 64, true),
        (&one, "Change", "name", 1, 200, true),
        (&one, "Change", "email", 3, 254, true),
        (&one, "Change", "password", 8, 1024, false),
        (&other, "Login", "user_id", 1, 255, false),
        (&other, "Login", "password", 1, 1024, false),
    ] {
        let described = service.property(schema, property);
        let limits = (&described["minLength"], &described["maxLength"]);
        assert_eq!(limits, (&json!(least), &json!(most)), "{schema}.{property}: {described}");
        assert_eq!(described["pattern"].is_string(), pattern, "{schema}.{property}: {described}");
        let closed = &service.api["components"]["schemas"][schema]["additionalProperties"];
        assert_eq!(closed, &json!(false), "{schema}");
    }
    // A change has something, and nothing is taken away by it.
    assert_eq!(one.api["components"]["schemas"]["Change"]["minProperties"], 1);
    assert_eq!(one.property("Change", "name")["type"], "string");
    let scheme = &one.api["components"]["securitySchemes"]["password"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("basic")));
    for method in ["PATCH", "DELETE"] {
        let operation = one.operation(method, "/users/{id}");
        assert_eq!(operation["security"], json!([{ "password": [] }]), "{method}");
    }
    let key = &one.operation("POST", "/register")["parameters"][0];
    assert_eq!(
        (&key["name"], &key["schema"]["type"]),
        (&json!("idempotency-key"), &json!("string"))
    );
    assert_eq!(key["schema"]["maxLength"], 200);

    for service in [&one, &other] {
        assert!(!service.api.to_string().contains(":null"), "members without a value");
    }

    // Whatever is not described is no method of the path, and the answer says which ones are.
    for service in [&one, &other] {
        for (path, operations) in service.api["paths"].as_object().expect("paths") {
            let described = operations.as_object().expect("operations");
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
                if described.contains_key(&method.to_ascii_lowercase()) {
                    continue;
                }
                let url = format!("{}{}", service.url, path.replace("{id}", "ann"));
                let verb = Method::from_bytes(method.as_bytes()).expect("a method");
                let answer = pair.http.request(verb, url).send().await.expect("an answer");
                assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                let allow = answer.headers().get("allow").expect("allow").to_str().expect("text");
                let allow: Vec<_> =
                    allow.split(',').map(|method| method.trim().to_lowercase()).collect();
                for method in described.keys() {
                    assert!(allow.contains(method), "{path} allows {allow:?}, not {method}");
                }
            }
        }
    }
    pair.stop().await;
}
