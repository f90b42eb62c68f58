//! Texts of sagas, whatever a database takes for the default: they reach later steps, commands,
//! compensations and operators as they were written, and entities are locked by their bytes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::FutureExt;
use serde_json::Value;
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, HandlerError, Message, Relay, Route, Stream, begin,
    saga::{End, Outcome, Retry, SagaBuilder, SagaHandler, Sagas, StartError, operate, wire},
    transport::{Subscriber, in_process},
};
use syncline_tests::{
    kit::Kit,
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use tokio_util::sync::CancellationToken;

/// Of one, two, three and four bytes a character, with a case, an accent and spaces at its ends.
const TEXT: &str = " \u{e9} e\u{301} \u{df} \u{674e} \u{738b} \u{1f511} \\ ' \" ` \u{17f} ";
const SAGA: &str = "texts";
const SOURCE: &str = "/texts";
const PATIENCE: Duration = Duration::from_secs(120);
const ONCE: Retry = Retry { attempts: 1, base: Duration::ZERO, longest: Duration::ZERO };

/// What steps have been given, by their names.
#[derive(Debug, Clone, Default)]
struct Given(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Given {
    fn note(&self, step: &'static str, text: impl Into<String>) {
        self.0.lock().expect("no panic").push((step, text.into()));
    }
}

struct Part(Given);

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Part {
    async fn apply(
        &self,
        _: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        self.0.note("command", command.decode::<String>()?);
        Ok(Outcome::Done(TEXT.into()))
    }

    async fn compensate(
        &self,
        _: &mut Transaction<'_, DB>,
        _: &Envelope,
        applied: &Value,
    ) -> Result<(), HandlerError> {
        self.0.note("participant's compensation", applied.as_str().unwrap_or_default());
        Ok(())
    }
}

/// A saga of two local steps around a remote one, which ends with an error, and is taken back.
fn engine<DB: Kit>(pool: &Pool<DB>, given: &Given) -> Sagas<DB> {
    let mut saga = SagaBuilder::<DB, String>::new(SAGA, 1).locks(|entity| vec![entity.clone()]);
    let undone = given.clone();
    let first = saga
        .local("first", (), move |_, _| async move { Ok(Outcome::Done(TEXT.to_owned())) }.boxed());
    let first = first
        .compensate(move |_, _, applied: String| {
            let given = undone.clone();
            async move {
                given.note("compensation", applied);
                Ok(())
            }
            .boxed()
        })
        .add();
    let remote = saga.remote::<_, String>("remote", (first.clone(),), |call| {
        Ok(Message::json("cmd.part", &call.read.0)?)
    });
    let remote = remote.compensated().add();
    let last = given.clone();
    let pivot = saga.local::<_, (), _>("last", (first, remote), move |_, call| {
        let given = last.clone();
        async move {
            let (first, remote) = call.read;
            given.note("later step, of the local one", first);
            given.note("later step, of the remote one", remote);
            Err(TEXT.into())
        }
        .boxed()
    });
    pivot.pivot().retry(ONCE).add();
    let saga = saga.build().expect("a sound definition");
    let sagas = Sagas::builder(SOURCE, pool.clone()).saga(saga);
    sagas.poll(Duration::from_millis(20)).build().expect("an engine")
}

async fn texts_survive<DB: Kit>(pool: Pool<DB>) {
    syncline::migrate(&pool).await.expect("migrate");
    let given = Given::default();
    let sagas = engine(&pool, &given);
    let consumer = Consumer::builder("all", pool.clone())
        .participant("cmd.part", Part(given.clone()))
        .batch_handler(wire::REPLY, sagas.replies())
        .build()
        .expect("a consumer");
    let (publisher, subscriber) = in_process::channel(4);
    let stop = CancellationToken::new();
    let run = Box::new(subscriber).run(Arc::new(consumer), stop.clone());
    let consumes = tokio::spawn(run);
    let relay = Relay::builder(SOURCE, pool.clone())
        .stream(Stream::new("all").topic("cmd.part").topic(wire::REPLY))
        .route(Route::new("there", "all", publisher));
    let relay = relay.start().await.expect("the relay starts");
    let running = sagas.run().await.expect("the engine starts");

    let mut tx = begin(&pool).await.expect("begin");
    let input = "\u{674e} \u{1f511}".to_owned();
    let started = sagas.start(&mut tx, SAGA, TEXT.trim(), &input).await.expect("start");
    let over = started.over();
    tx.commit().await.expect("commit");
    started.clone().committed();
    let end = over.within(PATIENCE).await.expect("asked");
    assert_eq!(end, Some(End::Compensated));

    let mut seen = given.0.lock().expect("no panic").clone();
    seen.sort_unstable();
    let of = [
        "command",
        "compensation",
        "later step, of the local one",
        "later step, of the remote one",
        "participant's compensation",
    ];
    assert_eq!(seen, of.map(|step| (step, TEXT.to_owned())));
    let shown = operate::show(&pool, started.id).await.expect("show").expect("it is there");
    assert_eq!(shown.summary.saga, SAGA);
    let logged = |text: &str| shown.log.iter().any(|line| format!("{line:?}").contains(text));
    assert!(logged("\u{1f511} \\\\ ' \\\" `"), "the error of the last step: {:#?}", shown.log);

    running.stop().await;
    relay.stop().await;
    stop.cancel();
    consumes.await.expect("no panic").expect("it ran");
}

async fn entities_are_bytes<DB: Kit>(pool: Pool<DB>) {
    syncline::migrate(&pool).await.expect("migrate");
    let sagas = engine(&pool, &Given::default());
    let start = async |key: &str, entity: &str| {
        let mut tx = begin(&pool).await.expect("begin");
        let started = sagas.start(&mut tx, SAGA, key, &entity.to_owned()).await?;
        tx.commit().await.expect("commit");
        Ok::<_, StartError>(started.id)
    };
    let entities = ["\u{674e}", "\u{738b}", "\u{1f511}", "\u{1f512}", "a", "A", "\u{e4}", "a "];
    let mut ids = Vec::new();
    for entity in entities {
        let id = start(entity, entity).await;
        ids.push(id.unwrap_or_else(|error| panic!("{entity:?} is another one: {error}")));
    }
    for (entity, id) in entities.iter().zip(ids) {
        match start("another", entity).await {
            Err(StartError::Locked { entity: locked, by }) => {
                assert_eq!((locked.as_str(), by), (*entity, id));
            }
            other => panic!("{entity:?} was locked again: {other:?}"),
        }
    }
}

mod texts_reach_every_step_as_they_were {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn on_postgres() {
        let Some(url) = postgres_database().await else { return };
        texts_survive(Postgres::connect(&url, 8).await.expect("connect")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn on_sqlite() {
        let (_directory, url) = sqlite_database();
        texts_survive(Sqlite::connect(&url, 8).await.expect("connect")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn on_mariadb_with_each_character_set() {
        for set in ["utf8mb4", "latin1", "cp932"] {
            let Some(pool) = mariadb(set).await else { return };
            texts_survive(pool).await;
        }
    }
}

mod entities_are_locked_by_their_bytes {
    use super::*;

    #[tokio::test]
    async fn on_postgres() {
        let Some(url) = postgres_database().await else { return };
        entities_are_bytes(Postgres::connect(&url, 8).await.expect("connect")).await;
    }

    #[tokio::test]
    async fn on_sqlite() {
        let (_directory, url) = sqlite_database();
        entities_are_bytes(Sqlite::connect(&url, 8).await.expect("connect")).await;
    }

    #[tokio::test]
    async fn on_mariadb_with_each_character_set() {
        for set in ["utf8mb4", "latin1", "cp932"] {
            let Some(pool) = mariadb(set).await else { return };
            entities_are_bytes(pool).await;
        }
    }
}

/// A database whose default is another character set.
async fn mariadb(set: &str) -> Option<Pool<MySql>> {
    let url = mariadb_database().await?;
    let pool = MySql::connect(&url, 8).await.expect("connect");
    MySql::execute(&pool, &format!("ALTER DATABASE CHARACTER SET {set}")).await.expect("alter");
    // Connections take it over when they are made.
    pool.close().await;
    Some(MySql::connect(&url, 8).await.expect("connect"))
}
