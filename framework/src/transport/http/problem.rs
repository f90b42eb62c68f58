//! Errors as `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::logs::{self, LogLimit};

const MAX_DETAIL: usize = 500;

/// Why a request was refused. The detail is for the people who run the client: it names no
/// secret and nothing of this side's database.
#[derive(Debug)]
pub(in crate::transport) struct Problem {
    pub(in crate::transport) status: StatusCode,
    pub(in crate::transport) detail: Cow<'static, str>,
    /// What kind of problem it is, for programs.
    kind: &'static str,
    /// A further member.
    more: Option<(&'static str, String)>,
    retry_after: Option<u64>,
    close: bool,
    /// Its kind in the log, where the status alone would put it with strangers'.
    logged_as: Option<&'static str>,
}

impl Problem {
    pub(in crate::transport) fn new(
        status: StatusCode,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut detail = detail.into();
        // It may quote what was sent.
        if detail.len() > MAX_DETAIL || detail.chars().any(logs::is_hidden) {
            detail = logs::cut(&detail, MAX_DETAIL).into();
        }
        let kind = "about:blank";
        Self { status, detail, kind, more: None, retry_after: None, close: false, logged_as: None }
    }

    /// Counts its lines in the log apart from others of its status, so that those of strangers do not
    /// hide it.
    #[cfg(feature = "http-push")]
    pub(in crate::transport) fn logged_as(mut self, kind: &'static str) -> Self {
        self.logged_as = Some(kind);
        self
    }

    /// Says to programs what kind of problem it is, with one more member.
    #[cfg(feature = "http-feed")]
    pub(in crate::transport) fn kind(
        mut self,
        kind: &'static str,
        more: Option<(&'static str, String)>,
    ) -> Self {
        (self.kind, self.more) = (kind, more);
        self
    }

    /// The client may come again after so many seconds.
    pub(in crate::transport) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The request was not read to its end, so the connection is of no more use.
    #[cfg(feature = "http-push")]
    pub(in crate::transport) fn close(mut self) -> Self {
        self.close = true;
        self
    }
}

/// Logs requests that were refused, a few of each kind a minute.
#[derive(Debug, Default)]
pub(in crate::transport) struct Refused(LogLimit);

impl Refused {
    pub(in crate::transport) fn log(&self, problem: &Problem, what: &'static str) {
        let by_status = problem.status.canonical_reason().unwrap_or("another status");
        if let Some(left_out) = self.0.admit(problem.logged_as.unwrap_or(by_status)) {
            let status = problem.status.as_u16();
            tracing::warn!(status, detail = %problem.detail, left_out, "{what}");
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut body = json!({
            "type": self.kind,
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some((name, value)) = self.more {
            body[name] = value.into();
        }
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, body.to_string()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
