//! Messages that a target does not take, and targets that do not answer: what stands before them goes
//! on, and why a route does not move is told by its status and stands in the database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sqlx::Pool;
use syncline::{
    Message, RelayHandle, Route, Stream, begin, enqueue,
    inboxes::{self, Skip},
    message::{Batch, Position},
    relay::RouteState,
    routes,
    storage::RouteProblem,
    transport::{
        Ack, PublishError, Publisher, Subscriber,
        http_feed::{FeedServer, FeedSubscriber, PullState, Reader, Token},
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
    },
};
use syncline_tests::{
    kit::Kit,
    on_each,
    relays::{Direct, eventually, noting, start},
    world::World,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

on_each!(
    a_message_above_a_proxys_limit_is_named_and_skipped_at_the_consumer,
    a_message_for_which_a_batch_is_refused_is_found_and_goes_once_it_is_taken,
    a_target_that_refuses_everything_blames_no_message,
    a_target_that_is_away_is_told_of_with_its_time_and_reason,
    a_paused_route_says_by_whom_and_why,
    a_rewind_skips_nothing_that_was_not_sent,
    a_message_above_what_the_reader_of_a_feed_takes_is_named,
);

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn stream() -> Stream {
    Stream::new("s").topic("in")
}

/// Commits messages 1 to `n` with so many bytes each, all but `large` small.
async fn commit<DB: Kit>(
    pool: &Pool<DB>,
    numbers: std::ops::RangeInclusive<i64>,
    large: i64,
) -> Uuid {
    let mut tx = begin(pool).await.expect("begin");
    let mut id = Uuid::nil();
    for n in numbers {
        let width = if n == large { 100_000 } else { 8_000 };
        // A number after many blanks is JSON, and no transport makes it shorter.
        let message = Message::new("in", "text/plain", " ".repeat(width) + &n.to_string());
        let message = message.key(format!("key {}", n % 3));
        if n == large {
            id = message.id;
        }
        let _ = enqueue(&mut tx, &message).await.expect("enqueue");
    }
    tx.commit().await.expect("commit");
    id
}

async fn applied<DB: Kit>(pool: &Pool<DB>) -> Vec<i64> {
    DB::applied(pool).await.expect("applied").into_iter().map(|(_, n)| n).collect()
}

async fn are_applied<DB: Kit>(pool: &Pool<DB>, expected: &[i64]) {
    eventually("all of them are applied", async || {
        (applied(pool).await.len() >= expected.len()).then_some(())
    })
    .await;
    assert_eq!(applied(pool).await, expected);
}

/// The position and the text of a refusal.
async fn refused(relay: &RelayHandle) -> (Option<Position>, String) {
    eventually("it is refused", async || match relay.status().remove(0).state {
        RouteState::Refused { position, error } => Some((position, error)),
        _ => None,
    })
    .await
}

async fn problem<DB: Kit>(pool: &Pool<DB>) -> Option<RouteProblem> {
    DB::route_lags(pool).await.expect("lags").remove(0).problem
}

/// What is stored of a route that does not move.
async fn stored<DB: Kit>(pool: &Pool<DB>, kind: &str) -> RouteProblem {
    eventually("it is stored", async || problem(pool).await.filter(|problem| problem.kind == kind))
        .await
}

async fn moves<DB: Kit>(pool: &Pool<DB>) {
    eventually("it is stored no more", async || problem(pool).await.is_none().then_some(())).await;
}

/// What a target answers.
#[derive(Default)]
struct Mood {
    /// It refuses batches with this message, as one that answers 400 or 422.
    never: AtomicI64,
    everything: AtomicBool,
    away: AtomicBool,
    /// It does not answer yet.
    slow: AtomicBool,
    tries: AtomicI64,
}

struct Moody(Direct, Arc<Mood>);

#[async_trait]
impl Publisher for Moody {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        let (target, mood) = ("the test's target".to_owned(), &self.1);
        mood.tries.fetch_add(1, Ordering::SeqCst);
        while mood.slow.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if mood.away.load(Ordering::SeqCst) {
            let reason = "nobody\0 is there".to_owned();
            return Err(PublishError::Unavailable { target, reason, retry_after: None });
        }
        let never = Position(mood.never.load(Ordering::SeqCst));
        let everything = mood.everything.load(Ordering::SeqCst);
        if everything || batch.messages.iter().any(|message| message.position == never) {
            let reason = "it answered 422 Unprocessable Content".to_owned();
            return Err(PublishError::Refused { target, reason });
        }
        self.0.publish(batch).await
    }
}

