//! Where an instance of a saga stands. It is stored as JSON, by the names of its steps, so that
//! their order in a definition means nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Plan;

/// What a step is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has not begun.
    Waiting,
    /// Its action is under way.
    Acting,
    /// Its action failed technically; it is tried again when its timer is due.
    Resting,
    /// Its deadline has passed and it is the pivot: it is asked to never be applied.
    Barring,
    /// It is applied.
    Done,
    /// It was refused: nothing is applied.
    Refused,
    /// It was not applied, and never will be.
    Barred,
    /// Its compensation is under way.
    Undoing,
    /// Its compensation failed technically; it is tried again when its timer is due.
    UndoResting,
    /// It is compensated, or there was nothing to compensate.
    Undone,
    /// After the pivot: its attempts are used up, or it was refused all the same.
    Failed,
    /// The attempts of its compensation are used up.
    UndoFailed,
    /// An operator has gone on without it.
    Skipped,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Waiting,
        Self::Acting,
        Self::Resting,
        Self::Barring,
        Self::Done,
        Self::Refused,
        Self::Barred,
        Self::Undoing,
        Self::UndoResting,
        Self::Undone,
        Self::Failed,
        Self::UndoFailed,
        Self::Skipped,
    ];

    /// Whether it ends only when an answer comes or a timer is due.
    pub fn is_under_way(self) -> bool {
        use Phase::{Acting, Barring, Resting, UndoResting, Undoing};
        matches!(self, Acting | Resting | Barring | Undoing | UndoResting)
    }

    /// Whether steps that wait for it may begin.
    pub(super) fn lets_on(self) -> bool {
        matches!(self, Self::Done | Self::Skipped)
    }

    /// Whether nothing is left to be compensated of it, as far as it can be.
    pub(super) fn is_settled_back(self) -> bool {
        use Phase::{Barred, Refused, Skipped, UndoFailed, Undone, Waiting};
        matches!(self, Waiting | Refused | Barred | Undone | UndoFailed | Skipped)
    }
}

/// One step of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// What it is doing.
    pub phase: Phase,
    /// How often its action was tried; in its compensation, how often that was.
    #[serde(default)]
    pub attempts: u32,
    /// How many of the attempts an operator has forgiven: they no longer count against the limit.
    #[serde(default)]
    pub forgiven: u32,
    /// How often the command of this attempt was sent again, for no answer came.
    #[serde(default, skip_serializing_if = "is_nought")]
    pub resent: u32,
    /// What its action returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Of a [secret](super::Step::secret) step: where its commands stand in the outbox (sequence values),
    /// until they are erased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<i64>,
    /// Why it was refused, or what failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// While it waits for its next attempt: what is left until it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

/// The rest of a step's attempts after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Attempts.
    pub attempts: u32,
    /// The pauses between them, after the one that is due next, in milliseconds.
    pub pauses: u64,
    /// Whether the saga goes back then, for good; else it is stuck.
    pub back: bool,
}

/// Instances from before have no such count.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_nought(count: &u32) -> bool {
    *count == 0
}

impl StepState {
    /// Whether its last attempt has failed, and none has succeeded since; of a pivot that is asked whether
    /// it is applied: whether it was asked more than once.
    pub fn is_failing(&self) -> bool {
        use Phase::{Acting, Barring, Failed, Resting, UndoFailed, UndoResting, Undoing};
        match self.phase {
            Resting | UndoResting | Failed | UndoFailed => true,
            // Another attempt is under way.
            Acting | Undoing => self.attempts > 1 && self.error.is_some(),
            Barring => self.attempts > 1,
            _ => false,
        }
    }

    /// Whether its participant has not answered for so long that its command was sent again.
    pub fn is_overdue(&self) -> bool {
        self.resent > 0 && self.phase.is_under_way()
    }
}

impl Default for StepState {
    fn default() -> Self {
        let (attempts, forgiven, resent) = (0, 0, 0);
        let (output, error, left) = (None, None, None);
        let sent = Vec::new();
        Self { phase: Phase::Waiting, attempts, forgiven, resent, output, sent, error, left }
    }
}

/// How an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Every step is applied.
    Completed,
    /// Every step that was applied is compensated.
    Compensated,
    /// It was stuck, and an operator has declared it settled.
    Resolved,
}

/// Which way an instance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has not been started.
    New,
    /// Forward.
    Running,
    /// Back: a step was refused.
    Compensating,
    /// An operator should look: nothing goes on by itself, or the pivot's participant does not
    /// answer whether it is applied.
    Stuck,
    /// It is over.
    Ended(End),
}

/// The cause for which a saga goes back, as a compensation is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The step that was refused, given up or too late; none when an operator or the saga's own
    /// deadline has turned it back.
    pub step: Option<String>,
    /// The reason.
    pub reason: String,
}

/// Where an instance stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Which way it goes.
    pub status: Status,
    /// Whether it goes back; a stuck one went this way.
    pub back: bool,
    /// Why it goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The step because of which it goes back: it was refused, given up or too late. None when an
    /// operator or the saga's own deadline has turned it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turned_by: Option<String>,
    /// Its steps by name.
    pub steps: BTreeMap<String, StepState>,
}

/// A stored instance that is not one of the definition that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the instance's steps are not those of version {version} of saga {saga:?}: {difference}; a changed definition needs a new version"
)]
pub struct Misfit {
    /// The saga.
    pub saga: String,
    /// The version of the definition.
    pub version: i32,
    /// What differs.
    pub difference: String,
}

impl State {
    /// An instance of `plan` that has not been started.
    pub fn new(plan: &Plan) -> Self {
        let steps = plan.steps().iter().map(|step| (step.name.clone(), StepState::default()));
        let (reason, turned_by) = (None, None);
        Self { status: Status::New, back: false, reason, turned_by, steps: steps.collect() }
    }

    /// Holds the instance against the plan of its version.
    ///
    /// # Errors
    /// [`Misfit`] when it has other steps.
    pub fn fits(&self, plan: &Plan) -> Result<(), Misfit> {
        let fail = |difference| {
            Err(Misfit { saga: plan.name().to_owned(), version: plan.version(), difference })
        };
        if let Some(step) = plan.steps().iter().find(|step| !self.steps.contains_key(&step.name)) {
            return fail(format!("step {:?} is not in the instance", step.name));
        }
        if let Some(name) = self.steps.keys().find(|name| plan.place(name).is_none()) {
            return fail(format!("step {name:?} is not in the definition"));
        }
        Ok(())
    }

    /// The cause for which it goes back, as its compensations are told; none while it does not.
    pub fn why(&self) -> Option<Why> {
        let reason = self.reason.as_deref().filter(|_| self.back)?;
        let step = self.turned_by.clone();
        // For operators it begins with the step's name.
        let own = step.as_ref().and_then(|step| reason.strip_prefix(step)?.strip_prefix(": "));
        let reason = own.unwrap_or(reason).to_owned();
        Some(Why { step, reason })
    }

    /// What the step `name` is doing.
    pub fn phase(&self, name: &str) -> Option<Phase> {
        self.steps.get(name).map(|step| step.phase)
    }

    /// What the action of `name` returned.
    pub fn output(&self, name: &str) -> Option<&Value> {
        self.steps.get(name).and_then(|step| step.output.as_ref())
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        matches!(self.status, Status::Ended(_))
    }
}
