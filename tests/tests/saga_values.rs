//! What sagas are given and return comes back as it was, through every database and on its way to
//! a participant and back; what would not is refused where it comes in, with words.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::FutureExt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, HandlerError, Message, Relay, RelayHandle, Route, Stream, begin,
    message::{Batch, Link, Origin, Position},
    saga::{End, Outcome, Retry, Saga, SagaBuilder, SagaHandler, Sagas, StartError, operate, wire},
    transport::{Receive, Subscriber, in_process},
};
use syncline_tests::{
    kit::Kit,
    relays::eventually,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(120);
const ONCE: Retry =
    Retry { attempts: 1, base: Duration::from_millis(1), longest: Duration::from_millis(1) };

/// Numbers and texts that another form than the one they have could not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Odd {
    floats: Vec<f64>,
    small: Vec<f32>,
    unsigned: Vec<u64>,
    signed: Vec<i64>,
    text: String,
    by_name: BTreeMap<String, f64>,
}

/// The same pseudo-random numbers at each run.
fn odd(seed: u64) -> Odd {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut floats = vec![985.690_694_632_869_5, -0.0, 0.1, 5e-324, f64::MAX, f64::MIN_POSITIVE];
    #[allow(clippy::cast_precision_loss)]
    floats.extend((0..200).map(|_| next() as f64 / u64::MAX as f64 * 1_000.0));
    floats.extend((0..200).map(|_| f64::from_bits(next())).filter(|float| float.is_finite()));
    let small = (0..100).map(|_| f32::from_bits((next() >> 32) as u32));
    Odd {
        floats,
        small: small.filter(|float| float.is_finite()).collect(),
        unsigned: vec![0, (1 << 53) + 1, u64::MAX, next()],
        signed: vec![i64::MIN, -(1 << 53) - 1, i64::MAX],
        text: "é 李 🔑 \u{0} \\u0000 \" \u{7f}".to_owned(),
        by_name: BTreeMap::from([
            ("z".to_owned(), 0.3),
            ("a".to_owned(), 1.1),
            (String::new(), -0.0),
        ]),
    }
}

/// To the bit: nought has two signs.
fn bits(odd: &Odd) -> String {
    let floats: Vec<_> =
        odd.floats.iter().chain(odd.by_name.values()).map(|f| f.to_bits()).collect();
    let small: Vec<_> = odd.small.iter().map(|f| f.to_bits()).collect();
    format!("{floats:?} {small:?} {:?} {:?} {:?}", odd.unsigned, odd.signed, odd.text)
}

type Found = Arc<Mutex<Vec<(&'static str, String)>>>;

fn note(found: &Found, what: &'static str, text: String) {
    found.lock().expect("no panic").push((what, text));
}

/// Returns what it is sent, and notes what its compensation is given.
struct Echo(Found);

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Echo {
    async fn apply(
        &self,
        _tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        note(&self.0, "command", bits(&command.decode()?));
        Ok(Outcome::Done(command.decode()?))
    }

    async fn compensate(
        &self,
        _tx: &mut Transaction<'_, DB>,
        _command: &Envelope,
        applied: &Value,
    ) -> Result<(), HandlerError> {
        note(&self.0, "taken back there", bits(&Odd::deserialize(applied)?));
        Ok(())
    }
}

/// Returns a nesting of as many levels as it is sent.
struct Nested;

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Nested {
    async fn apply(
        &self,
        _tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        Ok(Outcome::Done(nested(command.decode()?)))
    }

    async fn compensate(
        &self,
        _tx: &mut Transaction<'_, DB>,
        _command: &Envelope,
        _applied: &Value,
    ) -> Result<(), HandlerError> {
        Ok(())
    }
}

fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

fn echo<DB: Kit>(found: &Found) -> Saga<DB> {
    let mut saga = SagaBuilder::<DB, Odd>::new("echo", 1);
    let (input, back, read) = (Arc::clone(found), Arc::clone(found), Arc::clone(found));
    let here = saga
        .local::<_, Odd, _>("here", (), move |_tx, call| {
            note(&input, "input", bits(&call.input));
            async move { Ok(Outcome::Done(call.input)) }.boxed()
        })
        .compensate(move |_tx, _call, output| {
            note(&back, "taken back here", bits(&output));
            async { Ok(()) }.boxed()
        })
        .add();
    let there = saga
        .remote::<_, Odd>("there", here, |call| Ok(Message::json("cmd.echo", &call.read)?))
        .compensated()
        .add();
    saga.local::<_, (), _>("decide", there, move |_tx, call| {
        note(&read, "answer", bits(&call.read));
        async { Ok(Outcome::Refuse("to have it taken back".to_owned())) }.boxed()
    })
    .pivot()
    .add();
    saga.build().expect("a sound definition")
}

/// A saga whose only step returns what `make` makes of the input.
fn returning<DB: Kit, Out>(name: &str, make: fn(Value) -> Out) -> Saga<DB>
where
    Out: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let mut saga = SagaBuilder::<DB, Value>::new(name, 1);
    saga.local::<_, Out, _>("here", (), move |_tx, call| {
        async move { Ok(Outcome::Done(make(call.input))) }.boxed()
    })
    .pivot()
    .retry(ONCE)
    .add();
    saga.build().expect("a sound definition")
}

