//! The loop of a consumer that pulls: ask how far it is, get the next page, hand it over.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::FutureExt;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{FeedSubscriberBuilder, PullError, client::Pull, failure::Failure};
use crate::{
    backoff::Backoff,
    message::Batch,
    said::Said,
    transport::{Ack, Outcome, PullNote, Reached, Receive, SubscribeError, Subscriber, paused},
};

/// What a subscriber is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PullState {
    /// It asks, or waits for news.
    Pulling,
    /// The feed or the consumer failed or pauses; it waits and tries again.
    Backoff {
        /// So many failures in a row.
        failures: u32,
        /// The last one.
        error: String,
    },
    /// The feed or the consumer refuses: a token, a URL or a limit must be changed. It tries
    /// again now and then.
    Refused {
        /// What was said.
        error: String,
    },
    /// What was applied here is not in the source's log: one of the two databases was restored
    /// from a backup. It looks again now and then, and applies nothing.
    Diverged {
        /// What was found.
        error: String,
    },
    /// The source no longer keeps what is missing here: the consumer must start anew from a
    /// copy of the data. It looks again now and then.
    Trimmed {
        /// What was found.
        error: String,
    },
    /// It has ended.
    Stopped,
}

/// Tells what a [`FeedSubscriber`] is doing, while it runs and after.
#[derive(Debug, Clone)]
pub struct PullStatus(watch::Receiver<PullState>);

impl PullStatus {
    /// What it is doing now.
    pub fn state(&self) -> PullState {
        self.0.borrow().clone()
    }
}

/// Pulls one shard of a stream from a feed and hands it to a consumer.
///
/// Several processes of one consumer may pull at once: the inbox makes one effect of it.
pub struct FeedSubscriber {
    pull: Pull,
    max_backoff: Duration,
    state: watch::Sender<PullState>,
}

impl FeedSubscriber {
    /// Begins a subscriber of the feed at `url`: where the source's service nests the router of
    /// its [`FeedServer`](super::FeedServer).
    ///
    /// ```
    /// use syncline::transport::http_feed::{FeedSubscriber, Token};
    /// let token = Token::parse("synf_3q2-7wX1c0ffee0ddba11f00dfeedbeef")?;
    /// let build = |url: &str| {
    ///     FeedSubscriber::builder(url).source("/shop").stream("orders").token(token.clone()).build()
    /// };
    /// assert_eq!(build("http://127.0.0.1:8081/feed?x=1")?.target(), "http://127.0.0.1:8081/feed");
    /// assert!(build("http://user:password@localhost/").is_err());
    /// # Ok::<(), syncline::transport::http_feed::FeedConfigError>(())
    /// ```
    pub fn builder(url: impl Into<String>) -> FeedSubscriberBuilder {
        FeedSubscriberBuilder {
            url: url.into(),
            token: None,
            source: String::new(),
            stream: String::new(),
            shard: 0,
            topics: Vec::new(),
            wait: Duration::from_secs(25),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_page: 32 << 20,
            max_backoff: Duration::from_secs(30),
        }
    }

    pub(super) fn new(pull: Pull, max_backoff: Duration) -> Self {
        Self { pull, max_backoff, state: watch::Sender::new(PullState::Pulling) }
    }

    /// The feed's URL without its query: safe to log.
    pub fn target(&self) -> &str {
        &self.pull.target
    }

    /// What it is doing; ask before it is run.
    pub fn status(&self) -> PullStatus {
        PullStatus(self.state.subscribe())
    }
}

impl std::fmt::Debug for FeedSubscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeedSubscriber").field("pull", &self.pull).finish_non_exhaustive()
    }
}

/// The most messages in a page that is asked for when a whole one was too large; that many halves
/// lead to a single one.
const LARGE: u32 = 1 << 10;

/// Where a subscriber is, and what it asks for.
struct At {
    version: i32,
    /// None: the consumer is asked.
    place: Option<Reached>,
    /// The most messages in a page, while whole ones were too large.
    most: Option<u32>,
    /// How long the feed may wait for news, in whole seconds.
    wait: Duration,
}

/// A request that is cut off no later than this after its wait was cut off for waiting.
const NEAR: Duration = Duration::from_secs(1);

