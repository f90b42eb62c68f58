//! What an event sets in motion: steps begin, are compensated, rest, fail.

use super::{
    super::{Effect, Timer},
    Machine,
};
use crate::saga::{
    state::{End, Left, Phase, Status, StepState},
    step::{Retry, Role, Step, Undo},
};

/// A pivot's participant that was asked so often whether it is applied is silent.
const ASKED: u32 = 8;

impl Machine<'_> {
    /// Begins what can begin now, and says how the saga stands.
    pub(super) fn go_on(&mut self) {
        if self.state.is_ended() {
            return;
        }
        match self.state.back {
            true => self.unwind(),
            false => self.advance(),
        }
        let phases = || self.state.steps.values().map(|step| step.phase);
        let over = match self.state.back {
            true => phases().all(|phase| phase.is_settled_back() && phase != Phase::UndoFailed),
            false => phases().all(Phase::lets_on),
        };
        if over {
            let end = if self.state.back { End::Compensated } else { End::Completed };
            return self.end(end);
        }
        let silent = (0..self.plan.steps().len()).any(|at| self.is_silent(at));
        let stuck = silent || !phases().any(Phase::is_under_way);
        let going = if self.state.back { Status::Compensating } else { Status::Running };
        self.state.status = if stuck { Status::Stuck } else { going };
        if stuck && self.before.status != Status::Stuck {
            self.effects.push(Effect::Stuck);
        }
    }

    fn advance(&mut self) {
        for at in 0..self.plan.steps().len() {
            let ready = self.plan.needs(at).iter().all(|&before| self.phase(before).lets_on());
            if ready && self.phase(at) == Phase::Waiting {
                self.act(at);
            }
        }
    }

    /// Compensates what nothing that is applied depends on any more.
    fn unwind(&mut self) {
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for at in (0..self.plan.steps().len()).rev() {
                let free = self.plan.dependents(at).iter();
                let free = free.copied().all(|later| self.phase(later).is_settled_back());
                if self.phase(at) != Phase::Done || !free {
                    continue;
                }
                moved = true;
                match self.step(at).undo {
                    Undo::Compensation => self.begin_undo(at),
                    Undo::Nothing | Undo::Unsaid => self.own_mut(at).phase = Phase::Undone,
                }
            }
        }
    }

    pub(super) fn end(&mut self, end: End) {
        self.state.status = Status::Ended(end);
        self.effects.push(Effect::Ended(end));
    }

    pub(super) fn act(&mut self, at: usize) {
        let first = self.phase(at) == Phase::Waiting;
        let Step { name: step, local, deadline: after, .. } = self.step(at).clone();
        let attempt = self.start(at, Phase::Acting);
        // Up to the pivot it is one for all attempts.
        let timed = match self.plan.role(at) {
            Role::Retriable => !local,
            Role::Compensatable | Role::Pivot => first,
        };
        if timed {
            let timer = Timer::Deadline(step.clone());
            self.effects.push(Effect::Arm { timer, after });
        }
        self.await_answer(at);
        self.effects.push(Effect::Act { step, attempt });
    }

    pub(super) fn begin_undo(&mut self, at: usize) {
        self.rest_ends(at, Phase::Undoing);
        (self.own_mut(at).attempts, self.own_mut(at).forgiven) = (0, 0);
        self.undo(at);
    }

    pub(super) fn undo(&mut self, at: usize) {
        let Step { name: step, local, undo_deadline: after, .. } = self.step(at).clone();
        let attempt = self.start(at, Phase::Undoing);
        if !local {
            let timer = Timer::Deadline(step.clone());
            self.effects.push(Effect::Arm { timer, after });
        }
        self.await_answer(at);
        self.effects.push(Effect::Undo { step, attempt });
    }

    /// A command that is not answered may be lost: it is sent again, until its deadline.
    fn await_answer(&mut self, at: usize) {
        let step = self.step(at);
        let after = step.silence_after(self.own(at).resent);
        let back = self.phase(at) == Phase::Undoing;
        let until = if back { step.undo_deadline } else { step.deadline };
        if !step.local && after < until {
            let timer = Timer::Retry(step.name.clone());
            self.effects.push(Effect::Arm { timer, after });
        }
    }

    /// The participant has one effect for all of them, and answers what it has recorded.
    pub(super) fn resend(&mut self, at: usize) {
        let step = self.step(at).name.clone();
        let own = self.own_mut(at);
        own.resent = own.resent.saturating_add(1);
        let (attempt, time) = (own.attempts, own.resent);
        self.await_answer(at);
        self.effects.push(Effect::Resend { step, attempt, time });
    }

    pub(super) fn begin_bar(&mut self, at: usize) {
        self.rest_ends(at, Phase::Barring);
        (self.own_mut(at).attempts, self.own_mut(at).forgiven) = (0, 0);
        self.bar(at);
    }

    /// Asks, and asks again until there is an answer: nothing is guessed.
    pub(super) fn bar(&mut self, at: usize) {
        let attempt = self.start(at, Phase::Barring);
        let (step, retry) = (self.step(at).name.clone(), self.step(at).action_retry());
        let timer = Timer::Retry(step.clone());
        self.effects.push(Effect::Arm { timer, after: retry.pause(attempt) });
        self.effects.push(Effect::Bar { step, attempt });
    }

    /// The next attempt of whatever `phase` is; its number.
    fn start(&mut self, at: usize, phase: Phase) -> u32 {
        let own = self.own_mut(at);
        own.phase = phase;
        own.resent = 0;
        own.attempts = own.attempts.saturating_add(1);
        own.attempts
    }

    pub(super) fn rest(&mut self, at: usize, phase: Phase) {
        let step = self.step(at).name.clone();
        let tried = self.tried(at);
        let retry = self.retry(at, phase == Phase::UndoResting);
        let after = retry.pause(tried);
        let pauses = retry.pauses_after(tried).saturating_sub(after).as_millis();
        let attempts = retry.attempts.saturating_sub(tried);
        let back = phase == Phase::Resting && self.plan.role(at) != Role::Retriable;
        let left = Left { attempts, pauses: u64::try_from(pauses).unwrap_or(u64::MAX), back };
        // The pause of a compensation is no silence of its participant.
        if phase == Phase::UndoResting || self.plan.role(at) == Role::Retriable {
            self.effects.push(Effect::Disarm { timer: Timer::Deadline(step.clone()) });
        }
        let own = self.own_mut(at);
        (own.phase, own.resent, own.left) = (phase, 0, Some(left));
        self.effects.push(Effect::Arm { timer: Timer::Retry(step), after });
    }

    /// The step is in `phase` now, and waits for nothing that was armed before.
    pub(super) fn rest_ends(&mut self, at: usize, phase: Phase) {
        if self.phase(at).is_under_way() {
            let step = self.step(at).name.clone();
            self.effects.push(Effect::Disarm { timer: Timer::Deadline(step.clone()) });
            self.effects.push(Effect::Disarm { timer: Timer::Retry(step) });
        }
        let own = self.own_mut(at);
        (own.phase, own.resent, own.left) = (phase, 0, None);
    }

    pub(super) fn fail(&mut self, at: usize, phase: Phase, error: String) {
        self.rest_ends(at, phase);
        self.own_mut(at).error = Some(error);
    }
}

