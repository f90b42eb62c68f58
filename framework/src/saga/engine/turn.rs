//! One instance's turn: its events are decided one after the other, and what follows is done at
//! once (local steps) or gathered (all the rest).

mod follow;
#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde_json::Value;
use uuid::Uuid;

use super::{
    changes::{event_line, status_word},
    local::{Excused, Key, Stop},
    say::{Notice, Said, notices, trouble},
    step_tx::StepTx,
};
use crate::{
    Message, Receipt, Storage, cap,
    saga::{Answer, Event, Phase, Saga, State, Status, Timer, decide},
    storage::{SagaChanges, SagaLogLine, SagaRow, SagaSave, SagaTimer, saga_owner},
};

pub(super) struct Turn<'a, DB: Storage> {
    pub(super) saga: &'a Saga<DB>,
    pub(super) row: &'a SagaRow,
    pub(super) input: Value,
    pub(super) state: State,
    /// Why it cannot be decided; its events stay.
    pub(super) problem: Option<String>,
    pub(super) commands: Vec<Message>,
    /// The steps that they are of.
    senders: Vec<String>,
    /// Local steps that ran in this transaction.
    pub(super) ran: Vec<Key>,
    /// What is set (to a time from now) or cleared.
    timers: BTreeMap<Timer, Option<Duration>>,
    /// Those that may be stored.
    stored: BTreeSet<Timer>,
    due: BTreeSet<Timer>,
    log: Vec<SagaLogLine>,
    /// For the program's log, when it has committed.
    notices: Vec<Notice>,
    done: Vec<i64>,
    /// Answers of our own, and local steps to run.
    todo: VecDeque<Todo>,
}

enum Todo {
    Decide(Event),
    Act(String, u32),
    Undo(String, u32),
}

impl<'a, DB: Storage> Turn<'a, DB> {
    pub(super) fn new(saga: &'a Saga<DB>, row: &'a SagaRow, problem: Option<String>) -> Self {
        let mut problem = problem;
        let mut read = |what: &str, error: serde_json::Error| {
            problem.get_or_insert(format!("its {what} cannot be read: {error}"));
        };
        let state = serde_json::from_str(&row.state).unwrap_or_else(|error| {
            read("state", error);
            State::new(&saga.plan)
        });
        let input = serde_json::from_str(&row.input).unwrap_or_else(|error| {
            read("input", error);
            Value::Null
        });
        if let Err(misfit) = state.fits(&saga.plan) {
            problem.get_or_insert(misfit.to_string());
        }
        let stored = may_be_stored(&state);
        Self {
            saga,
            row,
            input,
            state,
            problem,
            commands: Vec::new(),
            senders: Vec::new(),
            ran: Vec::new(),
            timers: BTreeMap::new(),
            stored,
            due: BTreeSet::new(),
            log: Vec::new(),
            notices: Vec::new(),
            done: Vec::new(),
            todo: VecDeque::new(),
        }
    }

    /// The timers that can be set for it.
    pub(super) fn timers(&self) -> Vec<SagaTimer> {
        let asked = self.stored.iter().filter(|timer| match timer {
            Timer::Saga => self.saga.plan.deadline().is_some(),
            Timer::Deadline(_) | Timer::Retry(_) => true,
        });
        asked.map(|timer| self.named(timer, None)).collect()
    }

    fn named(&self, timer: &Timer, after: Option<Duration>) -> SagaTimer {
        let id = self.row.id.simple();
        let subject = match timer {
            Timer::Deadline(step) => format!("{id} deadline {step}"),
            Timer::Retry(step) => format!("{id} retry {step}"),
            Timer::Saga => format!("{id} saga"),
        };
        let after = after.map(cap::millis);
        SagaTimer { owner: saga_owner(&self.row.saga, self.row.version), subject, after }
    }

    /// Takes note that a timer is due.
    pub(super) fn is_due(&mut self, subject: &str) {
        let mut words = subject.splitn(3, ' ').skip(1);
        let timer = match (words.next(), words.next()) {
            (Some("deadline"), Some(step)) => Timer::Deadline(step.to_owned()),
            (Some("retry"), Some(step)) => Timer::Retry(step.to_owned()),
            _ => Timer::Saga,
        };
        self.due.insert(timer);
    }

    /// Decides `events` (with their ids) and then the timers that are still due.
    pub(super) async fn run(
        &mut self,
        steps: &mut StepTx<'_, '_, DB>,
        events: Vec<(i64, Event)>,
        excused: &Excused,
    ) -> Result<(), Stop> {
        for (id, event) in events {
            self.decide(event)?;
            if self.problem.is_some() {
                return Ok(());
            }
            self.done.push(id);
            self.settle(steps, excused).await?;
        }
        // An answer that came in time has taken its timer away.
        while let Some(timer) = self.due.pop_first() {
            self.timers.insert(timer.clone(), None);
            self.decide(Event::Due(timer))?;
            self.settle(steps, excused).await?;
        }
        Ok(())
    }

