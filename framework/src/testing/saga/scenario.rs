//! Given, when, then: what a saga decides, as sentences.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde_json::Value;

use super::draw;
use crate::{
    Storage,
    saga::{
        Answer, Effect, End, Event, Phase, Plan, Saga, State, Status, StepState, Timer, UndoAnswer,
        decide,
    },
};

/// What has a plan: a [`Saga`], or a [`Plan`] itself.
pub trait Planned {
    /// The plan.
    fn plan(&self) -> &Plan;
}

impl Planned for Plan {
    fn plan(&self) -> &Plan {
        self
    }
}

impl<DB: Storage> Planned for Saga<DB> {
    fn plan(&self) -> &Plan {
        Saga::plan(self)
    }
}

/// One course of a saga, told step by step: `given_*` leads to a state, `when_*` is what happens
/// then, `then_*` what must follow from it. No database, no clock, no code of the steps.
///
/// Everything panics with the instance drawn as a tree when the saga behaves otherwise, or when
/// the story cannot happen: a step answers that nobody has asked, a timer is due that is not
/// armed. (What comes twice or too late is said with [`Scenario::when`].)
///
/// ```
/// use serde_json::json;
/// use syncline::{
///     saga::{End, Plan, Status, Step},
///     testing::saga::Scenario,
/// };
/// let plan = Plan::builder("order", 1)
///     .step(Step::local("create-order").compensated())
///     .step(Step::remote("reserve-credit").compensated())
///     .step(Step::local("approve").pivot())
///     .build()?;
/// Scenario::of(&plan)
///     .given_started()
///     .given_done("create-order", json!(17))
///     .when_refused("reserve-credit", "the limit is 100")
///     .then_compensates("create-order")
///     .then_nothing_else()
///     .then_status(Status::Compensating)
///     .when_undone("create-order")
///     .then_ended(End::Compensated);
/// # Ok::<(), syncline::saga::PlanError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Scenario {
    plan: Plan,
    state: State,
    /// What is armed, and after which time.
    timers: BTreeMap<Timer, Duration>,
    told: Vec<Event>,
    /// What followed from the last event.
    effects: Vec<Effect>,
    /// Which of these a `then` has named.
    named: Vec<bool>,
}

impl Scenario {
    /// A saga that has not been started.
    pub fn of(saga: &impl Planned) -> Self {
        let plan = saga.plan().clone();
        let (state, timers) = (State::new(&plan), BTreeMap::new());
        Self { plan, state, timers, told: Vec::new(), effects: Vec::new(), named: Vec::new() }
    }

    /// The instance as it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What followed from the last event.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }
}

/// What happened before, and what happens now. Both are told in the same words; `given_*` must have
/// changed something.
impl Scenario {
    /// It was started.
    #[must_use]
    #[track_caller]
    pub fn given_started(self) -> Self {
        self.given(Event::Started)
    }

    /// `step` was applied, and returned `output`.
    #[must_use]
    #[track_caller]
    pub fn given_done(self, step: &str, output: impl Into<Value>) -> Self {
        self.when_done(step, output).changed()
    }

    /// `step` was refused.
    #[must_use]
    #[track_caller]
    pub fn given_refused(self, step: &str, reason: &str) -> Self {
        self.when_refused(step, reason).changed()
    }

    /// `step` failed technically.
    #[must_use]
    #[track_caller]
    pub fn given_failed(self, step: &str, error: &str) -> Self {
        self.when_failed(step, error).changed()
    }

    /// `step` was compensated.
    #[must_use]
    #[track_caller]
    pub fn given_undone(self, step: &str) -> Self {
        self.when_undone(step).changed()
    }

    /// `event` happened.
    #[must_use]
    #[track_caller]
    pub fn given(self, event: Event) -> Self {
        self.when(event).changed()
    }

    /// It is started.
    #[must_use]
    #[track_caller]
    pub fn when_started(self) -> Self {
        self.when(Event::Started)
    }

    /// The action of `step` answers that it is applied, and returns `output`.
    #[must_use]
    #[track_caller]
    pub fn when_done(self, step: &str, output: impl Into<Value>) -> Self {
        self.when_answered(step, Answer::Applied(output.into()))
    }

    /// The action of `step` is refused for a business reason.
    #[must_use]
    #[track_caller]
    pub fn when_refused(self, step: &str, reason: &str) -> Self {
        self.when_answered(step, Answer::Refused(reason.to_owned()))
    }

