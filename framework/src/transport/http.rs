//! What the HTTP transports share: a server with limits, a client that follows nothing, and
//! errors as `application/problem+json`.

mod answer;
pub(super) mod client;
mod peer;
mod problem;
mod serve;
mod tls;

pub(super) use answer::{detail, media_type, read_body, retry_after};
#[cfg(feature = "http-push")]
pub(super) use peer::peer;
pub(super) use problem::{Problem, Refused};
pub use serve::{ServeOptions, serve, serve_with};

/// Why a target cannot be sent to or asked. No text of it holds a secret or a URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The target is not a URL.
    #[error("the target is not a URL: {0}")]
    Url(String),
    /// The target's scheme is neither `http` nor `https`.
    #[error("the target's scheme is {0:?}: write http:// or https://")]
    Scheme(String),
    /// The target holds a user name or a password.
    #[error(
        "the target holds a user name or a password, which would be logged on its way: \
             take it out; the webhook secret or the token is what proves who asks"
    )]
    Credentials,
    /// The certificates to trust could not be loaded, or the HTTP client not be built.
    #[error(
        "the HTTP client could not be made: {0}; for https the system's certificates \
             (package ca-certificates, or SSL_CERT_FILE) are needed"
    )]
    Client(String),
}