/// A saga whose participant, the one for `topic`, returns as many levels as the input says.
fn nesting<DB: Kit>(name: &str, topic: &'static str) -> Saga<DB> {
    let mut saga = SagaBuilder::<DB, Value>::new(name, 1);
    saga.remote::<_, Value>("there", (), move |call| Ok(Message::json(topic, &call.input)?))
        .compensated()
        .retry(ONCE)
        .add();
    saga.build().expect("a sound definition")
}

async fn carry<DB: Kit>(
    pool: &Pool<DB>,
    (stream, topic): (&str, &str),
    consumer: Arc<dyn Receive>,
    stop: &CancellationToken,
) -> RelayHandle {
    let (publisher, subscriber) = in_process::channel(4);
    let subscriber: Box<dyn Subscriber> = Box::new(subscriber);
    tokio::spawn(subscriber.run(consumer, stop.clone()));
    Relay::builder("/values", pool.clone())
        .stream(Stream::new(stream).topic(topic))
        .route(Route::new(stream, stream, publisher))
        .start()
        .await
        .expect("the relay starts")
}

struct World<DB: Kit> {
    pool: Pool<DB>,
    sagas: Sagas<DB>,
    found: Found,
    replies: Arc<dyn Receive>,
    stop: CancellationToken,
    relays: Vec<RelayHandle>,
}

impl<DB: Kit> World<DB> {
    async fn new(url: &str) -> Self {
        let pool = DB::connect(url, 12).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        let (found, stop) = (Found::default(), CancellationToken::new());
        let sagas = Sagas::builder("/values", pool.clone())
            .poll(Duration::from_millis(100))
            .saga(echo(&found))
            .saga(nesting("nesting", "cmd.nested"))
            .saga(nesting("foreign", "nobody.carries.it"))
            .saga(returning::<DB, Value>("plain", |input| input))
            .saga(returning::<DB, Option<f64>>("no-number", |_| Some(f64::NAN)))
            .saga(returning::<DB, u128>("huge", |_| u128::MAX))
            .saga(returning::<DB, Value>("deep", |input| {
                nested(usize::try_from(input.as_u64().expect("levels")).expect("levels"))
            }))
            .build()
            .expect("an engine");
        let commands = Consumer::builder("participant", pool.clone())
            .participant("cmd.echo", Echo(Arc::clone(&found)))
            .participant("cmd.nested", Nested)
            .build()
            .expect("a consumer");
        let replies = Consumer::builder("orchestrator", pool.clone())
            .batch_handler(wire::REPLY, sagas.replies())
            .build()
            .expect("a consumer");
        let replies: Arc<dyn Receive> = Arc::new(replies);
        let there = carry(&pool, ("commands", "cmd.*"), Arc::new(commands), &stop).await;
        let back = carry(&pool, ("replies", wire::REPLY), Arc::clone(&replies), &stop).await;
        Self { pool, sagas, found, replies, stop, relays: vec![there, back] }
    }

