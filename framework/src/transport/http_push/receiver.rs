//! The receiving side of HTTP push: a router for the consumer's service.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::Utc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::{
    Principal, SOURCE_HEADER, STREAM_HEADER, foreign,
    reading::Reading,
    reply::respond,
    sign::{Signed, only},
};
use crate::{
    logs,
    message::{BATCH_CONTENT_TYPE, Batch, decode_batch},
    said::Places,
    transport::{
        Ack, Receive, ReceiveError,
        http::{Problem, Refused, media_type, peer},
        refused_by,
    },
};

/// Larger bodies are verified and decoded on a thread where that delays nobody.
const OFFLOAD: usize = 256 * 1024;
/// No more of a name that a stranger claims is repeated than this, in characters.
const MAX_NAME: usize = 80;

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

    /// The largest body, in bytes (16 MiB unless changed). Of bodies that nobody has verified yet there
    /// are at most twice as many bytes in memory, and once as many of one address; of principals that
    /// have verified from that address before, four times as many and twice of one.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.limits.body = bytes;
        self
    }

    /// How many verified requests are worked on at once (16 unless changed); any more get 503. With
    /// the largest body this bounds the memory. Bodies that are not verified yet take no place of
    /// these: when too many arrive at once, the slowest one makes room.
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

    /// The router: `POST /`, and with a [foreign](Principal::foreign) principal `POST /foreign` for
    /// plain CloudEvents. Nest it where you like: `app.nest("/syncline", push.router())`, and serve it
    /// by [`serve`](super::serve), which bounds connections and tells the clients' addresses.
    ///
    /// It needs no state of yours, so it nests into a router with or without one:
    ///
    /// ```
    /// use axum::{Router, extract::State, routing::get};
    /// use syncline::transport::http_push::PushReceiver;
    /// #[derive(Clone)]
    /// struct App { name: &'static str }
    /// fn app(push: PushReceiver) -> Router {
    ///     Router::new()
    ///         .route("/name", get(async |State(app): State<App>| app.name))
    ///         .nest("/syncline", push.router())
    ///         .with_state(App { name: "orders" })
    /// }
    /// ```
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let Limits { body, concurrency, read, .. } = self.limits;
        let foreign = self.principals.iter().any(|principal| principal.foreign);
        let state = Arc::new(Shared {
            push: self,
            working: Arc::new(Semaphore::new(concurrency)),
            reading: Reading::new(body, read, concurrency),
            refused: Refused::default(),
        });
        let router = Router::new().route("/", post(take_in).fallback(only_post));
        let router = match foreign {
            true => router.route("/foreign", post(foreign::take_in).fallback(only_post)),
            false => router,
        };
        router.with_state(state)
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
    pub(super) reading: Reading,
    pub(super) refused: Refused,
}

async fn only_post() -> impl IntoResponse {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "batches are sent with POST");
    ([(header::ALLOW, "POST")], problem)
}

async fn take_in(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    respond(shared.answer(&parts.headers, peer(&parts), body).await, &shared.refused)
}

impl Shared {
    async fn answer(
        self: &Arc<Self>,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        body: Body,
    ) -> Result<Ack, Problem> {
        let body = body.into_data_stream();
        let announced = self.announced(headers).and_then(|announced| {
            self.is_free()?;
            Ok(announced)
        });
        let (expected, signed) = match announced {
            Ok(announced) => announced,
            Err(problem) => return Err(self.reading.linger(body, problem)),
        };
        let may = |principal: usize| expected.is(&self.push.principals[principal]);
        let body = self.reading.read(headers, body, peer, may).await?;
        let shared = Arc::clone(self);
        let (principal, batch) = match body.bytes.len() > OFFLOAD {
            false => shared.open(&expected, &signed, &body.bytes),
            true => {
                tokio::task::spawn_blocking(move || shared.open(&expected, &signed, &body.bytes))
                    .await
                    .unwrap_or_else(|_| Err(failed("decoding the batch")))
            }
        }?;
        self.reading.has_verified(principal, peer);
        let permit = self.permit()?;
        let receiver = Arc::clone(&self.push.receiver);
        self.hand_over(async move { receiver.receive(batch).await }, permit).await
    }

