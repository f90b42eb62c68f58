//! The receiving side of HTTP push: a router for the consumer's service.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::{Bytes, BytesMut};
use chrono::Utc;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::{
    Principal, SOURCE_HEADER, STREAM_HEADER, foreign,
    reply::respond,
    sign::{Signed, only},
};
use crate::{
    message::{BATCH_CONTENT_TYPE, Batch, decode_batch},
    transport::{
        Ack, Receive, ReceiveError,
        http::{Problem, media_type},
    },
};

/// How long a refused body is still read, so that the sender sees the answer instead of a
/// broken connection.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 32 << 20;
/// Larger bodies are verified and decoded on a thread where that delays nobody.
const OFFLOAD: usize = 256 * 1024;
/// What is set aside for a body before any of it has arrived.
const FIRST_BUFFER: usize = 1 << 20;

/// Takes signed batches in and hands them to a consumer; see the [module](super) for its
/// answers.
///
/// What was handed to the consumer is finished even if the sender goes away meanwhile.
#[derive(Clone)]
pub struct PushReceiver {
    pub(super) receiver: Arc<dyn Receive>,
    pub(super) principals: Vec<Principal>,
    limits: Limits,
    begun: TaskTracker,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    body: usize,
    concurrency: usize,
    read: Duration,
    process: Duration,
    tolerance: Duration,
}

impl PushReceiver {
    /// Hands batches to `receiver`; refuses all of them until there is a
    /// [principal](Self::principal).
    pub fn new(receiver: Arc<dyn Receive>) -> Self {
        let limits = Limits {
            body: 16 << 20,
            concurrency: 16,
            read: Duration::from_secs(10),
            process: Duration::from_secs(20),
            tolerance: Duration::from_secs(300),
        };
        Self { receiver, principals: Vec::new(), limits, begun: TaskTracker::new() }
    }

    /// Accepts this source and stream, signed with one of these secrets. Of two principals
    /// with one source and stream both are accepted.
    #[must_use]
    pub fn principal(mut self, principal: Principal) -> Self {
        self.principals.push(principal);
        self
    }

    /// The largest body, in bytes (16 MiB unless changed).
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.limits.body = bytes;
        self
    }

    /// How many requests are worked on at once (16 unless changed); any more get 503. With
    /// the largest body this bounds the memory.
    #[must_use]
    pub fn max_concurrency(mut self, requests: usize) -> Self {
        self.limits.concurrency = requests.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How long a body may take to arrive (10 seconds unless changed).
    #[must_use]
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.limits.read = timeout;
        self
    }

    /// How long the consumer may take until the sender is told to come again (20 seconds
    /// unless changed). What it has begun is finished nevertheless. Stay below the
    /// publisher's own time limit.
    #[must_use]
    pub fn process_timeout(mut self, timeout: Duration) -> Self {
        self.limits.process = timeout;
        self
    }

    /// How far the time of signing may be from this machine's clock, either way (5 minutes
    /// unless changed).
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.limits.tolerance = tolerance;
        self
    }

    /// The router: `POST /`, and `POST /foreign` for plain CloudEvents. Nest it where you like:
    /// `app.nest("/syncline", push.router())`.
    pub fn router(self) -> Router {
        let concurrency = self.limits.concurrency;
        let state = Arc::new(Shared {
            push: self,
            working: Arc::new(Semaphore::new(concurrency)),
            lingering: Arc::new(Semaphore::new(concurrency)),
        });
        Router::new()
            .route("/", post(take_in).fallback(only_post))
            .route("/foreign", post(foreign::take_in).fallback(only_post))
            .with_state(state)
    }

    /// What was handed to the consumer and may not be finished yet.
    pub(super) fn begun(&self) -> TaskTracker {
        self.begun.clone()
    }
}

impl fmt::Debug for PushReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushReceiver")
            .field("principals", &self.principals)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

pub(super) struct Shared {
    pub(super) push: PushReceiver,
    working: Arc<Semaphore>,
    lingering: Arc<Semaphore>,
}

async fn only_post() -> impl IntoResponse {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "batches are sent with POST");
    ([(header::ALLOW, "POST")], problem)
}

async fn take_in(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    respond(shared.answer(&parts.headers, body).await)
}

