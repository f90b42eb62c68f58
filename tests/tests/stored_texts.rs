//! Reasons, errors, panics and durations of user code, however long and of whatever characters: they
//! are stored, cut where they must be, and stop nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::FutureExt;
use serde_json::Value;
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Compensate, Consumer, Envelope, Handler, HandlerError, Message, Rejection, Relay, RetryPolicy,
    Route, Stream, Verdict, begin,
    consumer::REJECTED,
    message::Position,
    saga::{
        End, Outcome, Phase, Retry, Saga, SagaBuilder, SagaHandler, Sagas,
        operate::{self, Act, By},
        wire,
    },
    transport::{Receive, Subscriber, in_process},
};
use syncline_tests::{
    kit::Kit,
    letters::numbered,
    relays::eventually,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio_util::sync::CancellationToken;

/// Above a mebibyte, with what PostgreSQL keeps in no text, cut in the midst of no character.
fn text() -> String {
    format!("why\0not {}", "\u{e9}\u{1f511}".repeat(200_000))
}

const PATIENCE: Duration = Duration::from_secs(120);
const YEAR: u64 = 366 * 24 * 60 * 60;
/// For ever; beyond PostgreSQL's and chrono's times; beyond MariaDB's alone.
const LONG: [Duration; 3] =
    [Duration::MAX, Duration::from_secs(300_000 * YEAR), Duration::from_secs(9_000 * YEAR)];

/// Answers message n as its number says; from the second try on, the two behind 10 as the first two.
struct Answering(Arc<AtomicUsize>);

#[async_trait]
impl<DB: Kit> Handler<DB> for Answering {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let n: i64 = message.decode()?;
        let again = self.0.fetch_add(1, Ordering::SeqCst) >= 64;
        match n {
            1 => Ok(Verdict::Reject(text())),
            2..=4 => Ok(Verdict::Retry(LONG[n as usize - 2])),
            5 => Err(text().into()),
            6 => panic!("{}", text()),
            7 if again => Ok(Verdict::Reject(text())),
            8 if again => Ok(Verdict::Retry(Duration::MAX)),
            7 | 8 => Err(text().into()),
            _ => {
                DB::note(tx, "n", n).await?;
                Ok(Verdict::Done)
            }
        }
    }
}

fn is_cut(what: &str, text: &str) {
    assert!(text.len() > 1_000 && text.chars().count() <= 2_000, "{what}: {}", text.len());
    assert!(!text.contains('\0'), "{what}");
}

async fn a_consumer_goes_on<DB: Kit>(pool: Pool<DB>) {
    let calls = Arc::<AtomicUsize>::default();
    let retry = RetryPolicy { max_attempts: 3, base: Duration::MAX, max: Duration::MAX };
    let consumer = Consumer::builder("c", pool.clone())
        .handler("in", Answering(Arc::clone(&calls)))
        .retry(retry)
        .build()
        .expect("a consumer");
    let ack = consumer.receive(numbered(9)).await.expect("it goes on");
    assert_eq!(ack.watermark, Position(9));
    assert_eq!(DB::applied(&pool).await.expect("applied"), [("n".to_owned(), 9)]);
    let rejections = "SELECT count(*) FROM syncline_outbox WHERE topic = 'syncline.rejected'";
    assert_eq!(DB::count(&pool, rejections).await.expect("count"), 1);
    let held = DB::held(&pool, true, 0, 99).await.expect("held");
    let positions: Vec<i64> = held.iter().map(|held| held.position.0).collect();
    assert_eq!(positions, [2, 3, 4, 5, 6, 7, 8], "what failed is held");
    for held in held.iter().filter(|held| held.position.0 > 4) {
        is_cut("the error of a try", held.error.as_deref().expect("an error"));
    }

    // And so where they are tried again.
    calls.store(64, Ordering::SeqCst);
    let running = consumer.start().await.expect("it starts");
    let now = match DB::LABEL {
        "SQLite" => "UPDATE syncline_timer SET due_at = 0",
        _ => "UPDATE syncline_timer SET due_at = '2001-01-01 00:00:00'",
    };
    DB::execute(&pool, now).await.expect("now");
    eventually("all were tried again", async || {
        let held = DB::held(&pool, true, 0, 99).await.expect("held");
        let again = held.iter().filter(|held| held.attempts == 2).count();
        (held.len() == 6 && again == 6).then_some(())
    })
    .await;
    assert_eq!(DB::count(&pool, rejections).await.expect("count"), 2);
    running.stop().await;
}