    /// Whether what is verified would be worked on now: else its body need not be read.
    pub(super) fn is_free(&self) -> Result<(), Problem> {
        if self.working.available_permits() == 0 { Err(full()) } else { Ok(()) }
    }

    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.working).try_acquire_owned().map_err(|_| full())
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
        let expected = Expected { source: source.to_owned(), stream: stream.to_owned() };
        let signed = Signed::read(headers).map_err(|detail| expected.unauthorized(&detail))?;
        if !self.push.principals.iter().any(|principal| expected.is(principal)) {
            let detail = format!(
                "no secret of this receiver is bound to the source and stream that \
                 {SOURCE_HEADER} and {STREAM_HEADER} name"
            );
            return Err(expected.unauthorized(&detail).logged_as("unknown principals"));
        }
        self.on_time(&signed)
            .map_err(|detail| expected.unauthorized(&detail).logged_as("clocks"))?;
        Ok((expected, signed))
    }

    /// What is refused whoever sends it.
    pub(super) fn acceptable(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            let detail = "compressed bodies are not taken: send it without Content-Encoding";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        self.reading.fits(headers)
    }

    /// Whether it was signed at about this time, by this machine's clock; else what is wrong.
    pub(super) fn on_time(&self, signed: &Signed) -> Result<(), String> {
        let tolerance = self.push.limits.tolerance;
        match signed.off_by(Utc::now().timestamp(), tolerance) {
            None => Ok(()),
            Some(off) => Err(format!(
                "the time of signing is {off} s from this machine's clock; at most {} s are \
                 allowed: sign again, or set the clocks",
                tolerance.as_secs()
            )),
        }
    }

    /// Verifies the signature first, and parses only what a known principal has signed; which one, by
    /// its place in the list.
    fn open(
        &self,
        expected: &Expected,
        signed: &Signed,
        body: &[u8],
    ) -> Result<(usize, Batch), Problem> {
        let by =
            self.push.principals.iter().position(|principal| {
                expected.is(principal) && signed.is_by(&principal.secrets, body)
            });
        let Some(by) = by else {
            let detail = "the signature is by none of the secrets that are bound to this source \
                          and stream, or the body was changed on its way";
            return Err(expected.unauthorized(detail).logged_as("signatures"));
        };
        let batch = decode_batch(body)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        if batch.origin.source != expected.source || batch.origin.stream != expected.stream {
            let detail = "the batch is of another source or stream than the ones that its secret \
                          is bound to";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        let (shard, shards) = (batch.origin.shard, self.push.principals[by].shards);
        if !(0..shards).contains(&shard) {
            let detail = format!(
                "the batch is of shard {shard}, and stream {:?} has {shards} of them, from 0 on, as \
                 far as this receiver was told: set Principal::shards there if it has more",
                expected.stream
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).logged_as("shards"));
        }
        Ok((by, batch))
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
                if let Some(left_out) = SAID.admit("receive", &error.to_string()) {
                    tracing::error!(%error, left_out, "the consumer could not take a batch in");
                }
                let why = match &error {
                    ReceiveError::Storage(error) => refused_by(error.trouble()),
                    _ => "the consumer failed".to_owned(),
                };
                let detail = format!("{why} (its log says more); nothing is acknowledged");
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1))
            }
            Ok(Err(_)) => Err(failed("the consumer")),
            Err(_) => {
                let detail = format!("the batch was not done within {limit:?}; send it again");
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1))
            }
        }
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

    /// A refusal that names whose batch it was said to be.
    fn unauthorized(&self, detail: &str) -> Problem {
        let [source, stream] = [&self.source, &self.stream].map(|name| logs::cut(name, MAX_NAME));
        let detail = format!("{detail} (sent as source {source:?}, stream {stream:?})");
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }
}

/// Lines about a database that batches are sent to in vain.
static SAID: Places = Places::new();

fn full() -> Problem {
    let detail = "as many batches as this receiver allows are being worked on";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1).logged_as("full")
}

fn failed(what: &str) -> Problem {
    tracing::error!("{what} panicked");
    let detail = format!("{what} failed unexpectedly; nothing is acknowledged");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}
