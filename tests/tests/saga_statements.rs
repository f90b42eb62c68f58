//! What a saga of three remote steps costs on PostgreSQL, as the server itself counts it
//! (`pg_stat_statements`): alone a fixed number of statements and commits, and with others less.

use std::sync::Arc;

use sqlx::{Connection, Executor, PgConnection, PgPool, Postgres};
use syncline::{
    Consumer, Relay, Route, Stream, begin,
    saga::{Sagas, wire::REPLY},
    transport::{Subscriber, in_process},
};
use syncline_tests::{
    kit::Kit,
    orders::{CUSTOMERS, SAGA, SOURCE, definition, is_refused, participant},
    own_server::{OwnServer, Served},
    relays::eventually,
};
use tokio_util::sync::CancellationToken;

/// So many sagas are counted, one after the other. What is done once a minute is less than one
/// statement for each.
const SAGAS: i64 = 10;
/// What a saga costs its services beside their relays, with BEGIN and COMMIT: docs/sagas.md has it.
const COST: Cost = Cost { statements: 89, commits: 11 };
/// So many sagas begin together, each of another customer.
const TOGETHER: i64 = 36;

/// A server that counts; the extension belongs to PostgreSQL's own packages.
async fn counting() -> Option<(OwnServer<Postgres>, PgConnection)> {
    let mut server = OwnServer::<Postgres>::start().await?;
    let url = server.url(Postgres::HOME);
    let mut home = PgConnection::connect(&url).await.expect("connect");
    let preload = "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'";
    home.execute(preload).await.expect("set what is loaded");
    server.stop();
    server.restart().await;
    let mut home = PgConnection::connect(&url).await.expect("connect");
    let create = "CREATE EXTENSION pg_stat_statements; CREATE ROLE relays SUPERUSER LOGIN";
    home.execute(create).await.expect("install PostgreSQL's contrib package: it must count");
    Some((server, home))
}

/// One service: its database, for itself and, counted apart, for its relay.
struct Place {
    pool: PgPool,
    relay: PgPool,
}

impl Place {
    async fn new(server: &OwnServer<Postgres>) -> Self {
        let url = server.database(None).await;
        let pool = Postgres::connect(&url, 8).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        Postgres::prepare(&pool).await.expect("prepare");
        let url = url.replace("postgres@", "relays@");
        Self { pool, relay: Postgres::connect(&url, 8).await.expect("connect") }
    }
}

/// Waits until so many sagas are completed.
async fn completed(pool: &PgPool, sagas: i64) {
    eventually("the sagas are completed", async || {
        let sql = "SELECT count(*) FROM syncline_saga WHERE status = 'completed'";
        let done: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.expect("a count");
        (done == sagas).then_some(())
    })
    .await;
}

#[derive(Debug, PartialEq, Eq)]
struct Cost {
    statements: i64,
    commits: i64,
}

