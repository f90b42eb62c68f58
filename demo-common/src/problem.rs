//! Errors as `application/problem+json` (RFC 9457), those of axum's own extractors too.

use std::sync::LazyLock;

use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use syncline::logs::LogLimit;
use utoipa::ToSchema;

/// Of errors that requests meet: clients can bring many about.
static FAILED: LazyLock<LogLimit> = LazyLock::new(LogLimit::default);

/// What went wrong with a request.
#[derive(Debug, ToSchema)]
pub struct Problem {
    #[schema(value_type = u16, example = 422)]
    status: StatusCode,
    /// What to do about it.
    detail: String,
    /// What is wrong with which field.
    errors: Vec<(String, String)>,
    #[schema(ignore)]
    retry_after: Option<u64>,
}

impl Problem {
    /// A problem of the client's; the detail says what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// Fields that are not of the allowed form.
    pub fn fields(errors: Vec<(String, String)>) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "some fields are wrong");
        problem.errors = errors;
        problem
    }

    /// The client may come again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }
}

impl<E: Into<anyhow::Error>> From<E> for Problem {
    /// Our own trouble: the client learns that it may try again, the log learns why.
    fn from(error: E) -> Self {
        if let Some(left_out) = FAILED.admit("failed requests") {
            tracing::error!(error = format!("{:#}", error.into()), left_out, "request failed");
        }
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the service cannot do this now; to repeat the request is safe, try again",
        )
        .retry_after(1)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if !self.errors.is_empty() {
            let errors = self.errors.into_iter();
            body["errors"] = errors.map(|(f, e)| json!({"field": f, "problem": e})).collect();
        }
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, body.to_string()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// A JSON body, as an extractor whose rejections are problems, and as a response.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON with `content-type: application/json`",
            )),
            Err(rejection) => Err(Problem::new(rejection.status(), rejection.body_text())),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A part of the path, whose rejections are problems.
#[derive(Debug, Clone)]
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<String>::from_request_parts(parts, state).await {
            // PostgreSQL's text cannot have it, so nothing is called so.
            Ok(axum::extract::Path(value)) if value.contains('\0') => {
                Err(Problem::new(StatusCode::NOT_FOUND, "a path with a NUL names nothing"))
            }
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(rejection.status(), rejection.body_text())),
        }
    }
}
