//! What processes ask again and again while they have nothing to do.

use std::time::{Duration, Instant};

use sqlx::Pool;
use uuid::Uuid;

use super::{
    support::{
        Behaviour, Direct, LEASE, PAGE, commit, eventually, message, number, read_all, sealer,
    },
    way::{consumer, relay_with},
};
use crate::{
    Storage, begin,
    message::{Due, Position},
    relay::RouteState,
    storage::{Awaited, Beating, Found, ShardKey},
};

const HOUR: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(300);

async fn ask<DB: Storage>(pool: &Pool<DB>) -> Found {
    let awaited = Awaited {
        log: true,
        consumers: ["c".to_owned(), "other".to_owned()].into(),
        sagas: ["order/1".to_owned(), "nobody/1".to_owned()].into(),
        within: HOUR,
    };
    DB::pulse(pool, &awaited).await.expect("the pulse")
}

pub(super) async fn the_pulse_tells_of_everything_that_waits<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let nothing = Found { head: Some(Position::START), ..Found::default() };
    assert_eq!(ask(&pool).await, nothing);
    let mut tx = begin(&pool).await.expect("begin");
    DB::append(&mut tx, &[message("in", "k", 1)]).await.expect("append");
    DB::delay(&mut tx, &message("in", "k", 2), Due::After(HOUR)).await.expect("delay");
    DB::park(&mut tx, "c", "/s", "k", Some(Duration::ZERO)).await.expect("park");
    if DB::LABEL != "SQLite" {
        // SQLite has one writer, whose statements others wait for.
        assert_eq!(ask(&pool).await, nothing, "before the commit");
    }
    tx.commit().await.expect("commit");
    let found = ask(&pool).await;
    assert!(found.unsealed || found.head > nothing.head, "{found:?}");
    assert!(found.delayed.is_some_and(|due| due > HOUR / 2 && due <= HOUR), "{found:?}");
    assert_eq!(found.parked.get("c"), Some(&Duration::ZERO), "{found:?}");
    assert_eq!(found.parked.len(), 1, "{found:?}");
    assert_eq!(found.sagas, None);
    while DB::seal(&pool, &lease, 10).await.expect("seal").count > 0 {}
    let found = ask(&pool).await;
    assert!(!found.unsealed && found.head > nothing.head, "{found:?}");
    let asked_nothing = DB::pulse(&pool, &Awaited::default()).await.expect("the pulse");
    assert_eq!(asked_nothing, Found::default());
}

pub(super) async fn one_beat_renews_all_and_tells_what_has_changed<DB: Storage>(pool: Pool<DB>) {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let beat = async |holder, leases: &[&str], ttl| {
        let leases: Vec<_> = leases.iter().map(|&name| name.to_owned()).collect();
        let routes = ["r".to_owned()];
        let of = Beating { holder, leases: &leases, routes: &routes, ttl };
        DB::beat(&pool, of, &Awaited::default()).await.expect("beat")
    };
    let first = beat(one, &["seal", "route/r"], LEASE).await;
    assert!(first.leases.iter().all(Option::is_some), "{first:?}");
    let again = beat(one, &["route/r", "seal"], LEASE).await;
    let epochs = |leases: &[Option<crate::storage::Lease>]| {
        leases.iter().flatten().map(|lease| lease.epoch).collect::<Vec<_>>()
    };
    assert_eq!(epochs(&again.leases), epochs(&first.leases), "renewed");
    assert_eq!(beat(one, &[], LEASE).await.seen, again.seen, "nothing has changed");
    // Longer than the slowest server takes for the next beat.
    let other = beat(two, &["delayed", "seal"], Duration::from_secs(2)).await;
    assert!(other.leases[0].is_some() && other.leases[1].is_none(), "{other:?}");
    let joined = beat(one, &[], LEASE).await.seen;
    assert_ne!(joined, again.seen, "another process can carry the route");
    let gone = async || (beat(one, &[], LEASE).await.seen == again.seen).then_some(());
    eventually("the other one is gone", gone).await;
    let taken = async || beat(one, &["delayed"], LEASE).await.leases[0].clone();
    let taken = eventually("its lease is taken over", taken).await;
    assert!(Some(taken.epoch) > other.leases[0].as_ref().map(|lease| lease.epoch));
    let shard = crate::storage::NewShard {
        key: ShardKey::new("r", 1, 0),
        at: Position::START,
        closed: false,
    };
    DB::create_shards(&pool, "s", &[shard]).await.expect("create");
    let made = beat(one, &[], LEASE).await.seen;
    DB::set_paused(&pool, "r", true).await.expect("pause");
    let paused = beat(one, &[], LEASE).await.seen;
    assert!(made != again.seen && paused != made, "{made:?} {paused:?}");
}

/// The numbers that were applied, in order.
async fn applied<DB: Storage>(pool: &Pool<DB>) -> Vec<i64> {
    let rows = read_all(pool, PAGE).await.into_iter();
    rows.filter(|row| row.message.topic == "out").map(|row| number(&row.message)).collect()
}

pub(super) async fn a_delayed_message_of_this_process_needs_no_poll<DB: Storage>(pool: Pool<DB>) {
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    // Of the first one the mover learns from the database, when it starts.
    let mut tx = begin(&pool).await.expect("begin");
    DB::delay(&mut tx, &message("in", "k", 1), Due::After(SHORT * 2)).await.expect("delay");
    tx.commit().await.expect("commit");
    // It would look again in an hour, and a renewal of its leases would in a hundred seconds.
    let relay = relay_with(&pool, Direct(consumer), |options| {
        (options.idle, options.lease) = (HOUR, Duration::from_secs(300));
    })
    .await;
    let idle = async || (relay.status()[0].state == RouteState::Idle).then_some(());
    eventually("it rests", idle).await;
    let is_far = || message("in", "k", 0).delay(HOUR);
    let come = async |n: i64| {
        let come = async || (applied(&pool).await.last() == Some(&n)).then_some(());
        let come = eventually("it is applied", come);
        tokio::time::timeout(Duration::from_secs(20), come).await.expect("on time");
    };
    // One that is due later puts none off, whether it is set before or after.
    commit(&pool, &[is_far()]).await;
    come(1).await;
    let mut n = 1;
    for far_after in [true, false] {
        loop {
            n += 1;
            let began = Instant::now();
            commit(&pool, &[message("in", "k", n).delay(SHORT)]).await;
            // One that is committed too late is found by a later look: the next one brings it.
            if began.elapsed() < SHORT {
                break;
            }
        }
        if far_after {
            commit(&pool, &[is_far()]).await;
        }
        come(n).await;
    }
    relay.stop().await;
}

pub(super) async fn what_another_process_sets_without_a_word_is_found<DB: Storage>(pool: Pool<DB>) {
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let running = consumer.start().await.expect("start");
    let relay = relay_with(&pool, Direct(consumer), |_| ()).await;
    // Several times, for a start finds what is there.
    for n in 1..=3 {
        tokio::time::sleep(SHORT).await;
        let mut tx = begin(&pool).await.expect("begin");
        // By the storage alone, which wakes nobody.
        DB::delay(&mut tx, &message("in", "k", n), Due::After(SHORT)).await.expect("delay");
        DB::park(&mut tx, "c", "/suite", "other", Some(SHORT)).await.expect("park");
        tx.commit().await.expect("commit");
        let come = async || (applied(&pool).await.last() == Some(&n)).then_some(());
        eventually("the message is applied", come).await;
        let freed = async || ask(&pool).await.parked.is_empty().then_some(());
        eventually("the key, for which nothing is held, is free", freed).await;
    }
    running.stop().await;
    relay.stop().await;
}
