//! Lines of the program's log about instances, and the text that is stored of steps that fail. It is
//! told when it has committed: a decision that is rolled back and made again is told of once.

use tracing::Level;
use uuid::Uuid;

use crate::{
    cap,
    saga::{
        Answer, Decision, Effect, End, Event, Left, Phase, Plan, State, StepState, Timer,
        UndoAnswer, Why,
    },
    said::Places,
};

/// The longest reason in a line of the log, in characters.
const LONGEST: usize = 500;
/// From this failure of a compensation on, a person should look.
const ALARM: u32 = 3;

/// One line about an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) level: Level,
    step: Option<String>,
    attempt: Option<u32>,
    reason: Option<String>,
    /// The event, its consequence and the remedy.
    pub(super) text: String,
    /// It tells that the instance waits, as many do at once.
    waits: bool,
}

impl Notice {
    fn new(level: Level, text: impl Into<String>) -> Self {
        Self { level, step: None, attempt: None, reason: None, text: text.into(), waits: false }
    }

    fn of(mut self, step: &str, attempt: Option<u32>) -> Self {
        (self.step, self.attempt) = (Some(step.to_owned()), attempt);
        self
    }

    fn waits(mut self) -> Self {
        self.waits = true;
        self
    }

    fn because(mut self, reason: &str) -> Self {
        self.reason = Some(cap::line(reason, LONGEST));
        self
    }

    /// An instance that the engine leaves alone until an operator has seen to it.
    pub(super) fn undecidable(problem: &str) -> Self {
        let text = "a saga is stuck: this program cannot decide it; deploy one that can, then \
                    `syncline saga retry ID --why TEXT`";
        Self::new(Level::ERROR, text).because(problem)
    }
}

/// The lines of one instance.
#[derive(Debug)]
pub(super) struct Said {
    id: Uuid,
    saga: String,
    key: String,
    notices: Vec<Notice>,
}

impl Said {
    pub(super) fn new(id: Uuid, saga: &str, key: &str, notices: Vec<Notice>) -> Self {
        Self { id, saga: saga.to_owned(), key: cap::line(key, 255), notices }
    }

    /// Says it; of all instances that wait for an answer one line a minute.
    pub(super) fn say(self, places: &Places) {
        let Self { id, saga, key, notices } = self;
        for Notice { level, step, attempt, reason, text, waits } in notices {
            let left_out = match waits.then(|| places.admit("waits", "")) {
                Some(None) => continue,
                Some(Some(left_out)) if left_out > 0 => Some(left_out),
                _ => None,
            };
            macro_rules! say {
                ($level:ident) => {
                    tracing::$level!(saga, %id, key, step, attempt, reason, left_out, "{text}")
                };
            }
            match level {
                Level::ERROR => say!(error),
                Level::WARN => say!(warn),
                Level::INFO => say!(info),
                Level::DEBUG => say!(debug),
                _ => say!(trace),
            }
        }
    }
}

/// Lines about an event that was decided.
pub(super) fn notices(plan: &Plan, event: &Event, decision: &Decision) -> Vec<Notice> {
    if let Some(reason) = decision.ignored() {
        return vec![Notice::new(Level::DEBUG, "an event changes nothing").because(reason)];
    }
    let after = &decision.state;
    let mut notices: Vec<Notice> = of_event(plan, event, after).into_iter().collect();
    for effect in &decision.effects {
        notices.extend(of_effect(effect, after));
    }
    notices
}

