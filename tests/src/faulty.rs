//! A transport that loses, doubles and delays batches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use syncline::{
    message::Batch,
    transport::{Ack, Outcome, PublishError, Publisher},
};

/// Loses, doubles and delays so many of a thousand batches each, and says on standard output
/// what it did.
pub struct Faulty<P> {
    inner: Arc<P>,
    per_mille: u64,
    random: AtomicU64,
}

impl<P: Publisher> Faulty<P> {
    /// Around `inner`.
    pub fn new(inner: P, per_mille: u64, seed: u64) -> Self {
        Self { inner: Arc::new(inner), per_mille, random: AtomicU64::new(seed) }
    }

    fn below(&self, most: u64) -> u64 {
        // SplitMix64: any spread will do.
        let mut z = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % most
    }

    async fn lose(&self, batch: &Batch) -> Result<Ack, PublishError> {
        println!("lost");
        match self.below(3) {
            // On its way there.
            0 => {}
            // The answer, on its way back.
            1 => drop(self.inner.publish(batch).await),
            // As a broker does that said it had stored it.
            _ if !batch.messages.is_empty() => {
                println!("silently");
                let (watermark, last) = (batch.through, batch.last);
                return Ok(Ack { watermark, last, outcome: Outcome::Complete });
            }
            _ => {}
        }
        let (target, limit) = ("the faulty transport".to_owned(), Duration::ZERO);
        Err(PublishError::Timeout { target, limit })
    }
}

#[async_trait]
impl<P: Publisher> Publisher for Faulty<P> {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        let fault = self.below(1_000).checked_div(self.per_mille);
        match fault {
            Some(0) => self.lose(batch).await,
            Some(1) => {
                println!("doubled");
                // One beside the other, and one more when others have long overtaken it.
                let (late, copy) = (Arc::clone(&self.inner), batch.clone());
                let pause = Duration::from_millis(50 + self.below(1_500));
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    drop(late.publish(&copy).await);
                });
                tokio::join!(self.inner.publish(batch), self.inner.publish(batch)).1
            }
            Some(2) => {
                println!("delayed");
                // Those that are sent after it come before it.
                tokio::time::sleep(Duration::from_millis(20 + self.below(200))).await;
                self.inner.publish(batch).await
            }
            _ => self.inner.publish(batch).await,
        }
    }
}
