//! Why a message, or the part of a batch it was in, was not applied.

use std::{fmt, time::Duration};

use crate::{
    Error,
    error::Class,
    storage::{Cause, InboxRow},
    transport::ReceiveError,
};

/// Why a message was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The handler failed.
    Error(String),
    /// The handler panicked, took too long, or left its transaction unusable: so its connection may be.
    Cut(String),
    /// The payload is not what the handler reads: another try would find the same.
    Undecodable(String),
    /// Nobody here handles its topic or its schema version.
    Unknown(String),
    /// The handler asked for another try.
    Retry(Duration),
    /// The handler refused the message for a business reason.
    Reject(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error)
            | Self::Cut(error)
            | Self::Undecodable(error)
            | Self::Unknown(error) => f.write_str(error),
            Self::Retry(after) => write!(f, "the handler asked for another try in {after:?}"),
            Self::Reject(reason) => write!(f, "rejected: {reason}"),
        }
    }
}

/// Why a part of a batch was rolled back.
pub(super) enum Stop {
    /// It does not follow what was applied.
    Gap(InboxRow),
    /// It is of another incarnation of its source than the one that is followed here.
    Incarnation(InboxRow),
    /// Our database is away or busy.
    Transient(Error),
    /// A handler met an error of the database that is not its message's.
    Disturbed(Disturbed),
    /// So many keys are parked that the consumer must be broken.
    TooManyParked,
    /// So many messages are held that no more may be.
    TooManyHeld,
    /// The version of the stream before this one is not at its end here.
    OlderVersion,
    /// Another stream, from which this one took topics over, has not ended here; which, and why.
    OtherStream(String),
    /// One message failed; which one, if that is known.
    Failed(Option<usize>, Failure),
    /// The batch cannot be taken in as it is.
    Refused(String),
    /// The framework's own statements failed.
    Broken(Error),
}

/// An error that a handler met, of its connection or of the moment.
pub(super) struct Disturbed {
    /// The message, if that is known.
    pub(super) at: Option<usize>,
    pub(super) class: Class,
    pub(super) error: Error,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.class() {
            Class::Lasting => Self::Broken(error),
            _ => Self::Transient(error),
        }
    }
}

impl Cause for ReceiveError {
    fn cause(&self) -> Option<&Error> {
        match self {
            Self::Storage(error) => Some(error),
            Self::Refused(_) | Self::Busy { .. } => None,
        }
    }
}

impl Cause for Stop {
    fn cause(&self) -> Option<&Error> {
        match self {
            Self::Transient(error) | Self::Broken(error) => Some(error),
            Self::Disturbed(disturbed) => Some(&disturbed.error),
            _ => None,
        }
    }
}

impl Stop {
    /// An error of what follows a handler, which may have left its transaction unusable: nothing may
    /// be committed on top of what was lost.
    pub(super) fn behind_handler(error: Error) -> Self {
        match error.class() {
            Class::Lasting => Self::Failed(None, Failure::Cut(error.to_string())),
            class @ Class::Stale => Self::Disturbed(Disturbed { at: None, class, error }),
            Class::Passing | Class::Session => Self::Transient(error),
        }
    }

    /// Whether the connection must not be used again.
    pub(super) fn spoils(&self) -> bool {
        let of = |class| matches!(class, Class::Session | Class::Stale);
        match self {
            Self::Transient(error) | Self::Broken(error) => of(error.class()),
            Self::Disturbed(disturbed) => of(disturbed.class),
            Self::Failed(_, Failure::Cut(_)) => true,
            _ => false,
        }
    }

    /// It is of the message at `at`, if it does not say of which and there is no doubt.
    pub(super) fn at(self, at: Option<usize>) -> Self {
        match self {
            Self::Failed(None, failure) => Self::Failed(at, failure),
            Self::Disturbed(disturbed) if disturbed.at.is_none() => {
                Self::Disturbed(Disturbed { at, ..disturbed })
            }
            other => other,
        }
    }
}

/// An index among the new messages becomes one among all of the part's.
pub(super) fn shift_index(stop: Stop, by: usize) -> Stop {
    match stop {
        Stop::Failed(Some(index), failure) => Stop::Failed(Some(index + by), failure),
        Stop::Disturbed(disturbed) => {
            let at = disturbed.at.map(|index| index + by);
            Stop::Disturbed(Disturbed { at, ..disturbed })
        }
        other => other,
    }
}

/// After messages were taken out, an index does not say which one failed.
pub(super) fn forget_index(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(_, failure) => Stop::Failed(None, failure),
        Stop::Disturbed(disturbed) => Stop::Disturbed(Disturbed { at: None, ..disturbed }),
        other => other,
    }
}
