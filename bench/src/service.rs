//! A service that has nothing to do: its parts, in a process of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncline::{
    Consumer, Relay, Route, Stream, Verdict, handler_fn,
    saga::{Outcome, SagaBuilder, Sagas},
    transport::{Subscriber, in_process},
};
use tokio_util::sync::CancellationToken;

use crate::{
    floor::Floor,
    pipeline::{SOURCE, STREAM},
};

/// What a service runs of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    /// A relay with one route, which brings what there is to the service's own consumer.
    Relay,
    /// A consumer with its background work.
    Consumer,
    /// An engine of sagas with one definition.
    Sagas,
}

/// Runs the parts of a service over the database `url` until `end`.
pub(crate) async fn run<DB: Floor>(
    url: &str,
    parts: &[Part],
    end: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let pool = DB::open(url, 10).await?;
    let stop = CancellationToken::new();
    let (publisher, subscriber) = in_process::channel(16);
    let done = handler_fn(|_tx, _message| Box::pin(async { Ok(Verdict::Done) }));
    let consumer = Consumer::builder("service", pool.clone()).handler("*", done).build()?;
    let taking = tokio::spawn(Box::new(subscriber).run(Arc::new(consumer.clone()), stop.clone()));
    let relay = match parts.contains(&Part::Relay) {
        true => {
            let relay = Relay::builder(SOURCE, pool.clone())
                .stream(Stream::new(STREAM).topic("*"))
                .route(Route::new("service", STREAM, publisher));
            Some(relay.start().await?)
        }
        false => None,
    };
    let consumer = match parts.contains(&Part::Consumer) {
        true => Some(consumer.start().await?),
        false => None,
    };
    let sagas = match parts.contains(&Part::Sagas) {
        true => Some(engine(pool)?.run().await?),
        false => None,
    };
    let ended = end.await;
    if let Some(sagas) = sagas {
        sagas.stop().await;
    }
    if let Some(relay) = relay {
        relay.stop().await;
    }
    if let Some(consumer) = consumer {
        consumer.stop().await;
    }
    stop.cancel();
    taking.await??;
    ended
}

fn engine<DB: Floor>(pool: sqlx::Pool<DB>) -> anyhow::Result<Sagas<DB>> {
    let mut saga = SagaBuilder::<DB, String>::new("bench", 1);
    saga.local("only", (), |_tx, _call| Box::pin(async { Ok(Outcome::Done(())) })).pivot().add();
    Ok(Sagas::builder(SOURCE, pool).saga(saga.build()?).build()?)
}
