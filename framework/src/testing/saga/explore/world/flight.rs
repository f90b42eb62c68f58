//! Messages that are under way.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    message::{Batch, Envelope, SAGA_REPLY},
    saga::wire::{Ask, Command, Reply, Said},
};

const NOT_AFTER: &str = "saganotafter";

/// A message that is under way.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) batch: Batch,
    pub(super) what: What,
    /// How much time had passed when it was sent.
    pub(super) sent: Duration,
    pub(super) tries: usize,
}

/// What a message says of a step.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum What {
    Command { step: String, ask: Ask },
    Reply { step: String, acted: bool },
}

impl Flight {
    pub(super) fn name(&self) -> String {
        match &self.what {
            What::Command { step, ask } => format!("{ask:?} of {step}"),
            What::Reply { step, acted: true } => format!("the answer of {step}"),
            What::Reply { step, acted: false } => format!("the other answer of {step}"),
        }
    }
}

impl What {
    pub(super) fn of(message: &Envelope) -> Option<Self> {
        if message.topic == SAGA_REPLY {
            let Reply { step, said, .. } = message.decode().ok()?;
            return Some(Self::Reply { step, acted: matches!(said, Said::Applied(_)) });
        }
        let Command { step, ask, .. } = Command::read(message).ok()?;
        Some(Self::Command { step, ask })
    }
}

/// A message alone in its batch.
pub(super) fn single(message: Envelope) -> Batch {
    let (origin, last) = (Arc::clone(&message.origin), message.link());
    let through = message.position;
    Batch { origin, messages: vec![message], through, last, handover: None, continues: None }
}

/// Makes a command as old as it is in the run's own time.
pub(super) fn age(message: &mut Envelope, late: Duration) {
    let Some(not_after) = message.headers.get(NOT_AFTER) else { return };
    let Ok(at) = DateTime::parse_from_rfc3339(not_after) else { return };
    let at = at.with_timezone(&Utc) - late;
    let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    Arc::make_mut(&mut message.message).headers.insert(NOT_AFTER.to_owned(), at);
}
