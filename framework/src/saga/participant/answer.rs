//! Answers commands: the barrier, the handler in a savepoint, and the reply, all in the consumer's
//! transaction.

use async_trait::async_trait;
use sqlx::{Connection, Transaction};

use super::{
    SagaHandler,
    record::{Claimed, Record},
};
use crate::{
    Error, Handler, HandlerError, Result, Storage, Verdict,
    error::{chain, is_transient_handler_error, short},
    message::{Envelope, Limits, Message, MessageError},
    outbox::enqueue,
    saga::{
        Answer, Outcome, UndoAnswer,
        wire::{Ask, Command, Reply, Said},
    },
};

/// A [`SagaHandler`] as a consumer's handler.
pub(crate) struct Participant<H>(pub(crate) H);

#[async_trait]
impl<DB: Storage, H: SagaHandler<DB>> Handler<DB> for Participant<H> {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        if !Command::is_one(message) {
            return Ok(match self.0.apply(tx, message).await? {
                Outcome::Done(_) => Verdict::Done,
                Outcome::Refuse(reason) => Verdict::Reject(short(&reason)),
            });
        }
        let command = Command::read(message)?;
        let said = match command.ask {
            Ask::Apply => Said::Applied(self.apply(tx, message, &command).await?),
            Ask::Compensate => Said::Compensated(self.compensate(tx, message, &command).await?),
            Ask::Bar => Said::Barred(bar(tx, message, &command).await?),
        };
        // The consumer wakes the relay after its commit.
        let _ = enqueue(tx, &reply(message, &command, said)?).await?;
        Ok(Verdict::Done)
    }
}

impl<H> Participant<H> {
    async fn apply<DB>(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
        command: &Command,
    ) -> Result<Answer, HandlerError>
    where
        DB: Storage,
        H: SagaHandler<DB>,
    {
        let own = Claimed::claim(tx, message, command, &command.step).await?;
        if let Some(answer) = own.standing() {
            return Ok(answer);
        }
        if command.not_after.is_some_and(|not_after| own.now > not_after) {
            own.record(tx, &Answer::Barred.into(), false).await?;
            return Ok(Answer::Barred);
        }
        let reserved = match &command.confirms {
            None => None,
            Some(step) => match reservation(tx, message, command, step).await? {
                Ok(reserved) => Some(reserved),
                Err(why) => {
                    own.leave(tx).await?;
                    return Ok(Answer::Failed(why));
                }
            },
        };
        let savepoint = savepoint(tx).await?;
        let answer = self.act(savepoint, message, command, reserved.as_ref()).await?;
        if matches!(answer, Answer::Failed(_)) {
            own.leave(tx).await?;
            return Ok(answer);
        }
        own.record(tx, &answer.clone().into(), false).await?;
        if let Some(Reserved { claimed, value }) = reserved {
            let confirmed = Some(command.step.clone());
            let record = Record { answer: Answer::Applied(value), confirmed };
            claimed.record(tx, &record, false).await?;
        }
        Ok(answer)
    }

    /// Calls the handler in `savepoint`, and keeps or rolls back what it wrote.
    async fn act<DB>(
        &self,
        mut savepoint: Transaction<'_, DB>,
        message: &Envelope,
        command: &Command,
        reserved: Option<&Reserved<'_>>,
    ) -> Result<Answer, HandlerError>
    where
        DB: Storage,
        H: SagaHandler<DB>,
    {
        let done = match reserved {
            None => self.0.apply(&mut savepoint, message).await,
            Some(reserved) => {
                let done = self.0.confirm(&mut savepoint, message, &reserved.value).await;
                done.map(Outcome::Done)
            }
        };
        let answer = match done {
            Ok(Outcome::Done(value)) => {
                let answer = Answer::Applied(value);
                let told = reply(message, command, Said::Applied(answer.clone()));
                match told.and_then(|told| told.validate(&Limits::DEFAULT)) {
                    Ok(()) => answer,
                    Err(error) => {
                        let problem = "what the action returned does not fit a message";
                        Answer::Failed(short(&format!("{problem}: {error}")))
                    }
                }
            }
            Ok(Outcome::Refuse(reason)) => Answer::Refused(short(&reason)),
            Err(error) => Answer::Failed(technical(error)?),
        };
        let keep = matches!(answer, Answer::Applied(_));
        Ok(match end(savepoint, keep).await? {
            None => answer,
            Some(unusable) => Answer::Failed(unusable),
        })
    }

