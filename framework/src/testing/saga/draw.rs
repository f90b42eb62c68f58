//! An instance drawn as text, for the messages of tests that fail.

use std::fmt::Write as _;

use crate::saga::{Effect, Event, Phase, Plan, State, Status, Timer};

/// The instance `state` of `plan` as a tree: what waits for a step stands below it, further right.
///
/// ```
/// use syncline::{saga::{Plan, State, Step}, testing::saga::draw};
/// let plan = Plan::builder("order", 1)
///     .step(Step::remote("credit").compensated())
///     .step(Step::local("approve").pivot())
///     .build()?;
/// let text = draw(&plan, &State::new(&plan));
/// assert_eq!(text, "order, version 1: New\n└─ credit: Waiting\n   └─ approve (pivot): Waiting\n");
/// # Ok::<(), syncline::saga::PlanError>(())
/// ```
pub fn draw(plan: &Plan, state: &State) -> String {
    let status = match (state.status, &state.reason) {
        (status, Some(reason)) => format!("{} ({reason})", status_name(status)),
        (status, None) => status_name(status),
    };
    let mut text = format!("{}, version {}: {status}\n", plan.name(), plan.version());
    let depths = depths(plan);
    for (at, step) in plan.steps().iter().enumerate() {
        let indent = "   ".repeat(depths[at]);
        let pivot = if step.pivot { " (pivot)" } else { "" };
        let _ = write!(text, "{indent}└─ {}{pivot}: ", step.name);
        let Some(own) = state.steps.get(&step.name) else {
            text.push_str("not in the instance\n");
            continue;
        };
        let _ = write!(text, "{:?}", own.phase);
        if own.attempts > 1 || (own.attempts == 1 && own.phase.is_under_way()) {
            let _ = write!(text, ", attempt {}", own.attempts);
        }
        if let Some(output) = &own.output
            && own.phase != Phase::Waiting
        {
            let _ = write!(text, ", returned {output}");
        }
        if let Some(error) = &own.error {
            let _ = write!(text, ": {error}");
        }
        text.push('\n');
    }
    text
}

/// How many steps must be done one after the other before each.
fn depths(plan: &Plan) -> Vec<usize> {
    let mut depths = vec![0; plan.steps().len()];
    // A plan has no circle: after so many rounds nothing moves.
    for _ in plan.steps() {
        for at in 0..depths.len() {
            let below = plan.needs(at).iter().map(|&before| depths[before] + 1);
            depths[at] = below.max().unwrap_or(0);
        }
    }
    depths
}

fn status_name(status: Status) -> String {
    match status {
        Status::Ended(end) => format!("{end:?}"),
        status => format!("{status:?}"),
    }
}

/// An event as a sentence.
pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Started => "it was started".to_owned(),
        Event::Answered { step, answer, .. } => format!("{step} answered {answer:?}"),
        Event::BarAnswered { step, answer } => format!("asked to bar, {step} answered {answer:?}"),
        Event::UndoAnswered { step, answer, .. } => {
            format!("the compensation of {step} answered {answer:?}")
        }
        Event::Due(timer) => format!("{} was due", self::timer(timer)),
        Event::Cancelled { reason } => format!("it was cancelled: {reason}"),
        Event::Retried { step } => format!("an operator had {step} tried again"),
        Event::Resent { step } => format!("an operator had the command of {step} sent again"),
        Event::Skipped { step, reason } => format!("an operator skipped {step}: {reason}"),
        Event::Resolved { reason } => format!("an operator resolved it: {reason}"),
    }
}

pub(super) fn timer(timer: &Timer) -> String {
    match timer {
        Timer::Deadline(step) => format!("the deadline of {step}"),
        Timer::Retry(step) => format!("the next attempt of {step}"),
        Timer::Saga => "the deadline of the saga".to_owned(),
    }
}

/// An effect as a sentence.
pub(super) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Act { step, attempt } => format!("begins {step}, attempt {attempt}"),
        Effect::Undo { step, attempt } => format!("compensates {step}, attempt {attempt}"),
        Effect::Bar { step, attempt } => format!("asks to bar {step}, attempt {attempt}"),
        Effect::Resend { step, attempt, time } => {
            format!("sends the command of {step} again, attempt {attempt}, the {time}. time")
        }
        Effect::Arm { timer, after } => format!("{} is due after {after:?}", self::timer(timer)),
        Effect::Disarm { timer } => format!("{} is stopped", self::timer(timer)),
        Effect::Stuck => "it is stuck".to_owned(),
        Effect::Ended(end) => format!("it ends: {end:?}"),
        Effect::Ignored { reason } => format!("nothing: {reason}"),
    }
}
