//! Calling handlers: with a time limit, with panics contained.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use sqlx::Transaction;

use super::{
    Action, Inner,
    stop::{Failure, Stop, shift_index},
};
use crate::{
    HandlerError, Storage, Verdict,
    error::{chain, is_transient_handler_error},
    message::Envelope,
    saga::participant::Barrier,
    storage::{Mark, user_code},
};

impl<DB: Storage> Inner<DB> {
    /// Calls the handlers of `messages` in order; consecutive messages of one batch handler
    /// go to it together. An index in the error counts from the start of `messages`. The
    /// transaction is known by `mark`; after the last one `told` says that what follows finds out
    /// whether it is still the same.
    pub(super) async fn invoke_all(
        &self,
        tx: &mut Transaction<'_, DB>,
        (mark, told): (&Mark, bool),
        messages: &[Envelope],
    ) -> Result<(), Stop> {
        let mut at = 0;
        while let Some(message) = messages.get(at) {
            let handler = self.handler_of(message);
            let same = |other: &&Envelope| self.handler_of(other) == handler;
            let commands =
                |other: &&Envelope| matches!(self.action(other), Some(Action::Answer(_)));
            let rest = messages[at..].iter();
            let run = match self.action(message) {
                Some(Action::Many(_)) => rest.take_while(same).count(),
                Some(Action::Answer(_)) => rest.take_while(commands).count(),
                _ => 1,
            };
            let called = async {
                self.invoke(tx, &messages[at..at + run]).await?;
                match told && at + run == messages.len() {
                    true => Ok(()),
                    false => DB::still_open(tx, mark).await.map_err(failed),
                }
            };
            called.await.map_err(|stop| match stop {
                Stop::Failed(None, failure) => Stop::Failed((run == 1).then_some(at), failure),
                other => shift_index(other, at),
            })?;
            at += run;
        }
        Ok(())
    }

    fn action(&self, message: &Envelope) -> Option<&Action<DB>> {
        self.handler_of(message).map(|handler| &self.actions[handler].1)
    }

    /// Calls the handler of `messages`, which have one handler between them, or the participants
    /// that these commands are for. Whether they have left the transaction open is not looked at.
    async fn invoke(
        &self,
        tx: &mut Transaction<'_, DB>,
        messages: &[Envelope],
    ) -> Result<(), Stop> {
        let Some(message) = messages.first() else { return Ok(()) };
        match self.action(message) {
            Some(Action::Ignore) => Ok(()),
            Some(Action::One(handler)) => self.contain(handler.handle(tx, message)).await,
            Some(Action::Many(handler)) => self.contain(handler.handle(tx, messages)).await,
            Some(Action::Answer(_)) => self.answer(tx, messages).await,
            None => {
                let error = format!(
                    "no handler for topic {:?} with schema version {}: held until a consumer that \
                     knows it starts; or add a handler, or `ignore` it",
                    message.topic, message.schema_version
                );
                Err(Stop::Failed(None, Failure::Unknown(error)))
            }
        }
    }

    /// Answers commands of sagas, which share the statements of the barrier.
    async fn answer(
        &self,
        tx: &mut Transaction<'_, DB>,
        messages: &[Envelope],
    ) -> Result<(), Stop> {
        let mut barrier = Barrier::claim(tx, messages).await.map_err(failed)?;
        for (index, message) in messages.iter().enumerate() {
            let Some(Action::Answer(handler)) = self.action(message) else { continue };
            let answered = self.contain(handler.answer(tx, &mut barrier, message)).await;
            answered.map_err(|stop| match stop {
                Stop::Failed(_, failure) => Stop::Failed(Some(index), failure),
                other => other,
            })?;
        }
        barrier.write(tx).await.map_err(failed)
    }

    /// Waits for a handler: for a limited time, and not beyond its panic.
    async fn contain(
        &self,
        call: impl Future<Output = Result<Verdict, HandlerError>>,
    ) -> Result<(), Stop> {
        let call = AssertUnwindSafe(call).catch_unwind();
        let failure = match user_code(tokio::time::timeout(self.timeout, call)).await {
            Ok(Ok(Ok(Verdict::Done))) => return Ok(()),
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

/// Nothing may be committed on top of what was lost.
fn failed(error: crate::Error) -> Stop {
    match error.is_transient() {
        true => Stop::Transient(error),
        false => Stop::Failed(None, Failure::Error(error.to_string())),
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