fn of_event(plan: &Plan, event: &Event, after: &State) -> Option<Notice> {
    let new = |level, text: &str| Notice::new(level, text);
    let turned = if after.back { "the saga goes back" } else { "the saga goes on" };
    Some(match event {
        Event::Started => new(Level::DEBUG, "a saga begins"),
        Event::Answered { step, attempt, answer } => {
            return Some(of_answer(plan, step, Some(*attempt), answer, after));
        }
        Event::BarAnswered { step, answer } => {
            return Some(of_answer(plan, step, None, answer, after));
        }
        Event::UndoAnswered { step, attempt, answer: UndoAnswer::Undone } => {
            new(Level::INFO, "a step is compensated").of(step, Some(*attempt))
        }
        Event::UndoAnswered { step, attempt, answer: UndoAnswer::Failed(error) } => {
            undo_failed(step, *attempt, error, after)
        }
        Event::Due(Timer::Deadline(step)) => {
            let own = after.steps.get(step);
            let error = own.and_then(|own| own.error.as_deref()).unwrap_or_default();
            let attempt = own.map(|own| own.attempts);
            match own.map(|own| own.phase) {
                Some(Phase::UndoResting | Phase::UndoFailed) => {
                    undo_failed(step, attempt.unwrap_or(1), error, after)
                }
                _ => new(Level::WARN, &format!("the deadline of a step has passed: {turned}"))
                    .of(step, attempt)
                    .because(error),
            }
        }
        Event::Due(Timer::Saga) => {
            new(Level::WARN, &format!("the deadline of a saga has passed: {turned}"))
        }
        Event::Due(Timer::Retry(step)) => {
            new(Level::DEBUG, "the next attempt of a step is due").of(step, None)
        }
        Event::Cancelled { reason } => {
            new(Level::INFO, "an operator takes a saga back").because(reason)
        }
        Event::Retried { step } => {
            new(Level::INFO, "an operator has a step tried again").of(step, None)
        }
        Event::Resent { step } => {
            new(Level::INFO, "an operator has a command sent again").of(step, None)
        }
        Event::Skipped { step, reason } => {
            new(Level::WARN, "an operator goes on without a step").of(step, None).because(reason)
        }
        Event::Resolved { reason } => {
            new(Level::WARN, "an operator ends a saga as it is").because(reason)
        }
    })
}

fn of_answer(
    plan: &Plan,
    step: &str,
    attempt: Option<u32>,
    answer: &Answer,
    after: &State,
) -> Notice {
    let new = |level, text: &str| Notice::new(level, text).of(step, attempt);
    let own = after.steps.get(step);
    match answer {
        Answer::Applied(_) => new(Level::TRACE, "a step is applied"),
        Answer::Refused(reason) => match after.back {
            true => new(Level::INFO, "a step is refused: the saga goes back").because(reason),
            false => new(Level::WARN, "a step after the pivot is refused").because(reason),
        },
        Answer::Barred => new(Level::INFO, "a step was not applied in time, and never will be"),
        Answer::Failed(error) => {
            let pause = plan.place(step).zip(own).map(|(place, own)| {
                let tried = own.attempts.saturating_sub(own.forgiven);
                plan.steps()[place].action_retry().pause(tried)
            });
            let text = match own.and_then(|own| own.left).zip(pause) {
                Some((Left { attempts, back, .. }, pause)) => {
                    let then = match back {
                        true => "or when its deadline has passed, the saga goes back",
                        false => "the saga is stuck",
                    };
                    format!(
                        "an attempt of a step has failed: it is tried again in {pause:?}; after \
                         {attempts} more, {then}. See `syncline saga list --failing`; when it is \
                         mended: `syncline saga retry --failing --why TEXT`"
                    )
                }
                None if after.back => {
                    "an attempt of a step has failed, and it was the last one: the saga goes back"
                        .to_owned()
                }
                None => "an attempt of a step has failed, and it was the last one".to_owned(),
            };
            new(Level::WARN, &text).because(error)
        }
    }
}

fn undo_failed(step: &str, attempt: u32, error: &str, after: &State) -> Notice {
    let own = after.steps.get(step);
    let tried = own.map_or(attempt, |own| own.attempts.saturating_sub(own.forgiven));
    let level = if tried >= ALARM { Level::ERROR } else { Level::WARN };
    let left = own.and_then(|own| own.left).map_or(0, |left| left.attempts);
    let text = format!(
        "a compensation fails, {tried} times by now: what was done is not taken back; it is tried \
         {left} times more, and then the saga is stuck. See `syncline saga list --failing`; when it is \
         mended: `syncline saga retry --failing --why TEXT`"
    );
    Notice::new(level, text).of(step, Some(attempt)).because(error)
}

