//! Participants over every transport, and with handlers that leave their transaction unusable.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::Router;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{Executor, MySql, Pool, Postgres, Sqlite, SqlitePool, Transaction};
use syncline::{
    Consumer, Envelope, HandlerError, Message, Relay, RelayHandle, RetryPolicy, Route, Stream,
    Verdict, begin, enqueue, handler_fn,
    message::{Batch, Link, Origin, Position},
    saga::{
        Answer, Outcome, SagaHandler, UndoAnswer,
        wire::{Ask, Command, REPLY, Reply, Said},
    },
    transport::{
        Receive, Subscriber,
        http_feed::{FeedServer, FeedSubscriber, Reader, Token},
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
        in_process,
    },
};
use syncline_tests::{
    kit::Kit,
    relays::eventually,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Notes (topic, 1) for what it applies and (topic, -1) for what it takes back.
struct Noted;

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Noted {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        DB::note(tx, &command.topic, 1).await?;
        Ok(match command.decode::<i64>()? {
            13 => Outcome::Refuse("не сегодня".into()),
            n => Outcome::Done(json!({ "twice": 2 * n })),
        })
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        _applied: &Value,
    ) -> Result<(), HandlerError> {
        DB::note(tx, &command.topic, -1).await?;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    InProcess,
    Push,
    Feed,
}

/// Carries `topic` of `source` to `consumer`.
async fn carry(
    way: Way,
    pool: &SqlitePool,
    (source, topic): (&str, &str),
    consumer: Consumer<Sqlite>,
    stop: &CancellationToken,
) -> RelayHandle {
    let consumer: Arc<dyn Receive> = Arc::new(consumer);
    let stream = Stream::new("sagas").topic(topic);
    let relay = Relay::builder(source, pool.clone()).stream(stream);
    let run = |subscriber: Box<dyn Subscriber>| {
        tokio::spawn(subscriber.run(Arc::clone(&consumer), stop.clone()));
    };
    match way {
        Way::InProcess => {
            let (publisher, subscriber) = in_process::channel(4);
            run(Box::new(subscriber));
            let route = Route::new("there", "sagas", publisher);
            relay.route(route).start().await.expect("the relay starts")
        }
        Way::Push => {
            let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
            let principal = Principal::new(source, "sagas", [secret.clone()]).expect("a principal");
            let setup = |receiver| PushReceiver::new(receiver).principal(principal);
            let listener = PushListener::bind("127.0.0.1:0", setup).await.expect("listens");
            let publisher = PushPublisher::builder(listener.url()).secret(secret).build();
            run(Box::new(listener));
            let route = Route::new("there", "sagas", publisher.expect("a publisher"));
            relay.route(route).start().await.expect("the relay starts")
        }
        Way::Feed => {
            let relay = relay.start().await.expect("the relay starts");
            let token = || Token::parse("synf_reads-everything-0123456789").expect("a token");
            let reader = Reader::new(&token(), "sagas", [topic]).expect("a reader");
            let feed = FeedServer::new(relay.feed()).reader(reader).stop(stop.clone());
            let app = Router::new().nest("/feed", feed.router());
            let server = TcpListener::bind("127.0.0.1:0").await.expect("listens");
            let address = server.local_addr().expect("an address");
            let ended = stop.clone();
            tokio::spawn(async move {
                let until = async move { ended.cancelled().await };
                axum::serve(server, app).with_graceful_shutdown(until).await.expect("serves");
            });
            let subscriber = FeedSubscriber::builder(format!("http://{address}/feed"))
                .source(source)
                .stream("sagas")
                .token(token())
                .wait(Duration::from_secs(1))
                .build();
            run(Box::new(subscriber.expect("a subscriber")));
            relay
        }
    }
}

async fn prepared<DB: Kit>(url: &str) -> Pool<DB> {
    let pool = DB::connect(url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    pool
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_replies_pass_every_transport() {
    drop(rustls::crypto::ring::default_provider().install_default());
    for way in [Way::InProcess, Way::Push, Way::Feed] {
        let ((_a, ours), (_b, theirs)) = (sqlite_database(), sqlite_database());
        let ours = prepared::<Sqlite>(&ours).await;
        let theirs = prepared::<Sqlite>(&theirs).await;
        let stop = CancellationToken::new();
        let participant = Consumer::builder("login", theirs.clone()).participant("login.*", Noted);
        let participant = participant.build().expect("a consumer");
        let there = carry(way, &ours, ("/orders", "login.*"), participant, &stop).await;
        let replies = Arc::new(Mutex::new(Vec::<Reply>::new()));
        let told = Arc::clone(&replies);
        let collect = handler_fn(move |_tx, message| {
            told.lock().expect("no panic").push(message.decode().expect("a reply"));
            Box::pin(async { Ok(Verdict::Done) })
        });
        let orchestrator = Consumer::builder("orders", ours.clone()).handler(REPLY, collect);
        let orchestrator = orchestrator.build().expect("a consumer");
        let back = carry(way, &theirs, ("/login", REPLY), orchestrator, &stop).await;

        let saga = Uuid::now_v7();
        let not_after = Some(Utc::now() + TimeDelta::minutes(10));
        let late = Some(Utc::now() - TimeDelta::minutes(10));
        let command = |step: &str, ask, not_after| {
            let step = step.to_owned();
            Command { saga, step, ask, attempt: 3, not_after, confirms: None, why: None }
        };
        let applied = Said::Applied(Answer::Applied(json!({ "twice": 14 })));
        let barred = Answer::Barred;
        let all = [
            ("a", Ask::Apply, not_after, 7, applied),
            ("b", Ask::Apply, not_after, 13, Said::Applied(Answer::Refused("не сегодня".into()))),
            ("a", Ask::Compensate, not_after, 7, Said::Compensated(UndoAnswer::Undone)),
            ("c", Ask::Bar, None, 7, Said::Barred(barred.clone())),
            ("d", Ask::Apply, late, 7, Said::Applied(barred)),
        ];
        for (n, (step, ask, not_after, payload, said)) in (1..).zip(all) {
            let message = Message::json("login.provision", &payload).expect("JSON");
            let message = command(step, ask, not_after).address(message.header("tenant", "süd"));
            let mut tx = begin(&ours).await.expect("begin");
            let receipt = enqueue(&mut tx, &message).await.expect("enqueue");
            tx.commit().await.expect("commit");
            receipt.committed();
            let answered = async || (replies.lock().expect("no panic").len() == n).then_some(());
            eventually("the answer has come back", answered).await;
            let reply = replies.lock().expect("no panic").last().cloned().expect("a reply");
            let (to, step) = ("/orders".to_owned(), step.to_owned());
            assert_eq!(reply, Reply { to, saga, step, attempt: 3, said }, "{way:?}");
        }
        let effects: Vec<i64> =
            Sqlite::applied(&theirs).await.expect("read").into_iter().map(|(_, n)| n).collect();
        assert_eq!(effects, [1, -1], "{way:?}");
        stop.cancel();
        there.stop().await;
        back.stop().await;
    }
}

/// Runs a statement, and says that all is well or returns its error.
struct Trouble {
    sql: &'static str,
    swallows: bool,
}

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Trouble
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        DB::note(tx, &command.topic, 1).await?;
        if command.topic.ends_with("trouble") {
            let done = tx.execute(sqlx::raw_sql(self.sql)).await;
            if !self.swallows {
                done?;
            }
        }
        Ok(Outcome::Done(Value::Null))
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        _applied: &Value,
    ) -> Result<(), HandlerError> {
        DB::note(tx, &command.topic, -1).await?;
        Ok(())
    }
}

/// Sends one good command, one that gets into trouble, and a good one in one batch; what was
/// answered in order of the steps, the effects by topic, and how many messages are held.
async fn among_others<DB: Kit>(
    pool: &Pool<DB>,
    trouble: Trouble,
) -> (Vec<Option<Said>>, Vec<(String, i64)>, usize)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let once = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
    let consumer = Consumer::builder("c", pool.clone()).participant("in.*", trouble).retry(once);
    let consumer = consumer.build().expect("a consumer");
    let saga = Uuid::now_v7();
    let (source, stream) = ("/orders".to_owned(), "s".to_owned());
    let origin = Origin { source, incarnation: Uuid::max(), stream, version: 1, shard: 0 };
    let (origin, mut last, mut messages) = (Arc::new(origin), Link::START, Vec::new());
    let topics = ["in.first", "in.trouble", "in.last"];
    for (position, topic) in (1..).map(Position).zip(topics) {
        let step = topic.to_owned();
        let ask = Ask::Apply;
        let command =
            Command { saga, step, ask, attempt: 1, not_after: None, confirms: None, why: None };
        let message = command.address(Message::json(topic, &0).expect("JSON"));
        let prev = std::mem::replace(&mut last, Link { position, id: message.id });
        messages.push(Envelope {
            origin: Arc::clone(&origin),
            position,
            prev,
            message: message.into(),
        });
    }
    let through = last.position;
    let batch = Batch { origin, messages, through, last, handover: None, continues: None };
    let ack = consumer.receive(batch).await.expect("an answer");
    assert_eq!(ack.last, last);
    let lease = DB::acquire(pool, "seal", Uuid::now_v7(), Duration::from_secs(60)).await;
    let lease = lease.expect("acquire").expect("it is free");
    while DB::seal(pool, &lease, 100).await.expect("seal").count > 0 {}
    let limit = syncline::storage::PageLimit { rows: 100, bytes: usize::MAX };
    let rows = DB::read(pool, Default::default(), limit).await.expect("read");
    let replies: Vec<Reply> =
        rows.iter().map(|row| row.message.decode().expect("a reply")).collect();
    let said = topics.map(|topic| {
        let mut of_step = replies.iter().filter(|reply| reply.step == topic);
        let said = of_step.next().map(|reply| reply.said.clone());
        assert!(of_step.next().is_none(), "one answer");
        said
    });
    let held = DB::held(pool, true, 0, 9).await.expect("held").len();
    (said.to_vec(), DB::applied(pool).await.expect("read"), held)
}

