//! HTTP feed: consumers pull what they want, by `GET`, from a router that the source's service
//! nests into its own.
//!
//! A [`Token`] is bound to streams and topics (a [`Reader`]). Every request says how far the
//! consumer is, by position and id, and is answered only if that is a place in the source's log.
//! Without news the answer waits (long polling). Both sides limit size and time; redirects are
//! not followed, and nothing is decompressed.
//!
//! The source's service nests a [`FeedServer`]; its relay needs no route:
//!
//! ```
//! use axum::Router;
//! use syncline::RelayHandle;
//! use syncline::transport::http_feed::{FeedConfigError, FeedServer, Reader, Token};
//! use tokio_util::sync::CancellationToken;
//!
//! fn app(relay: &RelayHandle, stop: CancellationToken) -> Result<Router, FeedConfigError> {
//!     let token = Token::parse("synf_3q2-7wX1c0ffee0ddba11f00dfeedbeef")?;
//!     let feed = FeedServer::new(relay.feed())
//!         .reader(Reader::new(&token, "users", ["user.*"])?)
//!         .stop(stop); // ends long polls, so that the service can stop in time
//!     Ok(Router::new().nest("/feed", feed.router()))
//! }
//! ```
//!
//! The consumer's service runs a [`FeedSubscriber`] for each stream and shard:
//!
//! ```
//! use std::sync::Arc;
//! use syncline::transport::{Receive, Subscriber};
//! use syncline::transport::http_feed::{FeedConfigError, FeedSubscriber, Token};
//! use tokio_util::sync::CancellationToken;
//!
//! fn pull(consumer: Arc<dyn Receive>, stop: CancellationToken) -> Result<(), FeedConfigError> {
//!     let token = Token::parse("synf_3q2-7wX1c0ffee0ddba11f00dfeedbeef")?;
//!     let subscriber = FeedSubscriber::builder("http://127.0.0.1:8081/feed")
//!         .source("/demo/register")
//!         .stream("users")
//!         .token(token)
//!         .build()?;
//!     let status = subscriber.status(); // for the service's health
//!     tokio::spawn(Box::new(subscriber).run(consumer, stop));
//!     Ok(())
//! }
//! ```
//!
//! `GET /{stream}/{shard}` takes these parameters, all optional:
//!
//! | parameter | meaning |
//! |---|---|
//! | `after` | the consumer's watermark (0) |
//! | `last`, `lastid` | its last message, by position and id (0 and the nil UUID) |
//! | `incarnation` | the source's incarnation, as far as the consumer knows it |
//! | `version` | the version of the stream's definition (1) |
//! | `wait` | seconds to wait for news: 0 to 30 (0) |
//! | `topics` | topics and patterns such as `user.*`, between commas (all that the token may read) |
//! | `messages` | the most messages of the log to look at |
//!
//! and is answered by one of these:
//!
//! | status | body | meaning |
//! |---|---|---|
//! | 200 | the batch, `application/cloudevents-batch+json` | what follows; a full page, which can no longer change, may be cached privately |
//! | 304 | | the cached page is still right |
//! | 401, 403 | problem | no or an unknown token; a stream that it may not read |
//! | 409 | problem of type [`DIVERGED`] | the consumer's place is not in this log: a database was restored |
//! | 409 | problem of type [`CLOSED`] | the consumer has all of this version of the stream; `version` goes on |
//! | 410 | problem of type [`TRIMMED`] | what follows the consumer's place is no longer kept |
//! | 429, 503 | problem, `Retry-After` | too many requests at once, or the log cannot be read now |
//!
//! A message that the token may not read, or that `topics` leaves out, is sent as a bare link: an
//! event of type `syncline.link` with nothing but its position, its id and the one before it.

mod client;
mod failure;
mod server;
mod subscriber;
mod token;

pub use client::{FeedSubscriberBuilder, PullError};
pub use server::FeedServer;
pub use subscriber::{FeedSubscriber, PullState, PullStatus};
pub use token::{Reader, Token, TokenHash};

pub use super::http::{ServeOptions, TargetError, serve, serve_with};
use crate::message::MessageError;

/// The problem type of a place that is not in the source's log.
pub const DIVERGED: &str = "urn:syncline:feed:diverged";
/// The problem type of a version of a stream that the reader has all of.
pub const CLOSED: &str = "urn:syncline:feed:closed";
/// The problem type of a place whose continuation is no longer kept.
pub const TRIMMED: &str = "urn:syncline:feed:trimmed";

/// What is wrong with a feed's or a subscriber's configuration. No text of it holds a token or
/// a URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedConfigError {
    /// Not a token of the allowed form.
    #[error("not a feed token: {0}; take 24 to 256 random letters, digits, `-`, `_`, `.` or `~`")]
    Token(&'static str),
    /// No token was given.
    #[error("pulling needs a token: the one that the feed's reader is bound to")]
    NoToken,
    /// The feed cannot be asked.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A limit is zero, or too large.
    #[error("{0}")]
    Limit(&'static str),
    /// A source, stream or topic is not of the allowed form.
    #[error(transparent)]
    Name(#[from] MessageError),
    /// A reader may read no topic.
    #[error("a reader needs at least one topic that it may read")]
    NoTopic,
    /// A pattern that no topic fits.
    #[error("{0}")]
    Topic(String),
}
