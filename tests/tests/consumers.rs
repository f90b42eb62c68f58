//! A consumer does not stand still, give up a message or refuse one without a word: the log, its status
//! and what it is built of say so.

use std::sync::OnceLock;

use async_trait::async_trait;
use sqlx::{Pool, Sqlite, SqlitePool, Transaction};
use syncline::{
    Consumer, Envelope, Error, Handler, HandlerError, Relay, RetryPolicy, Stream, Verdict,
    consumer::{ConsumerBuilder, REJECTED},
    handler_fn,
    transport::Receive,
};
use syncline_tests::{
    kit::Kit, letters::numbered, logged::Logged, on_each, relays::eventually, world::World,
};
use tracing_subscriber::filter::LevelFilter;

/// The log of this program, which its tests share: each has a consumer of another name.
fn log() -> &'static Logged {
    static LOG: OnceLock<Logged> = OnceLock::new();
    LOG.get_or_init(|| Logged::start(LevelFilter::DEBUG))
}

/// The lines of `consumer`, without colours.
fn lines(consumer: &str) -> Vec<String> {
    let mut plain = String::new();
    let text = log().text();
    let mut rest = text.as_str();
    while let Some((before, escape)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = escape.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    let of = format!("consumer=\"{consumer}\"");
    plain.lines().filter(|line| line.contains(&of)).map(str::to_owned).collect()
}

/// Waits for a line that says all of `words`.
async fn logged(consumer: &str, words: &[&str]) -> String {
    let found = async || {
        let mut lines = lines(consumer).into_iter();
        lines.find(|line| words.iter().all(|word| line.contains(word)))
    };
    eventually(&format!("{consumer} logs {words:?}"), found).await
}

/// A name that no other test has.
fn name<DB: Kit>(test: &str) -> String {
    let label: String = DB::LABEL.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{test}-{label}")
}

/// Answers as it was told to.
enum Answers {
    Fail,
    Reject,
    Done,
}

#[async_trait]
impl<DB: Kit> Handler<DB> for Answers {
    async fn handle(
        &self,
        _tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        match self {
            Self::Fail => Err(format!("no room for {}", message.topic).into()),
            Self::Reject => Ok(Verdict::Reject("not wanted".to_owned())),
            Self::Done => Ok(Verdict::Done),
        }
    }
}

fn consumer<DB: Kit>(name: &str, pool: &Pool<DB>, answers: Answers) -> ConsumerBuilder<DB> {
    let pause = std::time::Duration::from_millis(1);
    let retry = RetryPolicy { max_attempts: 2, base: pause, max: pause };
    Consumer::builder(name, pool.clone()).handler("in", answers).retry(retry)
}

on_each!(
    a_consumer_that_was_never_started_says_what_waits_for_it,
    a_failed_try_and_a_dead_letter_say_which_and_what_to_do,
    what_goes_well_can_be_seen,
    a_rejection_that_no_stream_carries_is_warned_of,
);

mod case {
    use super::*;

    pub(super) async fn a_consumer_that_was_never_started_says_what_waits_for_it<DB: Kit>(
        world: World<DB>,
    ) {
        log();
        let (pool, name) = (&world.target, name::<DB>("idle"));
        let consumer = consumer(&name, pool, Answers::Fail).build().expect("a consumer");
        assert!(!consumer.status().running);
        consumer.receive(numbered(1)).await.expect("taken in");
        // As after an hour.
        let earlier = match DB::LABEL {
            "PostgreSQL" => "due_at - interval '1 hour'",
            "SQLite" => "due_at - 3600000",
            _ => "due_at - INTERVAL 1 HOUR",
        };
        let later = format!("UPDATE syncline_timer SET due_at = {earlier}");
        DB::execute(pool, &later).await.expect("an hour passes");
        let line = logged(&name, &["WARN", "nobody takes them up", "Consumer::start"]).await;
        assert!(line.contains("keys=1"), "{line}");
        let told = async || consumer.status().unattended;
        let unattended = eventually("its status says so", told).await;
        assert_eq!((unattended.keys, unattended.early), (1, 0));
        let age = chrono::Utc::now() - unattended.since;
        assert!(age.num_minutes() >= 50, "since {}", unattended.since);

        let running = consumer.start().await.expect("it starts");
        let status = consumer.status();
        assert!(status.running && status.unattended.is_none(), "{status:?}");
        let dead = async || DB::held(pool, false, 0, 9).await.expect("dead letters").pop();
        eventually("it is tried", dead).await;
        running.stop().await;
        assert!(!consumer.status().running, "it was stopped");
    }

    pub(super) async fn a_failed_try_and_a_dead_letter_say_which_and_what_to_do<DB: Kit>(
        world: World<DB>,
    ) {
        log();
        let (pool, name) = (&world.target, name::<DB>("dead"));
        let consumer = consumer(&name, pool, Answers::Fail).build().expect("a consumer");
        consumer.receive(numbered(1)).await.expect("taken in");
        let which = ["topic=\"in\"", "key=\"k1\"", "position=1", "no room for in", "of=2"];
        let said = |more: &[&'static str]| [&which[..], more].concat();
        logged(&name, &said(&["WARN", "attempt=1", "is tried again", "held retry"])).await;
        let running = consumer.start().await.expect("it starts");
        logged(&name, &said(&["ERROR", "attempt=2", "dead letter", "dead redrive", "dead drop"]))
            .await;
        running.stop().await;

        // A payload that does not decode is dead at its first try.
        let name = super::name::<DB>("undecodable");
        let reading = handler_fn::<DB, _>(|_tx, message| {
            Box::pin(async move {
                message.decode::<String>()?;
                Ok(Verdict::Done)
            })
        });
        let consumer = Consumer::builder(&name, pool.clone()).handler("in", reading);
        consumer.build().expect("a consumer").receive(numbered(1)).await.expect("taken in");
        let words =
            ["ERROR", "attempt=1", "topic=\"in\"", "key=\"k1\"", "dead letter", "dead edit"];
        logged(&name, &words).await;
    }

    pub(super) async fn what_goes_well_can_be_seen<DB: Kit>(world: World<DB>) {
        log();
        let name = name::<DB>("well");
        let consumer = consumer(&name, &world.target, Answers::Done).build().expect("a consumer");
        consumer.receive(numbered(3)).await.expect("applied");
        let words = ["DEBUG", "a batch is committed", "messages=3", "watermark=3", "stream=\"s\""];
        logged(&name, &words).await;
    }

    pub(super) async fn a_rejection_that_no_stream_carries_is_warned_of<DB: Kit>(world: World<DB>) {
        log();
        let (pool, name) = (&world.target, name::<DB>("rejects"));
        let consumer = consumer(&name, pool, Answers::Reject).build().expect("a consumer");
        consumer.receive(numbered(1)).await.expect("taken in");
        logged(&name, &["INFO", "message rejected", "topic=\"in\"", "key=\"k1\"", "not wanted"])
            .await;
        let uncarried = async || {
            let uncarried = consumer.status().uncarried;
            (uncarried == [REJECTED]).then_some(())
        };
        eventually("its status says so", uncarried).await;
        logged(&name, &["WARN", "no stream of this service carries", REJECTED]).await;
        // From then on it is carried.
        let relay = Relay::builder("/there", pool.clone());
        let relay =
            relay.stream(Stream::new("back").topic(REJECTED)).start().await.expect("it starts");
        let carried = async || consumer.status().uncarried.is_empty().then_some(());
        eventually("it is carried", carried).await;
        relay.stop().await;
    }
}

/// The problem with a consumer that is built so.
fn problem(build: impl FnOnce(ConsumerBuilder<Sqlite>) -> ConsumerBuilder<Sqlite>) -> String {
    let pool = SqlitePool::connect_lazy("sqlite::memory:").expect("a pool");
    match build(Consumer::builder("c", pool)).build() {
        Ok(_) => String::new(),
        Err(Error::Definition { problem, .. }) => problem,
        Err(error) => panic!("another error: {error}"),
    }
}

struct TakenBack;

#[async_trait]
impl syncline::Compensate<Sqlite> for TakenBack {
    async fn compensate(
        &self,
        _tx: &mut Transaction<'_, Sqlite>,
        _rejection: &syncline::Rejection,
    ) -> Result<(), HandlerError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_handler_that_would_never_be_called_is_refused_with_both_named() {
    let done = || Answers::Done;
    assert_eq!(problem(|c| c.handler("user.closed", done()).handler("user.*", done())), "");
    assert_eq!(
        problem(|c| c.handler("user.*", done()).ignore("*").compensation("*", TakenBack)),
        ""
    );
    for hopeless in ["order.**", "*.placed", "order.", "syncline.link", ""] {
        let of = |said: String| {
            let named = format!("{hopeless:?} matches no topic");
            assert!(said.contains(&named), "{hopeless}: {said}");
        };
        of(problem(|c| c.handler(hopeless, done())));
        of(problem(|c| c.handler("a", done()).ignore(hopeless)));
        of(problem(|c| c.compensation(hopeless, TakenBack)));
        of(problem(|c| c.handler("a", done()).handler_versions(hopeless, 1..=1)));
    }
    let twice = problem(|c| c.handler("a", done()).handler("b", done()).handler("a", done()));
    assert!(twice.contains("the handler for \"a\"") && twice.contains("keep one"), "{twice}");
    let behind = problem(|c| c.ignore("user.*").handler("user.closed", done()));
    assert!(
        behind.contains("\"user.closed\"") && behind.contains("`ignore` for \"user.*\""),
        "{behind}"
    );
    let behind = problem(|c| c.compensation("*", TakenBack).compensation("user.*", TakenBack));
    assert!(behind.contains("the compensation for \"*\""), "{behind}");
    // The compensations are called by a handler of their own.
    let own = problem(|c| c.compensation("*", TakenBack).handler(REJECTED, done()));
    assert!(own.contains("keep one"), "{own}");
    let versions = problem(|c| c.handler("a", done()).handler_versions("b", 1..=1));
    assert!(versions.contains("\"b\", which no handler takes"), "{versions}");
}

#[tokio::test]
async fn a_stream_of_a_pattern_that_no_topic_fits_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}/s.db?mode=rwc", directory.path().display());
    let pool = SqlitePool::connect(&url).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    for hopeless in ["order.**", "*.placed", "order."] {
        let stream = Stream::new("orders").topic("user.*").topic(hopeless);
        let relay = Relay::builder("/tests", pool.clone()).stream(stream);
        let error = relay.start().await.map(drop).expect_err("it is refused").to_string();
        assert!(error.contains(&format!("{hopeless:?} matches no topic")), "{error}");
    }
}

#[test]
fn the_consumer_of_the_first_example_is_started() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```rust").nth(1).and_then(|rest| rest.split("```").next());
    assert!(example.is_some_and(|example| example.contains("consumer.start()")), "{example:?}");
}