/// The wait that takes the place of one that was cut off after `cut`; none when it was cut off for
/// something else, or cannot be shorter.
fn shorter(wait: Duration, cut: Duration) -> Option<Duration> {
    let least = Duration::from_secs(1);
    if cut < least || cut > wait + NEAR || wait <= least {
        return None;
    }
    let most = (wait.as_secs() - 1).max(1);
    Some(Duration::from_secs((cut * 4 / 5).as_secs().clamp(1, most)))
}

/// How one turn went well.
enum Turn {
    /// A page was handed over, or there was nothing.
    Done,
    /// The consumer has all of this version of the stream.
    Closed { next: i32 },
}

#[async_trait]
impl Subscriber for FeedSubscriber {
    async fn run(
        self: Box<Self>,
        receiver: Arc<dyn Receive>,
        stop: CancellationToken,
    ) -> Result<(), SubscribeError> {
        let mut backoff = Backoff::of_target(self.max_backoff);
        let (mut failing, mut said) = (None, Said::default());
        // From the first version on: of those that are done it learns so at once.
        let mut at = At { version: 1, place: None, most: None, wait: self.pull.wait };
        while !stop.is_cancelled() {
            match self.turn(&*receiver, &mut at, &stop).await {
                Ok(Turn::Closed { next }) => (at.version, at.place) = (next, None),
                Ok(Turn::Done) => {
                    if let Some(since) = failing.take() {
                        self.goes_on(since, backoff.failures());
                        said.clear();
                    }
                    backoff.succeeded();
                    receiver.note_pull(&self.note(None));
                    self.tell(PullState::Pulling);
                }
                Err(failure) => {
                    failing.get_or_insert_with(Instant::now);
                    // The consumer may be back in an older version: its database was restored,
                    // or it is to apply again.
                    (at.version, at.place) = (1, None);
                    receiver.note_pull(&self.note(Some(&failure.error)));
                    let pause = self.failed(failure, &mut backoff, &mut said);
                    stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                }
            }
        }
        receiver.note_pull(&self.note(None));
        self.tell(PullState::Stopped);
        Ok(())
    }
}

impl FeedSubscriber {
    /// One page: asked for from `place`, and handed over.
    async fn turn(
        &self,
        receiver: &dyn Receive,
        at: &mut At,
        stop: &CancellationToken,
    ) -> Result<Turn, Failure> {
        let At { version, place, most, wait } = at;
        let (version, waits) = (*version, *wait);
        let mut began = Instant::now();
        let asked = stop.run_until_cancelled(async {
            let from = match *place {
                Some(place) => Some(place),
                None => receiver.reached(&self.pull.origin(version)).await?,
            };
            began = Instant::now();
            Ok::<_, Failure>((from, self.pull.page(version, from, *most, waits).await))
        });
        let Some(asked) = asked.await else { return Ok(Turn::Done) };
        let (from, page) = asked?;
        let batch = match page {
            Err(PullError::CutOff { reason, .. }) if shorter(waits, began.elapsed()).is_some() => {
                *wait = shorter(waits, began.elapsed()).unwrap_or(waits);
                let Pull { target, stream, shard, .. } = &self.pull;
                let (cut_after_seconds, wait_seconds) = (began.elapsed().as_secs(), wait.as_secs());
                tracing::info!(
                    target_url = target,
                    stream,
                    shard,
                    cut_after_seconds,
                    wait_seconds,
                    reason,
                    "something before the feed waits for less long: it is asked for a shorter wait"
                );
                return Ok(Turn::Done);
            }
            // Only onward, so that no answer leads in a circle.
            Err(PullError::Closed { next }) if next > version => {
                return Ok(Turn::Closed { next });
            }
            Err(PullError::TooLarge { .. }) if *most != Some(1) => {
                *most = Some(most.map_or(LARGE, |most| most / 2).max(1));
                return Ok(Turn::Done);
            }
            Err(error @ PullError::TooLarge { .. }) => {
                let after = from.map_or(0, |from| from.watermark.0);
                let error = format!(
                    "{error}, though it holds only the message that follows position {after}"
                );
                return Err(Failure::lasting(|error| PullState::Refused { error }, error));
            }
            page => page?,
        };
        // What follows may fit again.
        *most = most.map(|most| most.saturating_mul(2)).filter(|most| *most <= LARGE);
        let incarnation = batch.origin.incarnation;
        let early = began.elapsed() < waits / 2;
        let nothing = from.map_or(0, |from| from.watermark.0) == batch.through.0;
        // What was begun is finished, whatever is stopped meanwhile.
        let Ack { watermark, last, outcome } = hand_over(receiver, batch).await?;
        let reached = Reached { incarnation, watermark, last };
        let moved = from.is_none_or(|from| from != reached);
        *place = Some(reached);
        let none = Duration::ZERO;
        match outcome {
            Outcome::Paused { retry_after_ms, trouble } => {
                let pause = Duration::from_millis(retry_after_ms);
                Err(Failure::passing(paused(trouble), pause))
            }
            _ if moved => Ok(Turn::Done),
            Outcome::Complete if nothing && !early => Ok(Turn::Done),
            Outcome::Complete if nothing => {
                Err(Failure::passing("the feed answers at once, with nothing".to_owned(), none))
            }
            // It is told from where to go on, for its place says what it follows.
            Outcome::Incarnation { .. } => {
                *place = None;
                Err(Failure::passing("the source begins a new incarnation".to_owned(), none))
            }
            Outcome::Complete | Outcome::Gap => {
                let error = "the consumer asks again for what it was given".to_owned();
                Err(Failure::passing(error, none))
            }
        }
    }

