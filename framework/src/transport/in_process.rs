//! In process: a bounded channel between a relay and a consumer that run in one program.
//!
//! ```
//! use std::sync::Arc;
//! use syncline::transport::{Publisher, Receive, Subscriber, in_process};
//! use tokio_util::sync::CancellationToken;
//!
//! async fn connect(consumer: Arc<dyn Receive>, stop: CancellationToken) -> impl Publisher {
//!     let (publisher, subscriber) = in_process::channel(16);
//!     tokio::spawn(Box::new(subscriber).run(consumer, stop));
//!     publisher // goes into a route
//! }
//! ```

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Ack, PublishError, Publisher, Receive, ReceiveError, SubscribeError, Subscriber};
use crate::message::Batch;

const TARGET: &str = "the consumer in this process";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A channel that holds at most `capacity` batches (at least one) that nobody has taken yet.
/// The publisher waits while it is full, and for the answer: 30 seconds in all, unless
/// [`InProcessPublisher::timeout`] says otherwise.
pub fn channel(capacity: usize) -> (InProcessPublisher, InProcessSubscriber) {
    let (sender, waiting) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
    (InProcessPublisher { sender, timeout: TIMEOUT }, InProcessSubscriber { waiting })
}

type Answer = Result<Ack, PublishError>;

struct Delivery {
    batch: Batch,
    answer: oneshot::Sender<Answer>,
}

/// The sending end; made by [`channel`]. Clones send into the same channel.
#[derive(Debug, Clone)]
pub struct InProcessPublisher {
    sender: mpsc::Sender<Delivery>,
    timeout: Duration,
}

impl InProcessPublisher {
    /// Sets how long a publish may take. The relay's own limit,
    /// [`RelayOptions::publish_within`](crate::relay::RelayOptions::publish_within), holds as well.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn hand_over(&self, batch: &Batch) -> Answer {
        let (answer, answered) = oneshot::channel();
        let delivery = Delivery { batch: batch.clone(), answer };
        self.sender.send(delivery).await.map_err(|_| stopped())?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

#[async_trait]
impl Publisher for InProcessPublisher {
    async fn publish(&self, batch: &Batch) -> Answer {
        let timeout = PublishError::Timeout { target: TARGET.to_owned(), limit: self.timeout };
        tokio::time::timeout(self.timeout, self.hand_over(batch)).await.unwrap_or(Err(timeout))
    }
}

/// The receiving end; made by [`channel`].
#[derive(Debug)]
pub struct InProcessSubscriber {
    waiting: mpsc::Receiver<Delivery>,
}

#[async_trait]
impl Subscriber for InProcessSubscriber {
    async fn run(
        mut self: Box<Self>,
        receiver: Arc<dyn Receive>,
        stop: CancellationToken,
    ) -> Result<(), SubscribeError> {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                next = self.waiting.recv() => next,
            };
            // Batches that were not begun are dropped with the channel: their publishers
            // get an error.
            let Some(Delivery { batch, answer }) = next else { return Ok(()) };
            // The publisher gave up while the batch was waiting, and will send it again.
            if answer.is_closed() {
                continue;
            }
            // A panic must not end the subscription: the next batches may be good.
            let received = AssertUnwindSafe(receiver.receive(batch)).catch_unwind().await;
            let result = match received {
                Ok(Ok(ack)) => Ok(ack),
                Ok(Err(ReceiveError::Refused(reason))) => {
                    Err(PublishError::Refused { target: TARGET.to_owned(), reason })
                }
                Ok(Err(error)) => Err(unavailable(error.to_string())),
                Err(_) => Err(unavailable("it panicked".to_owned())),
            };
            // Nobody may be waiting any more; then the batch comes again.
            let _ = answer.send(result);
        }
    }
}

fn unavailable(reason: String) -> PublishError {
    PublishError::Unavailable { target: TARGET.to_owned(), reason, retry_after: None }
}

fn stopped() -> PublishError {
    unavailable("its subscriber has stopped".to_owned())
}
