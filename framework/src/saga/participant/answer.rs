//! Answers commands: the barrier, the handler in a savepoint, and the reply, all in the consumer's
//! transaction.

use async_trait::async_trait;
use sqlx::{Connection, Transaction};

use super::{
    SagaHandler,
    record::{Barrier, Claimed, Record},
};
use crate::{
    Error, HandlerError, Result, Storage, Verdict, cap,
    error::{Class, chain, class_of_handler},
    message::{Envelope, Limits, Message, MessageError},
    saga::{
        Answer, Outcome, UndoAnswer, kept,
        wire::{Ask, Command, Reply, Said},
    },
    storage::Mark,
};

/// A [`SagaHandler`] as the consumer calls it: for one message of several that share a barrier.
#[async_trait]
pub(crate) trait AnswerCommand<DB: Storage>: Send + Sync {
    async fn answer(
        &self,
        tx: &mut Transaction<'_, DB>,
        barrier: &mut Barrier,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError>;
}

/// A [`SagaHandler`] that answers commands.
pub(crate) struct Participant<H>(pub(crate) H);

#[async_trait]
impl<DB: Storage, H: SagaHandler<DB>> AnswerCommand<DB> for Participant<H> {
    async fn answer(
        &self,
        tx: &mut Transaction<'_, DB>,
        barrier: &mut Barrier,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        if !Command::is_one(message) {
            return Ok(match self.0.apply(tx, message).await? {
                // No savepoint tells whether the transaction is still the one that it began in.
                Outcome::Done(_) => {
                    DB::still_open(tx, &Mark::default()).await?;
                    Verdict::Done
                }
                Outcome::Refuse(reason) => Verdict::Reject(cap::text(&reason)),
            });
        }
        let command = Command::read(message)?;
        let said = match command.ask {
            Ask::Apply => Said::Applied(self.apply(tx, barrier, message, &command).await?),
            Ask::Compensate => {
                Said::Compensated(self.compensate(tx, barrier, message, &command).await?)
            }
            Ask::Bar => Said::Barred(bar(tx, barrier, &command).await?),
        };
        barrier.answers.push(reply(message, &command, said)?);
        Ok(Verdict::Done)
    }
}

impl<H> Participant<H> {
    async fn apply<DB>(
        &self,
        tx: &mut Transaction<'_, DB>,
        barrier: &mut Barrier,
        message: &Envelope,
        command: &Command,
    ) -> Result<Answer, HandlerError>
    where
        DB: Storage,
        H: SagaHandler<DB>,
    {
        let own = barrier.step(tx, command, &command.step).await?;
        if let Some(answer) = own.standing() {
            return Ok(answer);
        }
        if command.not_after.is_some_and(|not_after| own.now > not_after) {
            barrier.record(&own, &Answer::Barred.into(), false)?;
            return Ok(Answer::Barred);
        }
        let reserved = match &command.confirms {
            None => None,
            Some(step) => match reservation(tx, barrier, command, step).await? {
                Ok(reserved) => Some(reserved),
                Err(why) => {
                    barrier.leave(tx, &own).await?;
                    return Ok(Answer::Failed(why));
                }
            },
        };
        let savepoint = savepoint(tx).await?;
        let answer = self.act(savepoint, message, command, reserved.as_ref()).await?;
        if matches!(answer, Answer::Failed(_)) {
            barrier.leave(tx, &own).await?;
            return Ok(answer);
        }
        barrier.record(&own, &answer.clone().into(), false)?;
        if let Some(Reserved { claimed, value }) = reserved {
            let confirmed = Some(command.step.clone());
            let record = Record { answer: Answer::Applied(value), confirmed };
            barrier.record(&claimed, &record, false)?;
        }
        Ok(answer)
    }

