//! Hostile names: each is refused with an error that says which name, or is bound as a value; the
//! tables are as they were.

mod push;

use std::{sync::Arc, time::Duration};

use sqlx::Pool;
use syncline::{
    Consumer, Error, Message, Relay, Route, Stream, Verdict, begin, enqueue, handler_fn,
    message::{Batch, Origin},
    routes,
    testing::SampleSource,
    transport::{
        PublishError, Receive, ReceiveError, Subscriber,
        http_push::{PushListener, PushReceiver},
        in_process,
    },
};
use syncline_tests::{
    kit::Kit,
    on_each,
    relays::{Direct, check, noting, start, write},
    servers::with_database,
    world::World,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

on_each!(
    hostile_names_are_refused_or_bound_and_change_no_table,
    a_database_of_a_hostile_name_is_one_like_any_other,
    a_shard_that_no_stream_has_is_refused_and_leaves_no_row,
);

const HOSTILE: [&str; 14] = [
    "'; DROP TABLE syncline_outbox; --",
    "\"; DROP TABLE syncline_outbox; --",
    "`; DROP TABLE syncline_outbox; -- ",
    "x'); DELETE FROM syncline_lease; --",
    "x\\'; DROP TABLE syncline_route; #",
    "%s%n%d",
    "$1",
    "?",
    "{0}",
    "\0",
    "a\0b",
    "用户\u{202e}\u{1f4a3}",
    "..\\..\\..\\",
    " a b ",
];

mod case {
    use super::*;

    fn refused<T>(what: &str, name: &str, result: Result<T, Error>) {
        match result {
            Err(Error::Definition { name: said, .. }) => assert_eq!(said, name, "{what}"),
            Err(other) => panic!("{what} {name:?}: {other}"),
            Ok(_) => panic!("{what} {name:?} is taken"),
        }
    }

    async fn relay<DB: Kit>(
        pool: &Pool<DB>,
        source: &str,
        stream: Stream,
        route: &str,
    ) -> Result<(), Error> {
        let (publisher, _) = in_process::channel(1);
        let route = Route::new(route, stream.name().to_owned(), publisher);
        let relay =
            Relay::builder(source, pool.clone()).stream(stream).route(route).start().await?;
        relay.stop().await;
        Ok(())
    }

    pub(super) async fn hostile_names_are_refused_or_bound_and_change_no_table<DB: Kit>(
        world: World<DB>,
    ) {
        let pool = &world.source;
        write(pool, 24).await;
        for name in HOSTILE {
            let plain = || Stream::new("s").topic("counter.*");
            refused("the route", name, relay(pool, "/tests", plain(), name).await);
            refused(
                "the stream",
                name,
                relay(pool, "/tests", Stream::new(name).topic("*"), "r").await,
            );
            refused("the source", name, relay(pool, name, plain(), "r").await);
            let topic = relay(pool, "/tests", Stream::new("s").topic(name), "r").await;
            assert!(matches!(topic, Err(Error::Definition { .. })), "{name:?}: {topic:?}");
            let nothing = handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) }));
            let consumer = Consumer::builder(name, world.target.clone()).handler("*", nothing);
            refused("the consumer", name, consumer.build().map(|_| ()));
            let mut tx = begin(pool).await.expect("begin");
            let message = Message::json(name, &1).expect("JSON");
            let topic = enqueue(&mut tx, &message).await.map(|_| ());
            assert!(matches!(topic, Err(Error::Message(_))), "{name:?}: {topic:?}");
            tx.rollback().await.expect("rollback");

            // What an operator or another service names is a value, whatever it is. PostgreSQL has
            // no text with NUL in it, and says so.
            let bound = |result: Result<bool, Error>| match result {
                Ok(found) => assert!(!found, "{name:?} is there"),
                Err(error) => {
                    assert!(name.contains('\0'), "{name:?}: {error}");
                    assert!(matches!(error, Error::Database { .. }), "{name:?}: {error}");
                }
            };
            bound(routes::pause(pool, name).await);
            bound(routes::list(pool, Some(name)).await.map(|rows| !rows.is_empty()));
            let origin = Origin {
                source: name.to_owned(),
                incarnation: Uuid::nil(),
                stream: name.to_owned(),
                version: 1,
                shard: 0,
            };
            bound(DB::inbox(pool, name, &origin).await.map(|row| row.is_some()));
            let lease = DB::acquire(pool, name, Uuid::now_v7(), Duration::from_secs(60)).await;
            match lease {
                Ok(lease) => {
                    assert_eq!(lease.expect("it is free").name, name, "as it was named");
                    let other = DB::acquire(pool, name, Uuid::now_v7(), Duration::from_secs(60));
                    assert_eq!(other.await.expect("acquire"), None, "{name:?} is held");
                }
                Err(error) => assert!(name.contains('\0'), "{name:?}: {error}"),
            }
            // A key may be nearly anything.
            let mut tx = begin(pool).await.expect("begin");
            let keyed = Message::json("other", &name).expect("JSON").key(name);
            match enqueue(&mut tx, &keyed).await {
                Ok(_) => tx.commit().await.expect("commit"),
                Err(error) => assert!(name.contains('\0'), "{name:?}: {error}"),
            }
        }
        // All of it is there, and goes its way.
        let direct = Direct::to(noting("c", world.target.clone()).build().expect("a consumer"));
        let stream = Stream::new("s").topic("counter.*");
        let relay = start(pool, stream, vec![Route::new("r", "s", direct)], |_| {}).await;
        write(pool, 24).await;
        check(pool, &world.target, &["c"]).await;
        relay.stop().await;
        assert_eq!(DB::shards(pool).await.expect("read").len(), 1, "one route, of one shard");
        let error = PublishError::Refused { target: HOSTILE[0].into(), reason: HOSTILE[5].into() };
        assert!(error.to_string().contains("%s%n%d"), "texts are texts");
    }

    /// A batch of one message of a stream's `version` and `shard`.
    fn of(version: i32, shard: i32) -> Batch {
        let mut batch = SampleSource::new(push::SOURCE, push::STREAM).next(1);
        batch.origin = Arc::new(Origin { version, shard, ..(*batch.origin).clone() });
        batch.messages[0].origin = Arc::clone(&batch.origin);
        batch
    }

    pub(super) async fn a_shard_that_no_stream_has_is_refused_and_leaves_no_row<DB: Kit>(
        world: World<DB>,
    ) {
        let ignored = handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) }));
        let consumer = Consumer::builder("c", world.target.clone()).handler("*", ignored);
        let consumer = consumer.build().expect("a consumer");
        let rows = async || {
            DB::count(&world.target, "SELECT COUNT(*) FROM syncline_inbox").await.expect("rows")
        };
        // By whatever transport.
        for (version, shard) in [(1, -1), (1, i32::MIN), (1, 1_024), (1, i32::MAX), (0, 0), (-1, 0)]
        {
            let refused = consumer.receive(of(version, shard)).await;
            let Err(ReceiveError::Refused(reason)) = refused else { panic!("{refused:?}") };
            let words = format!("cannot have shard {shard} in version {version}");
            assert!(reason.contains(&words), "{reason}");
        }
        assert_eq!(rows().await, 0);
        // By push, where the receiver knows how many there are.
        let principal = push::principal(&[push::SECRET]).shards(2);
        let setup = |receiver| PushReceiver::new(receiver).principal(principal);
        let listener = PushListener::bind("127.0.0.1:0", setup).await.expect("listens");
        let (address, stop) = (listener.local_addr(), CancellationToken::new());
        let server = tokio::spawn(Box::new(listener).run(Arc::new(consumer), stop.clone()));
        for (shard, status) in [(-1, 403), (2, 403), (1_023, 403), (1, 200)] {
            let request = push::Request::of(&of(1, shard));
            let answer = push::raw(address, &request.bytes()).await;
            assert_eq!(answer.status, status, "shard {shard}: {answer:?}");
        }
        assert_eq!(rows().await, 1, "of the one that there is");
        stop.cancel();
        server.await.expect("no panic").expect("ends well");
    }

    /// `text` with every byte as `%XX`.
    fn encoded(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    pub(super) async fn a_database_of_a_hostile_name_is_one_like_any_other<DB: Kit>(
        world: World<DB>,
    ) {
        let name = format!("x'\"`; DROP TABLE x; --%s\\{{0}}ü {}", std::process::id());
        let directory = tempfile::tempdir().expect("a directory");
        let url = match DB::LABEL {
            "SQLite" => {
                let directory = directory.path().display();
                format!("sqlite://{directory}/{}?mode=rwc", encoded(&name))
            }
            label => {
                let quote = if label == "PostgreSQL" { '"' } else { '`' };
                let quoted = name.replace(quote, &format!("{quote}{quote}"));
                DB::execute(&world.source, &format!("CREATE DATABASE {quote}{quoted}{quote}"))
                    .await
                    .expect("create a database");
                with_database(&world.source_url, &encoded(&name))
            }
        };
        let source = DB::connect(&url, 8).await.expect("connect");
        syncline::migrate(&source).await.expect("migrate");
        DB::prepare(&source).await.expect("prepare");
        let direct = Direct::to(noting("c", world.target.clone()).build().expect("a consumer"));
        let stream = Stream::new("s").topic("counter.*");
        let relay = start(&source, stream, vec![Route::new("r", "s", direct)], |_| {}).await;
        write(&source, 24).await;
        check(&source, &world.target, &["c"]).await;
        relay.stop().await;
        source.close().await;
    }
}
