//! Connections to the database die without a word: a proxy, a gateway or a firewall swallows what is
//! sent. Whoever works in the background goes on with new ones, and nobody keeps a lease for which
//! it does nothing.

use std::time::Duration;

use sqlx::Executor;
use syncline::{
    Stream, begin,
    relay::RouteState,
    saga::{Outcome, SagaBuilder, Sagas},
};
use syncline_tests::{
    gate::{Flow, Gate},
    kit::Kit,
    relays::{Process, check, eventually, write},
    servers::{mariadb_database, postgres_database},
    world::World,
};
use tokio::time::{Instant, sleep};

/// So soon everything goes on.
const SOON: Duration = Duration::from_secs(60);

fn stream() -> Stream {
    Stream::new("s").topic("counter.*").shards(2)
}

/// A relay process whose source is behind a gate.
async fn gated<DB: Kit>(world: &World<DB>, target: &str) -> (Gate, Process) {
    let (gate, url) = Gate::before(&world.source_url).await;
    (gate, Process::start::<DB>(&url, target, stream(), &["c"]))
}

/// How many messages are applied within `time`, until there are `all`.
async fn applied<DB: Kit>(world: &World<DB>, all: usize, time: Duration) -> usize {
    let until = Instant::now() + time;
    loop {
        let applied = DB::applied(&world.target).await.expect("applied").len();
        if applied >= all || Instant::now() > until {
            return applied;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn a_relay_goes_on<DB: Kit>(source: String, target: String) {
    let world = World::<DB>::new(source, target).await;
    let (gate, relay) = gated(&world, &world.target_url).await;
    write(&world.source, 20).await;
    check(&world.source, &world.target, &["c"]).await;
    gate.all(Flow::Stalled);
    write(&world.source, 20).await;
    let said = eventually("the relay says that it stands still", async || {
        let status = relay.relay().status();
        status
            .iter()
            .map(|shard| format!("{:?}", shard.state))
            .find(|state| state.contains("not answered"))
    });
    let (said, applied) = tokio::join!(said, applied(&world, 40, SOON));
    assert!(said.contains("answered"), "{said}");
    assert_eq!(applied, 40, "applied within {SOON:?} of the death of all connections");
    check(&world.source, &world.target, &["c"]).await;
    eventually("it says that it is idle again", async || {
        let status = relay.relay().status();
        status.iter().all(|shard| shard.state == RouteState::Idle).then_some(())
    })
    .await;
    // The one that trims looks more rarely.
    eventually("nothing is left to be told", async || {
        relay.relay().problems().is_empty().then_some(())
    })
    .await;
    relay.kill();
}

async fn a_consumer_goes_on<DB: Kit>(source: String, target: String) {
    let world = World::<DB>::new(source, target).await;
    let (gate, url) = Gate::before(&world.target_url).await;
    let relay = Process::start::<DB>(&world.source_url, &url, stream(), &["c"]);
    write(&world.source, 20).await;
    check(&world.source, &world.target, &["c"]).await;
    gate.all(Flow::Stalled);
    write(&world.source, 20).await;
    let applied = applied(&world, 40, SOON).await;
    assert_eq!(applied, 40, "applied within {SOON:?} of the death of the consumer's connections");
    check(&world.source, &world.target, &["c"]).await;
    relay.kill();
}

/// A connection that dies while it waits for a consumer's place must not be given it: nobody else
/// would have it for as long as the server lets a transaction rest.
async fn a_waiter_that_died_keeps_nobody_out<DB: Kit>(source: String, target: String)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let world = World::<DB>::new(source, target).await;
    let (gate, url) = Gate::before(&world.target_url).await;
    let stream = Stream::new("s").topic("counter.*");
    let sick = Process::start::<DB>(&world.source_url, &url, stream.clone(), &["c"]);
    write(&world.source, 20).await;
    check(&world.source, &world.target, &["c"]).await;
    let mut holder = begin(&world.target).await.expect("begin");
    let hold = "SELECT 1 FROM syncline_inbox FOR UPDATE";
    (&mut *holder).execute(hold).await.expect("hold the consumer's place");
    write(&world.source, 20).await;
    // Time to wait for it.
    sleep(Duration::from_secs(2)).await;
    gate.all(Flow::Stalled);
    gate.new_ones(Flow::Stalled);
    sick.kill();
    sleep(Duration::from_secs(12)).await;
    holder.rollback().await.expect("let go");
    let healthy = world.process(&stream, &["c"]);
    let soon = Duration::from_secs(20);
    assert_eq!(applied(&world, 40, soon).await, 40, "applied within {soon:?}");
    check(&world.source, &world.target, &["c"]).await;
    healthy.kill();
}

async fn an_engine_goes_on<DB: Kit>(url: String) {
    let direct = DB::connect(&url, 4).await.expect("connect");
    syncline::migrate(&direct).await.expect("migrate");
    DB::prepare(&direct).await.expect("prepare");
    let (gate, url) = Gate::before(&url).await;
    let mut saga = SagaBuilder::<DB, i64>::new("noted", 1);
    saga.local("note", (), |tx, call| {
        Box::pin(async move {
            DB::note(tx, "noted", call.input).await?;
            Ok(Outcome::Done(()))
        })
    })
    .pivot()
    .add();
    let sagas = Sagas::builder("/sagas", DB::connect(&url, 8).await.expect("connect"))
        .saga(saga.build().expect("sound"))
        .build()
        .expect("an engine");
    let engine = sagas.run().await.expect("it runs");
    for numbers in [1..=20_i64, 21..=40] {
        let all = *numbers.end();
        for n in numbers {
            let mut tx = begin(&direct).await.expect("begin");
            let started = sagas.start(&mut tx, "noted", &n.to_string(), &n).await.expect("start");
            tx.commit().await.expect("commit");
            started.committed();
        }
        eventually("every step is done", async || {
            let done = DB::applied(&direct).await.expect("applied").len();
            (done >= all as usize).then_some(())
        })
        .await;
        gate.all(Flow::Stalled);
    }
    let mut applied = DB::applied(&direct).await.expect("applied");
    applied.sort_unstable();
    let each: Vec<_> = (1..=40).map(|n| ("noted".to_owned(), n)).collect();
    assert_eq!(applied, each);
    engine.stop().await;
}

async fn a_healthy_one_takes_over<DB: Kit>(source: String, target: String, sealing: &str) {
    let world = World::<DB>::new(source, target).await;
    let (gate, sick) = gated(&world, &world.target_url).await;
    write(&world.source, 20).await;
    check(&world.source, &world.target, &["c"]).await;
    // Its leases are renewed by connections that work; only sealing gets no answer.
    gate.stall_who_says(sealing);
    gate.all(Flow::Cut);
    write(&world.source, 20).await;
    eventually("sealing stalls", async || (gate.stalled() > 0).then_some(())).await;
    let healthy = world.process(&stream(), &["c"]);
    let applied = applied(&world, 40, SOON).await;
    assert_eq!(applied, 40, "applied within {SOON:?} although one relay cannot seal");
    check(&world.source, &world.target, &["c"]).await;
    sick.kill();
    healthy.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_connections_died_goes_on_with_new_ones_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    a_relay_goes_on::<sqlx::Postgres>(a, b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_connections_died_goes_on_with_new_ones_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    a_relay_goes_on::<sqlx::MySql>(a, b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_connections_died_goes_on_with_new_ones_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    a_consumer_goes_on::<sqlx::Postgres>(a, b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_connections_died_goes_on_with_new_ones_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    a_consumer_goes_on::<sqlx::MySql>(a, b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_died_while_it_waited_for_its_place_keeps_nobody_out_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    a_waiter_that_died_keeps_nobody_out::<sqlx::Postgres>(a, b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_died_while_it_waited_for_its_place_keeps_nobody_out_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    a_waiter_that_died_keeps_nobody_out::<sqlx::MySql>(a, b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_whose_connections_died_goes_on_with_new_ones_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    an_engine_goes_on::<sqlx::Postgres>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_whose_connections_died_goes_on_with_new_ones_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    an_engine_goes_on::<sqlx::MySql>(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_gets_no_answer_to_sealing_lets_another_one_seal_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    a_healthy_one_takes_over::<sqlx::Postgres>(a, b, "INSERT INTO syncline_seal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_gets_no_answer_to_sealing_lets_another_one_seal_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    a_healthy_one_takes_over::<sqlx::MySql>(a, b, "UPDATE JSON_TABLE").await;
}