async fn moody<DB: Kit>(world: &World<DB>) -> (RelayHandle, Arc<Mood>) {
    let consumer = noting("c", world.target.clone()).build().expect("a consumer");
    let mood = Arc::new(Mood::default());
    let publisher = Moody(Direct::to(consumer), mood.clone());
    let routes = vec![Route::new("r", "s", publisher)];
    (start(&world.source, stream(), routes, |_| {}).await, mood)
}

mod case {
    use super::*;

    pub(super) async fn a_message_above_a_proxys_limit_is_named_and_skipped_at_the_consumer<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let (source, target) = (&world.source, &world.target);
        let id = commit(source, 1..=14, 11).await;
        let secret = || Secret::parse(SECRET).expect("a secret");
        let principal = Principal::new("/tests", "s", [secret()]).expect("a principal");
        // The receiver is the proxy: it takes no body above 64 KiB.
        let listener = PushListener::bind("127.0.0.1:0", |receiver| {
            PushReceiver::new(receiver).principal(principal).max_body(64 << 10)
        });
        let listener = listener.await.expect("listens");
        let url = listener.url();
        let stop = CancellationToken::new();
        let consumer = noting("c", target.clone()).build().expect("a consumer");
        let server = tokio::spawn(Box::new(listener).run(Arc::new(consumer), stop.clone()));
        let publisher = PushPublisher::builder(url).secret(secret()).build().expect("a publisher");
        let relay = start(source, stream(), vec![Route::new("r", "s", publisher)], |_| {}).await;

        let before: Vec<i64> = (1..=10).collect();
        are_applied(target, &before).await;
        let (position, error) = refused(&relay).await;
        assert_eq!(position, Some(Position(11)));
        let skip = "syncline inbox skip CONSUMER --source /tests --stream s --shard 0 --to 11 \
                    --log-ends 11";
        let words =
            [&id.to_string(), "position 11", "topic in", "\"key 2\"", "100002 bytes", "413", skip];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        let found = stored(source, "refused").await;
        assert_eq!(found.text, error);
        let age = chrono::Utc::now() - found.since;
        assert!(age.num_seconds().abs() < 60, "since {}", found.since);
        eventually("what stands before it was acknowledged", async || {
            let lag = DB::route_lags(source).await.expect("lags").remove(0);
            (lag.position == Position(10)).then_some(())
        })
        .await;

