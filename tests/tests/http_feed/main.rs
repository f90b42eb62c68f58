//! Pulling: a consumer reads the source's feed over HTTP. Nothing is lost or twice, readers see
//! what their token may read, and a place that is not in the log is refused.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, extract::State, routing::get};
use reqwest::{RequestBuilder, Response, StatusCode};
use sqlx::{MySql, Pool, Postgres, Sqlite};
use syncline::{
    Message, RelayHandle, Stream, begin, enqueue,
    erasure::Erase,
    inboxes::{Reapply, reapply},
    incarnation::{Agreed, Rebase},
    message::{Batch, LINK, Position, decode_batch},
    relay::{Retention, trim},
    transport::{
        Feed, FeedError, FeedPage, FeedRequest, Subscriber,
        http_feed::{
            CLOSED, DIVERGED, FeedServer, FeedSubscriber, PullState, Reader, TRIMMED, Token,
        },
    },
};
use syncline_tests::{
    gate::{Flow, Gate},
    kit::Kit,
    relays::{check, eventually, noting, start, write},
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

mod case;
mod slow;
mod source;
mod told;

use self::{slow::*, source::*};

const TOKEN: &str = "synf_reads-everything-0123456789";
const NARROW: &str = "synf_reads-one-topic-0123456789";

macro_rules! on_each {
    ($($case:ident),* $(,)?) => {$(
        mod $case {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                if let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) {
                    super::case::$case::<Postgres>([a, b]).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                if let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) {
                    super::case::$case::<MySql>([a, b]).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let ((_a, source), (_b, target)) = (sqlite_database(), sqlite_database());
                super::case::$case::<Sqlite>([source, target]).await;
            }
        }
    )*};
}

on_each!(
    what_is_pulled_is_applied_once_and_in_order,
    a_reader_sent_back_before_a_new_version_gets_both,
    a_reader_sees_what_its_token_may_read,
    a_full_page_can_be_kept_and_news_come_at_once,
    an_erased_message_is_a_link_in_pages_that_were_served_before,
    a_place_that_is_not_in_the_log_is_refused,
    a_reader_that_comes_too_late_is_told_so,
);

/// Its connections to the database stall without a word; those that are opened after that work.
async fn a_feed_goes_on<DB: Kit>(urls: [String; 2]) {
    let (direct, target) = (prepared::<DB>(&urls[0]).await, prepared::<DB>(&urls[1]).await);
    let (gate, gated) = Gate::before(&urls[0]).await;
    let gated = DB::connect(&gated, 8).await.expect("connect");
    let source = Source::start(gated, "127.0.0.1:0", 1).await;
    let consumer = Arc::new(noting("near", target.clone()).build().expect("a consumer"));
    let stop = CancellationToken::new();
    let subscriber = Box::new(source.pull(0, TOKEN));
    let pulling = tokio::spawn(subscriber.run(consumer, stop.clone()));
    for _ in 0..2 {
        write(&direct, 20).await;
        check(&direct, &target, &["near"]).await;
        gate.all(Flow::Stalled);
    }
    stop.cancel();
    pulling.await.expect("no panic").expect("it ends well");
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_whose_connections_died_goes_on_with_new_ones_on_postgres() {
    if let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) {
        a_feed_goes_on::<Postgres>([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_whose_connections_died_goes_on_with_new_ones_on_mariadb() {
    if let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) {
        a_feed_goes_on::<MySql>([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_asks_too_much_at_once_is_told_so() {
    let later = |status| (status, Some("1".to_owned()));
    let slowly = Slowly::serve(|server| server.max_concurrency(3, 1)).await;
    // Requests that are refused take nobody's place.
    for (token, what, status) in [
        ("synf_unknown-unknown-unknown-12", "s/0", 401),
        (TOKEN, "u/0", 403),
        (NARROW, "t/0", 403),
        (TOKEN, "s/0?after=-1", 400),
        (TOKEN, "s/0?after=3&last=5", 400),
        (TOKEN, "s/0?lastid=0199c0de-0000-7000-8000-000000000001", 400),
    ] {
        assert_eq!(slowly.refused(token, what).await, (status, None), "{what}");
    }
    let twice = slowly.request(TOKEN, "s/0").bearer_auth(TOKEN).send().await.expect("an answer");
    assert_eq!(twice.status(), StatusCode::UNAUTHORIZED);

    let first = slowly.begin(TOKEN, "s/0").await;
    for what in ["s/0", "t/0"] {
        assert_eq!(slowly.refused(TOKEN, what).await, later(429), "{what}");
    }
    // The other token's reader hangs up, and comes again.
    slowly.begin(NARROW, "s/0").await.abort();
    eventually("its place is free again", async || {
        let request = slowly.request(NARROW, "s/0");
        let waiting = tokio::spawn(async move { request.send().await.expect("an answer") });
        let begun = async { slowly.feed.begun.acquire().await.expect("open").forget() };
        tokio::select! {
            () = begun => Some(()),
            answer = waiting => {
                assert_eq!(answer.expect("no panic").status(), StatusCode::TOO_MANY_REQUESTS);
                None
            }
        }
    })
    .await;
    slowly.feed.may.add_permits(9);
    assert_eq!(first.await.expect("no panic"), StatusCode::NOT_FOUND);
    assert_eq!(slowly.refused(TOKEN, "t/0").await, (404, None), "its place is free again");
    slowly.served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_serves_as_many_as_it_may_says_so_and_bounds_what_is_asked() {
    let slowly = Slowly::serve(|server| {
        server.max_concurrency(2, 2).max_wait(Duration::from_secs(2)).max_page(7, 1 << 10)
    })
    .await;
    let greedy = slowly.begin(TOKEN, "s/0?wait=3600&messages=9999").await;
    let modest = slowly.begin(TOKEN, "t/0?wait=1&messages=3&topics=counter.a,counter.b").await;
    assert_eq!(slowly.refused(NARROW, "s/0").await, (503, Some("1".to_owned())));
    assert_eq!(slowly.refused(TOKEN, "s/0").await.0, 429, "its own limit comes first");
    slowly.feed.may.add_permits(2);
    for waiting in [greedy, modest] {
        assert_eq!(waiting.await.expect("no panic"), StatusCode::NOT_FOUND);
    }
    let asked = slowly.feed.asked.lock().expect("no panic").clone();
    let bounds: Vec<_> = asked.iter().map(|a| (a.wait.as_secs(), a.most.messages)).collect();
    assert_eq!(bounds, [(2, 7), (1, 3)]);
    let topics: Vec<_> = asked.iter().map(|a| (a.allowed.len(), a.wanted.len())).collect();
    assert_eq!(topics, [(1, 0), (1, 2)]);
    slowly.served.abort();
}
