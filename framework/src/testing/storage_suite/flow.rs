//! How a relay keeps its consumer busy: what goes together, and what is read ahead.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sqlx::Pool;
use tokio::sync::Semaphore;

use super::{
    support::{Behaviour, Direct, commit, effects, eventually, message, sealer},
    way::{consumer, effect, relay},
};
use crate::{
    Relay, Route, Storage, Stream,
    message::Batch,
    transport::{Ack, PublishError, Publisher},
};

/// Notes how many messages each batch has, and lets as many through as it is told. What only asks goes
/// through.
struct Gate<DB: Storage>(Direct<DB>, Arc<Semaphore>, Arc<Mutex<Vec<usize>>>);

#[async_trait]
impl<DB: Storage> Publisher for Gate<DB> {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        if !batch.messages.is_empty() {
            self.2.lock().expect("lock").push(batch.messages.len());
            self.1.acquire().await.expect("it is open").forget();
        }
        self.0.publish(batch).await
    }
}

pub(super) async fn what_comes_while_two_batches_are_under_way_goes_together<DB: Storage>(
    pool: Pool<DB>,
) {
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let (gate, sizes) = (Arc::new(Semaphore::new(1)), Arc::<Mutex<Vec<usize>>>::default());
    let gated = Gate(Direct(consumer), Arc::clone(&gate), Arc::clone(&sizes));
    let relay = relay(&pool, gated).await;
    for n in 0..13 {
        commit(&pool, &[message("in", "a", n)]).await;
        let sealed = async || {
            let begun = sizes.lock().expect("lock").len() as i64 > n.min(2);
            let head = DB::head(&pool).await.ok()?;
            (begun && head.0 > n).then_some(())
        };
        eventually("the message is sealed, and sent if it is one of the first", sealed).await;
    }
    gate.add_permits(100);
    let through = async || {
        let lags = DB::route_lags(&pool).await.expect("lags");
        (lags[0].position == DB::head(&pool).await.ok()?).then_some(())
    };
    eventually("the checkpoint reaches the head", through).await;
    relay.stop().await;
    let sizes = sizes.lock().expect("lock").clone();
    assert_eq!(sizes[..3], [1, 1, 1]);
    // The last one may have been sealed and not yet told.
    assert!(sizes[3..].len() <= 2, "{sizes:?}");
    let lease = sealer(&pool).await;
    let expected: Vec<_> = (0..13).map(|n| effect("a", n)).collect();
    assert_eq!(effects(&pool, &lease).await, expected);
}

pub(super) async fn one_page_is_read_ahead_of_what_is_sent<DB: Storage>(pool: Pool<DB>) {
    // More than come with their seal.
    let all: Vec<_> = (0..100).map(|n| message("in", "a", n)).collect();
    commit(&pool, &all).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let (gate, sizes) = (Arc::new(Semaphore::new(0)), Arc::<Mutex<Vec<usize>>>::default());
    let gated = Gate(Direct(consumer), Arc::clone(&gate), Arc::clone(&sizes));
    let relay = Relay::builder("/suite", pool.clone())
        .stream(Stream::new("s").topic("in"))
        .route(Route::new("r", "s", gated))
        // The window is open as soon as the consumer has said where it is.
        .options(|options| (options.batch_messages, options.window) = (10, 1))
        .start()
        .await
        .expect("the relay starts");
    let begun = || sizes.lock().expect("lock").len();
    let ahead = async || (relay.pages_read() >= 2 && begun() > 0).then_some(());
    eventually("the second page is read while the first one waits", ahead).await;
    assert_eq!((relay.pages_read(), begun()), (2, 1));
    gate.add_permits(100);
    let through = async || {
        let lags = DB::route_lags(&pool).await.expect("lags");
        (lags[0].position.0 >= 100).then_some(())
    };
    eventually("all is sent", through).await;
    relay.stop().await;
}
