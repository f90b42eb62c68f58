//! Payloads that are erased: what stays are links, which consumers pass over, and nothing else finds what
//! was in them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Message, Relay, Route, Stream, Verdict, begin,
    enqueue,
    erasure::{Erase, Erased},
    message::{ERASED, LINK, Link, Origin, Position, decode_envelope},
    saga::{End, Outcome, Saga, SagaBuilder, SagaHandler, Sagas, operate, wire},
    storage::{Cursor, PageLimit},
};
use syncline_tests::{
    kit::Kit,
    relays::{Direct, eventually, noting, start, write},
    servers::{mariadb_database, postgres_database, sqlite_database},
};
use uuid::Uuid;

const HUSH: &str = "hush@example.org";
const PATIENCE: Duration = Duration::from_secs(120);

async fn prepared<DB: Kit>(url: &str) -> Pool<DB> {
    let pool = DB::connect(url, 12).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    pool
}

async fn erased<DB: Kit>(pool: &Pool<DB>, erase: Erase) -> Erased {
    let mut tx = begin(pool).await.expect("begin");
    let erased = erase.run(&mut tx).await.expect("erase");
    tx.commit().await.expect("commit");
    erased
}

fn told(topic: &str, key: &str) -> Message {
    let message = Message::json(topic, &json!({ "email": HUSH })).expect("JSON");
    message.key(key).header("tenant", "hush")
}

async fn number<DB: Kit>(pool: &Pool<DB>, sql: &str) -> i64 {
    DB::count(pool, sql).await.expect("a number")
}

/// Counts that were applied of one key.
async fn applied<DB: Kit>(pool: &Pool<DB>, key: &str) -> Vec<i64> {
    let all = DB::applied(pool).await.expect("applied");
    all.into_iter().filter(|(own, _)| own == key).map(|(_, n)| n).collect()
}

/// An envelope of `key` at `position` of another service's log.
fn envelope(key: &str, position: i64) -> Envelope {
    let (source, stream) = ("/elsewhere".to_owned(), "users".to_owned());
    Envelope {
        origin: Arc::new(Origin { source, incarnation: Uuid::nil(), stream, version: 1, shard: 0 }),
        position: Position(position),
        prev: Link { position: Position(position - 1), id: Uuid::from_u128(7) },
        message: Arc::new(told("user.changed", key)),
    }
}

/// Notes the count, and fails while it is told to.
struct Failing(Arc<AtomicBool>);

#[async_trait]
impl<DB: Kit> Handler<DB> for Failing {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let key = message.key.clone().unwrap_or_default();
        if key == "key 1" && self.0.load(Ordering::Relaxed) {
            return Err("it fails".into());
        }
        DB::note(tx, &key, message.decode()?).await?;
        Ok(Verdict::Done)
    }
}