fn of_effect(effect: &Effect, after: &State) -> Option<Notice> {
    let new = |level, text: &str| Notice::new(level, text);
    Some(match effect {
        Effect::Act { step, attempt } => {
            new(Level::TRACE, "a step begins").of(step, Some(*attempt))
        }
        Effect::Undo { step, attempt } => {
            let notice = new(Level::INFO, "a step is to be compensated").of(step, Some(*attempt));
            match after.why() {
                Some(Why { step: None, reason }) => notice.because(&reason),
                Some(Why { step: Some(by), reason }) => notice.because(&format!("{by}: {reason}")),
                None => notice,
            }
        }
        Effect::Bar { step, attempt } => {
            let text = "the pivot's participant is asked whether it is applied: until it answers the \
                        saga goes neither on nor back; look at its routes and its participant";
            new(Level::WARN, text).of(step, Some(*attempt))
        }
        Effect::Resend { step, attempt, time } => {
            let text = format!(
                "no answer to a command: it is sent again, {time} times by now; look at the routes of \
                 it and of its reply, and at `syncline dead list` of its participant"
            );
            new(Level::WARN, &text).of(step, Some(*attempt)).waits()
        }
        Effect::Stuck => {
            let text = "a saga is stuck, and waits for an operator: see `syncline saga show ID`; then \
                        `syncline saga retry ID STEP --why TEXT`, `skip` or `resolve`";
            new(Level::ERROR, text).because(&trouble(after).unwrap_or_default())
        }
        Effect::Ended(End::Completed) => new(Level::DEBUG, "a saga is completed"),
        Effect::Ended(End::Compensated) => {
            new(Level::INFO, "a saga is compensated").because(after.reason.as_deref().unwrap_or(""))
        }
        Effect::Ended(End::Resolved) => new(Level::WARN, "a saga has ended as it is"),
        Effect::Arm { .. } | Effect::Disarm { .. } | Effect::Ignored { .. } => return None,
    })
}

