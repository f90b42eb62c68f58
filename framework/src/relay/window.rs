//! The batches of a sender that are under way.

use std::{collections::VecDeque, sync::Arc};

use tokio::task::JoinHandle;

use crate::{
    Result,
    message::{Batch, Position},
    storage::Checkpoint,
    transport::{Ack, PublishError, Publisher},
};

/// A batch under way.
struct Flight {
    /// The checkpoint once all of it is acknowledged.
    end: Checkpoint,
    /// What was acknowledged when it was sent.
    acked: Position,
    /// Where its messages stand.
    sent: Vec<Position>,
    /// None where there was nothing of the stream: there is nothing to send.
    answer: Option<JoinHandle<Result<Ack, PublishError>>>,
}

/// A flight that came to its end.
pub(super) struct Landed {
    /// The checkpoint once all of it is acknowledged.
    pub(super) end: Checkpoint,
    /// What was acknowledged when it was sent: its answer knows of no more.
    pub(super) acked: Position,
    /// Where its messages stand.
    pub(super) sent: Vec<Position>,
    /// None where there was nothing to send.
    pub(super) answer: Option<Result<Ack, PublishError>>,
}

/// The batches under way, in order.
#[derive(Default)]
pub(super) struct Window(VecDeque<Flight>);

impl Window {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many batches wait for an answer.
    pub(super) fn under_way(&self) -> usize {
        self.0.iter().filter(|flight| flight.answer.is_some()).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends `batch`, or only notes that the log was looked at up to `end`.
    pub(super) fn push(
        &mut self,
        end: Checkpoint,
        acked: Position,
        publisher: &Arc<dyn Publisher>,
        batch: Option<Batch>,
    ) {
        let sent = batch.iter().flat_map(|batch| &batch.messages);
        let sent = sent.map(|message| message.position).collect();
        let answer = batch.map(|batch| {
            let publisher = Arc::clone(publisher);
            tokio::spawn(async move { publisher.publish(&batch).await })
        });
        self.0.push_back(Flight { end, acked, sent, answer });
    }

    /// Waits for the oldest batch under way. Safe to drop: it is taken out only when it is done.
    pub(super) async fn landed(&mut self) -> Landed {
        let Some(flight) = self.0.front_mut() else { return std::future::pending().await };
        let answer = match &mut flight.answer {
            None => None,
            Some(handle) => Some(handle.await.unwrap_or_else(|error| {
                Err(PublishError::Unavailable {
                    target: "the publisher".to_owned(),
                    reason: error.to_string(),
                    retry_after: None,
                })
            })),
        };
        let sent = std::mem::take(&mut flight.sent);
        let landed = Landed { end: flight.end, acked: flight.acked, sent, answer };
        self.0.pop_front();
        landed
    }

    /// Waits for what is under way, so that nothing of it arrives after what follows.
    pub(super) async fn drain(&mut self) {
        while !self.is_empty() {
            self.landed().await;
        }
    }
}
