//! What is refused is logged a few times a minute for each kind, on one line each, and the rest counted.

mod push;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::Router;
use push::{Request, SECRET, Target};
use syncline::{
    logs::{LogLimit, is_hidden},
    testing::SampleSource,
    transport::{
        Feed, FeedError, FeedPage, FeedRequest,
        http_feed::{FeedServer, Reader, Token, serve},
        http_push::SOURCE_HEADER,
    },
};
use syncline_tests::{logged::Logged, relays::eventually};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

const TOKEN: &str = "synf_reads-everything-0123456789";

struct Nothing;

#[async_trait]
impl Feed for Nothing {
    async fn page(&self, request: FeedRequest) -> Result<FeedPage, FeedError> {
        let FeedRequest { stream, version, shard, .. } = request;
        Err(FeedError::Unknown { stream, version, shard })
    }
}

// The only test of its program, since it sets the program's subscriber.
#[tokio::test]
async fn refusals_are_logged_a_few_times_each_on_one_line() {
    let log = Logged::start(LevelFilter::INFO);
    let target = Target::new().await;
    let reader = Reader::new(&Token::parse(TOKEN).expect("a token"), "users", ["*"]);
    let feed = FeedServer::new(Arc::new(Nothing)).reader(reader.expect("a reader"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().nest("/feed", feed.router());
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, app, stop.clone()));

    let good = Request::of(&SampleSource::new(push::SOURCE, push::STREAM).next(1));
    // A newline, U+009B and a bidi control in a name that the refusal quotes, and a forged line.
    let query = "after1%0aERROR%20forged%0d%c2%9b31m%e2%80%ae%1b%5b2J=1";
    for _ in 0..100 {
        let unknown = good.clone().set(SOURCE_HEADER, "/nobody");
        assert_eq!(target.post(&unknown).await.status, 401);
        assert_eq!(target.post(&Request::signed(b"[]", push::OLD_SECRET, 0)).await.status, 401);
        assert_eq!(target.post(&Request::signed(b"[]", SECRET, 0)).await.status, 400);
        for (token, status) in [(TOKEN, 400), ("nobody", 401)] {
            let request = format!(
                "GET /feed/users/0?{query} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                 authorization: Bearer {token}\r\n\r\n"
            );
            let answer = push::raw(address, request.as_bytes()).await;
            assert_eq!(answer.status, status, "{answer:?}");
        }
    }
    let text = log.text();
    // Five of each of five kinds; and again, where the machine took minutes.
    assert!((25..=200).contains(&text.lines().count()), "{text}");
    assert!(text.contains("/nobody") && text.contains("forged"), "{text}");
    for line in text.lines() {
        let spoils = line.chars().find(|c| *c != '\u{1b}' && is_hidden(*c));
        assert!(spoils.is_none() && line.contains("WARN"), "{spoils:?} in {line:?}");
    }

    // At the end of its stretch, what was left out is told though nothing more comes.
    let limit = LogLimit::new(2, Duration::from_millis(100));
    let admitted = (0..5).filter(|_| limit.admit("a kind of the test's").is_some()).count();
    assert_eq!(admitted, 2);
    eventually("what was left out is told", async || {
        let text = log.text();
        let told = text.lines().find(|line| line.contains("a kind of the test's"))?.to_owned();
        Some(told)
    })
    .await;
    stop.cancel();
    server.await.expect("no panic");
}
