//! One instance's turn, without a database: its times are by the database's clock, which its row
//! brings along.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::Sqlite;

use super::*;
use crate::saga::{Retry, SagaBuilder};

const RETRY: Retry =
    Retry { attempts: 3, base: Duration::from_secs(7), longest: Duration::from_secs(60) };

fn order() -> Saga<Sqlite> {
    let mut saga = SagaBuilder::<Sqlite, i64>::new("order", 1).deadline(Duration::from_secs(90));
    saga.remote::<_, Value>("credit", (), |_| Ok(Message::json("cmd.credit", &1)?))
        .compensated()
        .deadline(Duration::from_secs(40))
        .retry(RETRY)
        .add();
    saga.remote::<_, Value>("approve", (), |_| Ok(Message::json("cmd.approve", &1)?))
        .pivot()
        .deadline(Duration::from_secs(20))
        .add();
    let tell = saga.remote::<_, Value>("tell", (), |_| Ok(Message::json("cmd.tell", &1)?));
    tell.retriable().deadline(Duration::from_secs(10)).add();
    saga.build().expect("a sound definition")
}

/// A row as it was claimed when the database's clock stood at the turn of the millennium.
fn row(state: String) -> SagaRow {
    let now = DateTime::<Utc>::from_timestamp(946_684_800, 0).expect("a time");
    let (saga, input) = ("order".to_owned(), "1".to_owned());
    let key = "request-17".to_owned();
    SagaRow { id: Uuid::now_v7(), saga, version: 1, key, input, state, now }
}

fn new(saga: &Saga<Sqlite>) -> SagaRow {
    row(serde_json::to_string(&State::new(&saga.plan)).expect("JSON"))
}

fn decided(turn: &mut Turn<'_, Sqlite>, events: impl IntoIterator<Item = Event>) {
    for event in events {
        assert!(turn.decide(event).is_ok() && turn.problem.is_none());
    }
}

fn written(turn: Turn<'_, Sqlite>) -> SagaChanges {
    let mut changes = SagaChanges::default();
    assert!(turn.write(&mut changes, &mut Vec::new()).is_ok_and(|changed| changed));
    changes
}

/// The subjects of timers, without their instance, and when they are due.
fn timers(timers: &[SagaTimer]) -> Vec<(&str, Option<i64>)> {
    let own = |timer: &SagaTimer| timer.subject.find(' ').expect("an id") + 1;
    timers.iter().map(|timer| (&timer.subject[own(timer)..], timer.after)).collect()
}

fn answered(step: &str, answer: Answer) -> Event {
    Event::Answered { step: step.to_owned(), attempt: 1, answer }
}

#[test]
fn deadlines_and_retries_are_by_the_databases_clock() {
    let saga = order();
    let row = new(&saga);
    let mut turn = Turn::new(&saga, &row, None);
    decided(&mut turn, [Event::Started]);
    let until = DateTime::parse_from_rfc3339(&turn.commands[0].headers["saganotafter"]);
    assert_eq!(until.expect("a time"), row.now + TimeDelta::seconds(40));
    // Its silence, and not yet a retry.
    let all = [("deadline credit", Some(40_000)), ("retry credit", Some(30_000))];
    let mut all = Vec::from(all);
    all.push(("saga", Some(90_000)));
    assert_eq!(timers(&written(turn).armed), all);

    let mut turn = Turn::new(&saga, &row, None);
    decided(&mut turn, [Event::Started, answered("credit", Answer::Failed("away".to_owned()))]);
    all[1].1 = Some(7_000);
    assert_eq!(timers(&written(turn).armed), all);
}

#[test]
fn what_a_step_waited_for_is_cleared_when_it_is_done() {
    let saga = order();
    let started = new(&saga);
    let mut turn = Turn::new(&saga, &started, None);
    decided(&mut turn, [Event::Started]);
    let changes = written(turn);
    assert_eq!(timers(&changes.cleared), [], "nothing was stored yet");
    let row = SagaRow { state: changes.saves[0].state.clone(), ..started };

    let mut turn = Turn::new(&saga, &row, None);
    let asked = turn.timers();
    let all = [("deadline credit", None), ("retry credit", None), ("saga", None)];
    assert_eq!(timers(&asked), all);
    decided(&mut turn, [answered("credit", Answer::Applied(json!(1)))]);
    let changes = written(turn);
    assert_eq!(timers(&changes.cleared), all[..2]);
    assert_eq!(timers(&changes.armed), [("deadline approve", Some(20_000))]);

    let row = SagaRow { state: changes.saves[0].state.clone(), ..row };
    let mut turn = Turn::new(&saga, &row, None);
    decided(&mut turn, [answered("approve", Answer::Applied(json!(1)))]);
    let changes = written(turn);
    // Past the pivot the saga's own deadline is gone.
    let all = [("deadline approve", None), ("retry approve", None), ("saga", None)];
    assert_eq!(timers(&changes.cleared), all);
    assert_eq!((changes.saves[0].status, changes.saves[0].ended), ("running", false));
}

