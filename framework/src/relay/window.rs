//! The batches of a sender that are under way.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
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
    sent: Option<Arc<Batch>>,
    /// None where there was nothing of the stream: there is nothing to send.
    answer: Option<JoinHandle<Result<Ack, PublishError>>>,
}

/// A flight that came to its end.
pub(super) struct Landed {
    /// The checkpoint once all of it is acknowledged.
    pub(super) end: Checkpoint,
    /// What was acknowledged when it was sent: its answer knows of no more.
    pub(super) acked: Position,
    /// The batch, where there was something to send.
    pub(super) sent: Option<Arc<Batch>>,
    /// None where there was nothing to send.
    pub(super) answer: Option<Result<Ack, PublishError>>,
}

/// The batches under way, in order.
pub(super) struct Window {
    flights: VecDeque<Flight>,
    /// Limit on a publisher's answer to one.
    limit: Duration,
}

impl Window {
    pub(super) fn new(limit: Duration) -> Self {
        Self { flights: VecDeque::new(), limit }
    }

    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// How many batches wait for an answer.
    pub(super) fn under_way(&self) -> usize {
        self.flights.iter().filter(|flight| flight.answer.is_some()).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Sends `batch`, or only notes that the log was looked at up to `end`.
    pub(super) fn push(
        &mut self,
        end: Checkpoint,
        acked: Position,
        publisher: &Arc<dyn Publisher>,
        batch: Option<Batch>,
    ) {
        let sent = batch.map(Arc::new);
        let answer = sent.clone().map(|batch| {
            let (publisher, limit) = (Arc::clone(publisher), self.limit);
            let publish = AssertUnwindSafe(async move {
                let late = |_| {
                    let target = "the publisher, which has no shorter limit of its own,".to_owned();
                    Err(PublishError::Timeout { target, limit })
                };
                tokio::time::timeout(limit, publisher.publish(&batch)).await.unwrap_or_else(late)
            });
            let mut publish = Box::pin(publish.catch_unwind());
            // Begun here and not in its task, which may run after that of the next batch: whoever
            // takes one batch at a time would wait for the one that stands behind it.
            let begun = publish.as_mut().now_or_never();
            tokio::spawn(async move {
                let done = match begun {
                    Some(done) => done,
                    None => publish.await,
                };
                done.unwrap_or_else(|panic| resume_unwind(panic))
            })
        });
        self.flights.push_back(Flight { end, acked, sent, answer });
    }

    /// Waits for the oldest batch under way. Safe to drop: it is taken out only when it is done.
    pub(super) async fn landed(&mut self) -> Landed {
        let Some(flight) = self.flights.front_mut() else { return std::future::pending().await };
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
        let sent = flight.sent.take();
        let landed = Landed { end: flight.end, acked: flight.acked, sent, answer };
        self.flights.pop_front();
        landed
    }

    /// Waits for what is under way, so that nothing of it arrives after what follows.
    pub(super) async fn drain(&mut self) {
        while !self.is_empty() {
            self.landed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use async_trait::async_trait;
    use uuid::Uuid;

    use super::*;
    use crate::{
        message::{Link, Origin},
        transport::Outcome,
    };

    /// Notes in which order batches begin.
    #[derive(Default)]
    struct Begun(Mutex<Vec<Position>>);

    #[async_trait]
    impl Publisher for Begun {
        async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch.through);
            Ok(Ack { watermark: batch.through, last: Link::START, outcome: Outcome::Complete })
        }
    }

    #[tokio::test]
    async fn batches_begin_in_the_order_in_which_they_are_pushed() {
        let begun = Arc::new(Begun::default());
        let publisher = Arc::clone(&begun) as Arc<dyn Publisher>;
        let origin = Arc::new(Origin {
            source: "/a".to_owned(),
            incarnation: Uuid::nil(),
            stream: "all".to_owned(),
            version: 1,
            shard: 0,
        });
        let mut window = Window::new(Duration::from_secs(60));
        for through in [1, 2, 3].map(Position) {
            let (origin, last) = (Arc::clone(&origin), Link::START);
            let (messages, handover, continues) = Default::default();
            let batch = Batch { origin, messages, through, last, handover, continues };
            window.push(Checkpoint::default(), Position::START, &publisher, Some(batch));
        }
        // No task has run yet.
        let all = begun.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(all, [1, 2, 3].map(Position));
        window.drain().await;
    }
}