/// Which steps of an instance fail, and why, for lists; none when none does.
pub(super) fn trouble(state: &State) -> Option<String> {
    if state.is_ended() {
        return None;
    }
    let failing = state.steps.iter().filter(|(_, step)| step.is_failing());
    let all: Vec<_> = failing.map(|(name, step)| one(name, step)).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn one(name: &str, step: &StepState) -> String {
    use Phase::{Barring, UndoFailed, UndoResting, Undoing};
    let what = match step.phase {
        Undoing | UndoResting | UndoFailed => "compensation of ",
        Barring => "whether it is applied: ",
        _ => "",
    };
    let error = step.error.as_deref().unwrap_or("no answer");
    format!("{what}{name}: {} (attempt {})", cap::line(error, LONGEST), step.attempts)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::saga::{Retry, Step, decide};

    fn plan() -> Plan {
        let (base, longest) = (Duration::from_secs(1), Duration::from_secs(4));
        let retry = Retry { attempts: 4, base, longest };
        let plan = Plan::builder("order", 1)
            .step(Step::remote("credit").compensated().retry(retry))
            .step(Step::local("approve").pivot())
            .step(Step::remote("tell").retriable().retry(Retry { attempts: 1, ..retry }));
        plan.build().expect("a good plan")
    }

    /// Lines about the last of `events`: the level of each line, and how it begins.
    fn said(events: &[Event]) -> Vec<(Level, String)> {
        let (plan, mut state, mut last) = (plan(), State::new(&plan()), Vec::new());
        for event in events {
            let decision = decide(&plan, &state, event).expect("it fits");
            last = notices(&plan, event, &decision);
            state = decision.state;
        }
        let line = |notice: Notice| {
            let Notice { level, step, attempt, reason, text, .. } = notice;
            (level, format!("{step:?} {attempt:?} {reason:?} {text}"))
        };
        last.into_iter().map(line).collect()
    }

    fn answered(step: &str, attempt: u32, answer: Answer) -> Event {
        Event::Answered { step: step.to_owned(), attempt, answer }
    }

    fn undone(attempt: u32, answer: UndoAnswer) -> Event {
        Event::UndoAnswered { step: "credit".to_owned(), attempt, answer }
    }

    fn applied(step: &str) -> Event {
        answered(step, 1, Answer::Applied(json!(1)))
    }

    fn due() -> Event {
        Event::Due(Timer::Retry("credit".to_owned()))
    }

    #[test]
    fn a_saga_that_goes_well_is_told_of_at_debug_and_trace() {
        let all = [Event::Started, applied("credit"), applied("approve"), applied("tell")];
        for length in 1..=all.len() {
            let lines = said(&all[..length]);
            assert!(!lines.is_empty(), "{length}");
            for (level, text) in lines {
                assert!([Level::DEBUG, Level::TRACE].contains(&level), "{level} {text}");
            }
        }
    }

    #[test]
    fn a_refusal_and_its_compensations_are_told_of_with_their_reasons() {
        let refused = answered("approve", 1, Answer::Refused("no\n\u{1b}[31mcredit".to_owned()));
        let mut events = vec![Event::Started, applied("credit"), refused];
        let lines = said(&events);
        let [(first, refusal), (second, undo)] = &lines[..] else { panic!("{lines:#?}") };
        assert_eq!([first, second], [&Level::INFO; 2]);
        assert!(refusal.starts_with("Some(\"approve\") Some(1) Some(\"no credit\")"), "{refusal}");
        assert!(undo.starts_with("Some(\"credit\") Some(1) Some(\"approve: no"), "{undo}");
        events.push(undone(1, UndoAnswer::Undone));
        let lines = said(&events);
        let levels: Vec<_> = lines.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::INFO; 2], "{lines:#?}");
        assert!(lines[1].1.contains("a saga is compensated"), "{lines:#?}");
    }

    #[test]
    fn a_failed_attempt_is_a_warning_that_says_when_it_is_tried_again_and_what_happens_then() {
        let failed = |attempt| answered("credit", attempt, Answer::Failed("away".to_owned()));
        let mut events = vec![Event::Started, failed(1)];
        let (level, text) = said(&events).remove(0);
        assert_eq!(level, Level::WARN);
        for part in
            ["Some(\"away\")", "again in 1s", "after 3 more", "goes back", "retry --failing"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        for attempt in 2..=4 {
            events.extend([due(), failed(attempt)]);
        }
        let (level, text) = said(&events).remove(0);
        assert!(
            level == Level::WARN && text.contains("the last one: the saga goes back"),
            "{text}"
        );
    }

    #[test]
    fn a_compensation_that_fails_is_an_alarm_from_the_third_time_on_and_stuck_is_one() {
        let refused = answered("approve", 1, Answer::Refused("no".to_owned()));
        let mut events = vec![Event::Started, applied("credit"), refused];
        for attempt in 1..=4 {
            events.push(undone(attempt, UndoAnswer::Failed("closed".to_owned())));
            let lines = said(&events);
            let alarm = if attempt < 3 { Level::WARN } else { Level::ERROR };
            assert_eq!(lines[0].0, alarm, "{lines:#?}");
            assert!(lines[0].1.contains(&format!("{attempt} times by now")), "{lines:#?}");
            assert_eq!(lines.len() > 1, attempt == 4, "stuck: {lines:#?}");
            if attempt == 4 {
                let (level, text) = &lines[1];
                assert_eq!(*level, Level::ERROR);
                assert!(text.contains("compensation of credit: closed (attempt 4)"), "{text}");
                assert!(text.contains("saga show"), "{text}");
            }
            events.push(due());
        }
        // After the pivot the last failure is stuck, too.
        let failed = answered("tell", 1, Answer::Failed("away".to_owned()));
        let lines = said(&[Event::Started, applied("credit"), applied("approve"), failed]);
        let levels: Vec<_> = lines.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::WARN, Level::ERROR], "{lines:#?}");
    }

    #[test]
    fn an_answer_that_does_not_come_is_a_warning() {
        for (event, part) in [
            (due(), "no answer to a command"),
            (Event::Due(Timer::Deadline("credit".to_owned())), "the deadline of a step has passed"),
        ] {
            let lines = said(&[Event::Started, event]);
            let found = lines.iter().find(|(_, text)| text.contains(part)).expect(part);
            assert_eq!(found.0, Level::WARN);
        }
    }
}