    /// That pulling works, or why it does not.
    fn note<'a>(&'a self, error: Option<&'a str>) -> PullNote<'a> {
        let Pull { target, source, stream, shard, .. } = &self.pull;
        PullNote { target, source, stream, shard: *shard, error }
    }

    /// Tells of a failure; returns how long to wait.
    fn failed(&self, failure: Failure, backoff: &mut Backoff, said: &mut Said) -> Duration {
        let Failure { state, error, at_least, lasting } = failure;
        let pause = backoff.failed().max(at_least).min(self.max_backoff);
        let Pull { target, stream, shard, .. } = &self.pull;
        match said.is_news(&error) {
            true if lasting => {
                tracing::error!(target_url = target, stream, shard, error, "pulling stopped");
            }
            true => tracing::warn!(target_url = target, stream, shard, error, "pulling failed"),
            false => tracing::debug!(target_url = target, stream, shard, error, "pulling failed"),
        }
        self.tell(match state(error) {
            PullState::Backoff { error, .. } => {
                PullState::Backoff { failures: backoff.failures(), error }
            }
            other => other,
        });
        if lasting { self.max_backoff } else { pause }
    }

    /// Says once that it goes on.
    fn goes_on(&self, since: Instant, failures: u32) {
        let Pull { target, stream, shard, .. } = &self.pull;
        let stood_for_seconds = since.elapsed().as_secs_f64();
        tracing::info!(
            target_url = target,
            stream,
            shard,
            failures,
            stood_for_seconds,
            "pulling goes on"
        );
    }

    fn tell(&self, state: PullState) {
        self.state.send_if_modified(|before| {
            let changed = *before != state;
            *before = state;
            changed
        });
    }
}

async fn hand_over(receiver: &dyn Receive, batch: Batch) -> Result<Ack, Failure> {
    // A panic must not end the subscription: the next try may be good.
    match AssertUnwindSafe(receiver.receive(batch)).catch_unwind().await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Failure::passing("the consumer panicked".to_owned(), Duration::ZERO)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_cut_off_becomes_shorter_and_other_failures_leave_it() {
        let of = |wait: u64, cut_ms: u64| {
            let shorter = shorter(Duration::from_secs(wait), Duration::from_millis(cut_ms));
            shorter.map(|wait| wait.as_secs())
        };
        assert_eq!(of(25, 10_000), Some(8), "a proxy's limit of 10 s");
        assert_eq!(of(25, 25_500), Some(20), "one that is as long as the wait");
        assert_eq!((of(5, 6_000), of(2, 2_500)), (Some(4), Some(1)), "always shorter");
        assert_eq!(of(8, 10_000), None, "the feed itself does not answer");
        assert_eq!((of(25, 900), of(1, 1_000)), (None, None));
    }
}