    /// The action of `step` fails technically.
    #[must_use]
    #[track_caller]
    pub fn when_failed(self, step: &str, error: &str) -> Self {
        self.when_answered(step, Answer::Failed(error.to_owned()))
    }

    /// The current attempt of `step` answers.
    #[must_use]
    #[track_caller]
    pub fn when_answered(self, step: &str, answer: Answer) -> Self {
        let acts = |phase| matches!(phase, Phase::Acting | Phase::Resting | Phase::Barring);
        let attempt = self.under_way(step, "answer", acts).attempts;
        self.when(Event::Answered { step: step.to_owned(), attempt, answer })
    }

    /// The participant of the pivot `step`, asked to bar it, answers what became of it.
    #[must_use]
    #[track_caller]
    pub fn when_bar_answered(self, step: &str, answer: Answer) -> Self {
        self.under_way(step, "answer whether it is barred", |phase| phase == Phase::Barring);
        self.when(Event::BarAnswered { step: step.to_owned(), answer })
    }

    /// The compensation of `step` is done.
    #[must_use]
    #[track_caller]
    pub fn when_undone(self, step: &str) -> Self {
        self.when_undo_answered(step, UndoAnswer::Undone)
    }

    /// The compensation of `step` fails technically.
    #[must_use]
    #[track_caller]
    pub fn when_undo_failed(self, step: &str, error: &str) -> Self {
        self.when_undo_answered(step, UndoAnswer::Failed(error.to_owned()))
    }

    #[track_caller]
    fn when_undo_answered(self, step: &str, answer: UndoAnswer) -> Self {
        let undoes = |phase| matches!(phase, Phase::Undoing | Phase::UndoResting);
        let attempt = self.under_way(step, "answer that it is compensated", undoes).attempts;
        self.when(Event::UndoAnswered { step: step.to_owned(), attempt, answer })
    }

    /// The deadline of `step` passes.
    #[must_use]
    #[track_caller]
    pub fn when_overdue(self, step: &str) -> Self {
        self.when_due(Timer::Deadline(step.to_owned()))
    }

    /// The pause before the next attempt of `step` is over.
    #[must_use]
    #[track_caller]
    pub fn when_tried_again(self, step: &str) -> Self {
        self.when_due(Timer::Retry(step.to_owned()))
    }

    /// The saga's deadline passes.
    #[must_use]
    #[track_caller]
    pub fn when_saga_overdue(self) -> Self {
        self.when_due(Timer::Saga)
    }

    /// `timer`, which must be armed, is due.
    #[must_use]
    #[track_caller]
    pub fn when_due(mut self, timer: Timer) -> Self {
        if self.timers.remove(&timer).is_none() {
            let armed: Vec<_> = self.timers.keys().map(draw::timer).collect();
            let armed = if armed.is_empty() { "nothing".to_owned() } else { armed.join(", ") };
            self.fail(&format!("{} is armed", draw::timer(&timer)), &format!("{armed} is armed"));
        }
        self.when(Event::Due(timer))
    }

    /// An operator takes it back.
    #[must_use]
    #[track_caller]
    pub fn when_cancelled(self, reason: &str) -> Self {
        self.when(Event::Cancelled { reason: reason.to_owned() })
    }

    /// `event` happens, possible or not.
    #[must_use]
    #[track_caller]
    pub fn when(mut self, event: Event) -> Self {
        let decision = match decide(&self.plan, &self.state, &event) {
            Ok(decision) => decision,
            Err(misfit) => panic!("{misfit}"),
        };
        for effect in &decision.effects {
            match effect {
                Effect::Arm { timer, after } => {
                    self.timers.insert(timer.clone(), *after);
                }
                Effect::Disarm { timer } => {
                    self.timers.remove(timer);
                }
                Effect::Ended(_) => self.timers.clear(),
                _ => {}
            }
        }
        self.told.push(event);
        self.state = decision.state;
        self.named = vec![false; decision.effects.len()];
        self.effects = decision.effects;
        self
    }
}

/// What must follow.
impl Scenario {
    /// The action of `step` begins, or is tried again.
    #[track_caller]
    pub fn then_begins(self, step: &str) -> Self {
        self.then(
            &format!("begins {step}"),
            |effect| matches!(effect, Effect::Act { step: other, .. } if other == step),
        )
    }