fn done() -> Option<Said> {
    Some(Said::Applied(Answer::Applied(Value::Null)))
}

fn effects(topics: &[&str]) -> Vec<(String, i64)> {
    topics.iter().map(|topic| ((*topic).to_owned(), 1)).collect()
}

const FAILS: &str = "INSERT INTO there_is_no_such_table VALUES (1)";

/// A failed statement that is told is answered, and disturbs no other command.
async fn failed_statement<DB: Kit>(pool: Pool<DB>)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let trouble = Trouble { sql: FAILS, swallows: false };
    let (said, applied, held) = among_others(&pool, trouble).await;
    assert!(
        matches!(&said[1], Some(Said::Applied(Answer::Failed(why))) if why.contains("no_such_table")),
        "{said:?}"
    );
    assert_eq!([&said[0], &said[2]], [&done(), &done()]);
    assert_eq!((applied, held), (effects(&["in.first", "in.last"]), 0));
}

#[tokio::test]
async fn a_failed_statement_is_answered_and_disturbs_no_other_command() {
    let (_directory, url) = sqlite_database();
    failed_statement::<Sqlite>(prepared(&url).await).await;
    if let Some(url) = postgres_database().await {
        failed_statement::<Postgres>(prepared(&url).await).await;
    }
    if let Some(url) = mariadb_database().await {
        failed_statement::<MySql>(prepared(&url).await).await;
    }
}

