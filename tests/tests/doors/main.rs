//! One table of messages, through every door that each database has: what one refuses all refuse,
//! and what one takes all take. Where a door rightly differs, the table says why.

#![allow(clippy::expect_used)]

mod cases;
mod dialect;
#[path = "../push/mod.rs"]
mod push;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use cases::{Case, Door, MARIADB_ONLY, POSTGRES_ONLY, cases};
use dialect::{Dialect, MARIADB, POSTGRES, SQLITE};
use futures::FutureExt;
use push::{Request, SECRET, secret};
use serde_json::{json, value::RawValue};
use sqlx::{AssertSqlSafe, Executor, MySql, Pool, Postgres, Sqlite};
use syncline::{
    Consumer, Error, Message, Verdict, begin, enqueue, handler_fn, held,
    message::ForeignMessage,
    saga::{End, Outcome, Retry, SagaBuilder, Sagas},
    transport::{
        Subscriber,
        http_push::{Principal, PushListener, PushReceiver, SOURCE_HEADER, STREAM_HEADER},
    },
};
use syncline_tests::{
    kit::Kit,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A door's answer to each case: none where it has no such message.
type Answers = Vec<Option<Result<(), String>>>;

const PATIENCE: Duration = Duration::from_secs(120);
const ONCE: Retry = Retry { attempts: 1, base: Duration::ZERO, longest: Duration::ZERO };
/// Larger outputs are not what a saga is for.
const OUTPUT: usize = 100_000;

/// The case as the library's own message.
fn message(case: &Case) -> Message {
    let mut message = Message::new(&case.topic, &case.content_type, case.data.clone())
        .schema_version(case.schema_version);
    message.key.clone_from(&case.key);
    message.idempotency_key.clone_from(&case.idempotency_key);
    message.headers = case.headers.iter().cloned().collect();
    match &case.deliver_at {
        Some(time) => {
            let time = chrono::DateTime::parse_from_rfc3339(time).expect("a time of RFC 3339");
            message.deliver_at(time.to_utc())
        }
        None => message,
    }
}

async fn by_enqueue<DB: Kit>(pool: &Pool<DB>, cases: &[Case]) -> Answers {
    let mut answers = Answers::new();
    for case in cases {
        let mut tx = begin(pool).await.expect("begin");
        let answer = match enqueue(&mut tx, &message(case)).await {
            Ok(_) => Ok(()),
            Err(Error::Message(error)) => Err(error.to_string()),
            Err(error) => panic!("{}: {error}", case.name),
        };
        tx.rollback().await.expect("roll back");
        answers.push(Some(answer));
    }
    answers
}

/// Runs one statement in a transaction that is rolled back.
async fn run<DB: Kit>(pool: &Pool<DB>, statement: String) -> Result<(), String>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let mut tx = begin(pool).await.expect("begin");
    let statement = sqlx::raw_sql(AssertSqlSafe(statement));
    let answer = match (&mut *tx).execute(statement).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) => Err(error.message().to_owned()),
        Err(error) => panic!("{error}"),
    };
    tx.rollback().await.expect("roll back");
    answer
}

async fn by_sql<DB: Kit>(
    pool: &Pool<DB>,
    cases: &[Case],
    statement: impl Fn(&Case) -> Option<String>,
) -> Answers
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let mut answers = Answers::new();
    for case in cases {
        answers.push(match statement(case) {
            Some(statement) => Some(run(pool, statement).await),
            None => None,
        });
    }
    answers
}

async fn by_http<DB: Kit>(pool: &Pool<DB>, cases: &[Case]) -> Answers {
    let handler = handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) }));
    let consumer = Consumer::builder("foreign", pool.clone()).handler("*", handler);
    let consumer = consumer.build().expect("a consumer");
    let setup = |receiver| {
        let principal = Principal::foreign("/foreign", [secret(SECRET)]);
        PushReceiver::new(receiver).principal(principal.expect("a principal"))
    };
    let listener = PushListener::bind("127.0.0.1:0", setup).await.expect("listens");
    let (address, stop) = (listener.local_addr(), CancellationToken::new());
    let server = tokio::spawn(Box::new(listener).run(Arc::new(consumer), stop.clone()));
    let mut answers = Answers::new();
    for case in cases {
        if case.idempotency_key.is_some() || case.deliver_at.is_some() {
            answers.push(None);
            continue;
        }
        let mut event = json!({
            "specversion": "1.0",
            "id": Uuid::now_v7().to_string(),
            "source": "/foreign",
            "type": case.topic,
            "subject": case.key,
            "datacontenttype": case.content_type,
            "schemaversion": case.schema_version,
            "data_base64": BASE64.encode(&case.data),
        });
        for (name, value) in &case.headers {
            event[name] = json!(value);
        }
        let mut request = Request::signed(event.to_string().as_bytes(), SECRET, 0)
            .without(SOURCE_HEADER)
            .without(STREAM_HEADER)
            .set("content-type", "application/cloudevents+json");
        request.line = "POST /foreign HTTP/1.1".into();
        let answer = push::raw(address, &request.bytes()).await;
        answers.push(Some(match answer.status {
            200 => Ok(()),
            400 | 422 => Err(answer.body),
            _ => panic!("{}: {answer:?}", case.name),
        }));
    }
    stop.cancel();
    server.await.expect("no panic").expect("ends well");
    answers
}

