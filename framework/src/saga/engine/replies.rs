//! Replies become durable events in the transaction that moves the inbox's watermark; they are
//! decided afterwards.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Transaction;

use super::Inner;
use crate::{
    BatchHandler, Envelope, HandlerError, Storage, Verdict,
    saga::{
        Event,
        wire::{Reply, Said},
    },
    storage::SagaEvent,
};

/// Takes replies in; made by [`Sagas::replies`](super::Sagas::replies).
pub struct Replies<DB: Storage>(pub(super) Arc<Inner<DB>>);

#[async_trait]
impl<DB: Storage> BatchHandler<DB> for Replies<DB> {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        messages: &[Envelope],
    ) -> Result<Verdict, HandlerError> {
        let mut events = Vec::with_capacity(messages.len());
        for message in messages {
            let reply: Reply = message.decode()?;
            if reply.to != self.0.source {
                continue;
            }
            let (id, event) = (reply.saga, event(reply));
            events.push(SagaEvent { id, event: serde_json::to_string(&event)? });
        }
        let stored = DB::add_events(tx, &events).await?;
        if stored < events.len() as u64 {
            let lost = events.len() as u64 - stored;
            tracing::warn!(replies = lost, "replies of sagas that are over or not known here");
        }
        self.0.tell_after_commit();
        Ok(Verdict::Done)
    }
}

fn event(Reply { step, attempt, said, .. }: Reply) -> Event {
    match said {
        Said::Applied(answer) => Event::Answered { step, attempt, answer },
        Said::Compensated(answer) => Event::UndoAnswered { step, attempt, answer },
        Said::Barred(answer) => Event::BarAnswered { step, answer },
    }
}