struct TakenBack;

#[async_trait]
impl<DB: Kit> Compensate<DB> for TakenBack {
    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        rejection: &Rejection,
    ) -> Result<(), HandlerError> {
        Ok(DB::note(tx, "taken back", rejection.position).await?)
    }
}

/// From a service that does not cut.
async fn a_long_rejection_is_compensated<DB: Kit>(pool: Pool<DB>) {
    let consumer = Consumer::builder("c", pool.clone()).compensation("*", TakenBack);
    let consumer = consumer.build().expect("a consumer");
    let mut batch = numbered(1);
    let message = &mut batch.messages[0];
    let rejection = Rejection {
        message_id: message.id,
        topic: "in".to_owned(),
        key: None,
        position: 1,
        source: "/us".to_owned(),
        stream: "s".to_owned(),
        consumer: "them".to_owned(),
        reason: text(),
    };
    let mut told = Message::json(REJECTED, &rejection).expect("JSON");
    told.id = message.id;
    message.message = told.into();
    consumer.receive(batch).await.expect("it is taken in");
    assert_eq!(DB::applied(&pool).await.expect("applied"), [("taken back".to_owned(), 1)]);
}

/// Does what the name of its saga says, with the long text.
#[derive(Clone, Copy)]
enum How {
    Fails,
    Refuses,
    Panics,
    FailsToUndo,
}

impl How {
    fn act(self) -> Result<Outcome<Value>, HandlerError> {
        match self {
            Self::Fails => Err(text().into()),
            Self::Refuses => Ok(Outcome::Refuse(text())),
            Self::Panics => panic!("{}", text()),
            Self::FailsToUndo => Ok(Outcome::Done(Value::Null)),
        }
    }
}

struct Part(How, AtomicUsize);

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Part {
    async fn apply(
        &self,
        _: &mut Transaction<'_, DB>,
        _: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        self.0.act()
    }

    async fn compensate(
        &self,
        _: &mut Transaction<'_, DB>,
        _: &Envelope,
        _: &Value,
    ) -> Result<(), HandlerError> {
        match self.1.fetch_add(1, Ordering::SeqCst) {
            0 => Err(text().into()),
            _ => Ok(()),
        }
    }
}

const QUICK: Duration = Duration::from_millis(10);
const TWICE: Retry = Retry { attempts: 2, base: QUICK, longest: QUICK };

/// A step that ends as `how` says, and one that refuses what has come so far.
fn texts<DB: Kit>(name: &str, how: How, remote: bool) -> Saga<DB> {
    let mut saga = SagaBuilder::<DB, i64>::new(name, 1);
    if remote {
        let topic = format!("cmd.{name}");
        let step = saga.remote::<_, Value>("first", (), move |_| Ok(Message::json(&topic, &1)?));
        step.compensated().retry(TWICE).add();
    } else {
        let undone = Arc::<AtomicUsize>::default();
        let step =
            saga.local::<_, Value, _>("first", (), move |_, _| async move { how.act() }.boxed());
        let step = step.compensate(move |_, _, _| {
            let first = undone.fetch_add(1, Ordering::SeqCst) == 0;
            async move { if first { Err(text().into()) } else { Ok(()) } }.boxed()
        });
        step.retry(TWICE).add();
    }
    let last = saga.local::<_, (), _>("last", (), |_, _| {
        async { Ok(Outcome::Refuse("no".to_owned())) }.boxed()
    });
    last.pivot().add();
    saga.build().expect("a sound definition")
}