    async fn compensate<DB>(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
        command: &Command,
    ) -> Result<UndoAnswer, HandlerError>
    where
        DB: Storage,
        H: SagaHandler<DB>,
    {
        let own = Claimed::claim(tx, message, command, &command.step).await?;
        let applied = match &own.record {
            None => {
                own.record(tx, &Answer::Barred.into(), true).await?;
                return Ok(UndoAnswer::Undone);
            }
            Some(Record { confirmed: Some(by), .. }) => {
                let why = format!("step {by:?} has confirmed it: it cannot be cancelled any more");
                return Ok(UndoAnswer::Failed(why));
            }
            Some(Record { answer: Answer::Applied(value), .. }) if !own.undone => value,
            Some(_) => return Ok(UndoAnswer::Undone),
        };
        let mut savepoint = savepoint(tx).await?;
        let done = self.0.compensate(&mut savepoint, message, applied).await;
        let failed = match done {
            Ok(()) => None,
            Err(error) => Some(technical(error)?),
        };
        let unusable = end(savepoint, failed.is_none()).await?;
        if let Some(error) = failed.or(unusable) {
            DB::still_open(tx).await?;
            return Ok(UndoAnswer::Failed(error));
        }
        let record = Record::from(Answer::Applied(applied.clone()));
        own.record(tx, &record, true).await?;
        Ok(UndoAnswer::Undone)
    }
}

async fn bar<DB: Storage>(
    tx: &mut Transaction<'_, DB>,
    message: &Envelope,
    command: &Command,
) -> Result<Answer, HandlerError> {
    let own = Claimed::claim(tx, message, command, &command.step).await?;
    if let Some(answer) = own.standing() {
        return Ok(answer);
    }
    own.record(tx, &Answer::Barred.into(), false).await?;
    Ok(Answer::Barred)
}

/// A reservation that stands.
struct Reserved<'a> {
    claimed: Claimed<'a>,
    value: serde_json::Value,
}

/// The reservation that `step` has made; the inner error says why there is none to confirm. It is
/// not recorded: after the pivot an operator must be able to mend it and have it tried again.
async fn reservation<'a, DB: Storage>(
    tx: &mut Transaction<'_, DB>,
    message: &'a Envelope,
    command: &Command,
    step: &'a str,
) -> Result<Result<Reserved<'a>, String>, HandlerError> {
    if step == command.step {
        return Ok(Err(format!("step {step:?} cannot confirm itself")));
    }
    let claimed = Claimed::claim(tx, message, command, step).await?;
    let why = match &claimed.record {
        None => {
            claimed.leave(tx).await?;
            format!("step {step:?} has reserved nothing here, or it is forgotten")
        }
        Some(_) if claimed.undone => format!("step {step:?} is cancelled"),
        Some(Record { confirmed: Some(by), .. }) => {
            format!("step {step:?} is confirmed by step {by:?} already")
        }
        Some(Record { answer: Answer::Applied(value), .. }) => {
            let value = value.clone();
            return Ok(Ok(Reserved { claimed, value }));
        }
        Some(_) => format!("step {step:?} was not applied here"),
    };
    Ok(Err(why))
}

fn reply(message: &Envelope, command: &Command, said: Said) -> Result<Message, MessageError> {
    let Command { saga, step, attempt, .. } = command;
    let to = message.origin.source.clone();
    Reply { to, saga: *saga, step: step.clone(), attempt: *attempt, said }.message()
}

/// What the orchestrator is told of a technical failure. A transient one is not told: the consumer
/// repeats the transaction.
fn technical(error: HandlerError) -> Result<String, HandlerError> {
    if is_transient_handler_error(&*error) {
        return Err(error);
    }
    Ok(short(&chain(&*error)))
}

async fn savepoint<'t, DB: Storage>(
    tx: &'t mut Transaction<'_, DB>,
) -> Result<Transaction<'t, DB>> {
    Connection::begin(&mut **tx).await.map_err(Error::database("begin a saga's step"))
}

/// Keeps or rolls back what a handler wrote; says what is wrong when nothing can be kept because
/// the handler has gone on after a failed statement.
async fn end<DB: Storage>(savepoint: Transaction<'_, DB>, keep: bool) -> Result<Option<String>> {
    // A transaction that is dropped after this failed rolls back to the savepoint.
    let ended = if keep { savepoint.commit().await } else { savepoint.rollback().await };
    let Err(error) = ended.map_err(Error::database("end a saga's step")) else { return Ok(None) };
    if error.is_transient() {
        return Err(error);
    }
    Ok(Some(short(&format!("the handler has left its transaction unusable: {}", chain(&error)))))
}
