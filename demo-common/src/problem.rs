//! Errors as `application/problem+json` (RFC 9457), those of axum's own extractors too.

use std::{fmt, marker::PhantomData, sync::LazyLock};

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::json;
use syncline::logs::LogLimit;

use crate::names::names_nobody;

/// Of errors that requests meet: clients can bring many about.
static FAILED: LazyLock<LogLimit> = LazyLock::new(LogLimit::default);

/// Asks for a user_id and a password (RFC 7617).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"users\", charset=\"UTF-8\"");

/// What went wrong with a request.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    /// What to do about it.
    detail: String,
    /// What is wrong with which field.
    errors: Vec<(String, String)>,
    retry_after: Option<u64>,
    /// Asks for credentials.
    challenge: bool,
    /// The request was not read to its end: the connection is of no more use.
    close: bool,
}

impl Problem {
    /// A problem of the client's; the detail says what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let (errors, detail) = (Vec::new(), detail.into());
        Self { status, detail, errors, retry_after: None, challenge: false, close: false }
    }

    /// The client has not shown who it is.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self { challenge: true, ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// The status that is answered.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The connection is closed after the answer.
    pub(crate) fn close(mut self) -> Self {
        self.close = true;
        self
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
        if self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if self.close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A JSON object as the body, as an extractor whose rejections are problems, and as a response.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = single(request.headers(), &header::CONTENT_TYPE)?;
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON with `content-type: application/json`",
            ));
        }
        match axum::Json::<Object<T>>::from_request(request, state).await {
            Ok(axum::Json(Object(value))) => Ok(Self(value)),
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
            Ok(axum::extract::Path(value)) if names_nobody(&value) => {
                let detail = "a path with spaces or control characters names nobody";
                Err(Problem::new(StatusCode::NOT_FOUND, detail))
            }
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(rejection.status(), rejection.body_text())),
        }
    }
}

/// A header that may be there once.
///
/// # Errors
/// 400 when it is there twice: no rule says which one counts.
pub fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => {
            let detail = format!("there are several {name} headers: send one");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

/// A value that is a JSON object. What is derived for structs would also take an array of their members.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Deserializes a struct from an object, and from nothing else.
///
/// # Errors
/// The errors of the struct, and another kind of value.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Members<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members))
        }
    }

    deserializer.deserialize_map(Members(PhantomData))
}