    async fn start(
        &self,
        saga: &str,
        key: &str,
        input: &(impl Serialize + Sync),
    ) -> Result<syncline::saga::Started, StartError> {
        let mut tx = begin(&self.pool).await.expect("begin");
        let started = self.sagas.start(&mut tx, saga, key, input).await?;
        tx.commit().await.expect("commit");
        started.clone().committed();
        Ok(started)
    }

    /// The end of an instance, with its log; none when it does not end.
    async fn end(&self, saga: &str, input: &(impl Serialize + Sync)) -> (Option<End>, String) {
        let key = Uuid::now_v7().to_string();
        let started = self.start(saga, &key, input).await.expect("started");
        let end = started.over().within(Duration::from_secs(20)).await.expect("asked");
        let shown = operate::show(&self.pool, started.id).await.expect("show").expect("there");
        assert!(shown.state.is_ok(), "it can be shown: {:?}", shown.state);
        (end, format!("{:?} {:?}", shown.summary.problem, shown.log))
    }

    async fn close(self) {
        self.stop.cancel();
        for relay in self.relays {
            relay.stop().await;
        }
    }
}

async fn comes_back_as_it_was<DB: Kit>(url: String) {
    let world = World::<DB>::new(&url).await;
    let running = world.sagas.run().await.expect("it starts");
    for seed in 1..=3 {
        let odd = odd(seed);
        let started = world.start("echo", &format!("{seed}"), &odd).await.expect("started");
        let again = world.start("echo", &format!("{seed}"), &odd).await.expect("the same request");
        assert_eq!((again.id, again.repeated), (started.id, true));
        let mut other = odd.clone();
        other.floats[0] = f64::from_bits(other.floats[0].to_bits() + 1);
        let refused = world.start("echo", &format!("{seed}"), &other).await;
        assert!(matches!(refused, Err(StartError::OtherInput { .. })), "{refused:?}");
        let end = started.over().within(PATIENCE).await.expect("asked");
        assert_eq!(end, Some(End::Compensated));
        let found = std::mem::take(&mut *world.found.lock().expect("no panic"));
        let seen: Vec<_> = found.iter().map(|(what, _)| *what).collect();
        let all = ["input", "command", "answer", "taken back there", "taken back here"];
        assert_eq!(seen, all);
        for (what, text) in found {
            assert!(text == bits(&odd), "{what} of {seed} is another one:\n{text}\n{}", bits(&odd));
        }
    }
    running.stop().await;
    world.close().await;
}

async fn what_does_not_is_refused<DB: Kit>(url: String) {
    let world = World::<DB>::new(&url).await;
    let running = world.sagas.run().await.expect("it starts");
    let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
    let refused = |start: Result<_, StartError>| match start {
        Err(StartError::Input { problem, .. }) => problem.to_string(),
        other => panic!("it was not refused: {other:?}"),
    };
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (key, text, said) in [
        ("integer", "123456789012345678901234567890", "64 bits"),
        ("twice", r#"{"a":1,"b":{},"a":2}"#, "twice"),
        ("nesting", &deep, "60 levels"),
        ("too large", "[1e400]", "out of range"),
    ] {
        let problem = refused(world.start("plain", key, &raw(text)).await);
        assert!(problem.contains(said), "{key}: {problem}");
    }
    for (key, start) in [
        ("nan", world.start("plain", "nan", &json_of(f64::NAN)).await),
        ("infinite", world.start("plain", "inf", &json_of(f64::NEG_INFINITY)).await),
    ] {
        let problem = refused(start);
        assert!(problem.contains("number"), "{key}: {problem}");
    }
    let problem = refused(world.start("plain", "u128", &u128::MAX).await);
    assert!(problem.contains("64 bits"), "{problem}");
    refused(world.start("plain", "61", &nested(61)).await);
    assert!(Message::json("t", &Some(f64::NAN)).is_err(), "a payload");

    // At the limit it is kept, returned, and shown.
    assert_eq!(world.end("plain", &nested(60)).await.0, Some(End::Completed));
    assert_eq!(world.end("deep", &60).await.0, Some(End::Completed));
    assert_eq!(world.end("nesting", &60).await.0, Some(End::Completed));
    // Above it is an error of that step.
    for (saga, levels, said) in [
        ("deep", 61, "60 levels"),
        ("deep", 130, "60 levels"),
        ("no-number", 0, "number"),
        ("huge", 0, "64 bits"),
        ("nesting", 61, "60 levels"),
        ("nesting", 125, "60 levels"),
    ] {
        let (end, log) = world.end(saga, &levels).await;
        assert_eq!(end, Some(End::Compensated), "{saga} {levels}: {log}");
        assert!(log.contains(said), "{saga} {levels}: {log}");
    }
    running.stop().await;
    world.close().await;
}

fn json_of(float: f64) -> BTreeMap<&'static str, Option<f64>> {
    BTreeMap::from([("a", Some(float))])
}

