//! What a broken saga does at its participants and when it takes replies in.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::{Sqlite, Transaction};

use super::watch::Watched;
use crate::{
    Handler, HandlerError, Verdict, enqueue,
    message::{Batch, Envelope, Origin},
    saga::{
        Answer, Outcome as Done, SagaHandler, UndoAnswer,
        wire::{Ask, Command, Reply, Said},
    },
    transport::{Ack, Outcome, Reached, Receive, ReceiveError},
};

/// A participant without a barrier.
pub(super) struct Unguarded(pub(super) Watched);

#[async_trait]
impl Handler<Sqlite> for Unguarded {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let command = Command::read(message)?;
        let said = match command.ask {
            Ask::Apply => Said::Applied(match self.0.apply(tx, message).await? {
                Done::Done(output) => Answer::Applied(output),
                Done::Refuse(reason) => Answer::Refused(reason),
            }),
            Ask::Compensate => {
                self.0.compensate(tx, message, &Value::Null).await?;
                Said::Compensated(UndoAnswer::Undone)
            }
            Ask::Bar => Said::Barred(Answer::Barred),
        };
        let Command { saga, step, attempt, .. } = command;
        let reply = Reply { to: message.origin.source.clone(), saga, step, attempt, said };
        let _ = enqueue(tx, &reply.message()?).await?;
        Ok(Verdict::Done)
    }
}

/// Says that a batch is done, whether it is or not.
pub(super) struct EarlyAck(pub(super) Arc<dyn Receive>);

#[async_trait]
impl Receive for EarlyAck {
    async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        let ack = Ack { watermark: batch.through, last: batch.last, outcome: Outcome::Complete };
        drop(self.0.receive(batch).await);
        Ok(ack)
    }

    async fn reached(&self, origin: &Origin) -> Result<Option<Reached>, ReceiveError> {
        self.0.reached(origin).await
    }
}
