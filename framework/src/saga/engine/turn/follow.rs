//! Effects of a decision: commands are made, timers set, and local steps put in line.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Todo, Turn};
use crate::{
    Message, Storage, cap,
    error::chain,
    message::Limits,
    saga::{
        Answer, Effect, Event, Phase, Role, Timer, UndoAnswer,
        definition::Instance,
        engine::changes::status_word,
        wire::{Ask, Command},
    },
    storage::SagaLogLine,
};

impl<DB: Storage> Turn<'_, DB> {
    pub(super) fn follow(&mut self, effect: Effect) {
        match effect {
            Effect::Act { step, attempt } => match self.is_local(&step) {
                true => self.todo.push_back(Todo::Act(step, attempt)),
                false => self.send(step, attempt, Ask::Apply, 0),
            },
            Effect::Undo { step, attempt } => match self.is_local(&step) {
                true => self.todo.push_back(Todo::Undo(step, attempt)),
                false => self.send(step, attempt, Ask::Compensate, 0),
            },
            Effect::Bar { step, attempt } => self.send(step, attempt, Ask::Bar, 0),
            Effect::Resend { step, attempt, time } => {
                let back = self.state.phase(&step) == Some(Phase::Undoing);
                self.send(step, attempt, if back { Ask::Compensate } else { Ask::Apply }, time);
            }
            Effect::Arm { timer, after } => {
                self.due.remove(&timer);
                self.timers.insert(timer, Some(after));
            }
            Effect::Disarm { timer } => {
                self.due.remove(&timer);
                self.timers.insert(timer, None);
            }
            Effect::Stuck => self.note(None, "stuck", None, None),
            Effect::Ended(_) => {
                let word = status_word(self.state.status).to_owned();
                self.note(None, "ended", None, Some(word));
                self.due.clear();
                let left: Vec<_> = self.possible();
                self.timers.extend(left.into_iter().map(|timer| (timer, None)));
            }
            Effect::Ignored { .. } => {}
        }
    }

    fn possible(&self) -> Vec<Timer> {
        let names = self.saga.plan.steps().iter().map(|step| &step.name);
        let steps =
            names.flat_map(|name| [Timer::Deadline(name.clone()), Timer::Retry(name.clone())]);
        steps.chain([Timer::Saga]).collect()
    }

    fn is_local(&self, step: &str) -> bool {
        let place = self.saga.plan.place(step);
        place.is_some_and(|place| self.saga.plan.steps()[place].local)
    }

    /// Makes the command, which the transaction puts into the outbox.
    fn send(&mut self, step: String, attempt: u32, ask: Ask, time: u32) {
        match self.command(&step, attempt, ask) {
            Ok(mut message) => {
                let what = match ask {
                    _ if time > 0 => {
                        // The first one may be a dead letter, behind which this one would wait.
                        message.key = message.key.map(|key| format!("{key}/{time}"));
                        "resent"
                    }
                    Ask::Apply => "sent",
                    Ask::Compensate => "compensating",
                    Ask::Bar => "barring",
                };
                self.senders.push(step.clone());
                self.note(Some(step), what, Some(attempt), None);
                self.commands.push(message);
            }
            Err(error) => {
                let error = format!("its command could not be made: {error}");
                match ask {
                    // The one before may still be answered.
                    _ if time > 0 => self.note(Some(step), "resent", Some(attempt), Some(error)),
                    Ask::Apply => {
                        let answer = Answer::Failed(error);
                        self.todo.push_back(Todo::Decide(Event::Answered {
                            step,
                            attempt,
                            answer,
                        }));
                    }
                    Ask::Compensate => {
                        let answer = UndoAnswer::Failed(error);
                        let event = Event::UndoAnswered { step, attempt, answer };
                        self.todo.push_back(Todo::Decide(event));
                    }
                    // It is asked again when its timer is due.
                    Ask::Bar => self.note(Some(step), "barring", Some(attempt), Some(error)),
                }
            }
        }
    }

    fn command(&self, step: &str, attempt: u32, ask: Ask) -> Result<Message, String> {
        let plan = &self.saga.plan;
        let place = plan.place(step).ok_or("there is no such step")?;
        let outputs = self.outputs();
        // Made as for the action: what it says must not depend on what happened since.
        let instance =
            Instance { id: self.row.id, input: &self.input, outputs: &outputs, why: None };
        let code = std::panic::AssertUnwindSafe(|| self.saga.steps[place].command(&instance));
        let message = std::panic::catch_unwind(code)
            .map_err(|_| "it panicked".to_owned())?
            .map_err(|error| chain(&*error))?;
        let own = &plan.steps()[place];
        if let Some(topic) = own.topic.as_ref().filter(|topic| **topic != message.topic) {
            let sent = &message.topic;
            return Err(format!("it has topic {sent:?}, and the step declares {topic:?}"));
        }
        // A compensation and a bar outlive every action that they rule out.
        let until = self.row.now + cap::duration(own.deadline);
        let command = Command {
            saga: self.row.id,
            step: step.to_owned(),
            ask,
            attempt,
            not_after: (plan.role(place) != Role::Retriable).then_some(until),
            confirms: own.confirms.clone(),
            why: self.state.why().filter(|_| ask == Ask::Compensate),
        };
        let message = command.address(message);
        message.validate(&Limits::DEFAULT).map_err(|error| error.to_string())?;
        Ok(message)
    }

    /// What the steps have returned so far.
    pub(in crate::saga::engine) fn outputs(&self) -> BTreeMap<String, Value> {
        let steps = self.state.steps.iter();
        steps.filter_map(|(name, step)| Some((name.clone(), step.output.clone()?))).collect()
    }

    pub(super) fn note(
        &mut self,
        step: Option<String>,
        what: &'static str,
        attempt: Option<u32>,
        detail: Option<String>,
    ) {
        self.log.push(SagaLogLine { id: self.row.id, step, what, attempt, detail });
    }
}