/// What the services have cost since it was asked last, for each of so many sagas. How often the
/// engine looks whether there is something to do is a matter of time, and not counted.
async fn cost(home: &mut PgConnection, sagas: i64) -> Cost {
    let sql = "SELECT query, sum(calls)::bigint
               FROM pg_stat_statements AS s JOIN pg_roles AS r ON r.oid = s.userid
               WHERE r.rolname = 'postgres' AND query NOT LIKE '%pg_stat_statements%'
               GROUP BY 1 ORDER BY 2 DESC, 1";
    let calls: Vec<(String, i64)> =
        sqlx::query_as(sql).fetch_all(&mut *home).await.expect("the statements");
    home.execute("SELECT pg_stat_statements_reset()").await.expect("reset");
    for (query, calls) in &calls {
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        println!("{calls:>6} {}", query.chars().take(120).collect::<String>());
    }
    let of = |start: &str| {
        let of = calls.iter().filter(|(query, _)| query.starts_with(start));
        of.map(|(_, calls)| calls).sum::<i64>()
    };
    // PostgreSQL 18 leaves comments before a statement out.
    let looks = of("-- In how many milliseconds something is due")
        + of("SELECT due FROM (")
        + of("-- What is there for those who wait")
        + of("SELECT $4 AS what")
        // A consumer that was not started looks whether that holds something up.
        + of("SELECT owner, count(*)")
        + of("SELECT ahead.consumer")
        + of("SELECT name, version, topics");
    // BEGIN, a claim that finds nothing, ROLLBACK: what woke the engine was decided already.
    let in_vain = 3 * of("ROLLBACK");
    assert!(looks > 0 && of("COMMIT") > 0, "the server counts: {calls:?}");
    let all: i64 = calls.iter().map(|(_, calls)| calls).sum();
    let cost = Cost { statements: (all - looks - in_vain) / sagas, commits: of("COMMIT") / sagas };
    println!("for each of {sagas} sagas: {cost:?}");
    cost
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_costs_a_fixed_number_of_statements_and_shares_commits_with_others() {
    let Some((server, mut home)) = counting().await else { return };
    let orders = Place::new(&server).await;
    let stop = CancellationToken::new();
    let listen = |consumer: Consumer<Postgres>| {
        let (publisher, subscriber) = in_process::channel(16);
        tokio::spawn(Box::new(subscriber).run(Arc::new(consumer), stop.clone()));
        publisher
    };
    let sagas = Sagas::builder(SOURCE, orders.pool.clone())
        .saga(definition().expect("a sound definition"))
        .build()
        .expect("an engine");
    let replies = Consumer::builder("orders", orders.pool.clone());
    let replies = replies.batch_handler(REPLY, sagas.replies()).build().expect("a consumer");
    let to_orders = listen(replies);
    let mut commands = Relay::builder(SOURCE, orders.relay.clone());
    let mut relays = Vec::new();
    for service in ["stock", "bank"] {
        let place = Place::new(&server).await;
        let to = listen(participant(service, place.pool, false).build().expect("a consumer"));
        commands = commands
            .stream(Stream::new(service).topic(format!("{service}.*")))
            .route(Route::new(service, service, to));
        let answers = Relay::builder(format!("/{service}"), place.relay)
            .stream(Stream::new("replies").topic(REPLY))
            .route(Route::new("orders", "replies", to_orders.clone()));
        relays.push(answers.start().await.expect("the relay starts"));
    }
    relays.push(commands.start().await.expect("the relay starts"));
    let engine = sagas.run().await.expect("the engine starts");

    let start = async |numbers: Vec<i64>| {
        let (mut tx, mut last) = (begin(&orders.pool).await.expect("begin"), None);
        for order in numbers {
            let key = format!("order {order}");
            last = Some(sagas.start(&mut tx, SAGA, &key, &order).await.expect("start"));
        }
        tx.commit().await.expect("commit");
        last.expect("there is one").committed();
    };
    let not_refused = |from: i64| (from..).filter(|order| !is_refused(*order));
    // The first makes what every one needs: inboxes, connections.
    start(vec![1]).await;
    completed(&orders.relay, 1).await;
    cost(&mut home, 1).await;
    for (order, before) in not_refused(2).zip(1..=SAGAS) {
        start(vec![order]).await;
        completed(&orders.relay, before + 1).await;
    }
    assert_eq!(cost(&mut home, SAGAS).await, COST, "docs/sagas.md says so, too");

    start(not_refused(CUSTOMERS).take(TOGETHER as usize).collect()).await;
    completed(&orders.relay, 1 + SAGAS + TOGETHER).await;
    let shared = cost(&mut home, TOGETHER).await;
    assert!(
        shared.commits < COST.commits / 4,
        "those that arrive together share commits: {shared:?}"
    );

    engine.stop().await;
    for relay in relays {
        relay.stop().await;
    }
    stop.cancel();
}
