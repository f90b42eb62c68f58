//! Failures of a pull: while a page is asked for or handed over, and by an answer that is no page.

use std::time::Duration;

use chrono::Utc;
use reqwest::Response;
use serde::Deserialize;

use super::{CLOSED, DIVERGED, PullError, PullState, TRIMMED};
use crate::transport::{
    ReceiveError,
    http::{detail, media_type, retry_after},
};

/// No more of an answer that is no page is read than this.
pub(super) const MAX_PROBLEM: usize = 64 * 1024;

/// The failure of one turn.
pub(super) struct Failure {
    pub(super) state: fn(String) -> PullState,
    pub(super) error: String,
    pub(super) at_least: Duration,
    /// It will not pass by itself: tried again with the longest pause.
    pub(super) lasting: bool,
}

impl Failure {
    pub(super) fn passing(error: String, at_least: Duration) -> Self {
        let state = |error| PullState::Backoff { failures: 0, error };
        Self { state, error, at_least, lasting: false }
    }

    pub(super) fn lasting(state: fn(String) -> PullState, error: String) -> Self {
        Self { state, error, at_least: Duration::ZERO, lasting: true }
    }
}

impl From<PullError> for Failure {
    fn from(error: PullError) -> Self {
        let text = error.to_string();
        match error {
            PullError::Unavailable { retry_after, .. } | PullError::CutOff { retry_after, .. } => {
                Self::passing(text, retry_after.unwrap_or_default())
            }
            PullError::Closed { .. } => Self::passing(text, Duration::ZERO),
            PullError::Refused(_) | PullError::TooLarge { .. } => {
                Self::lasting(|error| PullState::Refused { error }, text)
            }
            PullError::Diverged(_) => Self::lasting(|error| PullState::Diverged { error }, text),
            PullError::Trimmed(_) => Self::lasting(|error| PullState::Trimmed { error }, text),
        }
    }
}

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Self {
        let text = error.to_string();
        match error {
            ReceiveError::Refused(_) => Self::lasting(|error| PullState::Refused { error }, text),
            ReceiveError::Storage(_) | ReceiveError::Busy { .. } => {
                Self::passing(text, Duration::ZERO)
            }
        }
    }
}

pub(super) fn unavailable(reason: String, retry_after: Option<Duration>) -> PullError {
    PullError::Unavailable { reason, retry_after }
}

/// What an answer that is no page means.
pub(super) fn refusal(response: &Response, body: &[u8]) -> PullError {
    #[derive(Deserialize)]
    struct Problem {
        r#type: String,
        version: Option<String>,
    }
    let (status, headers) = (response.status(), response.headers());
    let body = &body[..body.len().min(MAX_PROBLEM)];
    let problem: Option<Problem> = match media_type(headers) == "application/problem+json" {
        true => serde_json::from_slice(body).ok(),
        false => None,
    };
    let (kind, next) = problem.map_or_else(Default::default, |p| (p.r#type, p.version));
    let next = next.and_then(|next| next.parse().ok());
    if let (409, CLOSED, Some(next)) = (status.as_u16(), kind.as_str(), next) {
        return PullError::Closed { next };
    }
    let reason = |hint: &str| format!("it answered {status}{hint}{}", detail(headers, body));
    match (status.as_u16(), kind.as_str()) {
        (409, DIVERGED) => PullError::Diverged(reason("")),
        (410, TRIMMED) => PullError::Trimmed(reason("")),
        // Gateways' words for it; 524 is what Cloudflare says.
        (408 | 504 | 524, _) => {
            PullError::CutOff { reason: reason(""), retry_after: retry_after(headers, Utc::now()) }
        }
        (425 | 429 | 500..=599, _) => unavailable(reason(""), retry_after(headers, Utc::now())),
        (401, _) => PullError::Refused(reason(
            "; compare the token with the one that the feed's reader has",
        )),
        (403, _) => PullError::Refused(reason(
            "; compare the stream with those that the feed's readers of this token may read",
        )),
        (300..=399, _) => PullError::Refused(reason(
            "; redirects are not followed: give the subscriber the URL of the feed itself",
        )),
        (200..=299 | 404 | 405, _) => {
            PullError::Refused(reason("; is this the URL of a Syncline feed?"))
        }
        _ => PullError::Refused(reason("")),
    }
}
