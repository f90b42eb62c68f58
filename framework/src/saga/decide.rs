//! What follows from an event: the next state of an instance, and what is to be done. Pure: the
//! same state and event give the same decision, on every machine and at any time.
//!
//! An event that does not fit the state changes nothing, and says why ([`Effect::Ignored`]): a
//! reply that comes twice, or after the end, is one of these.

mod machine;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    plan::Plan,
    state::{End, Misfit, State},
};
use crate::cap;
use machine::Machine;

/// What an action answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is applied, and this is what it returned.
    Applied(Value),
    /// It is refused for a business reason: nothing is applied.
    Refused(String),
    /// It failed technically: nothing is applied.
    Failed(String),
    /// It is not applied and never will be: it came too late, or was asked not to.
    Barred,
}

/// What a compensation answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoAnswer {
    /// The action is taken back, or it was never applied and never will be.
    Undone,
    /// It failed technically: nothing is taken back yet.
    Failed(String),
}

/// What can be due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// An answer of the step is overdue.
    Deadline(String),
    /// The next attempt of the step; of one whose command is under way: it is sent again, for no answer
    /// has come.
    Retry(String),
    /// The whole saga must have passed its pivot.
    Saga,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It begins.
    Started,
    /// The action of a step has answered.
    Answered {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// What.
        answer: Answer,
    },
    /// The participant has answered whether a step is barred: it is, or it was applied or refused
    /// before.
    BarAnswered {
        /// The step.
        step: String,
        /// What.
        answer: Answer,
    },
    /// The compensation of a step has answered.
    UndoAnswered {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// What.
        answer: UndoAnswer,
    },
    /// A timer is due.
    Due(Timer),
    /// An operator takes it back.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// An operator has a step that has failed tried again.
    Retried {
        /// The step.
        step: String,
    },
    /// An operator has the command of a step sent again.
    Resent {
        /// The step.
        step: String,
    },
    /// An operator goes on without a step that has failed.
    Skipped {
        /// The step.
        step: String,
        /// Why.
        reason: String,
    },
    /// An operator declares a stuck instance settled.
    Resolved {
        /// Why.
        reason: String,
    },
}

impl Event {
    /// Whether an operator has said it.
    pub(crate) fn is_operators(&self) -> bool {
        use Event::{Cancelled, Resent, Resolved, Retried, Skipped};
        matches!(
            self,
            Cancelled { .. } | Retried { .. } | Resent { .. } | Skipped { .. } | Resolved { .. }
        )
    }

    /// Its texts as every database can keep them, whoever wrote them.
    pub(crate) fn capped(mut self) -> Self {
        match &mut self {
            Self::Answered { answer: Answer::Refused(text) | Answer::Failed(text), .. }
            | Self::BarAnswered { answer: Answer::Refused(text) | Answer::Failed(text), .. }
            | Self::UndoAnswered { answer: UndoAnswer::Failed(text), .. }
            | Self::Cancelled { reason: text }
            | Self::Skipped { reason: text, .. }
            | Self::Resolved { reason: text } => *text = cap::text(text),
            _ => {}
        }
        self
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Runs the action of a local step, or sends the command of a remote one.
    Act {
        /// The step.
        step: String,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// The same for its compensation.
    Undo {
        /// The step.
        step: String,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Asks the participant of a step to bar its action, and whether it was applied before.
    Bar {
        /// The step.
        step: String,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Sends the command that is under way once more: the participant answers what it has recorded.
    Resend {
        /// The step.
        step: String,
        /// Which attempt: the same as before.
        attempt: u32,
        /// Which repeat of it, from 1.
        time: u32,
    },
    /// Has a timer be due after a time; one that was armed before is replaced.
    Arm {
        /// Which.
        timer: Timer,
        /// After which time.
        after: Duration,
    },
    /// Stops a timer, if it is armed.
    Disarm {
        /// Which.
        timer: Timer,
    },
    /// It is stuck: an operator should know.
    Stuck,
    /// It is over: timers and locks go.
    Ended(End),
    /// The event changed nothing.
    Ignored {
        /// Why.
        reason: String,
    },
}

/// What follows from an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The state after it.
    pub state: State,
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
}

impl Decision {
    /// Why the event changed nothing, if it did not.
    pub fn ignored(&self) -> Option<&str> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Ignored { reason } => Some(reason.as_str()),
            _ => None,
        })
    }
}

/// What follows when `event` meets an instance of `plan` that is in `state`.
///
/// # Errors
/// [`Misfit`] when the state has other steps than the plan.
///
/// ```
/// use syncline::saga::{Effect, Event, Plan, State, Step, decide};
/// let plan = Plan::builder("order", 1)
///     .step(Step::remote("reserve-credit").compensated())
///     .step(Step::local("approve").pivot())
///     .build()?;
/// let started = decide(&plan, &State::new(&plan), &Event::Started)?;
/// let act = Effect::Act { step: "reserve-credit".into(), attempt: 1 };
/// assert!(started.effects.contains(&act));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decide(plan: &Plan, state: &State, event: &Event) -> Result<Decision, Misfit> {
    state.fits(plan)?;
    let decision = Machine::new(plan, state).take(event);
    #[cfg(any(test, feature = "testing"))]
    if let Some(mutant) = plan.mutant {
        return Ok(mutant.twist(plan, decision));
    }
    Ok(decision)
}