    /// Calls the handler in `savepoint`, and keeps or rolls back what it wrote.
    async fn act<DB>(
        &self,
        mut savepoint: Transaction<'_, DB>,
        message: &Envelope,
        command: &Command,
        reserved: Option<&Reserved>,
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
            Ok(Outcome::Done(value)) => match fits(message, command, value) {
                Ok(answer) => answer,
                Err(error) => {
                    let problem = "what the action returned does not fit a message";
                    Answer::Failed(cap::text(&format!("{problem}: {error}")))
                }
            },
            Ok(Outcome::Refuse(reason)) => Answer::Refused(cap::text(&reason)),
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
        barrier: &mut Barrier,
        message: &Envelope,
        command: &Command,
    ) -> Result<UndoAnswer, HandlerError>
    where
        DB: Storage,
        H: SagaHandler<DB>,
    {
        let own = barrier.step(tx, command, &command.step).await?;
        let applied = match &own.record {
            None => {
                barrier.record(&own, &Answer::Barred.into(), true)?;
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
            DB::still_open(tx, &Mark::default()).await?;
            return Ok(UndoAnswer::Failed(error));
        }
        let record = Record::from(Answer::Applied(applied.clone()));
        barrier.record(&own, &record, true)?;
        Ok(UndoAnswer::Undone)
    }
}

async fn bar<DB: Storage>(
    tx: &mut Transaction<'_, DB>,
    barrier: &mut Barrier,
    command: &Command,
) -> Result<Answer, HandlerError> {
    let own = barrier.step(tx, command, &command.step).await?;
    if let Some(answer) = own.standing() {
        return Ok(answer);
    }
    barrier.record(&own, &Answer::Barred.into(), false)?;
    Ok(Answer::Barred)
}

/// A reservation that stands.
struct Reserved {
    claimed: Claimed,
    value: serde_json::Value,
}

/// The reservation that `step` has made; the inner error says why there is none to confirm. It is
/// not recorded: after the pivot an operator must be able to mend it and have it tried again.
async fn reservation<DB: Storage>(
    tx: &mut Transaction<'_, DB>,
    barrier: &mut Barrier,
    command: &Command,
    step: &str,
) -> Result<Result<Reserved, String>, HandlerError> {
    if step == command.step {
        return Ok(Err(format!("step {step:?} cannot confirm itself")));
    }
    let claimed = barrier.step(tx, command, step).await?;
    let why = match &claimed.record {
        None => {
            barrier.leave(tx, &claimed).await?;
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

/// The answer, if its orchestrator can be told and can keep it.
fn fits(
    message: &Envelope,
    command: &Command,
    value: serde_json::Value,
) -> Result<Answer, HandlerError> {
    let answer = Answer::Applied(kept::keep(&value)?);
    reply(message, command, Said::Applied(answer.clone()))?.validate(&Limits::DEFAULT)?;
    Ok(answer)
}

fn reply(message: &Envelope, command: &Command, said: Said) -> Result<Message, MessageError> {
    let Command { saga, step, attempt, .. } = command;
    let to = message.origin.source.clone();
    Reply { to, saga: *saga, step: step.clone(), attempt: *attempt, said }.message()
}

/// What the orchestrator is told of a technical failure. One that is not the command's is not told:
/// the consumer repeats the transaction.
fn technical(error: HandlerError) -> Result<String, HandlerError> {
    match class_of_handler(&*error) {
        Class::Lasting => Ok(cap::text(&chain(&*error))),
        _ => Err(error),
    }
}

async fn savepoint<'t, DB: Storage>(
    tx: &'t mut Transaction<'_, DB>,
) -> Result<Transaction<'t, DB>> {
    Connection::begin(&mut **tx).await.map_err(Error::database("begin a saga's step"))
}

/// Keeps or rolls back what a handler wrote; says what is wrong when nothing can be kept because
/// the handler has gone on after a failed statement.
async fn end<DB: Storage>(
    mut savepoint: Transaction<'_, DB>,
    keep: bool,
) -> Result<Option<String>> {
    // A transaction that is dropped after this failed rolls back to the savepoint.
    let ended = match (DB::after_user_code(&mut savepoint).await, keep) {
        (Ok(()), true) => savepoint.commit().await,
        (Ok(()), false) => savepoint.rollback().await,
        (ended, _) => ended,
    };
    let Err(error) = ended.map_err(Error::database("end a saga's step")) else { return Ok(None) };
    if error.is_transient() {
        return Err(error);
    }
    Ok(Some(cap::text(&format!(
        "the handler has left its transaction unusable: {}",
        chain(&error)
    ))))
}
