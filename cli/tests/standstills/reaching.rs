//! Standstills between two services: a batch that is refused, a stream that nobody reads, a pull that is
//! refused.

use std::sync::Arc;

use syncline::{
    message::{Link, Position},
    transport::{
        FeedPage, FeedRequest, PageSize, Subscriber,
        http_feed::{FeedServer, FeedSubscriber, Reader, Token, serve},
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use syncline_tests::relays;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{case::state, *};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WRONG: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygp";
const TOKEN: &str = "synf_reads-everything-0123456789";

fn secret(text: &str) -> Secret {
    Secret::parse(text).expect("a secret")
}

pub(crate) async fn a_wrong_secret<DB: Kit>(world: World<DB>) {
    log();
    let listener = PushListener::bind("127.0.0.1:0", |receive| {
        let principal = Principal::new("/tests", "s", [secret(SECRET)]).expect("a principal");
        PushReceiver::new(receive).principal(principal)
    });
    let listener = listener.await.expect("listens");
    let url = format!("http://{}/", listener.local_addr());
    let consumer = noting("c", world.target.clone()).build().expect("a consumer");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(Box::new(listener).run(Arc::new(consumer), stop.clone()));
    let publisher = PushPublisher::builder(&url).secret(secret(WRONG));
    let route = Route::new("c", "s", publisher.build().expect("a publisher"));
    let relay = start(&world.source, stream(), vec![route], |_| {}).await;
    write(&world.source, 3).await;

    let said = says(&world.source_url, "route list", &["c shard 0", "since", "401"]).await;
    assert!(!said.contains(WRONG) && !said.contains(SECRET), "{said}");
    warns(&world.source_url, "routes", &["c shard 0", "401"]).await;
    fails_if(&world.source_url, "stopped,failing");
    logs(&["batch was not delivered", "401"]).await;
    assert!(format!("{:?}", state(&relay)).contains("401"), "{:?}", relay.status());
    relay.stop().await;
    stop.cancel();
    serving.await.expect("no panic").expect("ends well");
}

/// A page of the stream's shard from the relay's own feed, after a wait for news.
async fn page(relay: &syncline::RelayHandle, last: Link, wait: u64) -> FeedPage {
    let feed = relay.feed();
    let request = FeedRequest {
        stream: "s".to_owned(),
        version: 1,
        shard: 0,
        incarnation: None,
        after: last.position,
        last,
        allowed: vec!["*".into()],
        wanted: Vec::new(),
        most: PageSize { messages: 100, bytes: 1 << 20 },
        wait: Duration::from_secs(wait),
    };
    feed.page(request).await.expect("a page")
}

pub(crate) async fn a_stream_that_nobody_reads<DB: Kit>(world: World<DB>) {
    log();
    let after = Duration::from_secs(2);
    let start = async || {
        relays::start(&world.source, stream(), Vec::new(), |options| options.unread_after = after)
            .await
    };
    let relay = start().await;
    write(&world.source, 3).await;
    let url = &world.source_url;
    let words = ["stream s shard 0 is read by nobody", "begins at position 1", "stream close s"];
    warns(url, "unread", &words).await;
    fails_if(url, "unread");
    says(url, "status", &words).await;
    says(url, "outbox lag", &words).await;
    logs(&["WARN", words[0], words[1]]).await;
    assert!(relay.problems().iter().any(|problem| problem.contains(words[0])));
    let (_, lag) = syncline(url, "outbox lag --json");
    let unread = &document(&lag)["unread"][0];
    assert_eq!((&unread["stream"], &unread["first"]), (&"s".into(), &1.into()), "{lag}");

    // Somebody comes, has all of it, and waits for news: far longer than until a stream is unread.
    let all = page(&relay, Link::START, 1).await.batch.messages;
    let last = all.last().expect("messages");
    let last = Link { position: last.position, id: last.id };
    assert_eq!(last.position, Position(3));
    let other = start().await;
    let reading = async {
        loop {
            page(&relay, last, 20).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let watching = async {
        soon("it is not named any more", async || (check(url, "unread").0 == "ok").then_some(()))
            .await;
        logs(&["INFO", "the stream is read again"]).await;
        // Both relays look twice in that time, and only one of them serves the reader.
        tokio::time::sleep(Duration::from_secs(32)).await;
        write(&world.source, 1).await;
        assert_eq!(check(url, "unread").0, "ok");
        assert_eq!(syncline(url, "status").0, 0, "{:?}", syncline(url, "status"));
        for relay in [&relay, &other] {
            assert_eq!(relay.problems(), Vec::<String>::new());
        }
    };
    tokio::select! {
        () = reading => {}
        () = watching => {}
    }
    // The reader is gone, and lacks what came last.
    warns(url, "unread", &[words[0], "position 4", "up to position 3"]).await;
    other.stop().await;
    relay.stop().await;

    // One that has just started gives readers their time, and names nothing meanwhile.
    let fresh = relays::start(&world.source, stream(), Vec::new(), |_| {}).await;
    soon("it has told of itself", async || {
        let all = syncline::processes::list(&world.source).await.expect("list");
        all.iter().any(|one| !one.defined.readings.is_empty()).then_some(())
    })
    .await;
    assert_eq!(check(url, "unread").0, "ok");
    fresh.stop().await;
}

/// Serves `relay`'s feed at `address`, to the reader with the token if it is `known`.
async fn served(
    relay: &syncline::RelayHandle,
    address: &str,
    known: bool,
) -> (String, CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let token = Token::parse(TOKEN).expect("a token");
    let reader = Reader::new(&token, "s", ["counter.*"]).expect("a reader");
    let server = FeedServer::new(relay.feed()).stop(stop.clone());
    let server = if known { server.reader(reader) } else { server };
    let listener = TcpListener::bind(address).await.expect("listens");
    let address = listener.local_addr().expect("an address").to_string();
    let serving = tokio::spawn(serve(listener, server.router(), stop.clone()));
    (address, stop, serving)
}

pub(crate) async fn a_pull_that_is_refused<DB: Kit>(world: World<DB>) {
    log();
    let relay = start(&world.source, stream(), Vec::new(), |_| {}).await;
    let (address, stop_serving, serving) = served(&relay, "127.0.0.1:0", false).await;
    let consumer = noting("c", world.target.clone()).build().expect("a consumer");
    let running = consumer.start().await.expect("start");
    let subscriber = FeedSubscriber::builder(format!("http://{address}/"))
        .source("/tests")
        .stream("s")
        .token(Token::parse(TOKEN).expect("a token"))
        .wait(Duration::from_secs(1))
        .max_backoff(Duration::from_millis(200))
        .build()
        .expect("a subscriber");
    let stop = CancellationToken::new();
    let pulling = tokio::spawn(Box::new(subscriber).run(Arc::new(consumer), stop.clone()));
    write(&world.source, 3).await;

    let url = &world.target_url;
    let from = format!("pull of s/0 of /tests from http://{address}/ fails since ");
    let words = [from.as_str(), "401 Unauthorized", "compare the token"];
    let found = warns(url, "processes", &words).await;
    assert!(!found.contains(TOKEN), "{found}");
    fails_if(url, "processes");
    says(url, "status", &words).await;
    says(url, "process list", &words).await;
    logs(&["pulling stopped", "401 Unauthorized", "compare the token"]).await;
    assert!(running.problems().iter().any(|problem| problem.contains(&from)));

    stop_serving.cancel();
    serving.await.expect("no panic");
    let (_, stop_serving, serving) = served(&relay, &address, true).await;
    soon("it goes on", async || {
        (DB::applied(&world.target).await.expect("applied").len() == 3).then_some(())
    })
    .await;
    soon("all is well", async || (syncline(url, "status").0 == 0).then_some(())).await;
    assert_eq!(running.problems(), Vec::<String>::new());
    stop.cancel();
    pulling.await.expect("no panic").expect("ends well");
    stop_serving.cancel();
    serving.await.expect("no panic");
    running.stop().await;
    relay.stop().await;
}