#[tokio::test]
async fn an_aborted_transaction_that_is_not_told_is_a_failure() {
    let Some(url) = postgres_database().await else { return };
    let pool = prepared::<Postgres>(&url).await;
    let trouble = Trouble { sql: FAILS, swallows: true };
    let (said, applied, held) = among_others(&pool, trouble).await;
    assert!(
        matches!(&said[1], Some(Said::Applied(Answer::Failed(why))) if why.contains("unusable")),
        "{said:?}"
    );
    assert_eq!([&said[0], &said[2]], [&done(), &done()]);
    assert_eq!((applied, held), (effects(&["in.first", "in.last"]), 0));
}

/// What ends the whole transaction behind the framework's back must not commit anything of it:
/// neither an answer nor the barrier.
async fn ended<DB: Kit>(fresh: impl AsyncFn() -> Pool<DB>)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let guessed = "ROLLBACK; BEGIN; SAVEPOINT syncline; SAVEPOINT _sqlx_savepoint_1";
    for sql in ["ROLLBACK", "ROLLBACK; BEGIN", guessed] {
        let pool = fresh().await;
        let (said, applied, held) = among_others(&pool, Trouble { sql, swallows: true }).await;
        assert_eq!(said, [done(), None, done()], "{sql}");
        assert_eq!((applied, held), (effects(&["in.first", "in.last"]), 1), "{sql}");
        let steps = "SELECT count(*) FROM syncline_barrier";
        assert_eq!(DB::count(&pool, steps).await.expect("read"), 2, "{sql}");
    }
}

#[tokio::test]
async fn a_transaction_that_was_ended_is_held_and_nothing_is_answered_on_mariadb() {
    if mariadb_database().await.is_none() {
        return;
    }
    ended::<MySql>(async || prepared(&mariadb_database().await.expect("it is there")).await).await;
}

#[tokio::test]
async fn a_transaction_that_was_ended_is_held_and_nothing_is_answered_on_postgres() {
    if postgres_database().await.is_none() {
        return;
    }
    let fresh = async || prepared(&postgres_database().await.expect("it is there")).await;
    ended::<Postgres>(fresh).await;
}

#[tokio::test]
async fn a_transaction_that_was_ended_is_held_and_nothing_is_answered_on_sqlite() {
    let kept = std::sync::Mutex::new(Vec::new());
    ended::<Sqlite>(async || {
        let (directory, url) = sqlite_database();
        kept.lock().expect("no panic").push(directory);
        prepared(&url).await
    })
    .await;
}
