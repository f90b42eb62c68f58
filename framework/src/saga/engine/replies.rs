//! Replies become durable events in the transaction that moves the inbox's watermark; they are
//! decided afterwards.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::Transaction;
use uuid::Uuid;

use super::Inner;
use crate::{
    BatchHandler, Envelope, HandlerError, Storage, Verdict,
    saga::{
        Answer, Event, UndoAnswer, kept,
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
        let (mut events, mut foreign) = (Vec::with_capacity(messages.len()), HashMap::new());
        for message in messages {
            let reply = read(message)?;
            if reply.to != self.0.source {
                foreign.insert(reply.saga, (reply.to, reply.step));
                continue;
            }
            let (id, event) = (reply.saga, event(reply));
            events.push(SagaEvent { id, event: serde_json::to_string(&event)? });
        }
        if !foreign.is_empty() {
            self.0.tell_of_foreign(tx, &foreign).await?;
        }
        let stored = DB::add_events(tx, &events).await?;
        if stored < events.len() as u64 {
            let lost = events.len() as u64 - stored;
            let text = "replies of sagas that are over or not known here";
            if let Some(left_out) = self.0.said.admit(text, "") {
                tracing::warn!(replies = lost, left_out, "{text}");
            }
        }
        self.0.tell_after_commit();
        Ok(Verdict::Done)
    }
}

/// How many levels a reply has around what an action returned.
const AROUND: usize = 2;

/// A reply whose answer has not been read yet.
#[derive(Deserialize)]
struct Sealed<'a> {
    to: String,
    saga: Uuid,
    step: String,
    attempt: u32,
    #[serde(borrow)]
    said: &'a RawValue,
}

/// The reply that a message is. An answer that cannot be kept is an error of its step: a
/// participant that is not of this library may send one.
fn read(message: &Envelope) -> Result<Reply, HandlerError> {
    let Sealed { to, saga, step, attempt, said } = serde_json::from_slice(&message.data)?;
    let said = match kept::read(said.get(), AROUND) {
        Ok(said) => Said::deserialize(said)?,
        Err(error) => {
            let problem = format!("what the participant answered cannot be kept: {error}");
            match serde_json::from_str::<BTreeMap<String, &RawValue>>(said.get())?.keys().next() {
                Some(to) if to == "applied" => Said::Applied(Answer::Failed(problem)),
                Some(to) if to == "barred" => Said::Barred(Answer::Failed(problem)),
                _ => Said::Compensated(UndoAnswer::Failed(problem)),
            }
        }
    };
    Ok(Reply { to, saga, step, attempt, said })
}

fn event(Reply { step, attempt, said, .. }: Reply) -> Event {
    match said {
        Said::Applied(answer) => Event::Answered { step, attempt, answer },
        Said::Compensated(answer) => Event::UndoAnswered { step, attempt, answer },
        Said::Barred(answer) => Event::BarAnswered { step, answer },
    }
}
