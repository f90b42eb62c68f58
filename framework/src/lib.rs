//! Syncline keeps data in step between services that each own a database.
//!
//! A change and the messages about it commit in one local transaction (the **outbox**); a
//! **relay** sends committed messages on; a **consumer** applies each of them once, in its own
//! local transaction (the **inbox**).
//!
//! The parts, in the order in which a message passes them:
//!
//! | module | what it does |
//! |---|---|
//! | [`message`] | what is sent: pure data |
//! | [`outbox`] | [`enqueue`] into the caller's transaction |
//! | [`stream`] | which topics go together, and how they are linked |
//! | [`relay`] | route: read, publish, checkpoint |
//! | [`routes`] | what an operator does with routes |
//! | [`processes`] | who runs a relay, a consumer or an engine on a database |
//! | [`incarnation`] | what an operator does when a backup was restored |
//! | [`transport`] | [`Publisher`](transport::Publisher) and [`Subscriber`](transport::Subscriber) |
//! | [`consumer`] | receives, applies once, parks what fails |
//! | [`held`] | what an operator does with dead letters |
//! | [`inboxes`] | what an operator does with watermarks |
//! | [`operations`] | what operators have done, and why |
//! | [`erasure`] | takes payloads of a key or a saga away, and leaves their links |
//! | [`handler`] | what user code implements |
//! | [`storage`] | what is asked of a database: the log, leases, checkpoints, the inbox; all the SQL |
//! | [`logs`] | texts of others in a log: harmless, and not without bound |
//! | `testing` | suites that every database and transport must pass (feature `testing`) |

// Every returned type can be written down: as that of a helper, or of a field.
#![warn(unnameable_types)]

mod backoff;
mod cap;
pub mod consumer;
pub mod erasure;
pub mod error;
pub mod handler;
pub mod held;
mod inbox;
pub mod inboxes;
pub mod incarnation;
pub mod logs;
pub mod message;
pub mod operations;
pub mod outbox;
pub mod processes;
mod pulse;
pub mod relay;
pub mod routes;
pub mod saga;
mod said;
pub mod storage;
pub mod stream;
pub mod streams;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;
mod wake;

pub use consumer::{Consumer, ConsumerHandle, OnDead, OnGap, RetryPolicy};
pub use error::{Error, Result};
pub use handler::{
    BatchHandler, Compensate, Handler, HandlerError, Rejection, Verdict, handler_fn,
};
pub use message::{Envelope, Message};
pub use outbox::{Receipt, enqueue, enqueue_all};
pub use relay::{Relay, RelayHandle, Route};
pub use storage::{Storage, begin, migrate};
pub use stream::{Start, Stream};

/// The README's example is compiled and run with the doc tests.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../README.md")]
struct Readme;

/// So are those of the page about testing sagas.
#[cfg(all(doctest, feature = "sqlite", feature = "testing"))]
#[doc = include_str!("../../docs/testing-sagas.md")]
struct TestingSagas;