/// A participant in another language answers what this one would not.
async fn a_foreign_answer_is_an_error_of_its_step<DB: Kit>(url: String) {
    let world = World::<DB>::new(&url).await;
    let running = world.sagas.run().await.expect("it starts");
    let source = format!("/foreign{}", Uuid::now_v7().simple());
    let origin = Arc::new(Origin {
        source,
        incarnation: Uuid::now_v7(),
        stream: "replies".to_owned(),
        version: 1,
        shard: 0,
    });
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let answers = [
        (deep.as_str(), "60 levels"),
        ("123456789012345678901234567890", "64 bits"),
        (r#"{"a":1,"a":1}"#, "twice"),
    ];
    let mut prev = Link::START;
    for (at, (output, said)) in (1..).zip(answers) {
        let started = world.start("foreign", &format!("{at}"), &0).await.expect("started");
        let id = started.id;
        let sent = async || {
            let shown = operate::show(&world.pool, id).await.expect("show").expect("there");
            shown.log.iter().any(|line| line.what == "sent").then_some(())
        };
        eventually("the command is sent", sent).await;
        let text = format!(
            r#"{{"to":"/values","saga":"{id}","step":"there","attempt":1,"said":{{"applied":{{"applied":{output}}}}}}}"#
        );
        let message = Arc::new(Message::new(wire::REPLY, "application/json", text));
        let position = Position(at);
        let envelope = Envelope { origin: Arc::clone(&origin), position, prev, message };
        prev = envelope.link();
        let batch = Batch {
            origin: Arc::clone(&origin),
            messages: vec![envelope],
            through: position,
            last: prev,
            handover: None,
            continues: None,
        };
        world.replies.receive(batch).await.expect("taken in");
        let failed = async || {
            let shown = operate::show(&world.pool, id).await.expect("show").expect("there");
            let line = shown.log.iter().find(|line| line.what == "failed")?;
            line.detail.clone()
        };
        let detail = eventually("the step has failed", failed).await;
        assert!(detail.contains(said), "{detail}");
    }
    running.stop().await;
    world.close().await;
}

macro_rules! on {
    ($($test:ident($db:ty, $url:expr) => $body:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let Some(url) = $url.await else { return };
            $body::<$db>(url).await;
        }
    )+};
}

async fn sqlite() -> Option<String> {
    let (directory, url) = sqlite_database();
    std::mem::forget(directory);
    Some(url)
}

on! {
    values_come_back_as_they_were_on_postgres(Postgres, postgres_database()) => comes_back_as_it_was;
    values_come_back_as_they_were_on_mariadb(MySql, mariadb_database()) => comes_back_as_it_was;
    values_come_back_as_they_were_on_sqlite(Sqlite, sqlite()) => comes_back_as_it_was;
    what_would_come_back_otherwise_is_refused_on_postgres(Postgres, postgres_database()) => what_does_not_is_refused;
    what_would_come_back_otherwise_is_refused_on_mariadb(MySql, mariadb_database()) => what_does_not_is_refused;
    what_would_come_back_otherwise_is_refused_on_sqlite(Sqlite, sqlite()) => what_does_not_is_refused;
    a_foreign_answer_that_cannot_be_kept_fails_its_step_on_postgres(Postgres, postgres_database()) => a_foreign_answer_is_an_error_of_its_step;
    a_foreign_answer_that_cannot_be_kept_fails_its_step_on_mariadb(MySql, mariadb_database()) => a_foreign_answer_is_an_error_of_its_step;
    a_foreign_answer_that_cannot_be_kept_fails_its_step_on_sqlite(Sqlite, sqlite()) => a_foreign_answer_is_an_error_of_its_step;
}