    /// The compensation of `step` begins, or is tried again.
    #[track_caller]
    pub fn then_compensates(self, step: &str) -> Self {
        self.then(
            &format!("compensates {step}"),
            |effect| matches!(effect, Effect::Undo { step: other, .. } if other == step),
        )
    }

    /// The participant of `step` is asked to bar its action.
    #[track_caller]
    pub fn then_asks_to_bar(self, step: &str) -> Self {
        self.then(
            &format!("asks to bar {step}"),
            |effect| matches!(effect, Effect::Bar { step: other, .. } if other == step),
        )
    }

    /// No step begins, is compensated or barred but those that were named before.
    #[track_caller]
    pub fn then_nothing_else(self) -> Self {
        let more = self.effects.iter().zip(&self.named).find(|(effect, named)| {
            !**named
                && matches!(effect, Effect::Act { .. } | Effect::Undo { .. } | Effect::Bar { .. })
        });
        if let Some((more, _)) = more {
            self.fail("nothing else", &draw::effect(more));
        }
        self
    }

    /// The event changes nothing.
    #[track_caller]
    pub fn then_ignored(self) -> Self {
        self.then("nothing", |effect| matches!(effect, Effect::Ignored { .. }))
    }

    /// `timer` is armed now, and due after `after`.
    #[track_caller]
    pub fn then_due_after(self, timer: &Timer, after: Duration) -> Self {
        let found = self.timers.get(timer);
        if found != Some(&after) {
            let found = found.map_or("it is not armed".to_owned(), |found| format!("{found:?}"));
            self.fail(&format!("{} is due after {after:?}", draw::timer(timer)), &found);
        }
        self
    }

    /// The saga stands so.
    #[track_caller]
    pub fn then_status(self, status: Status) -> Self {
        if self.state.status != status {
            self.fail(&format!("{status:?}"), &format!("{:?}", self.state.status));
        }
        self
    }

    /// It is over, and ended so.
    #[track_caller]
    pub fn then_ended(self, end: End) -> Self {
        self.then_status(Status::Ended(end))
    }

    /// An operator should look.
    #[track_caller]
    pub fn then_stuck(self) -> Self {
        self.then_status(Status::Stuck)
    }

    /// `step` is in this phase.
    #[track_caller]
    pub fn then_phase(self, step: &str, phase: Phase) -> Self {
        let found = self.step(step).phase;
        if found != phase {
            self.fail(&format!("{step} is {phase:?}"), &format!("it is {found:?}"));
        }
        self
    }

    #[track_caller]
    fn then(mut self, expected: &str, is: impl Fn(&Effect) -> bool) -> Self {
        match self.effects.iter().position(is) {
            Some(at) => self.named[at] = true,
            None => {
                // Timers that are stopped tell nothing here.
                let found = self.effects.iter();
                let found = found.filter(|effect| !matches!(effect, Effect::Disarm { .. }));
                let found: Vec<_> = found.map(draw::effect).collect();
                let found = match found.is_empty() {
                    true => "nothing".to_owned(),
                    false => found.join("\n          "),
                };
                self.fail(expected, &found);
            }
        }
        self
    }

    #[track_caller]
    fn changed(self) -> Self {
        if let Some(Effect::Ignored { reason }) = self.effects.first() {
            self.fail("something that can have happened", reason);
        }
        self
    }

    #[track_caller]
    fn step(&self, step: &str) -> &StepState {
        match self.state.steps.get(step) {
            Some(own) => own,
            None => self.fail(&format!("a step {step:?}"), "the saga has none of that name"),
        }
    }

    #[track_caller]
    fn under_way(&self, step: &str, what: &str, is: impl Fn(Phase) -> bool) -> &StepState {
        let own = self.step(step);
        if !is(own.phase) {
            self.fail(&format!("{step} can {what}"), &format!("it is {:?}", own.phase));
        }
        own
    }

    #[track_caller]
    fn fail(&self, expected: &str, found: &str) -> ! {
        let mut story = String::new();
        for event in &self.told {
            let _ = writeln!(story, "    {}", draw::event(event));
        }
        panic!(
            "the saga behaves otherwise\nexpected: {expected}\nfound:    {found}\n\n{}\nthe story so far:\n{story}",
            draw::draw(&self.plan, &self.state)
        )
    }
}
