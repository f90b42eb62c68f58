//! A feed behind a proxy that gives no request as long as the reader waits for news.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use syncline::{
    Stream,
    transport::{
        Subscriber,
        http_feed::{FeedServer, FeedSubscriber, PullState, Reader, Token},
    },
};
use syncline_tests::{
    kit::Kit,
    on_each,
    relays::{check, eventually, noting, start, write},
    world::World,
};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

on_each!(a_poll_that_a_proxy_cuts_off_becomes_shorter_and_is_no_failure);

/// The proxy's limit on an answer.
const LIMIT: Duration = Duration::from_secs(4);

#[derive(Clone)]
struct Proxy {
    feed: String,
    client: reqwest::Client,
    /// For how long each request asked the feed to wait, in seconds.
    waits: Arc<Mutex<Vec<u64>>>,
}

impl Proxy {
    fn note(&self, uri: &Uri) {
        let mut query = uri.query().unwrap_or_default().split('&');
        let wait = query.find_map(|pair| pair.strip_prefix("wait=")?.parse().ok());
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.push(wait.unwrap_or_default());
    }
}

async fn pass(State(proxy): State<Proxy>, uri: Uri, headers: HeaderMap) -> Response {
    proxy.note(&uri);
    let mut request = proxy.client.get(format!("{}{uri}", proxy.feed));
    if let Some(token) = headers.get(header::AUTHORIZATION) {
        request = request.header(header::AUTHORIZATION, token);
    }
    let answer = async {
        let answer = request.send().await.ok()?;
        let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        Some((status, [(header::CONTENT_TYPE, kind?)], answer.bytes().await.ok()?))
    };
    match timeout(LIMIT, answer).await {
        Ok(Some(answer)) => answer.into_response(),
        Ok(None) => StatusCode::BAD_GATEWAY.into_response(),
        Err(_) => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

/// Serves `app`; returns its address.
async fn served(app: Router) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (url, tokio::spawn(async { axum::serve(listener, app).await.expect("serves") }))
}

mod case {
    use super::*;

    pub(super) async fn a_poll_that_a_proxy_cuts_off_becomes_shorter_and_is_no_failure<DB: Kit>(
        world: World<DB>,
    ) {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (source, target) = (&world.source, &world.target);
        let relay = start(source, Stream::new("s").topic("counter.*"), Vec::new(), |_| {}).await;
        let token = Token::parse("synf_reads-everything-0123456789").expect("a token");
        let reader = Reader::new(&token, "s", ["counter.*"]).expect("a reader");
        let (feed, feeding) = served(FeedServer::new(relay.feed()).reader(reader).router()).await;
        let proxy = Proxy { feed, client: reqwest::Client::new(), waits: Arc::default() };
        let waits = Arc::clone(&proxy.waits);
        let (url, passing) = served(Router::new().fallback(pass).with_state(proxy)).await;

        let subscriber = FeedSubscriber::builder(url).source("/tests").stream("s").token(token);
        let subscriber = subscriber.build().expect("a subscriber");
        let status = subscriber.status();
        let consumer = Arc::new(noting("near", target.clone()).build().expect("a consumer"));
        let stop = CancellationToken::new();
        let pulling = tokio::spawn(Box::new(subscriber).run(consumer, stop.clone()));

        let mut failed = None;
        let asked = eventually("it asks again", async || {
            if let state @ PullState::Backoff { .. } = status.state() {
                failed = Some(state);
            }
            let asked = waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (asked.len() >= 3).then_some(asked)
        })
        .await;
        assert_eq!(failed, None, "{asked:?}");
        assert!(asked[0] == 25 && asked[1] < 25 && asked[2] <= asked[1], "{asked:?}");
        write(source, 6).await;
        check(source, target, &["near"]).await;

        stop.cancel();
        pulling.await.expect("no panic").expect("it ends well");
        relay.stop().await;
        feeding.abort();
        passing.abort();
    }
}