#[test]
fn the_end_takes_all_timers_away() {
    let saga = order();
    // The participant of the pivot does not say whether it is applied.
    let mut state = State::new(&saga.plan);
    state.status = Status::Stuck;
    for (step, phase) in [("credit", Phase::Done), ("approve", Phase::Barring)] {
        state.steps.get_mut(step).expect("known").phase = phase;
    }
    let row = row(serde_json::to_string(&state).expect("JSON"));
    let mut turn = Turn::new(&saga, &row, None);
    turn.is_due(&format!("{} retry approve", row.id.simple()));
    decided(&mut turn, [Event::Resolved { reason: "by phone".to_owned() }]);
    assert!(turn.due.is_empty(), "nothing is decided after the end");
    let changes = written(turn);
    let all = [("deadline approve", None), ("retry approve", None), ("saga", None)];
    assert_eq!(timers(&changes.cleared), all);
    assert_eq!((changes.saves[0].status, changes.saves[0].ended), ("resolved", true));
}

#[test]
fn a_command_that_is_sent_again_waits_behind_no_other_and_one_after_the_pivot_has_no_end() {
    let saga = order();
    let row = new(&saga);
    let mut turn = Turn::new(&saga, &row, None);
    let silent = Event::Due(Timer::Retry("credit".to_owned()));
    decided(&mut turn, [Event::Started, silent.clone(), silent]);
    let keys: Vec<_> = turn.commands.iter().filter_map(|command| command.key.clone()).collect();
    let first = format!("{}/credit/apply/1", row.id);
    assert_eq!(keys, [first.clone(), format!("{first}/1"), format!("{first}/2")]);
    let all = [("credit", Answer::Applied(json!(1))), ("approve", Answer::Applied(json!(1)))];
    decided(&mut turn, all.map(|(step, answer)| answered(step, answer)));
    let timed: Vec<_> =
        turn.commands.iter().map(|c| c.headers.contains_key("saganotafter")).collect();
    assert_eq!(timed, [true, true, true, true, false]);
    // The repeated command asks for the same.
    let asks: Vec<_> = turn.commands.iter().map(|c| c.headers["sagaask"].as_str()).collect();
    assert_eq!(asks, ["apply"; 5]);
}

#[test]
fn a_compensation_says_why_and_an_action_does_not() {
    let saga = order();
    let row = new(&saga);
    let mut turn = Turn::new(&saga, &row, None);
    let no = "no\nmoney ".to_owned() + &"\u{1f511}".repeat(600);
    let refused = answered("approve", Answer::Refused(no));
    decided(&mut turn, [Event::Started, answered("credit", Answer::Applied(json!(1))), refused]);
    let [first, pivot, undo] = &turn.commands[..] else { panic!("{:#?}", turn.commands) };
    for action in [first, pivot] {
        assert!(!action.headers.contains_key("sagawhy"), "{action:?}");
    }
    assert_eq!(undo.headers["sagawhystep"], "approve");
    let why = &undo.headers["sagawhy"];
    assert!(why.starts_with("no money \u{1f511}"), "{why}");
    assert_eq!(why.chars().count(), 500);
    // The step's own deadline is that of its compensation, too.
    let until = DateTime::parse_from_rfc3339(&undo.headers["saganotafter"]);
    assert_eq!(until.expect("a time"), row.now + TimeDelta::seconds(40));
    let changes = written(turn);
    assert_eq!(changes.saves[0].trouble, None, "a refusal is no failure");
}

#[test]
fn a_command_has_the_topic_that_its_step_declares_or_the_attempt_has_failed() {
    let mut saga = SagaBuilder::<Sqlite, i64>::new("order", 1);
    saga.remote::<_, Value>("credit", (), |_| Ok(Message::json("cmd.other", &1)?))
        .topic("cmd.credit")
        .compensated()
        .add();
    let saga = saga.build().expect("a sound definition");
    let row = new(&saga);
    let mut turn = Turn::new(&saga, &row, None);
    decided(&mut turn, [Event::Started]);
    assert!(turn.commands.is_empty());
    let Some(Todo::Decide(failed)) = turn.todo.pop_front() else { panic!("it is answered") };
    decided(&mut turn, [failed]);
    assert_eq!(turn.state.phase("credit"), Some(Phase::Resting));
    let trouble = written(turn).saves[0].trouble.clone().expect("it says so");
    assert!(trouble.contains("\"cmd.other\"") && trouble.contains("\"cmd.credit\""), "{trouble}");
}