/// Knows a secret, and one thing that is none.
struct Knowing;

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Knowing {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        let secret: String = command.decode()?;
        DB::note(tx, &secret, 1).await?;
        Ok(Outcome::Done(json!("provided")))
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

fn provision<DB: Kit>() -> Saga<DB> {
    let mut saga = SagaBuilder::<DB, String>::new("provision", 1);
    let known = saga
        .local("know", (), |_, _| Box::pin(async { Ok(Outcome::Done(HUSH.to_owned())) }))
        .nothing_to_undo()
        .secret()
        .add();
    saga.remote::<_, String>("provide", known, |call| {
        Ok(Message::json("cmd.provide", &call.read)?)
    })
    .compensated()
    .secret()
    .add();
    let end =
        saga.local("end", (), |_, _| Box::pin(async { Ok(Outcome::Done("kept".to_owned())) }));
    end.pivot().add();
    saga.build().expect("a sound definition")
}

mod case {
    use super::*;

    pub(super) async fn an_erased_message_is_passed_over_and_the_others_are_applied<DB: Kit>(
        urls: [String; 2],
    ) {
        let (pool, target) = (prepared::<DB>(&urls[0]).await, prepared::<DB>(&urls[1]).await);
        // One message of each of twelve keys; one of them is erased before anything is delivered.
        write(&pool, 12).await;
        let done = erased(&pool, Erase::new().key("key 3")).await;
        assert_eq!(done.messages, 1, "{done:?}");
        let again = erased(&pool, Erase::new().key("key 3")).await;
        assert!(again.is_nothing(), "{again:?}");
        write(&pool, 12).await;
        assert_eq!(number(&pool, "SELECT COUNT(*) FROM syncline_outbox").await, 24);

        let route = |name: &str| {
            let consumer = noting(name, target.clone()).build().expect("a consumer");
            Route::new(name, "counts", Direct::to(consumer))
        };
        let stream = || Stream::new("counts").topic("counter.*");
        let relay = start(&pool, stream(), vec![route("near")], |_| {}).await;
        let arrived = async |consumer: &str, count: usize| {
            eventually(&format!("{count} arrive at {consumer}"), async || {
                let all = DB::applied(&target).await.expect("applied");
                let own = all.iter().filter(|(key, _)| key.starts_with(consumer)).count();
                (own >= count).then_some(())
            })
            .await;
        };
        arrived("near", 23).await;
        assert_eq!(applied(&target, "near key 3").await, [2], "only what came later");
        assert_eq!(applied(&target, "near key 4").await, [1, 2]);
        // Delivered messages are erased, too: another consumer does not get it any more.
        assert_eq!(erased(&pool, Erase::new().key("key 5")).await.messages, 2);
        relay.stop().await;
        let relay = start(&pool, stream(), vec![route("near"), route("far")], |_| {}).await;
        write(&pool, 12).await;
        arrived("far", 36 - 3).await;
        arrived("near", 35).await;
        assert_eq!(applied(&target, "far key 5").await, [3]);
        assert_eq!(applied(&target, "far key 3").await, [2, 3]);
        assert_eq!(applied(&target, "near key 5").await, [1, 2, 3]);
        relay.stop().await;
        assert_eq!(number(&target, "SELECT COUNT(*) FROM syncline_held").await, 0);
    }

    pub(super) async fn nothing_of_an_erased_message_is_left_but_its_place<DB: Kit>(
        urls: [String; 2],
    ) {
        let pool = prepared::<DB>(&urls[0]).await;
        let mut tx = begin(&pool).await.expect("begin");
        let keyed = told("user.changed", "ann").idempotency_key("once");
        let first = enqueue(&mut tx, &keyed).await.expect("enqueue");
        let late = told("user.changed", "ann").delay(Duration::from_secs(3_600));
        enqueue(&mut tx, &late).await.expect("enqueue").committed();
        let other = enqueue(&mut tx, &told("user.changed", "anna")).await.expect("enqueue");
        assert!(DB::mark_compensated(&mut tx, first.id, "login", HUSH).await.expect("mark"));
        tx.commit().await.expect("commit");
        first.committed();

        // A transaction that is rolled back has erased nothing.
        let mut tx = begin(&pool).await.expect("begin");
        Erase::new().key("ann").run(&mut tx).await.expect("erase");
        tx.rollback().await.expect("rollback");
        let done = erased(&pool, Erase::new().key("ann")).await;
        assert_eq!((done.messages, done.delayed), (1, 1), "{done:?}");
        let left = "SELECT COUNT(*) FROM syncline_delayed WHERE LENGTH(data) > 0";
        assert_eq!(number(&pool, left).await, 0);
        let left = "SELECT COUNT(*) FROM syncline_compensated WHERE LENGTH(reason) > 0";
        assert_eq!(number(&pool, left).await, 0);

        // Sealed, so that every database gives it a position.
        let relay = Relay::builder("/tests", pool.clone()).start().await.expect("it seals");
        let limit = PageLimit { rows: 10, bytes: 1 << 20 };
        let rows = eventually("the log is sealed", async || {
            let rows = DB::read(&pool, Cursor::default(), limit).await.expect("the log");
            (rows.len() == 2).then_some(rows)
        })
        .await;
        relay.stop().await;
        let [gone, kept] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((gone.message.id, gone.message.key.as_deref()), (first.id, Some("ann")));
        assert_eq!((gone.message.topic.as_str(), gone.cursor.position.0), ("user.changed", 1));
        assert!(gone.message.is_erased() && gone.message.data.is_empty());
        assert!(gone.message.headers.is_empty(), "{gone:?}");
        assert_eq!((kept.message.id, kept.message.is_erased()), (other.id, false));

        // The same start again, of which nobody can tell whether it says the same.
        let mut tx = begin(&pool).await.expect("begin");
        let again = Message::json("user.changed", &1).expect("JSON").key("ann");
        let again = enqueue(&mut tx, &again.idempotency_key("once")).await.expect("enqueue");
        assert_eq!((again.id, again.repeated), (first.id, true));
        // A message that looks as if it was erased is refused.
        let forged = Message::new("user.changed", ERASED, "");
        enqueue(&mut tx, &forged).await.expect_err("refused");
    }

    pub(super) async fn what_a_consumer_holds_is_erased_and_its_key_is_free<DB: Kit>(
        urls: [String; 2],
    ) {
        let (pool, target) = (prepared::<DB>(&urls[0]).await, prepared::<DB>(&urls[1]).await);
        let fails = Arc::new(AtomicBool::new(true));
        let handler = Failing(Arc::clone(&fails));
        let consumer = Consumer::builder("near", target.clone()).handler("*", handler);
        let consumer = consumer.build().expect("a consumer");
        let stream = Stream::new("counts").topic("counter.*");
        let route = Route::new("near", "counts", Direct::to(consumer));
        let relay = start(&pool, stream, vec![route], |_| {}).await;
        write(&pool, 24).await;
        let held = "SELECT COUNT(*) FROM syncline_held";
        eventually("both are held", async || (number(&target, held).await == 2).then_some(()))
            .await;

        assert!(erased(&target, Erase::new().key("key 2")).await.is_nothing());
        let done = erased(&target, Erase::new().key("key 1")).await;
        assert_eq!((done.held, done.messages), (2, 0), "{done:?}");
        for table in ["syncline_held", "syncline_parked"] {
            let left = number(&target, &format!("SELECT COUNT(*) FROM {table}")).await;
            assert_eq!(left, 0, "{table}");
        }
        fails.store(false, Ordering::Relaxed);
        write(&pool, 12).await;
        eventually("the key goes on", async || {
            (applied(&target, "key 1").await == [3]).then_some(())
        })
        .await;
        relay.stop().await;

        // One that waits for earlier ones is a link when its turn comes.
        let (early, later) = (envelope("ann", 5), envelope("ann", 9));
        let mut tx = begin(&target).await.expect("begin");
        for message in [&early, &later, &envelope("ben", 7)] {
            assert!(DB::add_ahead(&mut tx, "near", message, true).await.expect("it waits"));
        }
        let before = Erase::new().key("ann").before(&envelope("ann", 7));
        assert_eq!(before.run(&mut tx).await.expect("erase").ahead, 1, "only what came before");
        let ahead = DB::next_ahead(&mut tx, "near", &early.origin, Position(0), 10).await;
        let ahead = ahead.expect("what waits");
        let read = |at: usize| {
            let bytes = ahead[at].envelope.as_deref().expect("it waits");
            decode_envelope(bytes).expect("an envelope")
        };
        assert_eq!((ahead.len(), &*read(0).topic), (3, LINK));
        assert_eq!((read(0).link(), read(0).prev), (early.link(), early.prev));
        assert!(read(0).data.is_empty() && read(0).key.is_none());
        assert_eq!((&*read(1).topic, &*read(2).topic), ("user.changed", "user.changed"));
    }

    pub(super) async fn a_saga_that_ends_keeps_no_secret_and_nothing_once_it_is_erased<DB: Kit>(
        urls: [String; 2],
    ) {
        let pool = prepared::<DB>(&urls[0]).await;
        let sagas = Sagas::builder("/orders", pool.clone())
            .poll(Duration::from_millis(100))
            .saga(provision())
            .build()
            .expect("an engine");
        let mut tx = begin(&pool).await.expect("begin");
        let input = HUSH.to_owned();
        let started = sagas.start(&mut tx, "provision", "ann", &input).await.expect("start");
        let over = started.over();
        tx.commit().await.expect("commit");
        let id = started.id;
        started.committed();

        // While it is open it needs what it has.
        let done = erased(&pool, Erase::new().key("ann")).await;
        assert_eq!((&done.open[..], done.is_nothing()), (&[id][..], true), "{done:?}");
        let shown = async || operate::show(&pool, id).await.expect("show").expect("there");
        assert!(shown().await.input.contains(HUSH));

        let consumer = |name| Consumer::builder(name, pool.clone());
        let commands = consumer("participant").participant("cmd.*", Knowing);
        let replies = consumer("orchestrator").batch_handler(wire::REPLY, sagas.replies());
        let relay = Relay::builder("/orders", pool.clone())
            .stream(Stream::new("commands").topic("cmd.*"))
            .stream(Stream::new("replies").topic(wire::REPLY))
            .route(Route::new(
                "commands",
                "commands",
                Direct::to(commands.build().expect("a consumer")),
            ))
            .route(Route::new(
                "replies",
                "replies",
                Direct::to(replies.build().expect("a consumer")),
            ));
        let relay = relay.start().await.expect("a relay");
        let engine = sagas.run().await.expect("an engine");
        let end = over.within(PATIENCE).await.expect("it ends");
        assert_eq!(end, Some(End::Completed));
        assert_eq!(applied(&pool, HUSH).await, [1], "the participant was told");

        // The end has taken the secret away, and nothing else.
        let after = shown().await;
        let state = after.state.expect("a state");
        assert_eq!(state.steps["know"].output, None);
        assert_eq!(state.steps["provide"].output, None);
        assert_eq!(state.steps["end"].output, Some(json!("kept")));
        assert!(state.steps.values().all(|step| step.sent.is_empty()), "{state:?}");
        assert_eq!(after.input, json!(HUSH).to_string());
        let links = format!("SELECT COUNT(*) FROM syncline_outbox WHERE content_type = '{ERASED}'");
        assert!(number(&pool, &links).await >= 1, "its command");

        let done = erased(&pool, Erase::new().key("ann")).await;
        assert_eq!((&done.sagas[..], done.open.len()), (&[id][..], 0), "{done:?}");
        assert!(done.messages >= 1 && done.answers == 1, "its reply: {done:?}");
        let after = shown().await;
        assert!(!after.input.contains(HUSH), "{}", after.input);
        let state = after.state.expect("a state");
        assert!(state.is_ended() && state.steps.values().all(|step| step.output.is_none()));
        let answers = "SELECT COUNT(*) FROM syncline_barrier WHERE answer LIKE '%provided%'";
        assert_eq!(number(&pool, answers).await, 0);
        // Its key still names it, whatever is asked for.
        let mut tx = begin(&pool).await.expect("begin");
        let again = sagas.start(&mut tx, "provision", "ann", &"other".to_owned()).await;
        let again = again.expect("the same instance");
        assert_eq!((again.id, again.repeated), (id, true));
        tx.rollback().await.expect("rollback");
        engine.stop().await;
        relay.stop().await;
    }
}

macro_rules! on_each {
    ($($case:ident),* $(,)?) => {$(
        mod $case {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
                case::$case::<Sqlite>([a, b]).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await)
                else {
                    return;
                };
                case::$case::<Postgres>([a, b]).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await)
                else {
                    return;
                };
                case::$case::<MySql>([a, b]).await;
            }
        }
    )*};
}

on_each!(
    an_erased_message_is_passed_over_and_the_others_are_applied,
    nothing_of_an_erased_message_is_left_but_its_place,
    what_a_consumer_holds_is_erased_and_its_key_is_free,
    a_saga_that_ends_keeps_no_secret_and_nothing_once_it_is_erased,
);
