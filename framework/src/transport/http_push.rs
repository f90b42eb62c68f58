//! HTTP push: a relay POSTs signed batches to a router that the consumer's service nests into
//! its own.
//!
//! The body is a batch as `application/cloudevents-batch+json`, signed as
//! [Standard Webhooks](https://www.standardwebhooks.com) describe. A [`Secret`] is bound to one
//! source and stream (a [`Principal`]), so nobody can speak in another's name. Both sides
//! limit size and time; redirects are not followed, and nothing is decompressed.
//!
//! The sending service gives a [`PushPublisher`] to a route:
//!
//! ```
//! use std::time::Duration;
//! use syncline::transport::http_push::{PushPublisher, Secret};
//!
//! let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
//! let publisher = PushPublisher::builder("http://127.0.0.1:8081/syncline")
//!     .secret(secret)
//!     .timeout(Duration::from_secs(10))
//!     .build()?;
//! assert_eq!(publisher.target(), "http://127.0.0.1:8081/syncline");
//! # Ok::<(), syncline::transport::http_push::PushConfigError>(())
//! ```
//!
//! The receiving service nests a [`PushReceiver`]:
//!
//! ```
//! use std::sync::Arc;
//! use axum::Router;
//! use syncline::transport::{Receive, http_push::{Principal, PushConfigError, PushReceiver, Secret}};
//!
//! fn app(consumer: Arc<dyn Receive>, secret: Secret) -> Result<Router, PushConfigError> {
//!     let push = PushReceiver::new(consumer)
//!         .principal(Principal::new("/demo/register", "users", [secret])?);
//!     Ok(Router::new().nest("/syncline", push.router()))
//! }
//! ```
//!
//! What the receiver answers:
//!
//! | status | body | meaning |
//! |---|---|---|
//! | 200 | the acknowledgement | all of the batch is done |
//! | 409 | the acknowledgement | it starts past the watermark: send again from there |
//! | 503, `Retry-After` | the acknowledgement | the consumer is paused |
//! | any other | `application/problem+json` | nothing is known of its effects; `detail` says why |

mod answer;
mod foreign;
mod listener;
mod publisher;
mod reading;
mod receiver;
mod reply;
mod room;
mod sign;

pub use listener::PushListener;
pub use publisher::{PushPublisher, PushPublisherBuilder};
pub use receiver::PushReceiver;
pub use sign::{Principal, Secret};

pub use super::http::{ServeOptions, TargetError, serve, serve_with};
use crate::message::MessageError;

/// Names the source in whose name a batch is sent; with the stream it picks the secrets.
pub const SOURCE_HEADER: &str = "syncline-source";
/// Names the stream that a batch is of.
pub const STREAM_HEADER: &str = "syncline-stream";
/// Standard Webhooks: the message's id, the same when it is sent again.
pub const ID_HEADER: &str = "webhook-id";
/// Standard Webhooks: when it was signed, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Standard Webhooks: `v1,BASE64`, one or several between spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// What is wrong with a publisher's or a receiver's configuration. No text of it holds a
/// secret or a URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushConfigError {
    /// Not a secret of the form that Standard Webhooks describe.
    #[error("not a webhook secret: {0}; write `whsec_` and the base64 of 24 to 64 random bytes")]
    Secret(&'static str),
    /// No secret was given.
    #[error("a push needs at least one secret")]
    NoSecret,
    /// The target cannot be sent to.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A limit is zero.
    #[error("{0} must be more than zero")]
    Limit(&'static str),
    /// A source or stream is not of the allowed form.
    #[error(transparent)]
    Name(#[from] MessageError),
}
