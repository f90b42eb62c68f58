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
    use tokio::sync::Notify;
    use uuid::Uuid;

    use super::*;
    use crate::{
        message::{Link, Origin},
        transport::Outcome,
    };

    const LIMIT: Duration = Duration::from_secs(60);

    /// Notes in which order batches begin; the first one waits for another, if it is told so.
    #[derive(Default)]
    struct Begun {
        order: Mutex<Vec<Position>>,
        first_waits: Option<Notify>,
    }

    #[async_trait]
    impl Publisher for Begun {
        async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
            self.order.lock().unwrap_or_else(PoisonError::into_inner).push(batch.through);
            match &self.first_waits {
                Some(other) if batch.through == Position(1) => other.notified().await,
                Some(other) => other.notify_one(),
                None => {}
            }
            Ok(Ack { watermark: batch.through, last: Link::START, outcome: Outcome::Complete })
        }
    }

    /// Panics at batch 1, and never answers to another.
    struct Broken;

    #[async_trait]
    impl Publisher for Broken {
        async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
            assert_ne!(batch.through, Position(1), "it panics as it was told to");
            std::future::pending().await
        }
    }

    fn push(window: &mut Window, publisher: &Arc<dyn Publisher>, through: i64) {
        let origin = Arc::new(Origin {
            source: "/a".to_owned(),
            incarnation: Uuid::nil(),
            stream: "all".to_owned(),
            version: 1,
            shard: 0,
        });
        let (messages, handover, continues) = Default::default();
        let (through, last) = (Position(through), Link::START);
        let batch = Batch { origin, messages, through, last, handover, continues };
        window.push(Checkpoint::default(), Position::START, publisher, Some(batch));
    }

    #[tokio::test]
    async fn batches_begin_in_the_order_in_which_they_are_pushed() {
        let begun = Arc::new(Begun::default());
        let publisher = Arc::clone(&begun) as Arc<dyn Publisher>;
        let mut window = Window::new(LIMIT);
        for through in [1, 2, 3] {
            push(&mut window, &publisher, through);
        }
        // No task has run yet.
        let all = begun.order.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(all, [1, 2, 3].map(Position));
        window.drain().await;
        assert!(window.is_empty());
    }

    #[tokio::test]
    async fn batches_land_in_the_order_in_which_they_were_pushed() {
        let begun = Begun { first_waits: Some(Notify::new()), ..Begun::default() };
        let publisher = Arc::new(begun) as Arc<dyn Publisher>;
        let mut window = Window::new(LIMIT);
        push(&mut window, &publisher, 1);
        // The waiting for it is given up, and the batch is not.
        assert!(window.landed().now_or_never().is_none());
        assert_eq!((window.len(), window.under_way()), (1, 1));
        push(&mut window, &publisher, 2);
        for through in [1, 2].map(Position) {
            let landed = window.landed().await;
            assert_eq!(landed.sent.map(|batch| batch.through), Some(through));
            let answer = landed.answer.expect("it was sent").expect("an answer");
            assert_eq!(answer.watermark, through);
        }
        assert!(window.is_empty());
    }

    #[tokio::test]
    async fn where_there_is_nothing_to_send_nothing_is_under_way() {
        let publisher = Arc::new(Broken) as Arc<dyn Publisher>;
        let mut window = Window::new(LIMIT);
        let end = Checkpoint {
            last: Link { position: Position(7), id: Uuid::nil() },
            ..Checkpoint::default()
        };
        window.push(end, Position(3), &publisher, None);
        assert_eq!((window.len(), window.under_way()), (1, 0));
        let landed = window.landed().await;
        assert_eq!((landed.end, landed.acked), (end, Position(3)));
        assert!(landed.sent.is_none() && landed.answer.is_none() && window.is_empty());
    }

    #[tokio::test]
    async fn a_publisher_that_panics_or_never_answers_has_failed() {
        let publisher = Arc::new(Broken) as Arc<dyn Publisher>;
        let limit = Duration::from_millis(1);
        let mut window = Window::new(limit);
        for through in [1, 2] {
            push(&mut window, &publisher, through);
        }
        let panicked = window.landed().await.answer.expect("it was sent");
        assert!(matches!(panicked, Err(PublishError::Unavailable { .. })), "{panicked:?}");
        let late = tokio::time::timeout(LIMIT / 3, window.landed()).await.expect("it is given up");
        let late = late.answer.expect("it was sent");
        assert!(
            matches!(&late, Err(PublishError::Timeout { limit: after, .. }) if *after == limit),
            "{late:?}"
        );
    }
}
