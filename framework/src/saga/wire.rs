//! What orchestrator and participant send each other: commands, which are the user's messages with
//! headers of ours, and replies.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Answer, UndoAnswer, Why};
use crate::{
    Message, cap,
    message::{Envelope, MessageError, check_stream},
};

pub use crate::message::SAGA_REPLY as REPLY;

/// Header: the instance.
const ID: &str = "sagaid";
/// Header: the step.
const STEP: &str = "sagastep";
/// Header: what is asked.
const ASK: &str = "sagaask";
/// Header: which attempt.
const ATTEMPT: &str = "sagaattempt";
/// Header: an action that arrives after it is barred.
const NOT_AFTER: &str = "saganotafter";

/// Header of a compensation: the step because of which the saga goes back.
const WHY_STEP: &str = "sagawhystep";
/// Header of a compensation: why the saga goes back.
const WHY: &str = "sagawhy";
/// The longest reason that a header carries, in characters; the orchestrator keeps all of it.
const LONGEST_WHY: usize = 500;

/// Header: the step whose reservation this one confirms.
const CONFIRMS: &str = "sagaconfirms";

/// What a command asks of its participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Apply the action.
    Apply,
    /// Take it back, and never apply it from now on.
    Compensate,
    /// Never apply it from now on; say so if it is applied already.
    Bar,
}

impl Ask {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Compensate => "compensate",
            Self::Bar => "bar",
        }
    }
}

/// What the headers of a command say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The instance.
    pub saga: Uuid,
    /// The step's name.
    pub step: String,
    /// What is asked.
    pub ask: Ask,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// An action that is taken in later, by the participant's clock, is barred. None: never.
    pub not_after: Option<DateTime<Utc>>,
    /// The step whose reservation this one confirms: it must be applied there, and not taken back.
    pub confirms: Option<String>,
    /// Of a compensation: why the saga goes back, with at most 500 characters of the reason. None when its
    /// orchestrator does not tell.
    pub why: Option<Why>,
}

/// A message that is no command, or not a whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a damaged command of a saga: header {header:?} is {found:?}; it is held, for its orchestrator to send anew"
)]
pub struct NoCommand {
    /// The header.
    pub header: &'static str,
    /// What it is; empty when it is missing.
    pub found: String,
}

impl Command {
    /// The user's message as this command. Its ordering key is one that no other command has, so
    /// that a dead letter cannot block a later attempt or the step's own compensation: only the
    /// participant's barrier orders them.
    #[must_use]
    pub fn address(&self, message: Message) -> Message {
        let Self { saga, step, ask, attempt, not_after, confirms, why } = self;
        let mut message = message
            .key(format!("{saga}/{step}/{}/{attempt}", ask.as_str()))
            .header(ID, saga.to_string())
            .header(STEP, step)
            .header(ASK, ask.as_str())
            .header(ATTEMPT, attempt.to_string());
        if let Some(at) = not_after {
            let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
            message = message.header(NOT_AFTER, at);
        }
        if let Some(reserved) = confirms {
            message = message.header(CONFIRMS, reserved);
        }
        if let Some(Why { step, reason }) = why {
            if let Some(step) = step {
                message = message.header(WHY_STEP, step);
            }
            message = message.header(WHY, cap::line(reason, LONGEST_WHY));
        }
        message
    }

    /// Whether a message has any header of a command: one that has is a command, or a damaged one.
    pub(crate) fn is_one(message: &Envelope) -> bool {
        let own = [ID, STEP, ASK, ATTEMPT, NOT_AFTER, CONFIRMS, WHY_STEP, WHY];
        own.iter().any(|header| message.headers.contains_key(*header))
    }

    /// The command that a message is.
    ///
    /// # Errors
    /// [`NoCommand`] names the header that is missing or cannot be read.
    pub fn read(message: &Envelope) -> Result<Self, NoCommand> {
        let found = |header: &'static str| message.headers.get(header).map(String::as_str);
        fn no(header: &'static str, found: Option<&str>) -> NoCommand {
            NoCommand { header, found: found.unwrap_or_default().to_owned() }
        }
        let ask = match found(ASK) {
            Some("apply") => Ask::Apply,
            Some("compensate") => Ask::Compensate,
            Some("bar") => Ask::Bar,
            other => return Err(no(ASK, other)),
        };
        let saga = found(ID).and_then(|id| id.parse().ok()).ok_or_else(|| no(ID, found(ID)))?;
        let attempt = found(ATTEMPT).and_then(|attempt| attempt.parse().ok());
        let not_after = match found(NOT_AFTER) {
            None => None,
            Some(at) => Some(
                DateTime::parse_from_rfc3339(at)
                    .map_err(|_| no(NOT_AFTER, Some(at)))?
                    .with_timezone(&Utc),
            ),
        };
        // Of the form that a definition gives, so that every database can hold it.
        let name = |header| match found(header) {
            Some(step) if check_stream(step).is_ok() => Ok(step.to_owned()),
            other => Err(no(header, other)),
        };
        Ok(Self {
            saga,
            step: name(STEP)?,
            ask,
            attempt: attempt.ok_or_else(|| no(ATTEMPT, found(ATTEMPT)))?,
            not_after,
            confirms: found(CONFIRMS).map(|_| name(CONFIRMS)).transpose()?,
            why: found(WHY).map(|reason| Why {
                step: found(WHY_STEP).map(str::to_owned),
                reason: reason.to_owned(),
            }),
        })
    }
}

/// What a participant said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// To `apply`.
    Applied(Answer),
    /// To `compensate`.
    Compensated(UndoAnswer),
    /// To `bar`.
    Barred(Answer),
}

/// A participant's reply, the payload of a message of topic [`REPLY`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The orchestrator's source: others that see the message let it be.
    pub to: String,
    /// The instance.
    pub saga: Uuid,
    /// The step's name.
    pub step: String,
    /// The attempt that is answered.
    pub attempt: u32,
    /// What the participant said.
    pub said: Said,
}

impl Reply {
    /// The message that carries it back. Replies of one instance keep their order.
    ///
    /// # Errors
    /// [`MessageError`] when it is no JSON.
    pub fn message(&self) -> Result<Message, MessageError> {
        Ok(Message::json(REPLY, self)?.key(self.saga.to_string()))
    }
}