impl Shared {
    async fn answer(self: &Arc<Self>, headers: &HeaderMap, body: Body) -> Result<Ack, Problem> {
        let body = body.into_data_stream();
        let permit = match self.permit() {
            Ok(permit) => permit,
            Err(problem) => return Err(self.linger(body, problem)),
        };
        let (expected, signed) = match self.announced(headers) {
            Ok(announced) => announced,
            Err(problem) => return Err(self.linger(body, problem)),
        };
        let body = self.read(headers, body).await?;
        let shared = Arc::clone(self);
        let batch = match body.len() > OFFLOAD {
            false => shared.open(&expected, &signed, &body),
            true => tokio::task::spawn_blocking(move || shared.open(&expected, &signed, &body))
                .await
                .unwrap_or_else(|_| Err(failed("decoding the batch"))),
        }?;
        let receiver = Arc::clone(&self.push.receiver);
        self.hand_over(async move { receiver.receive(batch).await }, permit).await
    }

    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.working).try_acquire_owned().map_err(|_| {
            let detail = "as many batches as this receiver allows are being worked on";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1)
        })
    }

    /// Everything that can be told before the body is read: whose batch it says it is.
    fn announced(&self, headers: &HeaderMap) -> Result<(Expected, Signed), Problem> {
        if media_type(headers) != BATCH_CONTENT_TYPE {
            let detail = format!("the content type must be {BATCH_CONTENT_TYPE}");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        self.acceptable(headers)?;
        let unauthorized = |detail: String| Problem::new(StatusCode::UNAUTHORIZED, detail);
        let source = only(headers, SOURCE_HEADER).map_err(unauthorized)?;
        let stream = only(headers, STREAM_HEADER).map_err(unauthorized)?;
        let signed = Signed::read(headers).map_err(unauthorized)?;
        let expected = Expected { source: source.to_owned(), stream: stream.to_owned() };
        if !self.push.principals.iter().any(|principal| expected.is(principal)) {
            return Err(unauthorized(format!(
                "no secret of this receiver is bound to the source and stream that \
                 {SOURCE_HEADER} and {STREAM_HEADER} name"
            )));
        }
        self.on_time(&signed)?;
        Ok((expected, signed))
    }

    /// What is refused whoever sends it.
    pub(super) fn acceptable(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            let detail = "compressed bodies are not taken: send it without Content-Encoding";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        if announced_length(headers).is_some_and(|length| length > self.push.limits.body as u64) {
            return Err(self.too_large());
        }
        Ok(())
    }

    pub(super) fn on_time(&self, signed: &Signed) -> Result<(), Problem> {
        let tolerance = self.push.limits.tolerance;
        if let Some(off) = signed.off_by(Utc::now().timestamp(), tolerance) {
            let detail = format!(
                "the time of signing is {off} s from this machine's clock; at most {} s are \
                 allowed: sign again, or set the clocks",
                tolerance.as_secs()
            );
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        }
        Ok(())
    }

    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        mut body: BodyDataStream,
    ) -> Result<Bytes, Problem> {
        let Limits { body: limit, read: time, .. } = self.push.limits;
        let expected = announced_length(headers).unwrap_or(0).min(FIRST_BUFFER as u64);
        let mut bytes = BytesMut::with_capacity(expected as usize);
        let all = async {
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|_| {
                    Problem::new(StatusCode::BAD_REQUEST, "the body ended too early").close()
                })?;
                if bytes.len() + chunk.len() > limit {
                    return Ok(false);
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(true)
        };
        match tokio::time::timeout(time, all).await {
            Ok(Ok(true)) => Ok(bytes.freeze()),
            Ok(Ok(false)) => Err(self.linger(body, self.too_large())),
            Ok(Err(problem)) => Err(problem),
            Err(_) => {
                let detail = format!("the body did not arrive within {time:?}");
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail).close())
            }
        }
    }

    /// Verifies the signature first, and parses only what a known principal has signed.
    fn open(&self, expected: &Expected, signed: &Signed, body: &[u8]) -> Result<Batch, Problem> {
        let mut principals = self.push.principals.iter().filter(|p| expected.is(p));
        if !principals.any(|principal| signed.is_by(&principal.secrets, body)) {
            let detail = "the signature is by none of the secrets that are bound to this source \
                          and stream, or the body was changed on its way";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        }
        let batch = decode_batch(body)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        if batch.origin.source != expected.source || batch.origin.stream != expected.stream {
            let detail = "the batch is of another source or stream than the ones that its secret \
                          is bound to";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(batch)
    }

    pub(super) async fn hand_over(
        &self,
        work: impl Future<Output = Result<Ack, ReceiveError>> + Send + 'static,
        permit: OwnedSemaphorePermit,
    ) -> Result<Ack, Problem> {
        // A task of its own: the server drops this future when the sender hangs up, and a
        // database transaction must not be dropped half way.
        let task = self.push.begun.spawn(async move {
            let result = work.await;
            drop(permit);
            result
        });
        let limit = self.push.limits.process;
        match tokio::time::timeout(limit, task).await {
            Ok(Ok(Ok(ack))) => Ok(ack),
            Ok(Ok(Err(ReceiveError::Refused(reason)))) => {
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason))
            }
            Ok(Ok(Err(error @ ReceiveError::Busy { .. }))) => {
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
                Err(problem.retry_after(1))
            }
            Ok(Ok(Err(error))) => {
                tracing::error!(%error, "the consumer could not take a batch in");
                let detail = "the consumer's database did not answer as it should (its log says \
                              more); nothing is acknowledged";
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1))
            }
            Ok(Err(_)) => Err(failed("the consumer")),
            Err(_) => {
                let detail = format!("the batch was not done within {limit:?}; send it again");
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1))
            }
        }
    }

    fn too_large(&self) -> Problem {
        let detail = format!(
            "the body has more than {} bytes, the most that this receiver takes",
            self.push.limits.body
        );
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// Reads what is left of a refused body for a short time: closing the connection while
    /// the sender still writes would lose the answer.
    pub(super) fn linger(&self, mut body: BodyDataStream, problem: Problem) -> Problem {
        let mut left = LINGER_BYTES;
        if let Ok(permit) = Arc::clone(&self.lingering).try_acquire_owned() {
            tokio::spawn(async move {
                let drain = async {
                    while let Some(Ok(chunk)) = body.next().await {
                        match left.checked_sub(chunk.len()) {
                            Some(less) => left = less,
                            None => break,
                        }
                    }
                };
                let _ = tokio::time::timeout(LINGER, drain).await;
                drop(permit);
            });
        }
        problem.close()
    }
}

/// Whose batch it must be.
struct Expected {
    source: String,
    stream: String,
}

impl Expected {
    fn is(&self, principal: &Principal) -> bool {
        !principal.foreign && self.source == principal.source && self.stream == principal.stream
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn failed(what: &str) -> Problem {
    tracing::error!("{what} panicked");
    let detail = format!("{what} failed unexpectedly; nothing is acknowledged");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}
