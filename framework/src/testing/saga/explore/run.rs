//! One run: what goes wrong in it, and in which order messages arrive.

use std::fmt;

use super::{valve::Death, watch::Fault};
use crate::{
    saga::{End, wire::Ask},
    testing::saga::random::Random,
};

/// In which order what is under way arrives.
#[derive(Debug, Clone)]
pub(super) enum Order {
    /// As it was sent.
    Sent,
    /// These choices first, then as it was sent.
    Choices(Vec<usize>),
    /// By chance: delayed, doubled and reordered, with timers that are due early.
    Chance(Random),
}

/// Which messages come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Repeat {
    #[default]
    Nothing,
    /// Each message is delivered twice.
    Messages,
    /// Each command is sent twice more, as messages of their own.
    Commands,
    /// Each compensation is sent twice more.
    Compensations,
}

/// What does not arrive before the saga is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Withheld {
    pub(super) step: String,
    /// The answer to the action, else its command.
    pub(super) answer: bool,
}

/// A command that never arrives: the first one that asks this of the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) step: String,
    pub(super) ask: Ask,
}

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) faults: Vec<(String, Fault)>,
    /// The process of the service at this place dies so; several: one life after the other.
    pub(super) deaths: Vec<(usize, Death)>,
    /// The process that answers this delivery, from 0, dies before its answer has left it.
    pub(super) unanswered: Option<usize>,
    pub(super) repeat: Repeat,
    pub(super) withheld: Option<Withheld>,
    pub(super) lost: Option<Lost>,
    pub(super) order: Order,
    /// Whether everything that was ever sent comes once more after the end.
    pub(super) late: bool,
    /// How it must end; none where chance decides.
    pub(super) expected: Option<End>,
}

impl Run {
    pub(super) fn new(expected: Option<End>) -> Self {
        Self {
            faults: Vec::new(),
            deaths: Vec::new(),
            unanswered: None,
            repeat: Repeat::Nothing,
            withheld: None,
            lost: None,
            order: Order::Sent,
            late: true,
            expected,
        }
    }

    pub(super) fn fault(mut self, step: &str, fault: Fault) -> Self {
        self.faults.push((step.to_owned(), fault));
        self
    }

    pub(super) fn death(mut self, service: usize, death: Death) -> Self {
        self.deaths.push((service, death));
        self.late = false;
        self
    }

    pub(super) fn unanswered(self, delivery: usize) -> Self {
        Self { unanswered: Some(delivery), late: false, ..self }
    }

    pub(super) fn repeat(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    pub(super) fn withheld(self, step: &str, answer: bool) -> Self {
        Self { withheld: Some(Withheld { step: step.to_owned(), answer }), ..self }
    }

    pub(super) fn lost(self, step: &str, ask: Ask) -> Self {
        Self { lost: Some(Lost { step: step.to_owned(), ask }), ..self }
    }

    pub(super) fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// Whether a compensation can be given up in it.
    pub(super) fn may_give_up(&self) -> bool {
        let fails = |(_, fault): &(String, Fault)| matches!(fault, Fault::UndoFails(_));
        self.faults.iter().any(fails) || matches!(self.order, Order::Chance(_))
    }

    /// As a sentence, with the services' names.
    pub(super) fn describe(&self, services: &[&str]) -> String {
        let mut parts = Vec::new();
        for (step, fault) in &self.faults {
            parts.push(match fault {
                Fault::Refused => format!("{step} is refused"),
                Fault::Fails(u32::MAX) => format!("{step} fails for good"),
                Fault::Fails(times) => format!("{step} fails {times} times"),
                Fault::UndoFails(u32::MAX) => format!("the compensation of {step} fails for good"),
                Fault::UndoFails(times) => {
                    format!("the compensation of {step} fails {times} times")
                }
            });
        }
        for (service, death) in &self.deaths {
            parts.push(format!("{} dies {death}", services[*service]));
        }
        if let Some(delivery) = self.unanswered {
            parts.push(format!("whoever gets delivery {delivery} dies before it has answered"));
        }
        match self.repeat {
            Repeat::Nothing => {}
            Repeat::Messages => parts.push("each message comes twice".to_owned()),
            Repeat::Commands => parts.push("each command is sent three times".to_owned()),
            Repeat::Compensations => parts.push("each compensation is sent three times".to_owned()),
        }
        if let Some(Withheld { step, answer }) = &self.withheld {
            let what = if *answer { "the answer of" } else { "the command for" };
            parts.push(format!("{what} {step} comes after the end"));
        }
        if let Some(Lost { step, ask }) = &self.lost {
            parts.push(format!("the first {ask:?} of {step} is lost"));
        }
        match &self.order {
            Order::Sent => {}
            Order::Choices(choices) => parts.push(format!("order {choices:?}")),
            Order::Chance(_) => parts.push("an order by chance".to_owned()),
        }
        if parts.is_empty() { "nothing goes wrong".to_owned() } else { parts.join("; ") }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeCommit(number) => write!(f, "before its commit {number}"),
            Self::AfterCommit(number) => write!(f, "after its commit {number}"),
        }
    }
}