/// Runs the engine with its relay and a consumer of its own service.
async fn with_engine<DB: Kit>(
    pool: &Pool<DB>,
    sagas: &Sagas<DB>,
    participants: impl FnOnce(
        syncline::consumer::ConsumerBuilder<DB>,
    ) -> syncline::consumer::ConsumerBuilder<DB>,
    test: impl AsyncFnOnce(),
) {
    let consumer = Consumer::builder("all", pool.clone())
        .batch_handler(wire::REPLY, sagas.replies())
        .retry(RetryPolicy { max_attempts: 100, base: QUICK, max: QUICK });
    let consumer = participants(consumer).build().expect("a consumer");
    let (publisher, subscriber) = in_process::channel(4);
    let stop = CancellationToken::new();
    let run = Box::new(subscriber).run(Arc::new(consumer.clone()), stop.clone());
    let consumes = tokio::spawn(run);
    let tries = consumer.start().await.expect("it starts");
    let relay = Relay::builder("/texts", pool.clone())
        .stream(Stream::new("all").topic("cmd.*").topic(wire::REPLY))
        .route(Route::new("there", "all", publisher));
    let relay = relay.start().await.expect("the relay starts");
    let running = sagas.run().await.expect("the engine starts");
    test().await;
    running.stop().await;
    relay.stop().await;
    tries.stop().await;
    stop.cancel();
    consumes.await.expect("no panic").expect("it ran");
}

async fn sagas_go_on<DB: Kit>(pool: Pool<DB>) {
    let cases = [
        ("fails", How::Fails),
        ("refuses", How::Refuses),
        ("panics", How::Panics),
        ("fails-to-undo", How::FailsToUndo),
    ];
    let mut builder = Sagas::builder("/texts", pool.clone()).poll(QUICK);
    for (name, how) in cases {
        builder = builder.saga(texts(&format!("local-{name}"), how, false));
        builder = builder.saga(texts(&format!("remote-{name}"), how, true));
    }
    let sagas = builder.build().expect("an engine");
    let participants = |mut consumer: syncline::consumer::ConsumerBuilder<DB>| {
        // What panics at a participant is held there: its orchestrator hears nothing.
        for (name, how) in cases.into_iter().filter(|(name, _)| *name != "panics") {
            let part = Part(how, AtomicUsize::new(0));
            consumer = consumer.participant(format!("cmd.remote-{name}"), part);
        }
        consumer
    };
    with_engine(&pool, &sagas, participants, async || {
        for (name, _) in cases {
            for place in ["local", "remote"] {
                if (place, name) == ("remote", "panics") {
                    continue;
                }
                let saga = format!("{place}-{name}");
                let mut tx = begin(&pool).await.expect("begin");
                let started = sagas.start(&mut tx, &saga, "key", &1).await.expect("start");
                let over = started.over();
                tx.commit().await.expect("commit");
                let id = started.id;
                started.committed();
                let end = over.within(PATIENCE).await.expect("asked");
                let shown = operate::show(&pool, id).await.expect("show").expect("it is there");
                assert_eq!(end, Some(End::Compensated), "{saga}: {:?}", shown.summary);
                let details = shown.log.iter().filter_map(|line| line.detail.as_deref());
                let longest = details.max_by_key(|detail| detail.len()).expect("a detail");
                is_cut(&saga, longest);
                assert!(longest.contains("whynot"), "{saga}");
            }
        }
    })
    .await;
}

/// What an operator says, too.
async fn an_operator_may_say_much<DB: Kit>(pool: Pool<DB>) {
    let sagas = Sagas::builder("/texts", pool.clone()).saga(texts("s", How::Fails, true));
    let sagas = sagas.poll(QUICK).build().expect("an engine");
    let mut tx = begin(&pool).await.expect("begin");
    let started = sagas.start(&mut tx, "s", "key", &1).await.expect("start");
    tx.commit().await.expect("commit");
    let by = By { who: "Ada".to_owned(), why: text() };
    assert!(operate::act(&pool, started.id, Act::Cancel, &by).await.expect("it is said"));
    let running = sagas.run().await.expect("it runs");
    started.clone().committed();
    eventually("it is taken back", async || {
        let shown = operate::show(&pool, started.id).await.expect("show").expect("it is there");
        let state = shown.state.expect("a state");
        assert_eq!(shown.summary.stuck_at, None, "{:?}", shown.summary);
        is_cut("the operator's reason", &state.reason?);
        Some(())
    })
    .await;
    running.stop().await;
}