/// Payloads take the place of those of held messages, one for each content type.
async fn by_edit<DB: Kit>(pool: &Pool<DB>, cases: &[Case]) -> Answers {
    let handler = handler_fn(|_, _| Box::pin(async { Err("held".into()) }));
    let consumer = Consumer::builder("holding", pool.clone()).handler("*", handler);
    let consumer = consumer.build().expect("a consumer");
    let mut ids = BTreeMap::new();
    for case in cases.iter().filter(|case| case.payload) {
        let kind = case.content_type.as_str();
        if ids.contains_key(kind) {
            continue;
        }
        let held = Message::new("doors.held", kind, "1").key(kind);
        let held = ForeignMessage::new(kind, held);
        consumer.receive_foreign("/holding", vec![held]).await.expect("held");
        let rows = DB::held(pool, true, 0, 1_000).await.expect("held");
        let row = rows.iter().find(|row| row.key == kind);
        ids.insert(kind, row.expect("it is held").id);
    }
    let mut answers = Answers::new();
    for case in cases {
        let id = ids.get(case.content_type.as_str()).filter(|_| case.payload);
        answers.push(match id {
            None => None,
            Some(id) => Some(match held::edit(pool, *id, case.data.clone(), "doors").await {
                Ok(edited) => {
                    assert!(edited, "{}", case.name);
                    Ok(())
                }
                Err(Error::Message(error)) => Err(error.to_string()),
                Err(error) => panic!("{}: {error}", case.name),
            }),
        });
    }
    answers
}

/// Each payload that is JSON is what a step returns; a step that is refused is not tried again.
async fn by_saga<DB: Kit>(pool: &Pool<DB>, cases: &[Case]) -> Answers {
    let output = |case: &Case| -> Option<Box<RawValue>> {
        let json = case.payload && case.content_type == "application/json";
        let data = Some(&case.data).filter(|data| json && data.len() <= OUTPUT)?;
        // No value in Rust holds what is no JSON.
        let text = std::str::from_utf8(data).ok()?;
        serde_json::from_str(text).ok()
    };
    let outputs: Arc<Vec<_>> = Arc::new(cases.iter().map(output).collect());
    let mut saga = SagaBuilder::<DB, usize>::new("doors", 1);
    let returned = Arc::clone(&outputs);
    saga.local("returns", (), move |_, call| {
        let output = returned[call.input].clone();
        async move { Ok(Outcome::Done(output)) }.boxed()
    })
    .nothing_to_undo()
    .retry(ONCE)
    .add();
    saga.local("ends", (), |_, _| async { Ok(Outcome::Done(())) }.boxed()).pivot().add();
    let saga = saga.build().expect("a sound definition");
    let sagas = Sagas::builder("/doors", pool.clone()).saga(saga);
    let sagas = sagas.poll(Duration::from_millis(20)).build().expect("an engine");
    let running = sagas.run().await.expect("the engine starts");
    let mut waiting = Vec::new();
    for (index, output) in outputs.iter().enumerate() {
        if output.is_none() {
            waiting.push(None);
            continue;
        }
        let mut tx = begin(pool).await.expect("begin");
        let started = sagas.start(&mut tx, "doors", &index.to_string(), &index).await;
        let started = started.expect("started");
        let over = started.over();
        tx.commit().await.expect("commit");
        started.committed();
        waiting.push(Some(over));
    }
    let mut answers = Answers::new();
    for (over, case) in waiting.into_iter().zip(cases) {
        answers.push(match over {
            None => None,
            Some(over) => Some(match over.within(PATIENCE).await.expect("asked") {
                Some(End::Completed) => Ok(()),
                Some(End::Compensated) => Err("its step has failed".to_owned()),
                end => panic!("{}: {end:?}", case.name),
            }),
        });
    }
    running.stop().await;
    answers
}

