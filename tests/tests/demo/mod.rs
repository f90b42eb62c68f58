//! Both demo services in this process, over loopback HTTP.
#![allow(dead_code)] // each test file uses its part

use std::{net::TcpListener, time::Duration};

use clap::Parser;
use demo_common::Config;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) config: Config,
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const TOKEN: &str = "synf_3q2-7wX1c0ffee0ddba11f00dfeedbeef";

/// Which way messages take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Each service pushes.
    Push,
    /// The second one pulls, and pushes back.
    Pull,
    /// Both pull.
    PullBoth,
}

/// Of a service that pulls or is pushed to, and whose peer pulls or is pushed to.
pub(crate) fn flags_of(
    listen: u16,
    peer: u16,
    database: &str,
    (pulls, feeds): (bool, bool),
) -> Vec<String> {
    let (listen, push, feed) = (
        format!("127.0.0.1:{listen}"),
        format!("http://127.0.0.1:{peer}/syncline"),
        format!("http://127.0.0.1:{peer}/feed"),
    );
    let mut flags = vec!["--listen", &listen, "--database-url", database];
    flags.extend(["--hash-cost", "low", "--feed-token", TOKEN]);
    match pulls {
        true => flags.extend(["--peer-feed", &feed, "--peer-token", TOKEN]),
        false => flags.extend(["--secret-in", SECRET]),
    }
    if !feeds {
        flags.extend(["--peer-url", &push, "--secret-out", SECRET]);
    }
    flags.into_iter().map(str::to_owned).collect()
}

pub(crate) fn config(listen: u16, peer: u16, database: &str) -> Config {
    let flags = flags_of(listen, peer, database, (false, false));
    Arguments::parse_from(std::iter::once(String::new()).chain(flags)).config
}

/// A body to register with.
pub(crate) fn registration(id: &str, email: &str, display_name: Option<&str>) -> Value {
    let mut user = json!({ "name": format!("Name of {id}"), "email": email });
    user["password"] = json!(format!("password of {id}"));
    if let Some(name) = display_name {
        user["display_name"] = json!(name);
    }
    json!({ "user_id": id, "user": user })
}

/// Both services, running until `stop`.
pub(crate) struct Pair {
    pub(crate) a: String,
    pub(crate) b: String,
    pub(crate) http: Client,
    stop: CancellationToken,
    running: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Pair {
    pub(crate) async fn start(databases: [&str; 2]) -> Self {
        Self::start_some(databases, true).await
    }

    pub(crate) async fn start_by(databases: [&str; 2], way: Way) -> Self {
        Self::start_all(databases, true, way).await
    }

    /// The first service, and the second one or nobody where it should be.
    pub(crate) async fn start_some(databases: [&str; 2], both: bool) -> Self {
        Self::start_all(databases, both, Way::Push).await
    }

    pub(crate) async fn start_all(databases: [&str; 2], both: bool, way: Way) -> Self {
        Self::start_with(databases, both, way, &[]).await
    }

    /// Both services with further flags.
    pub(crate) async fn start_with(
        databases: [&str; 2],
        both: bool,
        way: Way,
        more: &[&str],
    ) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (one, two) = (free(), free());
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let (a, b) = (port(&one), port(&two));
        drop((one, two));
        let stop = CancellationToken::new();
        let (pulls, back) = (way != Way::Push, way == Way::PullBoth);
        let config = |listen, peer, database, ways| {
            let flags = flags_of(listen, peer, database, ways);
            let flags = std::iter::once(String::new()).chain(flags);
            Arguments::parse_from(flags.chain(more.iter().map(|flag| (*flag).to_owned()))).config
        };
        let first = config(a, b, databases[0], (back, pulls));
        let mut running = vec![tokio::spawn(demo_register::run(first, stop.clone()))];
        if both {
            let second = config(b, a, databases[1], (pulls, back));
            let login = demo_login::run(second, stop.clone());
            running.push(tokio::spawn(login));
        }
        let pair = Self { stop, running, ..Self::at(a, b) };
        for url in [&pair.a, &pair.b].into_iter().take(pair.running.len()) {
            pair.ready(url).await;
        }
        pair
    }

    /// Services that somebody else runs.
    pub(crate) fn at(a: u16, b: u16) -> Self {
        let [a, b] = [a, b].map(|port| format!("http://127.0.0.1:{port}"));
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = Client::builder().no_proxy().build().expect("a client");
        Self { a, b, http, stop: CancellationToken::new(), running: Vec::new() }
    }

    pub(crate) async fn ready(&self, url: &str) {
        self.until("ready", async || {
            let answer = self.http.get(format!("{url}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Sends a registration, under a key that names it if there is one.
    pub(crate) async fn ask(&self, body: &Value, key: Option<&str>) -> (StatusCode, Value) {
        let mut request = self.http.post(format!("{}/register", self.a)).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        url: String,
        body: &Value,
    ) -> (StatusCode, Value) {
        Self::answer(self.http.request(method, url).json(body)).await
    }

    pub(crate) async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(!text.contains("argon2"), "a hash is shown: {text}");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) async fn register(
        &self,
        id: &str,
        email: &str,
        password: &str,
    ) -> (StatusCode, Value) {
        let user = json!({ "name": format!("Name of {id}"), "email": email, "password": password });
        let body = json!({ "user_id": id, "user": user });
        self.send(Method::POST, format!("{}/register", self.a), &body).await
    }

    pub(crate) async fn login(&self, id: &str, password: &str) -> (StatusCode, Value) {
        let body = json!({ "user_id": id, "password": password });
        self.send(Method::POST, format!("{}/login", self.b), &body).await
    }

    /// As anybody.
    pub(crate) async fn user(&self, method: Method, id: &str, body: &Value) -> (StatusCode, Value) {
        Self::answer(self.http.request(method, self.url_of(id)).json(body)).await
    }

    /// As the user itself, who shows the password.
    pub(crate) async fn as_user(
        &self,
        method: Method,
        (id, password): (&str, &str),
        body: &Value,
    ) -> (StatusCode, Value) {
        let request = self.http.request(method, self.url_of(id));
        Self::answer(request.basic_auth(id, Some(password)).json(body)).await
    }

    pub(crate) fn url_of(&self, id: &str) -> Url {
        let mut url = Url::parse(&self.a).expect("a URL");
        url.path_segments_mut().expect("a path").extend(["users", id]);
        url
    }

    pub(crate) async fn becomes(&self, id: &str, status: &str) -> Value {
        self.until(status, async || {
            let (_, shown) = self.user(Method::GET, id, &Value::Null).await;
            (shown["user"]["status"] == status).then_some(shown)
        })
        .await
    }

    pub(crate) async fn until<T>(&self, what: &str, probe: impl AsyncFn() -> Option<T>) -> T {
        for _ in 0..6_000 {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("waited 120 s in vain: {what}")
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for service in self.running {
            let stopped = tokio::time::timeout(Duration::from_secs(10), service).await;
            stopped.expect("it stops in time").expect("no panic").expect("no error");
        }
    }
}