/// Looking.
impl Machine<'_> {
    pub(super) fn place(&self, name: &str) -> Result<usize, String> {
        self.plan.place(name).ok_or_else(|| format!("the saga has no step {name:?}"))
    }

    pub(super) fn step(&self, at: usize) -> &Step {
        &self.plan.steps()[at]
    }

    pub(super) fn own(&self, at: usize) -> &StepState {
        // `decide` has held the state against the plan.
        &self.state.steps[&self.plan.steps()[at].name]
    }

    pub(super) fn own_mut(&mut self, at: usize) -> &mut StepState {
        self.state.steps.entry(self.plan.steps()[at].name.clone()).or_default()
    }

    pub(super) fn phase(&self, at: usize) -> Phase {
        self.own(at).phase
    }

    /// Whether its action can still answer.
    pub(super) fn acts(&self, at: usize) -> bool {
        matches!(self.phase(at), Phase::Acting | Phase::Resting | Phase::Barring)
    }

    /// Attempts since it began, or since an operator had it tried again.
    fn tried(&self, at: usize) -> u32 {
        let own = self.own(at);
        own.attempts.saturating_sub(own.forgiven)
    }

    fn retry(&self, at: usize, undo: bool) -> Retry {
        let step = self.step(at);
        if undo { step.compensation_retry() } else { step.action_retry() }
    }

    pub(super) fn may_try(&self, at: usize) -> bool {
        let undo = matches!(self.phase(at), Phase::Undoing | Phase::UndoResting);
        self.tried(at) < self.retry(at, undo).attempts
    }

    /// Whether its participant was asked so often whether it is applied that an operator should know.
    fn is_silent(&self, at: usize) -> bool {
        let most = self.retry(at, false).attempts.min(ASKED);
        self.phase(at) == Phase::Barring && self.tried(at) >= most
    }

    pub(super) fn unexpected(&self, at: usize, what: &str) -> String {
        format!("step {:?} is {:?} and expects not {what}", self.step(at).name, self.phase(at))
    }
}