    /// Runs local steps, and decides what they answer, until nothing is left to do here.
    async fn settle(
        &mut self,
        steps: &mut StepTx<'_, '_, DB>,
        excused: &Excused,
    ) -> Result<(), Stop> {
        while let Some(todo) = self.todo.pop_front() {
            match todo {
                Todo::Decide(event) => self.decide(event)?,
                // What was decided since may have called it off.
                Todo::Act(step, attempt) if self.is(&step, Phase::Acting, attempt) => {
                    let answer = self.act(steps, excused, &step, attempt).await?;
                    self.decide(Event::Answered { step, attempt, answer })?;
                }
                Todo::Undo(step, attempt) if self.is(&step, Phase::Undoing, attempt) => {
                    let answer = self.undo(steps, excused, &step, attempt).await?;
                    self.decide(Event::UndoAnswered { step, attempt, answer })?;
                }
                Todo::Act(..) | Todo::Undo(..) => {}
            }
        }
        Ok(())
    }

    fn is(&self, step: &str, phase: Phase, attempt: u32) -> bool {
        let step = self.state.steps.get(step);
        step.is_some_and(|step| step.phase == phase && step.attempts == attempt)
    }

    fn decide(&mut self, event: Event) -> Result<(), Stop> {
        let event = event.capped();
        let decision = match decide(&self.saga.plan, &self.state, &event) {
            Ok(decision) => decision,
            Err(misfit) => {
                self.problem = Some(misfit.to_string());
                return Ok(());
            }
        };
        let ignored = decision.ignored().map(str::to_owned);
        if ignored.is_none()
            && let Some(problem) = self.unreadable(&event)
        {
            self.problem = Some(problem);
            return Ok(());
        }
        self.log.push(event_line(self.row.id, &event, ignored.as_deref()));
        self.notices.extend(notices(&self.saga.plan, &event, &decision));
        self.state = decision.state;
        for effect in decision.effects {
            self.follow(effect);
        }
        Ok(())
    }

    /// An answer that later steps could not read is not taken for one.
    fn unreadable(&self, event: &Event) -> Option<String> {
        let (Event::Answered { step, answer: Answer::Applied(output), .. }
        | Event::BarAnswered { step, answer: Answer::Applied(output) }) = event
        else {
            return None;
        };
        let code = &self.saga.steps[self.saga.plan.place(step)?];
        let error = code.check_output(output).err()?;
        Some(format!("what step {step:?} answered cannot be read: {error}"))
    }

    pub(super) fn id(&self) -> Uuid {
        self.row.id
    }

    /// Lines of the program's log about the turn, for when it has committed.
    fn said(&mut self) -> Said {
        let SagaRow { id, saga, key, .. } = self.row;
        Said::new(*id, saga, key, std::mem::take(&mut self.notices))
    }

    /// Takes note of where its commands stand in the outbox, and of the rows that lose their payloads now
    /// that the instance is over, into `erased`.
    pub(super) fn keep_secrets(&mut self, receipts: &[Receipt], erased: &mut Vec<i64>) {
        let saga = self.saga;
        let secret: BTreeSet<&str> = saga.plan.secret_steps().collect();
        for (step, receipt) in self.senders.iter().zip(receipts) {
            if let Some(appended) = receipt.appended
                && secret.contains(&**step)
                && let Some(own) = self.state.steps.get_mut(step)
            {
                own.sent.push(appended.seq);
            }
        }
        if !self.state.is_ended() {
            return;
        }
        for step in secret {
            if let Some(own) = self.state.steps.get_mut(step) {
                own.output = None;
                erased.append(&mut own.sent);
            }
        }
    }

    /// What the turn has changed, into `changes` and `said`; false when that is nothing.
    pub(super) fn write(
        mut self,
        changes: &mut SagaChanges,
        said: &mut Vec<Said>,
    ) -> Result<bool, Stop> {
        if let Some(problem) = self.problem.clone() {
            self.notices.push(Notice::undecidable(&problem));
            self.note(None, "stuck", None, Some(problem));
        } else if self.log.is_empty() {
            return Ok(false);
        }
        let stuck = self.problem.is_some() || self.state.status == Status::Stuck;
        let state = match self.problem.is_some() && self.done.is_empty() && self.ran.is_empty() {
            // It may be one that this program cannot read.
            true => self.row.state.clone(),
            false => serde_json::to_string(&self.state).map_err(Stop::json)?,
        };
        changes.saves.push(SagaSave {
            id: self.row.id,
            status: if stuck { "stuck" } else { status_word(self.state.status) },
            state,
            problem: self.problem.clone(),
            trouble: self.problem.clone().or_else(|| trouble(&self.state)),
            stuck,
            ended: self.state.is_ended(),
        });
        for (timer, after) in &self.timers {
            match after {
                Some(_) => changes.armed.push(self.named(timer, *after)),
                None if self.stored.contains(timer) => {
                    changes.cleared.push(self.named(timer, None));
                }
                None => {}
            }
        }
        changes.done.append(&mut self.done);
        changes.log.append(&mut self.log);
        said.push(self.said());
        Ok(true)
    }
}

/// The timers that an instance in `state` can have set: a step that is under way waits for them.
fn may_be_stored(state: &State) -> BTreeSet<Timer> {
    let steps = state.steps.iter().filter(|(_, step)| step.phase.is_under_way());
    let steps =
        steps.flat_map(|(name, _)| [Timer::Deadline(name.clone()), Timer::Retry(name.clone())]);
    // A definition may have lost its deadline since.
    steps.chain((state.status != Status::New).then_some(Timer::Saga)).collect()
}