/// Deadlines, silences and pauses for ever.
async fn no_time_is_too_long<DB: Kit>(pool: Pool<DB>) {
    let mut builder = Sagas::builder("/texts", pool.clone()).poll(QUICK).retention(Duration::MAX);
    for (n, long) in LONG.into_iter().enumerate() {
        let retry = Retry { attempts: 3, base: long, longest: long };
        let mut saga = SagaBuilder::<DB, i64>::new(format!("long-{n}"), 1).deadline(long);
        let step = saga.remote::<_, Value>("there", (), |_| Ok(Message::json("cmd.long", &1)?));
        step.compensated().deadline(long).silence(long).retry(retry).add();
        let here =
            saga.local::<_, (), _>("here", (), |_, _| async { Ok(Outcome::Done(())) }.boxed());
        here.deadline(long).pivot().add();
        let last = saga.local::<_, (), _>("rests", (), |_, _| async { Err("no".into()) }.boxed());
        last.deadline(long).retry(retry).retriable().add();
        builder = builder.saga(saga.build().expect("sound"));
    }
    let sagas = builder.build().expect("an engine");
    let participants = |consumer: syncline::consumer::ConsumerBuilder<DB>| {
        let part = Part(How::FailsToUndo, AtomicUsize::new(0));
        consumer
            .participant("cmd.long", part)
            .barrier_retention(Duration::MAX)
            .foreign_retention(Duration::MAX)
            .timeout(Duration::MAX)
            .answer_within(Duration::MAX)
    };
    with_engine(&pool, &sagas, participants, async || {
        for n in 0..LONG.len() {
            let mut tx = begin(&pool).await.expect("begin");
            let saga = format!("long-{n}");
            let started = sagas.start(&mut tx, &saga, "key", &1).await.expect("start");
            tx.commit().await.expect("commit");
            let over = started.over();
            started.clone().committed();
            eventually("its last step rests", async || {
                let shown = operate::show(&pool, started.id).await.expect("show").expect("there");
                assert_eq!(shown.summary.stuck_at, None, "{saga}: {:?}", shown.summary);
                let state = shown.state.expect("a state");
                let rests = |phase| state.steps["rests"].phase == phase;
                (rests(Phase::Resting)).then_some(())
            })
            .await;
            // Nor is one who waits for it.
            let waits = tokio::spawn(over.within(Duration::MAX));
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(!waits.is_finished(), "it waits");
            waits.abort();
        }
    })
    .await;
}

macro_rules! on_each {
    ($($name:ident: $of:ident;)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let (_directory, url) = sqlite_database();
                $of(prepared::<Sqlite>(&url).await).await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(url) = postgres_database().await else { return };
                $of(prepared::<Postgres>(&url).await).await;
            })*
        }
        mod mariadb {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(url) = mariadb_database().await else { return };
                $of(prepared::<MySql>(&url).await).await;
            })*
        }
    };
}

async fn prepared<DB: Kit>(url: &str) -> Pool<DB> {
    let pool = DB::connect(url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    pool
}

on_each! {
    a_consumer_goes_on_behind_long_reasons_and_pauses: a_consumer_goes_on;
    a_long_rejection_of_another_service_is_compensated: a_long_rejection_is_compensated;
    a_saga_goes_on_behind_long_errors_refusals_and_panics: sagas_go_on;
    an_operator_may_say_much_of_a_saga: an_operator_may_say_much;
    no_deadline_silence_or_pause_is_too_long: no_time_is_too_long;
}
