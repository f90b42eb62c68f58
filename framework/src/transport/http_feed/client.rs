//! One request to a feed, and what its answer means.

use std::{fmt, time::Duration};

use axum::http::{HeaderValue, StatusCode, header};
use reqwest::{Client, Url};
use uuid::Uuid;

use super::{
    FeedConfigError, FeedSubscriber, Token,
    failure::{MAX_PROBLEM, refusal, unavailable},
};
use crate::{
    message::{
        BATCH_CONTENT_TYPE, Batch, Link, Origin, Position, TopicPattern, check_source,
        check_stream, decode_batch,
    },
    transport::{
        Reached,
        http::{TargetError, client, media_type, read_body},
    },
};

/// Why a feed gave no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The feed could not be reached, did not answer in time, or cannot serve now.
    #[error("the feed is unavailable: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
        /// How long the feed asked to be left alone, if it did.
        retry_after: Option<Duration>,
    },
    /// Something between here and the feed, such as a proxy, ended the request before there were news:
    /// it waits for less long than the request did. A shorter wait is asked for.
    #[error("the feed is unavailable: {reason}")]
    CutOff {
        /// What happened.
        reason: String,
        /// How long the answer asked to be left alone, if it did.
        retry_after: Option<Duration>,
    },
    /// The feed refuses, or its answer is not a page of the stream: asking the same again will
    /// not help until somebody changes a token, a URL or a limit.
    #[error("the feed cannot be used: {0}")]
    Refused(String),
    /// The page is larger than is read here: a smaller one is asked for.
    #[error(
        "the feed cannot be used: its page has more than {most} bytes, of which no more are read (max_page)"
    )]
    TooLarge {
        /// The largest page that is read, in bytes.
        most: usize,
    },
    /// The next version of the stream goes on.
    #[error("this version of the stream is at its end; version {next} goes on")]
    Closed {
        /// The version that goes on.
        next: i32,
    },
    /// What was applied here is not in the source's log: one of the two databases was restored.
    #[error("the logs differ: {0}")]
    Diverged(String),
    /// The source no longer keeps what is missing here.
    #[error("the log was trimmed: {0}")]
    Trimmed(String),
}

/// Sets up a [`FeedSubscriber`]; made by [`FeedSubscriber::builder`].
#[must_use]
#[derive(Clone)]
pub struct FeedSubscriberBuilder {
    pub(super) url: String,
    pub(super) token: Option<Token>,
    pub(super) source: String,
    pub(super) stream: String,
    pub(super) shard: i32,
    pub(super) topics: Vec<TopicPattern>,
    pub(super) wait: Duration,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) max_page: usize,
    pub(super) max_backoff: Duration,
}

impl FeedSubscriberBuilder {
    /// The token that the feed's reader is bound to; needed.
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// The source whose messages the feed serves; needed. Those of another one are refused.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// The stream; needed.
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = stream.into();
        self
    }

    /// The stream's shard (0 unless set): a subscriber pulls one.
    pub fn shard(mut self, shard: i32) -> Self {
        self.shard = shard;
        self
    }

    /// Asks only for a topic, or a prefix (`user.*`); all that the token may read unless set.
    /// What a consumer does not ask for counts as done, also when it asks for more later.
    pub fn topic(mut self, topic: impl Into<TopicPattern>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// How long the feed may wait for news before it answers without (25 seconds unless set; 1
    /// to 30, in whole seconds). Behind a proxy with a shorter limit it becomes shorter by itself.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How long a request may take beside that (30 seconds unless set).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long connecting may take (5 seconds unless set).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The largest page that is read, in bytes (32 MiB unless set).
    pub fn max_page(mut self, bytes: usize) -> Self {
        self.max_page = bytes;
        self
    }

    /// The longest pause after failures (30 seconds unless set).
    pub fn max_backoff(mut self, pause: Duration) -> Self {
        self.max_backoff = pause;
        self
    }

    /// Checks the configuration; connects to nothing.
    ///
    /// # Errors
    /// [`FeedConfigError`] says what is wrong; its text holds neither the URL nor the token.
    pub fn build(self) -> Result<FeedSubscriber, FeedConfigError> {
        let mut url = client::target(&self.url)?;
        check_source(&self.source)?;
        check_stream(&self.stream)?;
        let Some(token) = self.token else { return Err(FeedConfigError::NoToken) };
        if let Some(problem) = self.topics.iter().find_map(TopicPattern::problem) {
            return Err(FeedConfigError::Topic(problem));
        }
        if !(1..=30).contains(&self.wait.as_secs()) {
            return Err(FeedConfigError::Limit("the feed may wait for 1 to 30 seconds"));
        }
        let times = [self.timeout, self.connect_timeout, self.max_backoff];
        if self.max_page == 0 || self.shard < 0 || times.iter().any(Duration::is_zero) {
            let limit = "the time limits, the longest pause and the largest page must be more \
                         than zero, and shards count from 0";
            return Err(FeedConfigError::Limit(limit));
        }
        let target = client::name(&url);
        let shard = self.shard.to_string();
        match url.path_segments_mut() {
            Ok(mut path) => drop(path.pop_if_empty().extend([self.stream.as_str(), &shard])),
            Err(()) => return Err(TargetError::Url("it cannot have a path".to_owned()).into()),
        }
        let topics: Vec<_> = self.topics.iter().map(TopicPattern::as_str).collect();
        let pull = Pull {
            client: client::client(&url, self.connect_timeout)?,
            url,
            target,
            token,
            source: self.source,
            stream: self.stream,
            shard: self.shard,
            topics: topics.join(","),
            wait: self.wait,
            timeout: self.timeout,
            max_page: self.max_page,
        };
        Ok(FeedSubscriber::new(pull, self.max_backoff))
    }
}

