//! Calling handlers: with a time limit, with panics contained.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use sqlx::{Connection, Transaction};

use super::{
    Action, Inner,
    stop::{Disturbed, Failure, Stop, shift_index},
};
use crate::{
    Error, HandlerError, Storage, Verdict,
    error::{Class, chain, class_of_handler, of_database},
    message::{Envelope, MessageError},
    saga::{participant::Barrier, wire::NoCommand},
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
                    false => DB::still_open(tx, mark).await.map_err(Stop::behind_handler),
                }
            };
            if let Err(stop) = called.await {
                let stop = or_its_connection(tx, stop).await;
                return Err(shift_index(stop.at((run == 1).then_some(0)), at));
            }
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
        let mut barrier = Barrier::claim(tx, messages).await.map_err(Stop::behind_handler)?;
        for (index, message) in messages.iter().enumerate() {
            let Some(Action::Answer(handler)) = self.action(message) else { continue };
            let answered = self.contain(handler.answer(tx, &mut barrier, message)).await;
            answered.map_err(|stop| stop.at(Some(index)))?;
        }
        barrier.write(tx).await.map_err(Stop::behind_handler)
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
            Ok(Ok(Err(error))) => match class_of_handler(&*error) {
                Class::Lasting if is_undecodable(&*error) => Failure::Undecodable(chain(&*error)),
                Class::Lasting => Failure::Error(chain(&*error)),
                class => {
                    let error = of_database("handle a message", error);
                    return Err(Stop::Disturbed(Disturbed { at: None, class, error }));
                }
            },
            Ok(Err(panic)) => Failure::Cut(format!("the handler panicked: {}", text(&*panic))),
            Err(_) => Failure::Cut(format!("the handler took longer than {:?}", self.timeout)),
        };
        Err(Stop::Failed(None, failure))
    }
}

/// A handler on a connection that has ended answers what is not its own: on SQLite a query finds no rows
/// then, and does not fail.
async fn or_its_connection<DB: Storage>(tx: &mut Transaction<'_, DB>, stop: Stop) -> Stop {
    let Stop::Failed(
        at,
        Failure::Error(_) | Failure::Undecodable(_) | Failure::Retry(_) | Failure::Reject(_),
    ) = &stop
    else {
        return stop;
    };
    let at = *at;
    let ended = async {
        DB::after_user_code(tx).await?;
        tx.ping().await
    };
    match ended.await.map_err(Error::database("look whether a connection has ended")) {
        Ok(()) => stop,
        Err(error) => Stop::Disturbed(Disturbed { at, class: error.class(), error }),
    }
}

/// Whether a handler has failed because a payload is not what it reads, or a saga's command is damaged.
fn is_undecodable(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // The crate's own error passes over its message's in the chain.
        let of_message = match error.downcast_ref::<Error>() {
            Some(Error::Message(error)) => Some(error),
            _ => error.downcast_ref::<MessageError>(),
        };
        if matches!(of_message, Some(MessageError::Undecodable(_))) || error.is::<NoCommand>() {
            return true;
        }
        cause = error.source();
    }
    false
}

pub(crate) fn text(panic: &(dyn std::any::Any + Send)) -> &str {
    let string = panic.downcast_ref::<String>().map(String::as_str);
    string.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    #[derive(Debug, thiserror::Error)]
    #[error("the order could not be taken")]
    struct Wrapped(#[source] MessageError);

    #[test]
    fn only_a_payload_that_cannot_be_read_is_never_tried_again() {
        let decode = || Message::new("t", "application/json", "7").decode::<String>();
        let error = decode().expect_err("it is a number");
        assert!(is_undecodable(&error), "{error}");
        assert!(is_undecodable(&Error::from(decode().expect_err("a number"))));
        assert!(is_undecodable(&Wrapped(decode().expect_err("a number"))), "as a source");
        // Others may be of what the handler has read elsewhere, or is about to write.
        let other = serde_json::from_str::<i64>("x").expect_err("it is not JSON");
        assert!(!is_undecodable(&other));
        assert!(!is_undecodable(&MessageError::Payload(other)));
        assert!(!is_undecodable(&Error::NotMigrated));
    }
}