/// Holds what a door has said against the table; how many cases it was asked, and where it differs.
fn compare(door: Door, cases: &[Case], answers: &Answers) -> (usize, Vec<String>) {
    let mut rightly: BTreeMap<&str, usize> = BTreeMap::new();
    for (unlike, why) in cases.iter().flat_map(|case| &case.unlike) {
        *rightly.entry(why).or_default() += usize::from(*unlike == door);
    }
    for (why, count) in rightly.into_iter().filter(|(_, count)| *count > 0) {
        println!("{door:?} rightly differs in {count} cases: {why}");
    }
    assert_eq!(cases.len(), answers.len());
    let (mut asked, mut wrong) = (0, Vec::new());
    for (case, answer) in cases.iter().zip(answers) {
        let Some(answer) = answer else { continue };
        asked += 1;
        if answer.is_ok() != case.expected(door) {
            wrong.push(format!("{door:?}: {}: {answer:?}", case.name));
        }
        if let Err(said) = answer
            && door == Door::Function
            && !said.contains("syncline_enqueue: ")
        {
            wrong.push(format!("{door:?}: {}: says in other words: {said}", case.name));
        }
    }
    (asked, wrong)
}

async fn every_door<DB: Kit>(pool: Pool<DB>, dialect: Dialect)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    syncline::migrate(&pool).await.expect("migrate");
    let cases = cases();
    let insert = |case: &Case| {
        let plain = case.idempotency_key.is_none() && case.deliver_at.is_none();
        (plain && dialect.has(case)).then(|| dialect.insert(case))
    };
    let mut doors = vec![
        (Door::Enqueue, by_enqueue(&pool, &cases).await),
        (Door::Insert, by_sql(&pool, &cases, insert).await),
        (Door::Foreign, by_http(&pool, &cases).await),
        (Door::DeadEdit, by_edit(&pool, &cases).await),
        (Door::SagaOutput, by_saga(&pool, &cases).await),
    ];
    if let Some(call) = dialect.call {
        let call = |case: &Case| dialect.has(case).then(|| call(&dialect, case));
        doors.push((Door::Function, by_sql(&pool, &cases, call).await));
    }
    let (mut answers, mut wrong) = (0, Vec::new());
    for (door, said) in &doors {
        let (asked, unlike) = compare(*door, &cases, said);
        println!("{}: {door:?}: {asked} cases", DB::LABEL);
        assert!(asked > 0, "{door:?} is asked nothing");
        answers += asked;
        wrong.extend(unlike);
    }
    println!(
        "{}: {} cases x {} doors: {answers} answers, {} of them not as the table has them",
        DB::LABEL,
        cases.len(),
        doors.len(),
        wrong.len(),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each statement is refused by `syncline_enqueue`, in its own words.
async fn in_its_own_words<DB: Kit>(pool: &Pool<DB>, statements: Vec<String>)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let mut wrong = Vec::new();
    println!("{}: {} statements", DB::LABEL, statements.len());
    for statement in statements {
        let answer = run(pool, statement.clone()).await;
        if !answer.as_ref().is_err_and(|said| said.contains("syncline_enqueue: ")) {
            wrong.push(format!("{statement}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_door_refuses_all_refuse_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    let pool = Postgres::connect(&url, 8).await.expect("connect");
    every_door(pool.clone(), POSTGRES).await;
    let statements = POSTGRES_ONLY.iter().map(|text| format!("SELECT syncline_enqueue({text})"));
    in_its_own_words(&pool, statements.collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_door_refuses_all_refuse_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    let pool = MySql::connect(&url, 8).await.expect("connect");
    every_door(pool.clone(), MARIADB).await;
    let case = cases().into_iter().find(|case| case.taken).expect("one that is taken");
    let call = |options: &&str| MARIADB.procedure(&case, options);
    let mut statements: Vec<String> = MARIADB_ONLY.iter().map(call).collect();
    let long = [json!({"x".repeat(200): 1}), json!({"headers": {"x".repeat(200): "v"}})];
    statements.extend(long.map(|options| MARIADB.procedure(&case, &options.to_string())));
    in_its_own_words(&pool, statements).await;
    // Whatever the session thinks of patterns and literals.
    let session = "SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES', default_regex_flags = \
                   'DOTALL,EXTENDED,MULTILINE,UNGREEDY'";
    let mut connection = pool.acquire().await.expect("a connection").detach();
    connection.execute(session).await.expect("set");
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case.data.len() < OUTPUT) {
        let call = MARIADB.call.expect("a procedure")(&MARIADB, case);
        connection.execute("BEGIN").await.expect("begin");
        let answer = connection.execute(sqlx::raw_sql(AssertSqlSafe(call))).await;
        connection.execute("ROLLBACK").await.expect("roll back");
        if answer.is_ok() != case.taken {
            wrong.push(format!("{}: {answer:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_door_refuses_all_refuse_on_sqlite() {
    let (_directory, url) = sqlite_database();
    every_door(Sqlite::connect(&url, 8).await.expect("connect"), SQLITE).await;
}
