//! Rejections: what a consumer refused travels back to the source through the consumer's own
//! outbox, and is compensated there, once per message.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Transaction;

use crate::{
    Compensate, Handler, HandlerError, Rejection, Result, Storage, Verdict, cap,
    message::{Envelope, Message, TopicPattern},
};

pub use crate::message::REJECTED;

/// The message that tells the source of a rejection.
pub(super) fn rejection(consumer: &str, message: &Envelope, reason: &str) -> Result<Message> {
    let rejection = Rejection {
        message_id: message.id,
        topic: message.topic.clone(),
        key: message.key.clone(),
        position: message.position.0,
        source: message.origin.source.clone(),
        stream: message.origin.stream.clone(),
        consumer: consumer.to_owned(),
        reason: cap::text(reason),
    };
    let told = Message::json(REJECTED, &rejection)?;
    Ok(match &message.key {
        Some(key) => told.key(key),
        None => told,
    })
}

/// Handles rejections by the registered compensations.
pub(super) struct OnRejected<DB: Storage> {
    compensations: Vec<(TopicPattern, Arc<dyn Compensate<DB>>)>,
}

impl<DB: Storage> OnRejected<DB> {
    pub(super) fn new(compensations: Vec<(TopicPattern, Arc<dyn Compensate<DB>>)>) -> Self {
        Self { compensations }
    }
}

#[async_trait]
impl<DB: Storage> Handler<DB> for OnRejected<DB> {
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let rejection: Rejection = message.decode()?;
        let registered =
            self.compensations.iter().find(|(topic, _)| topic.matches(&rejection.topic));
        let Some((_, compensation)) = registered else {
            return Err(format!(
                "{} rejected {} message {}, and no compensation is registered for this topic",
                rejection.consumer, rejection.topic, rejection.message_id
            )
            .into());
        };
        let by = &rejection.consumer;
        if DB::mark_compensated(tx, rejection.message_id, by, &rejection.reason).await? {
            compensation.compensate(tx, &rejection).await?;
        }
        Ok(Verdict::Done)
    }
}