impl fmt::Debug for FeedSubscriberBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: nothing of it has been checked yet.
        f.debug_struct("FeedSubscriberBuilder")
            .field("source", &self.source)
            .field("stream", &self.stream)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

/// What it takes to ask for a page.
pub(super) struct Pull {
    client: Client,
    url: Url,
    pub(super) target: String,
    token: Token,
    pub(super) source: String,
    pub(super) stream: String,
    pub(super) shard: i32,
    topics: String,
    pub(super) wait: Duration,
    timeout: Duration,
    max_page: usize,
}

impl Pull {
    /// Where the pages of `version` come from, in whatever incarnation.
    pub(super) fn origin(&self, version: i32) -> Origin {
        Origin {
            source: self.source.clone(),
            incarnation: Uuid::nil(),
            stream: self.stream.clone(),
            version,
            shard: self.shard,
        }
    }

    /// Asks for what follows `place`; waits for news if there is nothing.
    /// `most` is the number of the log's messages that it spans at the most; `wait` is in whole
    /// seconds.
    pub(super) async fn page(
        &self,
        version: i32,
        place: Option<Reached>,
        most: Option<u32>,
        wait: Duration,
    ) -> Result<Batch, PullError> {
        let limit = wait + self.timeout;
        let asked = self.ask(version, place, most, wait);
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| {
            Err(unavailable(format!("it did not answer within {limit:?}"), None))
        })
    }

    async fn ask(
        &self,
        version: i32,
        place: Option<Reached>,
        most: Option<u32>,
        wait: Duration,
    ) -> Result<Batch, PullError> {
        let failed = |error| unavailable(client::explain(error), None);
        // A connection that ends without an answer may have rested for too long.
        let unanswered = |error: reqwest::Error| match error.is_connect() {
            true => failed(error),
            false => PullError::CutOff { reason: client::explain(error), retry_after: None },
        };
        let request = self.request(version, place, most, wait)?;
        let mut response = request.send().await.map_err(unanswered)?;
        if response.status() != StatusCode::OK {
            let body = read_body(&mut response, MAX_PROBLEM).await.map_err(failed)?;
            return Err(refusal(&response, &self.without_token(body)));
        }
        let headers = response.headers();
        let encoded = headers.get(header::CONTENT_ENCODING).is_some_and(|e| e != "identity");
        if media_type(headers) != BATCH_CONTENT_TYPE || encoded {
            let reason = "it did not answer with a page; is this the URL of a Syncline feed?";
            return Err(PullError::Refused(reason.to_owned()));
        }
        let body = read_body(&mut response, self.max_page).await.map_err(failed)?;
        if body.len() > self.max_page {
            return Err(PullError::TooLarge { most: self.max_page });
        }
        let batch = tokio::task::spawn_blocking(move || decode_batch(&body)).await;
        match batch {
            Ok(Ok(batch)) => self.check(version, place, batch),
            Ok(Err(error)) => Err(PullError::Refused(format!("its page is broken: {error}"))),
            Err(error) => Err(unavailable(format!("reading the page failed: {error}"), None)),
        }
    }

    /// An answer may say what it was asked with, and goes into logs and rows.
    fn without_token(&self, body: Vec<u8>) -> Vec<u8> {
        match String::from_utf8_lossy(&body) {
            text if text.contains(self.token.as_str()) => {
                text.replace(self.token.as_str(), "(the token)").into_bytes()
            }
            _ => body,
        }
    }

    fn request(
        &self,
        version: i32,
        place: Option<Reached>,
        most: Option<u32>,
        wait: Duration,
    ) -> Result<reqwest::RequestBuilder, PullError> {
        let mut url = self.url.clone();
        let after = place.map_or(Position::START, |place| place.watermark);
        let last = place.map_or(Link::START, |place| place.last);
        let mut query = url.query_pairs_mut();
        query.append_pair("version", &version.to_string());
        query.append_pair("after", &after.to_string());
        if last != Link::START {
            query.append_pair("last", &last.position.to_string());
            query.append_pair("lastid", &last.id.to_string());
        }
        if let Some(place) = place {
            query.append_pair("incarnation", &place.incarnation.to_string());
        }
        if !self.topics.is_empty() {
            query.append_pair("topics", &self.topics);
        }
        if let Some(most) = most {
            query.append_pair("messages", &most.to_string());
        }
        query.append_pair("wait", &wait.as_secs().to_string());
        drop(query);
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.token.as_str()))
            .map_err(|_| PullError::Refused("its token cannot be sent".to_owned()))?;
        bearer.set_sensitive(true);
        Ok(self.client.get(url).header(header::AUTHORIZATION, bearer))
    }

    /// A feed speaks for its own stream, and goes on where it was asked to.
    fn check(
        &self,
        version: i32,
        place: Option<Reached>,
        batch: Batch,
    ) -> Result<Batch, PullError> {
        let origin = &batch.origin;
        if origin.source != self.source
            || origin.stream != self.stream
            || origin.shard != self.shard
            || origin.version != version
        {
            let reason = "its page is of another source, stream or shard than was asked for";
            return Err(PullError::Refused(reason.to_owned()));
        }
        if let Some(place) = place
            && (batch.through < place.watermark || place.incarnation != origin.incarnation)
            // A new incarnation may go back to where both agree.
            && batch.continues.as_deref().is_none_or(|told| told.former != place.incarnation)
        {
            let reason = "its page is of another incarnation and does not continue yours, or ends \
                          before the place that was asked for";
            return Err(PullError::Refused(reason.to_owned()));
        }
        Ok(batch)
    }
}

impl fmt::Debug for Pull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pull").field("target", &self.target).finish_non_exhaustive()
    }
}
