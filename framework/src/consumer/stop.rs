//! Why a message, or the part of a batch it was in, was not applied.

use std::{fmt, time::Duration};

use crate::{Error, storage::InboxRow};

/// Why a message was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The handler failed, panicked, or took too long.
    Error(String),
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
            Self::Error(error) | Self::Unknown(error) => f.write_str(error),
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

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        if error.is_transient() { Self::Transient(error) } else { Self::Broken(error) }
    }
}

/// An index among the new messages becomes one among all of the part's.
pub(super) fn shift_index(stop: Stop, by: usize) -> Stop {
    match stop {
        Stop::Failed(Some(index), failure) => Stop::Failed(Some(index + by), failure),
        other => other,
    }
}

/// After messages were taken out, an index does not say which one failed.
pub(super) fn forget_index(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(_, failure) => Stop::Failed(None, failure),
        other => other,
    }
}
