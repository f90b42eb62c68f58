//! The order's saga told as scenarios, and what a scenario says when a saga behaves otherwise.

#[path = "../../framework/examples/customers_orders/participants.rs"]
#[allow(dead_code, unreachable_pub)]
mod participants;
#[path = "../../framework/examples/customers_orders/saga.rs"]
#[allow(dead_code, unreachable_pub)]
mod saga;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use serde_json::{Value, json};
use syncline::{
    saga::{Answer, End, Event, Phase, Plan, Retry, Status, Step, Timer},
    testing::saga::Scenario,
};

fn placed() -> Scenario {
    let saga = saga::place_order().expect("the definition is sound");
    Scenario::of(&saga).given_started().given_done("create-order", Value::Null)
}

fn reserved() -> Scenario {
    placed().given_done("reserve-credit", Value::Null).given_done("reserve-stock", Value::Null)
}

fn booked() -> Scenario {
    reserved().given_done("book-shipment", json!("track-1"))
}

#[test]
fn credit_and_stock_are_reserved_side_by_side() {
    let saga = saga::place_order().expect("the definition is sound");
    Scenario::of(&saga)
        .when_started()
        .then_begins("create-order")
        .then_nothing_else()
        .then_due_after(&Timer::Saga, Duration::from_secs(600))
        .when_done("create-order", Value::Null)
        .then_begins("reserve-credit")
        .then_begins("reserve-stock")
        .then_nothing_else()
        .when_done("reserve-stock", Value::Null)
        .then_nothing_else()
        .when_done("reserve-credit", Value::Null)
        .then_begins("book-shipment")
        .then_nothing_else()
        .then_status(Status::Running);
}

#[test]
fn an_order_over_the_limit_gives_back_the_stock_and_is_rejected() {
    placed()
        .given_done("reserve-stock", Value::Null)
        .when_refused("reserve-credit", "the limit is 100")
        .then_compensates("reserve-stock")
        .then_nothing_else()
        .then_status(Status::Compensating)
        .when_undone("reserve-stock")
        .then_compensates("create-order")
        .then_nothing_else()
        .when_undone("create-order")
        .then_ended(End::Compensated);
}

#[test]
fn a_reservation_that_has_not_answered_is_compensated_too() {
    placed()
        .when_refused("reserve-credit", "the limit is 100")
        .then_compensates("reserve-stock")
        .then_nothing_else()
        .then_phase("create-order", Phase::Done);
}

#[test]
fn after_the_approval_nothing_is_taken_back() {
    booked()
        .when_done("approve", Value::Null)
        .then_begins("dispatch")
        .then_nothing_else()
        .when_cancelled("too late")
        .then_ignored()
        .when_done("dispatch", Value::Null)
        .then_ended(End::Completed);
}

#[test]
fn a_shipment_that_is_not_booked_in_time_is_given_up() {
    reserved()
        .then_due_after(&Timer::Deadline("book-shipment".into()), Duration::from_secs(30))
        .when_overdue("book-shipment")
        .then_compensates("book-shipment")
        .then_nothing_else()
        .given_undone("book-shipment")
        .then_compensates("reserve-credit")
        .then_compensates("reserve-stock");
}

#[test]
fn the_saga_s_deadline_takes_everything_back() {
    reserved()
        .when_saga_overdue()
        .then_compensates("book-shipment")
        .then_nothing_else()
        .then_status(Status::Compensating);
}

#[test]
fn a_compensation_that_keeps_failing_is_stuck_after_the_others_have_run() {
    let once = Retry { attempts: 1, ..Retry::default() };
    let plan = Plan::builder("trip", 1)
        .step(Step::local("note").compensated())
        .parallel([
            Step::remote("flight").compensated().retry(once),
            Step::remote("hotel").compensated(),
        ])
        .step(Step::remote("pay").pivot())
        .build()
        .expect("a good plan");
    Scenario::of(&plan)
        .given_started()
        .given_done("note", 1)
        .given_done("flight", 2)
        .given_done("hotel", 3)
        .given_refused("pay", "no money")
        .when_undo_failed("flight", "away")
        .then_phase("flight", Phase::UndoFailed)
        .then_status(Status::Compensating)
        .when_undone("hotel")
        .then_compensates("note")
        .when_undone("note")
        .then_stuck();
}

