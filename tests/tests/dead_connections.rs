//! Connections to the database die without a word: a proxy, a gateway or a firewall swallows what is
//! sent. Whoever works in the background goes on with new ones, and nobody keeps a lease for which
//! it does nothing.

use std::time::Duration;

use syncline::{Stream, relay::RouteState};
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
async fn a_relay_that_gets_no_answer_to_sealing_lets_another_one_seal_on_postgres() {
    let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) else { return };
    a_healthy_one_takes_over::<sqlx::Postgres>(a, b, "INSERT INTO syncline_seal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_gets_no_answer_to_sealing_lets_another_one_seal_on_mariadb() {
    let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) else { return };
    a_healthy_one_takes_over::<sqlx::MySql>(a, b, "UPDATE JSON_TABLE").await;
}