        // Given up where it is to be applied, it holds up nothing.
        let [consumer, source_name, of] = ["c", "/tests", "s"].map(String::from);
        let to = Position(11);
        let log_ends = Some(DB::head(source).await.expect("the head"));
        let lost = Skip { consumer, source: source_name, stream: of, shard: None, to, log_ends };
        inboxes::skip(target, &lost).await.expect("it is skipped");
        let others: Vec<i64> = (1..=14).filter(|n| *n != 11).collect();
        are_applied(target, &others).await;
        moves(source).await;
        relay.stop().await;
        stop.cancel();
        server.await.expect("no panic").expect("it ends well");
    }

    pub(super) async fn a_message_for_which_a_batch_is_refused_is_found_and_goes_once_it_is_taken<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let (source, target) = (&world.source, &world.target);
        commit(source, 1..=40, 0).await;
        let (relay, mood) = moody(&world).await;
        are_applied(target, &(1..=40).collect::<Vec<_>>()).await;
        assert_eq!(problem(source).await, None);
        mood.never.store(77, Ordering::SeqCst);
        commit(source, 41..=120, 0).await;
        are_applied(target, &(1..=76).collect::<Vec<_>>()).await;
        let (position, error) = refused(&relay).await;
        assert_eq!(position, Some(Position(77)));
        assert!(error.contains("position 77") && error.contains("422"), "{error}");
        assert_eq!(stored(source, "refused").await.text, error);
        mood.never.store(0, Ordering::SeqCst);
        are_applied(target, &(1..=120).collect::<Vec<_>>()).await;
        moves(source).await;
        relay.stop().await;
    }

    pub(super) async fn a_target_that_refuses_everything_blames_no_message<DB: Kit>(
        world: World<DB>,
    ) {
        let (relay, mood) = moody(&world).await;
        mood.everything.store(true, Ordering::SeqCst);
        commit(&world.source, 1..=5, 0).await;
        let (position, error) = refused(&relay).await;
        assert_eq!(position, None);
        assert!(error.contains("422") && error.contains("an empty batch, too"), "{error}");
        assert_eq!(stored(&world.source, "refused").await.text, error);
        mood.everything.store(false, Ordering::SeqCst);
        are_applied(&world.target, &[1, 2, 3, 4, 5]).await;
        moves(&world.source).await;
        relay.stop().await;
    }

    pub(super) async fn a_target_that_is_away_is_told_of_with_its_time_and_reason<DB: Kit>(
        world: World<DB>,
    ) {
        let (source, target) = (&world.source, &world.target);
        let (relay, mood) = moody(&world).await;
        mood.away.store(true, Ordering::SeqCst);
        commit(source, 1..=5, 0).await;
        let found = stored(source, "backoff").await;
        assert!(found.text.contains("nobody is there"), "{found:?}");
        assert!(found.tries > 0 && found.next_try.is_some_and(|next| next >= found.since));
        // Another process takes it over, and the time stays.
        relay.stop().await;
        let (relay, again) = moody(&world).await;
        again.away.store(true, Ordering::SeqCst);
        eventually("it fails here, too", async || {
            let state = relay.status().remove(0).state;
            matches!(state, RouteState::Backoff { failures: 5.., .. }).then_some(())
        })
        .await;
        // The status says so while the next try waits for its answer, too.
        again.slow.store(true, Ordering::SeqCst);
        let tried = again.tries.load(Ordering::SeqCst);
        eventually("a try is under way", async || {
            (again.tries.load(Ordering::SeqCst) > tried).then_some(())
        })
        .await;
        let state = relay.status().remove(0).state;
        assert!(matches!(state, RouteState::Backoff { failures: 5.., .. }), "{state:?}");
        again.slow.store(false, Ordering::SeqCst);
        // The tries go on, too.
        let again_found = eventually("its tries are stored", async || {
            let now = problem(source).await?;
            assert!(now.tries >= found.tries, "they are not counted anew: {now:?}");
            (now.tries > found.tries).then_some(now)
        })
        .await;
        let what = |of: &RouteProblem| (of.kind.clone(), of.text.clone(), of.since);
        assert_eq!(what(&again_found), what(&found));
        again.away.store(false, Ordering::SeqCst);
        are_applied(target, &[1, 2, 3, 4, 5]).await;
        moves(source).await;
        relay.stop().await;
    }

    pub(super) async fn a_paused_route_says_by_whom_and_why<DB: Kit>(world: World<DB>) {
        let (source, target) = (&world.source, &world.target);
        let (relay, _) = moody(&world).await;
        let why = "the target is moved";
        assert!(routes::pause_because(source, "r", "ada", why).await.expect("pause"));
        assert!(!routes::pause_because(source, "nobody", "ada", why).await.expect("none"));
        let told = eventually("the status says so", async || relay.status().remove(0).pause).await;
        assert!(told.contains("by ada since") && told.contains(why), "{told}");
        eventually("it pauses", async || {
            (relay.status().remove(0).state == RouteState::Paused).then_some(())
        })
        .await;
        let row = routes::list(source, Some("r")).await.expect("list").remove(0);
        let pause = row.pause.expect("it is stored");
        assert_eq!((pause.by.as_deref(), pause.why.as_deref()), (Some("ada"), Some(why)));
        assert!(row.paused && pause.since.is_some());
        let lag = DB::route_lags(source).await.expect("lags").remove(0);
        assert_eq!(lag.pause, Some(pause));
        commit(source, 1..=3, 0).await;
        assert!(routes::resume(source, "r").await.expect("resume"));
        are_applied(target, &[1, 2, 3]).await;
        eventually("the status says nothing of it", async || {
            relay.status().remove(0).pause.is_none().then_some(())
        })
        .await;
        let row = routes::list(source, Some("r")).await.expect("list").remove(0);
        assert!(row.pause.is_none() && !row.paused);
        relay.stop().await;
    }

    pub(super) async fn a_message_above_what_the_reader_of_a_feed_takes_is_named<DB: Kit>(
        world: World<DB>,
    ) {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (source, target) = (&world.source, &world.target);
        commit(source, 1..=14, 11).await;
        let relay = start(source, stream(), Vec::new(), |_| {}).await;
        let token = Token::parse("synf_reads-everything-0123456789").expect("a token");
        let reader = Reader::new(&token, "s", ["in"]).expect("a reader");
        let feed = FeedServer::new(relay.feed()).reader(reader);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let served = tokio::spawn(async { axum::serve(listener, feed.router()).await });
        let consumer = Arc::new(noting("c", target.clone()).build().expect("a consumer"));
        let stop = CancellationToken::new();
        let pull = |most: usize| {
            let subscriber = FeedSubscriber::builder(&url).source("/tests").stream("s");
            let subscriber = subscriber.token(token.clone()).wait(Duration::from_secs(1));
            let subscriber = subscriber.max_page(most).max_backoff(Duration::from_millis(200));
            let subscriber = subscriber.build().expect("a subscriber");
            let status = subscriber.status();
            (tokio::spawn(Box::new(subscriber).run(consumer.clone(), stop.clone())), status)
        };
        let (pulling, status) = pull(64 << 10);
        are_applied(target, &(1..=10).collect::<Vec<_>>()).await;
        let error = eventually("it is refused", async || match status.state() {
            PullState::Refused { error } => Some(error),
            _ => None,
        })
        .await;
        assert!(error.contains("follows position 10") && error.contains("max_page"), "{error}");
        pulling.abort();
        let (pulling, _) = pull(1 << 20);
        are_applied(target, &(1..=14).collect::<Vec<_>>()).await;
        stop.cancel();
        pulling.await.expect("no panic").expect("it ends well");
        relay.stop().await;
        served.abort();
    }

    pub(super) async fn a_rewind_skips_nothing_that_was_not_sent<DB: Kit>(world: World<DB>) {
        let (source, target) = (&world.source, &world.target);
        commit(source, 1..=6, 0).await;
        let (relay, mood) = moody(&world).await;
        are_applied(target, &[1, 2, 3, 4, 5, 6]).await;
        mood.away.store(true, Ordering::SeqCst);
        commit(source, 7..=12, 0).await;
        eventually("all of it is in the log", async || {
            let lag = DB::route_lags(source).await.expect("lags").remove(0);
            (lag.position == Position(6) && lag.behind == 6).then_some(())
        })
        .await;
        let error = routes::rewind(source, "r", Position(8)).await.expect_err("it is not sent");
        let error = error.to_string();
        let words =
            ["up to position 6 only", "rewind to 6", "inbox skip", "--stream s --shard 0 --to 8"];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert!(routes::rewind(source, "r", Position(4)).await.expect("back"));
        mood.away.store(false, Ordering::SeqCst);
        are_applied(target, &(1..=12).collect::<Vec<_>>()).await;
        relay.stop().await;
    }
}