#[test]
fn a_pivot_that_does_not_answer_is_asked_and_not_guessed() {
    let plan = Plan::builder("pay", 1)
        .step(Step::remote("reserve").compensated())
        .step(Step::remote("pay").pivot())
        .build()
        .expect("a good plan");
    let asked = Scenario::of(&plan)
        .given_started()
        .given_done("reserve", 1)
        .when_overdue("pay")
        .then_asks_to_bar("pay")
        .then_nothing_else();
    asked.clone().when_bar_answered("pay", Answer::Applied(json!(2))).then_ended(End::Completed);
    asked.when_bar_answered("pay", Answer::Barred).then_compensates("reserve");
}

type Story = Box<dyn FnOnce() -> Scenario>;

/// What the panic of `tell` says.
fn complaint(tell: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(tell)).expect_err("it complains");
    panic.downcast_ref::<String>().expect("a text").clone()
}

#[test]
fn a_saga_that_behaves_otherwise_is_drawn_with_what_was_expected_and_found() {
    let text = complaint(|| {
        placed().when_refused("reserve-credit", "limit").then_compensates("create-order");
    });
    let expected = [
        "the saga behaves otherwise",
        "expected: compensates create-order",
        "found:    the deadline of reserve-stock is due after 3600s",
        "          the next attempt of reserve-stock is due after 30s",
        "          compensates reserve-stock, attempt 1",
        "",
        "place-order, version 1: Compensating (reserve-credit: limit)",
        "└─ create-order: Done, returned null",
        "   └─ reserve-credit: Refused: limit",
        "   └─ reserve-stock: Undoing, attempt 1",
        "      └─ book-shipment: Waiting",
        "         └─ approve (pivot): Waiting",
        "            └─ dispatch: Waiting",
        "",
        "the story so far:",
        "    it was started",
        "    create-order answered Applied(Null)",
        "    reserve-credit answered Refused(\"limit\")",
        "",
    ];
    assert_eq!(text, expected.join("\n"));
}

#[test]
fn each_then_fails_when_its_promise_is_broken() {
    let refused = || placed().when_refused("reserve-credit", "limit");
    let broken: Vec<(&str, Story)> = vec![
        ("begins", Box::new(move || refused().then_begins("book-shipment"))),
        ("asks to bar", Box::new(move || refused().then_asks_to_bar("approve"))),
        ("nothing else", Box::new(move || refused().then_nothing_else())),
        ("nothing", Box::new(move || refused().then_ignored())),
        ("Stuck", Box::new(move || refused().then_stuck())),
        ("Ended", Box::new(move || refused().then_ended(End::Compensated))),
        ("is Undone", Box::new(move || refused().then_phase("reserve-stock", Phase::Undone))),
        ("is due", Box::new(move || refused().then_due_after(&Timer::Saga, Duration::ZERO))),
    ];
    for (expected, tell) in broken {
        let text = complaint(|| drop(tell()));
        let line = text.lines().nth(1).unwrap_or_default();
        assert!(line.contains(expected), "{expected:?}: {text}");
    }
}

#[test]
fn a_story_that_cannot_happen_is_refused() {
    let impossible: Vec<(&str, Story)> = vec![
        ("it is Waiting", Box::new(|| placed().when_done("approve", 1))),
        ("it is Acting", Box::new(|| placed().when_undone("reserve-stock"))),
        ("none of that name", Box::new(|| placed().when_done("unknown", 1))),
        ("is armed", Box::new(|| placed().when_overdue("approve"))),
        ("it is Acting", Box::new(|| placed().when_bar_answered("reserve-stock", Answer::Barred))),
        ("started already", Box::new(|| placed().given(Event::Started))),
    ];
    for (why, tell) in impossible {
        let text = complaint(|| drop(tell()));
        assert!(text.contains(why), "{why:?}: {text}");
    }
}
