//! The sending side of HTTP push.

use std::{fmt, ops::Range, time::Duration};

use async_trait::async_trait;
use axum::http::{HeaderValue, header};
use chrono::Utc;
use futures::{FutureExt, future::BoxFuture};
use reqwest::{Client, Url};

use super::{
    ID_HEADER, PushConfigError, SIGNATURE_HEADER, SOURCE_HEADER, STREAM_HEADER, Secret,
    TIMESTAMP_HEADER,
    answer::{self, Answer},
};
use crate::{
    message::{BATCH_CONTENT_TYPE, Batch, encode_batch},
    transport::{Ack, Outcome, PublishError, Publisher, http::client},
};

/// Sets up a [`PushPublisher`]; made by [`PushPublisher::builder`].
#[must_use]
pub struct PushPublisherBuilder {
    url: String,
    secrets: Vec<Secret>,
    timeout: Duration,
    connect_timeout: Duration,
    max_body: usize,
}

impl PushPublisherBuilder {
    /// Adds a secret to sign with; needed at least once. While a secret is being replaced,
    /// give both: the receiver accepts either signature.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Limit on a whole publish (30 seconds unless changed). The relay's own limit,
    /// [`RelayOptions::publish_within`](crate::relay::RelayOptions::publish_within), holds as well.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long connecting may take (5 seconds unless changed).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The largest body to send, in bytes (8 MiB unless changed); a larger batch is sent in
    /// parts. No more than the receiver's own limit.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Checks the configuration; connects to nothing.
    ///
    /// # Errors
    /// [`PushConfigError`] says what is wrong; its text holds neither the URL nor a secret.
    pub fn build(self) -> Result<PushPublisher, PushConfigError> {
        let url = client::target(&self.url)?;
        if self.secrets.is_empty() {
            return Err(PushConfigError::NoSecret);
        }
        for (what, zero) in [
            ("the time limit", self.timeout.is_zero()),
            ("the time limit of connecting", self.connect_timeout.is_zero()),
            ("the largest body", self.max_body == 0),
        ] {
            if zero {
                return Err(PushConfigError::Limit(what));
            }
        }
        let client = client::client(&url, self.connect_timeout)?;
        Ok(PushPublisher {
            client,
            target: client::name(&url),
            url,
            secrets: self.secrets,
            timeout: self.timeout,
            max_body: self.max_body,
        })
    }
}

impl fmt::Debug for PushPublisherBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: nothing of it has been checked yet.
        f.debug_struct("PushPublisherBuilder")
            .field("timeout", &self.timeout)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}

/// Sends batches to one [`PushReceiver`](super::PushReceiver). Connections are kept alive.
pub struct PushPublisher {
    client: Client,
    url: Url,
    target: String,
    secrets: Vec<Secret>,
    timeout: Duration,
    max_body: usize,
}

impl PushPublisher {
    /// Begins a publisher that POSTs to `url`, which must be `http` or `https`, without a user
    /// name or password.
    ///
    /// ```
    /// use syncline::transport::http_push::{PushPublisher, Secret};
    /// let secret = || Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    /// let build = |url| PushPublisher::builder(url).secret(secret()?).build();
    /// assert!(build("http://localhost:8081/syncline").is_ok());
    /// assert!(build("ftp://localhost/").is_err());
    /// assert!(build("http://user:password@localhost/").is_err());
    /// # Ok::<(), syncline::transport::http_push::PushConfigError>(())
    /// ```
    pub fn builder(url: impl Into<String>) -> PushPublisherBuilder {
        PushPublisherBuilder {
            url: url.into(),
            secrets: Vec::new(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_body: 8 << 20,
        }
    }

    /// The target's URL without its query: safe to log.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Sends some messages of `batch`; in halves, one after the other, when they are too
    /// large together. `done` is the answer to the last part that was taken.
    fn send<'a>(
        &'a self,
        batch: &'a Batch,
        range: Range<usize>,
        done: &'a mut Option<Ack>,
    ) -> BoxFuture<'a, Result<Ack, PublishError>> {
        async move {
            let whole = range.len() == batch.messages.len();
            let answer = match whole {
                true => self.send_one(batch).await?,
                false => self.send_one(&part(batch, &range)).await?,
            };
            match answer {
                Answer::Ack(ack) => {
                    *done = Some(ack);
                    Ok(ack)
                }
                Answer::TooLarge(_) if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    let ack = self.send(batch, range.start..middle, done).await?;
                    match ack.outcome {
                        Outcome::Complete => self.send(batch, middle..range.end, done).await,
                        _ => Ok(ack),
                    }
                }
                Answer::TooLarge(reason) | Answer::Refused(reason) => Err(self.refused(reason)),
                Answer::Unavailable(reason, retry_after) => {
                    Err(self.unavailable(reason, retry_after))
                }
            }
        }
        .boxed()
    }

    async fn send_one(&self, batch: &Batch) -> Result<Answer, PublishError> {
        let body = match encode_batch(batch) {
            Ok(body) => body,
            Err(error) => return Ok(Answer::Refused(format!("it cannot be written: {error}"))),
        };
        if body.len() > self.max_body {
            let (bytes, limit) = (body.len(), self.max_body);
            return Ok(Answer::TooLarge(format!(
                "the body has {bytes} bytes; this publisher sends at most {limit} (max_body)"
            )));
        }
        // Signed afresh for each try, since the receiver refuses old signatures; the id stays.
        let id =
            format!("msg_{}_{}_{}", batch.last.id.simple(), batch.prev().position, batch.through);
        let timestamp = Utc::now().timestamp();
        let sign = |secret: &Secret| secret.sign(&id, timestamp, &body);
        let signatures = self.secrets.iter().map(sign).collect::<Vec<_>>().join(" ");
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_static(BATCH_CONTENT_TYPE))
            .header(SOURCE_HEADER, &batch.origin.source)
            .header(STREAM_HEADER, &batch.origin.stream)
            .header(ID_HEADER, id)
            .header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, signatures)
            .body(body);
        match request.send().await {
            Ok(response) => answer::read(response).await.map_err(|error| self.failed(error)),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: reqwest::Error) -> PublishError {
        self.unavailable(client::explain(error), None)
    }

    fn unavailable(&self, reason: String, retry_after: Option<Duration>) -> PublishError {
        PublishError::Unavailable { target: self.target.clone(), reason, retry_after }
    }

    fn refused(&self, reason: String) -> PublishError {
        PublishError::Refused { target: self.target.clone(), reason }
    }
}

impl fmt::Debug for PushPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushPublisher")
            .field("target", &self.target)
            .field("timeout", &self.timeout)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Publisher for PushPublisher {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        let mut done = None;
        let send = self.send(batch, 0..batch.messages.len(), &mut done);
        let sent = tokio::time::timeout(self.timeout, send).await.unwrap_or_else(|_| {
            Err(PublishError::Timeout { target: self.target.clone(), limit: self.timeout })
        });
        // The parts before the one that failed were taken: the sender goes on after them.
        sent.or_else(|error| done.ok_or(error))
    }
}

/// Consecutive messages of `batch` as a batch of their own.
fn part(batch: &Batch, range: &Range<usize>) -> Batch {
    let messages = batch.messages[range.clone()].to_vec();
    let (through, last) = match messages.last() {
        Some(message) if range.end < batch.messages.len() => (message.position, message.link()),
        _ => (batch.through, batch.last),
    };
    let (origin, handover) = (batch.origin.clone(), batch.handover.clone());
    let continues = batch.continues.clone();
    Batch { origin, messages, through, last, handover, continues }
}
