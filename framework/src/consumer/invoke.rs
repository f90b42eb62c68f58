//! Calling handlers: with a time limit, with panics contained.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use sqlx::Transaction;

use super::{
    Action, Inner,
    stop::{Failure, Stop},
};
use crate::{
    HandlerError, Storage, Verdict,
    error::{chain, is_transient_handler_error},
    message::Envelope,
};

impl<DB: Storage> Inner<DB> {
    /// Calls the handlers of `messages` in order; consecutive messages of one batch handler
    /// go to it together. An index in the error counts from the start of `messages`.
    pub(super) async fn invoke_all(
        &self,
        tx: &mut Transaction<'_, DB>,
        messages: &[Envelope],
    ) -> Result<(), Stop> {
        let mut at = 0;
        while let Some(message) = messages.get(at) {
            let handler = self.handler_of(message);
            let same = |other: &&Envelope| self.handler_of(other) == handler;
            let run = match handler.map(|handler| &self.actions[handler].1) {
                Some(Action::Many(_)) => messages[at..].iter().take_while(same).count(),
                _ => 1,
            };
            self.invoke(tx, &messages[at..at + run]).await.map_err(|stop| match stop {
                Stop::Failed(_, failure) => Stop::Failed((run == 1).then_some(at), failure),
                other => other,
            })?;
            at += run;
        }
        Ok(())
    }

    /// Calls the handler of `messages`, which have one handler between them.
    pub(super) async fn invoke(
        &self,
        tx: &mut Transaction<'_, DB>,
        messages: &[Envelope],
    ) -> Result<(), Stop> {
        let Some(message) = messages.first() else { return Ok(()) };
        let call = match self.handler_of(message).map(|handler| &self.actions[handler].1) {
            Some(Action::Ignore) => return Ok(()),
            Some(Action::One(handler)) => handler.handle(tx, message),
            Some(Action::Many(handler)) => handler.handle(tx, messages),
            None => {
                let error = format!(
                    "no handler for topic {:?} with schema version {}: held until a consumer that \
                     knows it starts; or add a handler, or `ignore` it",
                    message.topic, message.schema_version
                );
                return Err(Stop::Failed(None, Failure::Unknown(error)));
            }
        };
        let call = AssertUnwindSafe(call).catch_unwind();
        let failure = match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(Ok(Verdict::Done))) => match DB::still_open(tx).await {
                Ok(()) => return Ok(()),
                // Nothing may be committed on top of what was lost.
                Err(error) if error.is_transient() => return Err(Stop::Transient(error)),
                Err(error) => Failure::Error(error.to_string()),
            },
            Ok(Ok(Ok(Verdict::Retry(after)))) => Failure::Retry(after),
            Ok(Ok(Ok(Verdict::Reject(reason)))) => Failure::Reject(reason),
            Ok(Ok(Err(error))) if is_transient_handler_error(&*error) => {
                return Err(Stop::Transient(transient(error)));
            }
            Ok(Ok(Err(error))) => Failure::Error(chain(&*error)),
            Ok(Err(panic)) => Failure::Error(format!("the handler panicked: {}", text(&*panic))),
            Err(_) => Failure::Error(format!("the handler took longer than {:?}", self.timeout)),
        };
        Err(Stop::Failed(None, failure))
    }
}

fn transient(error: HandlerError) -> crate::Error {
    match error.downcast::<crate::Error>() {
        Ok(error) => *error,
        Err(error) => crate::Error::Database {
            action: "handle a message",
            source: match error.downcast::<sqlx::Error>() {
                Ok(error) => *error,
                Err(error) => sqlx::Error::Io(std::io::Error::other(error)),
            },
        },
    }
}

pub(crate) fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    let string = panic.downcast_ref::<String>().map(String::as_str);
    string.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
