//! A command that is lost for good, as by a relay whose definition did not carry its topic for a
//! while, does not hang its saga: the engine sends it again, and an operator can.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, HandlerError, Message, Relay, RelayHandle, Route, Start, Stream, begin,
    saga::{
        End, Outcome, Saga, SagaBuilder, SagaHandler, Sagas, Started,
        operate::{self, Act, By},
        wire,
    },
    transport::{Subscriber, in_process},
};
use syncline_tests::{
    kit::Kit,
    relays::eventually,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(120);

/// Notes what it applies and takes back.
struct Noted;

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Noted {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        DB::note(tx, "applied", command.decode()?).await?;
        Ok(Outcome::Done(Value::Null))
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        _applied: &Value,
    ) -> Result<(), HandlerError> {
        DB::note(tx, "taken back", command.decode()?).await?;
        Ok(())
    }
}

/// One step of another service, which may take an hour.
fn saga<DB: Kit>(name: &str, silence: Duration) -> Saga<DB> {
    let mut saga = SagaBuilder::<DB, i64>::new(name, 1);
    saga.remote::<_, Value>("there", (), |call| Ok(Message::json("cmd.note", &call.input)?))
        .compensated()
        .deadline(HOUR)
        .silence(silence)
        .add();
    saga.build().expect("a sound definition")
}

async fn start<DB: Kit>(pool: &Pool<DB>, sagas: &Sagas<DB>, name: &str, n: i64) -> Started {
    let mut tx = begin(pool).await.expect("begin");
    let started = sagas.start(&mut tx, name, &n.to_string(), &n).await.expect("start");
    tx.commit().await.expect("commit");
    started.clone().committed();
    started
}

async fn until_logged<DB: Kit>(pool: &Pool<DB>, started: &Started, what: &str) {
    let logged = async || {
        let shown = operate::show(pool, started.id).await.expect("show").expect("there");
        shown.log.iter().any(|line| line.what == what).then_some(())
    };
    eventually(what, logged).await;
}

/// An engine of the saga, and its database.
async fn engine<DB: Kit>(url: &str, silence: Duration) -> (Pool<DB>, Sagas<DB>) {
    let pool = DB::connect(url, 12).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    let sagas = Sagas::builder("/orders", pool.clone())
        .poll(Duration::from_millis(100))
        .saga(saga("lost", silence))
        .build()
        .expect("an engine");
    (pool, sagas)
}

/// Carries what is sent from now on, after all that was sent has a position; with what stops the
/// consumers.
async fn carry_from_now<DB: Kit>(
    pool: &Pool<DB>,
    sagas: &Sagas<DB>,
    started: &[&Started],
) -> (RelayHandle, CancellationToken) {
    let stop = CancellationToken::new();
    // They, too, begin with what comes from now on: else they would ask for what they lack.
    let consumer = |name| Consumer::builder(name, pool.clone()).start_at(Start::Now);
    let commands = consumer("participant").participant("cmd.*", Noted);
    let replies = consumer("orchestrator").batch_handler(wire::REPLY, sagas.replies());
    let mut relay = Relay::builder("/orders", pool.clone());
    for (name, topic, consumer) in [
        ("commands", "cmd.*", commands.build().expect("a consumer")),
        ("replies", wire::REPLY, replies.build().expect("a consumer")),
    ] {
        let (publisher, subscriber) = in_process::channel(4);
        let subscriber: Box<dyn Subscriber> = Box::new(subscriber);
        tokio::spawn(subscriber.run(std::sync::Arc::new(consumer), stop.clone()));
        relay = relay
            .stream(Stream::new(name).topic(topic))
            .route(Route::new(name, name, publisher).start(Start::Now));
    }
    let mut commands_sent = 0;
    for started in started {
        let shown = operate::show(pool, started.id).await.expect("show").expect("there");
        let sends = ["sent", "resent", "compensating"];
        let sent = shown.log.iter().filter(|line| sends.contains(&line.what.as_str()));
        commands_sent += i64::try_from(sent.count()).expect("a few");
    }
    let unsealed = Relay::builder("/orders", pool.clone()).start().await.expect("it seals");
    let sealed =
        async || (DB::head(pool).await.expect("the head").0 >= commands_sent).then_some(());
    eventually("the log is sealed", sealed).await;
    unsealed.stop().await;
    (relay.start().await.expect("the relay starts"), stop)
}

async fn a_lost_command_is_repaired<DB: Kit>(url: String) {
    let (pool, sagas) = engine::<DB>(&url, Duration::from_millis(200)).await;
    let running = sagas.run().await.expect("it runs");
    let own = start(&pool, &sagas, "lost", 1).await;
    until_logged(&pool, &own, "sent").await;
    until_logged(&pool, &own, "resent").await;
    let ids = async || {
        let overdue = operate::overdue(&pool, 10).await.expect("a list");
        overdue.into_iter().map(|saga| saga.id).collect::<Vec<_>>()
    };
    assert_eq!(ids().await, [own.id]);
    // A route that begins after all of it: nobody carries what was sent.
    let (relay, stop) = carry_from_now(&pool, &sagas, &[&own]).await;
    assert_eq!(own.over().within(PATIENCE).await.expect("asked"), Some(End::Completed));
    assert!(ids().await.is_empty());

    let effects = DB::applied(&pool).await.expect("effects");
    assert_eq!(effects, [("applied".to_owned(), 1)]);
    stop.cancel();
    relay.stop().await;
    running.stop().await;
}

/// Engines that would wait for an hour; an operator does not. Of one saga the compensation is lost.
async fn an_operator_has_it_sent_again<DB: Kit>(url: String) {
    let (pool, sagas) = engine::<DB>(&url, HOUR).await;
    let running = sagas.run().await.expect("it runs");
    let (on, back) = (start(&pool, &sagas, "lost", 1).await, start(&pool, &sagas, "lost", 2).await);
    for started in [&on, &back] {
        until_logged(&pool, started, "sent").await;
    }
    let by = By { who: "ada".to_owned(), why: "it was lost".to_owned() };
    assert!(operate::act(&pool, back.id, Act::Cancel, &by).await.expect("asked"));
    until_logged(&pool, &back, "compensating").await;
    let (relay, stop) = carry_from_now(&pool, &sagas, &[&on, &back]).await;
    for (started, end) in [(on, End::Completed), (back, End::Compensated)] {
        let act = Act::Resend("there".to_owned());
        let shown = operate::show(&pool, started.id).await.expect("show").expect("there");
        let asked = operate::act(&pool, started.id, act, &by).await.expect("asked");
        assert!(asked, "it is not over: {:#?}", shown.log);
        assert_eq!(started.over().within(PATIENCE).await.expect("asked"), Some(end));
    }
    // The command that was barred by its compensation never came.
    assert_eq!(DB::applied(&pool).await.expect("effects"), [("applied".to_owned(), 1)]);
    stop.cancel();
    relay.stop().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_lost_is_sent_again_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    a_lost_command_is_repaired::<Postgres>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_lost_is_sent_again_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    a_lost_command_is_repaired::<MySql>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_lost_is_sent_again_on_sqlite() {
    let (_directory, url) = sqlite_database();
    a_lost_command_is_repaired::<Sqlite>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_a_lost_command_sent_again_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    an_operator_has_it_sent_again::<Postgres>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_a_lost_command_sent_again_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    an_operator_has_it_sent_again::<MySql>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_a_lost_command_sent_again_on_sqlite() {
    let (_directory, url) = sqlite_database();
    an_operator_has_it_sent_again::<Sqlite>(url).await;
}
