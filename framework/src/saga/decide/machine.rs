//! The machine behind `decide`: how an event is taken in.

mod motion;

use super::{Answer, Decision, Effect, Event, Timer, UndoAnswer};
use crate::saga::{
    plan::Plan,
    state::{End, Phase, State, Status},
    step::{Role, Undo},
};

const NO_ANSWER: &str = "no answer within its deadline";

pub(super) struct Machine<'a> {
    plan: &'a Plan,
    before: &'a State,
    state: State,
    effects: Vec<Effect>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(plan: &'a Plan, before: &'a State) -> Self {
        Self { plan, before, state: before.clone(), effects: Vec::new() }
    }

    pub(super) fn take(mut self, event: &Event) -> Decision {
        match self.on(event) {
            Ok(()) => {
                self.go_on();
                Decision { state: self.state, effects: self.effects }
            }
            Err(reason) => {
                Decision { state: self.before.clone(), effects: vec![Effect::Ignored { reason }] }
            }
        }
    }

    /// Takes the event in; the error says why it changes nothing.
    fn on(&mut self, event: &Event) -> Result<(), String> {
        match (self.state.status, event) {
            (Status::New, Event::Started) => {
                self.state.status = Status::Running;
                if let Some(after) = self.plan.deadline() {
                    self.effects.push(Effect::Arm { timer: Timer::Saga, after });
                }
                Ok(())
            }
            (Status::New, _) => Err("the saga has not been started".to_owned()),
            (_, Event::Started) => Err("the saga is started already".to_owned()),
            (Status::Ended(_), _) => Err("the saga is over".to_owned()),
            (_, Event::Answered { step, attempt, answer }) => {
                self.answered(self.place(step)?, *attempt, answer)
            }
            (_, Event::BarAnswered { step, answer }) => {
                self.bar_answered(self.place(step)?, answer)
            }
            (_, Event::UndoAnswered { step, attempt, answer }) => {
                self.undo_answered(self.place(step)?, *attempt, answer)
            }
            (_, Event::Due(Timer::Saga)) => self.turn_back("the saga's deadline has passed"),
            (_, Event::Due(Timer::Deadline(step))) => self.overdue(self.place(step)?),
            (_, Event::Due(Timer::Retry(step))) => self.again(self.place(step)?),
            (_, Event::Cancelled { reason }) => self.turn_back(reason),
            (_, Event::Retried { step }) => self.retried(self.place(step)?),
            (_, Event::Resent { step }) => self.resent(self.place(step)?),
            (_, Event::Skipped { step, reason }) => self.skipped(self.place(step)?, reason),
            (Status::Stuck, Event::Resolved { reason }) => {
                self.state.reason = Some(reason.clone());
                self.end(End::Resolved);
                Ok(())
            }
            (_, Event::Resolved { .. }) => Err("the saga is not stuck".to_owned()),
        }
    }

    fn answered(&mut self, at: usize, attempt: u32, answer: &Answer) -> Result<(), String> {
        let late = self.plan.role(at) == Role::Retriable && self.phase(at) == Phase::Failed;
        match (self.phase(at), answer) {
            // Which attempt it was does not matter: the participant has one effect for all.
            (Phase::Acting | Phase::Resting | Phase::Barring, _) | (_, Answer::Applied(_))
                if !matches!(answer, Answer::Failed(_)) && (late || self.acts(at)) =>
            {
                self.decided(at, answer);
                Ok(())
            }
            (Phase::Acting, Answer::Failed(error)) if attempt == self.own(at).attempts => {
                self.own_mut(at).error = Some(error.clone());
                match self.may_try(at) {
                    true => self.rest(at, Phase::Resting),
                    false => self.give_up(at, error),
                }
                Ok(())
            }
            _ => Err(self.unexpected(at, "an answer of its action")),
        }
    }

    fn bar_answered(&mut self, at: usize, answer: &Answer) -> Result<(), String> {
        match (self.phase(at), answer) {
            (Phase::Barring, Answer::Failed(_)) => Err("asked again when it is due".to_owned()),
            (Phase::Barring, answer) => {
                self.decided(at, answer);
                Ok(())
            }
            _ => Err(self.unexpected(at, "an answer whether it is barred")),
        }
    }

    /// It is known for good what became of an action.
    fn decided(&mut self, at: usize, answer: &Answer) {
        let role = self.plan.role(at);
        match answer {
            Answer::Applied(output) => {
                self.rest_ends(at, Phase::Done);
                (self.own_mut(at).output, self.own_mut(at).error) = (Some(output.clone()), None);
                if role == Role::Pivot && self.plan.deadline().is_some() {
                    self.effects.push(Effect::Disarm { timer: Timer::Saga });
                }
            }
            Answer::Refused(reason) if role == Role::Retriable => {
                self.fail(at, Phase::Failed, format!("refused after the pivot: {reason}"));
            }
            Answer::Refused(reason) => {
                self.fail(at, Phase::Refused, reason.clone());
                self.go_back(Some(at), reason);
            }
            Answer::Barred if role == Role::Retriable => {
                self.fail(at, Phase::Failed, "barred after the pivot".to_owned());
            }
            Answer::Barred => {
                self.fail(at, Phase::Barred, NO_ANSWER.to_owned());
                self.go_back(Some(at), NO_ANSWER);
            }
            Answer::Failed(_) => {}
        }
    }

    fn undo_answered(
        &mut self,
        at: usize,
        attempt: u32,
        answer: &UndoAnswer,
    ) -> Result<(), String> {
        match (self.phase(at), answer) {
            (Phase::Undoing | Phase::UndoResting | Phase::UndoFailed, UndoAnswer::Undone) => {
                self.rest_ends(at, Phase::Undone);
                Ok(())
            }
            (Phase::Undoing, UndoAnswer::Failed(error)) if attempt == self.own(at).attempts => {
                self.undo_failed(at, error);
                Ok(())
            }
            _ => Err(self.unexpected(at, "an answer of its compensation")),
        }
    }

    fn undo_failed(&mut self, at: usize, error: &str) {
        self.own_mut(at).error = Some(error.to_owned());
        match self.may_try(at) {
            true => self.rest(at, Phase::UndoResting),
            false => self.fail(at, Phase::UndoFailed, error.to_owned()),
        }
    }

    /// No answer came in time.
    fn overdue(&mut self, at: usize) -> Result<(), String> {
        match (self.phase(at), self.plan.role(at)) {
            (Phase::Acting, Role::Retriable) => {
                self.own_mut(at).error = Some(NO_ANSWER.to_owned());
                match self.may_try(at) {
                    true => self.act(at),
                    false => self.fail(at, Phase::Failed, NO_ANSWER.to_owned()),
                }
            }
            (Phase::Acting | Phase::Resting, Role::Compensatable | Role::Pivot) => {
                // One that has answered with failures was not silent.
                let failed = self.own(at).error.as_deref();
                let why = failed.map(|error| format!("not done within its deadline: {error}"));
                self.give_up(at, why.as_deref().unwrap_or(NO_ANSWER));
            }
            (Phase::Undoing, _) => self.undo_failed(at, NO_ANSWER),
            _ => return Err(self.unexpected(at, "its deadline")),
        }
        Ok(())
    }

    /// The next attempt is due.
    fn again(&mut self, at: usize) -> Result<(), String> {
        match self.phase(at) {
            Phase::Resting => self.act(at),
            Phase::UndoResting => self.undo(at),
            Phase::Barring => self.bar(at),
            Phase::Acting | Phase::Undoing if !self.step(at).local => self.resend(at),
            _ => return Err(self.unexpected(at, "its next attempt")),
        }
        Ok(())
    }

    /// An action is not tried any more.
    fn give_up(&mut self, at: usize, error: &str) {
        // A command may still be under way, or come twice: only the participant can rule it out.
        let in_doubt = !self.step(at).local;
        match self.plan.role(at) {
            Role::Retriable => self.fail(at, Phase::Failed, error.to_owned()),
            Role::Pivot if in_doubt => self.begin_bar(at),
            Role::Compensatable if in_doubt => {
                self.own_mut(at).error = Some(error.to_owned());
                self.go_back(Some(at), error);
            }
            // It ran in our own transactions: none has committed.
            Role::Pivot | Role::Compensatable => {
                self.fail(at, Phase::Refused, error.to_owned());
                self.go_back(Some(at), error);
            }
        }
    }

    /// Turns back where the saga still can.
    fn turn_back(&mut self, reason: &str) -> Result<(), String> {
        if self.state.back {
            return Err("the saga goes back already".to_owned());
        }
        let pivot = self.plan.pivot().map(|at| (at, self.phase(at), self.step(at).local));
        match pivot {
            Some((_, Phase::Done | Phase::Skipped, _)) => {
                Err("the pivot is applied: there is no way back".to_owned())
            }
            Some((_, Phase::Barring, _)) => {
                Err("whether the pivot is applied is being asked already".to_owned())
            }
            Some((at, Phase::Acting | Phase::Resting, false)) => {
                self.begin_bar(at);
                self.own_mut(at).error = Some(reason.to_owned());
                Ok(())
            }
            _ => {
                self.go_back(None, reason);
                Ok(())
            }
        }
    }

    /// Turns back, because of a step if it is one's.
    fn go_back(&mut self, because: Option<usize>, reason: &str) {
        let step = because.map(|at| self.step(at).name.clone());
        let told = step.as_ref().map(|step| format!("{step}: {reason}"));
        self.state.reason = Some(told.unwrap_or_else(|| reason.to_owned()));
        (self.state.back, self.state.turned_by) = (true, step);
        if self.plan.deadline().is_some() {
            self.effects.push(Effect::Disarm { timer: Timer::Saga });
        }
        for at in 0..self.plan.steps().len() {
            if !self.acts(at) {
                continue;
            }
            match (self.step(at).local, self.step(at).undo) {
                // It runs in our own transactions: none has committed.
                (true, _) => self.rest_ends(at, Phase::Refused),
                // Its command may be under way: the compensation bars it.
                (false, Undo::Compensation) => self.begin_undo(at),
                (false, _) => self.rest_ends(at, Phase::Undone),
            }
        }
    }

    fn retried(&mut self, at: usize) -> Result<(), String> {
        let phase = self.phase(at);
        let own = self.own_mut(at);
        own.forgiven = own.attempts;
        match phase {
            // It need not wait for its timer.
            Phase::Failed | Phase::Resting => self.act(at),
            Phase::UndoFailed | Phase::UndoResting => self.undo(at),
            _ => return Err(self.unexpected(at, "an operator's retry")),
        }
        Ok(())
    }

    /// An operator does not wait for the timer.
    fn resent(&mut self, at: usize) -> Result<(), String> {
        if self.step(at).local || !self.phase(at).is_under_way() {
            return Err(self.unexpected(at, "its command to be sent again"));
        }
        self.again(at)
    }

    fn skipped(&mut self, at: usize, reason: &str) -> Result<(), String> {
        let name = &self.step(at).name;
        match self.phase(at) {
            Phase::Failed => {
                let mut waiting = self.plan.steps().iter().filter(|step| {
                    step.reads.contains(name)
                        && self.state.phase(&step.name) == Some(Phase::Waiting)
                });
                if let Some(reader) = waiting.next() {
                    let reader = &reader.name;
                    return Err(format!("step {reader:?} reads what step {name:?} returns"));
                }
            }
            Phase::UndoFailed => {}
            _ => return Err(self.unexpected(at, "an operator's skip")),
        }
        self.fail(at, Phase::Skipped, format!("skipped: {reason}"));
        Ok(())
    }
}
