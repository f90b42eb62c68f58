//! An executable model of sealing on PostgreSQL: every interleaving of a few writers and two
//! sealers is explored, and each mutant of the algorithm is shown to break a promise. The real
//! statement is driven through schedules of the model, seals the same rows, and breaks a promise in
//! the schedule that the model has found when the same term is taken from it.

#[path = "seal_model/database.rs"]
mod database;
#[path = "seal_model/real.rs"]
mod real;
#[path = "seal_model/sealing.rs"]
mod sealing;

use stateright::{Checker, HasDiscoveries, Model};
use syncline_tests::chance::Chance;

use crate::{
    real::{Real, Walk},
    sealing::{Mutant, Sealing, Size},
};

const PROMISES: [&str; 4] = [
    "a committed row is in exactly one seal",
    "a seal reads the same at any later time",
    "a key's rows stand in commit order",
    "positions are dense",
];

/// Two writers, one of two rows; a seal holds one fresh row.
const PAIR: Size = Size { rows: &[1, 2], keys: &[0, 1], limit: 1 };
/// Two writers of one key; a seal holds everything.
const KEYS: Size = Size { rows: &[2, 1], keys: &[0, 0], limit: 9 };
/// One transaction stays open while another's rows fill several seals.
const LONG: Size = Size { rows: &[1, 3], keys: &[0, 1], limit: 1 };

/// For the real statement: its schedules are drawn, not all of them taken.
const MANY: [Size; 4] = [
    Size { rows: &[1, 2, 1, 3], keys: &[0, 1, 0, 2], limit: 1 },
    Size { rows: &[2, 1, 2, 1, 1], keys: &[0, 0, 1, 1, 2], limit: 2 },
    Size { rows: &[1, 1, 1, 1, 1, 1], keys: &[0, 1, 2, 3, 4, 5], limit: 1 },
    Size { rows: &[3, 1, 4], keys: &[0, 1, 0], limit: 9 },
];

/// Three writers, two of them of one key; explored in the full run only.
const THREE: Size = Size { rows: &[1, 1, 1], keys: &[0, 1, 0], limit: 1 };

fn check(size: Size, mutant: Option<Mutant>) -> (usize, Vec<&'static str>) {
    let finish = if mutant.is_some() { HasDiscoveries::Any } else { HasDiscoveries::All };
    let checker = Sealing { size, mutant }.checker().threads(2).finish_when(finish);
    let checker = checker.spawn_bfs().join();
    let broken = PROMISES.into_iter().filter(|name| checker.discovery(name).is_some()).collect();
    (checker.unique_state_count(), broken)
}

#[test]
fn no_interleaving_breaks_a_promise() {
    let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
    let three = full.then_some(("three", THREE));
    for (name, size) in [("pair", PAIR), ("keys", KEYS), ("long", LONG)].into_iter().chain(three) {
        let (states, broken) = check(size, None);
        println!("{name}: {states} states");
        assert!(states > 1_000, "the model explores: {states}");
        assert_eq!(broken, Vec::<&str>::new(), "{name}");
    }
}

fn is_caught(mutant: Mutant) {
    let broken = |size| {
        let (states, broken) = check(size, Some(mutant));
        println!("{mutant:?}: {states} states, broken: {broken:?}");
        !broken.is_empty()
    };
    assert!([PAIR, LONG, KEYS].into_iter().any(broken), "{mutant:?} breaks nothing");
}

#[test]
fn reading_by_id_greater_than_last_is_caught() {
    is_caught(Mutant::NoLateRows);
}

#[test]
fn a_late_scan_that_trusts_the_list_of_running_transactions_alone_is_caught() {
    is_caught(Mutant::NoPreviousBound);
}

#[test]
fn a_late_scan_without_that_list_is_caught() {
    is_caught(Mutant::NoListed);
}

#[test]
fn forgetting_how_low_a_long_transaction_may_have_written_is_caught() {
    is_caught(Mutant::NoLows);
}

#[test]
fn taking_it_to_have_written_nothing_before_it_was_met_is_caught() {
    is_caught(Mutant::LowsTooHigh);
}

#[test]
fn a_lease_row_locked_before_the_seal_is_caught() {
    is_caught(Mutant::XidBeforeSnapshot);
}

#[test]
fn a_snapshot_of_a_statement_before_is_caught() {
    is_caught(Mutant::TwoStatements);
}

#[test]
fn two_sealers_without_the_primary_key_are_caught() {
    is_caught(Mutant::NoFence);
}

/// Seeds are counted from nought: a schedule that fails is the same the next time.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_statement_seals_what_the_model_seals() {
    let Some(mut real) = Real::start().await else { return };
    let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
    let schedules = if full { 20_000 } else { 1_000 };
    let mut steps = 0;
    for seed in 0..schedules {
        let sealing = Sealing { size: MANY[seed % MANY.len()], mutant: None };
        let mut chance = Chance::new(seed as u64);
        let mut walk = Walk::begin(&mut real, &sealing, Some(&mut chance)).await;
        walk.wander(&sealing).await;
        steps += walk.steps();
        assert_eq!(walk.end().await, [].into(), "schedule {seed}");
    }
    println!("{schedules} schedules of {steps} steps");
    assert!(steps > schedules * 10, "{steps} steps");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_statement_needs_each_of_its_terms() {
    let Some(mut real) = Real::start().await else { return };
    for mutant in [
        Mutant::NoLateRows,
        Mutant::NoPreviousBound,
        Mutant::NoListed,
        Mutant::NoLows,
        Mutant::LowsTooHigh,
        Mutant::XidBeforeSnapshot,
        Mutant::TwoStatements,
        Mutant::NoFence,
    ] {
        if mutant == Mutant::NoFence {
            real.drop_fence().await;
        }
        let mut caught = false;
        for size in [PAIR, LONG, KEYS] {
            let sealing = Sealing { size, mutant: Some(mutant) };
            let checker = sealing.clone().checker().finish_when(HasDiscoveries::Any);
            for (promise, path) in checker.spawn_bfs().join().discoveries() {
                let mut walk = Walk::begin(&mut real, &sealing, None).await;
                for action in path.into_actions() {
                    walk.step(&sealing, action).await;
                }
                let broken = walk.end().await;
                println!("{mutant:?}: the model breaks {promise:?}, the statement {broken:?}");
                caught |= !broken.is_empty();
            }
        }
        assert!(caught, "{mutant:?} breaks nothing");
    }
}
