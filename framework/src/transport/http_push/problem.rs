//! Errors as `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

const MAX_DETAIL: usize = 500;

/// Why a push was not taken in. The detail is for the people who run the sender: it names no
/// secret and nothing of this side's database.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: Cow<'static, str>,
    retry_after: Option<u64>,
    close: bool,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut detail = detail.into();
        // It may quote what was sent.
        if detail.len() > MAX_DETAIL {
            detail = detail.chars().take(MAX_DETAIL).collect();
        }
        Self { status, detail, retry_after: None, close: false }
    }

    /// The sender may come again after so many seconds.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The body was not read to its end, so the connection is of no more use.
    pub(super) fn close(mut self) -> Self {
        self.close = true;
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "type": "about:blank",
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
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
