//! How messages pass between the two services: pushed by the one, or pulled by the other.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use syncline::{
    RelayHandle,
    transport::{
        Receive, Subscriber,
        http_feed::{FeedServer, FeedSubscriber, Reader},
        http_push::{Principal, PushPublisher, PushReceiver},
    },
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Config, stop_soon};

/// The longest pause of a subscriber whose feed is away: a demo is watched.
const PULL_BACKOFF: Duration = Duration::from_secs(1);

/// Publishes to the other service, unless that one pulls.
///
/// # Errors
/// A URL or a secret that cannot be used.
pub fn push_to(config: &Config) -> anyhow::Result<Option<PushPublisher>> {
    let Some(url) = &config.peer_url else { return Ok(None) };
    let secret = config.secret_out.as_ref().context("SECRET_OUT is missing")?;
    let publisher = PushPublisher::builder(url)
        .secret(secret.parse("SECRET_OUT")?)
        .timeout(Duration::from_secs(30))
        .build();
    publisher.map(Some).context("PEER_URL")
}

/// Serves what the relay knows of `topics` of `stream` to the other service; nothing without a
/// token for it. Requests that wait for news end with `stop`.
///
/// # Errors
/// A token or names that are not of the allowed form.
pub fn feed_of(
    config: &Config,
    relay: &RelayHandle,
    stream: &str,
    topics: &[&str],
    stop: CancellationToken,
) -> anyhow::Result<Router> {
    let Some(token) = &config.feed_token else { return Ok(Router::new()) };
    let reader = Reader::new(&token.parse("FEED_TOKEN")?, stream, topics.iter().copied())?;
    Ok(FeedServer::new(relay.feed()).reader(reader).stop(stop).router())
}

/// How a service takes in a stream of the other one.
#[derive(Debug)]
pub struct Intake {
    /// Where it is pushed to; has no endpoint when it pulls.
    pub router: Router,
    pulling: Vec<JoinHandle<()>>,
}

impl Intake {
    /// Takes in `shards` shards of `stream` of `source`: by pulling each until `stop` where
    /// there is a feed, else by push.
    ///
    /// # Errors
    /// A URL, a secret, a token or names that cannot be used.
    pub fn start(
        config: &Config,
        (source, stream): (&str, &str),
        shards: i32,
        consumer: Arc<dyn Receive>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let Some(url) = &config.peer_feed else {
            let secret = config.secret_in.as_ref().context("SECRET_IN is missing")?;
            let principal =
                Principal::new(source, stream, [secret.parse("SECRET_IN")?])?.shards(shards);
            let router = PushReceiver::new(consumer).principal(principal).router();
            return Ok(Self { router, pulling: Vec::new() });
        };
        let token = config.peer_token.as_ref().context("PEER_TOKEN is missing")?;
        let token = token.parse("PEER_TOKEN")?;
        let mut pulling = Vec::new();
        for shard in 0..shards {
            let subscriber = FeedSubscriber::builder(url)
                .source(source)
                .stream(stream)
                .shard(shard)
                .token(token.clone())
                .max_backoff(PULL_BACKOFF)
                .build()
                .context("PEER_FEED")?;
            let (consumer, stop) = (Arc::clone(&consumer), stop.clone());
            pulling.push(tokio::spawn(async move {
                if let Err(error) = Box::new(subscriber).run(consumer, stop).await {
                    tracing::error!(%error, shard, "pulling ended");
                }
            }));
        }
        Ok(Self { router: Router::new(), pulling })
    }

    /// Waits until what was begun is finished, but not for long.
    pub async fn stopped(self) {
        for pulling in self.pulling {
            stop_soon(async { drop(pulling.await) }).await;
        }
    }
}
