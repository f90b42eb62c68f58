//! The serving side of the HTTP feed: a router for the source's service.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Query, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{CLOSED, DIVERGED, Reader, TRIMMED, TokenHash};
use crate::{
    message::{BATCH_CONTENT_TYPE, Link, Position, TopicPattern, encode_batch},
    said::Places,
    transport::{
        Feed, FeedError, FeedPage, FeedRequest, PageSize,
        http::{Problem, Refused},
    },
};

/// The time for which a reader may keep a full page: what was erased is gone from caches then. After that
/// the tag tells whether it is still the same.
const FULL: &str = "private, max-age=3600";
/// Longer tokens are not even looked at.
const MAX_TOKEN: usize = 256;
/// The most patterns that a reader may ask for.
const MAX_TOPICS: usize = 64;

/// Serves a [`Feed`] to readers with tokens; see the [module](super) for its requests and
/// answers.
#[derive(Clone)]
pub struct FeedServer {
    feed: Arc<dyn Feed>,
    readers: Vec<Reader>,
    limits: Limits,
    stop: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    wait: Duration,
    size: PageSize,
    all: usize,
    each: usize,
}

impl FeedServer {
    /// Serves `feed`, which a relay's [`feed`](crate::RelayHandle::feed) makes; refuses everybody
    /// until there is a [reader](Self::reader).
    pub fn new(feed: Arc<dyn Feed>) -> Self {
        let limits = Limits {
            wait: Duration::from_secs(30),
            size: PageSize { messages: 2_000, bytes: 4 << 20 },
            all: 128,
            each: 32,
        };
        Self { feed, readers: Vec::new(), limits, stop: CancellationToken::new() }
    }

    /// Lets a reader in.
    #[must_use]
    pub fn reader(mut self, reader: Reader) -> Self {
        self.readers.push(reader);
        self
    }

    /// Ends the requests that wait for news when `stop` is cancelled, so that the service need
    /// not wait for them.
    #[must_use]
    pub fn stop(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// The longest time that a request may wait for news (30 seconds, which is also the most).
    #[must_use]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.limits.wait = wait.min(Duration::from_secs(30));
        self
    }

    /// The largest page: so many messages, and bytes of payload (2,000 and 4 MiB unless changed;
    /// no more than the relay's own batches have).
    #[must_use]
    pub fn max_page(mut self, messages: u32, bytes: usize) -> Self {
        self.limits.size = PageSize { messages, bytes };
        self
    }

    /// How many requests are worked on or wait for news at once: in all (128 unless changed),
    /// and for each token (32). Any more are told to come again.
    #[must_use]
    pub fn max_concurrency(mut self, all: usize, each: usize) -> Self {
        let bounded = |requests: usize| requests.clamp(1, Semaphore::MAX_PERMITS);
        (self.limits.all, self.limits.each) = (bounded(all), bounded(each));
        self
    }

    /// The router: `GET /{stream}/{shard}`. Nest it where you like:
    /// `app.nest("/feed", feed.router())`. It needs no state of yours, so it nests into a router with or
    /// without one, before or after `with_state`.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let mut desks: Vec<Desk> = Vec::new();
        for reader in self.readers {
            let known = desks.iter().find(|desk| desk.reader.token.is(&reader.token));
            let each = self.limits.each;
            let working =
                known.map_or_else(|| Arc::new(Semaphore::new(each)), |d| d.working.clone());
            desks.push(Desk { reader, working });
        }
        let working = Semaphore::new(self.limits.all);
        let Self { feed, limits, stop, .. } = self;
        let refused = Refused::default();
        let shared = Shared { feed, desks, limits, stop, working, refused };
        Router::new()
            .route("/{stream}/{shard}", get(page).fallback(only_get))
            .fallback(not_found)
            .with_state(Arc::new(shared))
    }
}

impl fmt::Debug for FeedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedServer")
            .field("readers", &self.readers)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

struct Shared {
    feed: Arc<dyn Feed>,
    desks: Vec<Desk>,
    limits: Limits,
    stop: CancellationToken,
    working: Semaphore,
    refused: Refused,
}

/// A reader, and how many of its token's requests may be served still.
struct Desk {
    reader: Reader,
    working: Arc<Semaphore>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    version: Option<i32>,
    #[serde(default)]
    after: i64,
    #[serde(default)]
    last: i64,
    #[serde(default)]
    lastid: Uuid,
    incarnation: Option<Uuid>,
    #[serde(default)]
    wait: u64,
    #[serde(default)]
    topics: String,
    messages: Option<u32>,
}

async fn only_get() -> impl IntoResponse {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "a feed is read with GET");
    ([(header::ALLOW, "GET, HEAD")], problem)
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "a feed is read at GET /{stream}/{shard}")
}

async fn page(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, i32)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let problem = match shared.answer(path, &uri, &headers).await {
        Ok(response) => return response,
        Err(problem) => problem,
    };
    let status = problem.status;
    shared.refused.log(&problem, "a feed was not served");
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

impl Shared {
    async fn answer(
        &self,
        path: Result<Path<(String, i32)>, PathRejection>,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        // First who asks: nobody else learns anything.
        let desks = self.known(headers)?;
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
        let Path((stream, shard)) = path.map_err(|rejection| bad(rejection.body_text()))?;
        let Some(desk) = desks.into_iter().find(|desk| desk.reader.stream == stream) else {
            let detail = "this token may not read this stream";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        };
        let Query(parameters) =
            Query::<Parameters>::try_from_uri(uri).map_err(|error| bad(error.body_text()))?;
        let request = self.request(desk, stream, shard, parameters).map_err(bad)?;
        let later = |status, detail| Problem::new(status, detail).retry_after(1);
        let Ok(_own) = desk.working.try_acquire() else {
            let detail = "as many requests as one token may make at once are being served";
            return Err(later(StatusCode::TOO_MANY_REQUESTS, detail));
        };
        let Ok(_any) = self.working.try_acquire() else {
            let detail = "as many requests as this feed allows are being served";
            return Err(later(StatusCode::SERVICE_UNAVAILABLE, detail));
        };
        let asked = self.stop.run_until_cancelled(self.feed.page(request)).await;
        let Some(answer) = asked else {
            let detail = "the feed is stopping; ask again";
            return Err(later(StatusCode::SERVICE_UNAVAILABLE, detail));
        };
        let page = answer.map_err(refusal)?;
        // A large page takes a while to write: on a thread where that delays nobody.
        let written = tokio::task::spawn_blocking(move || write(&page)).await;
        let (body, tag) = written.unwrap_or(None).ok_or_else(|| {
            let detail = "the page cannot be written: a payload in the log that says it is JSON \
                          is not";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        })?;
        Ok(respond(body, tag, headers))
    }

    /// The streams of the token that was sent.
    fn known(&self, headers: &HeaderMap) -> Result<Vec<&Desk>, Problem> {
        let unauthorized = |detail| Problem::new(StatusCode::UNAUTHORIZED, detail);
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (sent.next(), sent.next()) else {
            return Err(unauthorized("send one header `Authorization: Bearer TOKEN`"));
        };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let Some(token) = token.filter(|token| token.len() <= MAX_TOKEN) else {
            return Err(unauthorized("send the token as `Authorization: Bearer TOKEN`"));
        };
        let token = TokenHash::of(token);
        // All of them are compared, whichever it is.
        let desks: Vec<_> = self.desks.iter().filter(|desk| desk.reader.token.is(&token)).collect();
        match desks.is_empty() {
            true => Err(unauthorized("this feed knows no such token")),
            false => Ok(desks),
        }
    }

    fn request(
        &self,
        desk: &Desk,
        stream: String,
        shard: i32,
        parameters: Parameters,
    ) -> Result<FeedRequest, String> {
        let Parameters { version, after, last, lastid, incarnation, wait, topics, messages } =
            parameters;
        if after < 0 || !(0..=after).contains(&last) || (last == 0 && !lastid.is_nil()) {
            return Err("`after` is a position from 0 on, `last` and `lastid` name a message at \
                        or below it, or are left out when there is none"
                .to_owned());
        }
        let wanted: Vec<_> =
            topics.split(',').filter(|topic| !topic.is_empty()).map(TopicPattern::from).collect();
        if wanted.len() > MAX_TOPICS {
            return Err(format!("`topics` has more than {MAX_TOPICS} patterns"));
        }
        let Limits { size, wait: longest, .. } = self.limits;
        let messages = messages.unwrap_or(size.messages).min(size.messages);
        Ok(FeedRequest {
            stream,
            version: version.unwrap_or(1),
            shard,
            incarnation,
            after: Position(after),
            last: Link { position: Position(last), id: lastid },
            allowed: desk.reader.topics.clone(),
            wanted,
            most: PageSize { messages, ..size },
            wait: Duration::from_secs(wait).min(longest),
        })
    }
}

/// Lines about a database that readers ask in vain.
static SAID: Places = Places::new();

fn refusal(error: FeedError) -> Problem {
    let detail = error.to_string();
    let conflict = |kind, more| Problem::new(StatusCode::CONFLICT, detail.clone()).kind(kind, more);
    match error {
        FeedError::Unknown { .. } => Problem::new(StatusCode::NOT_FOUND, detail),
        FeedError::Closed { next } => conflict(CLOSED, Some(("version", next.to_string()))),
        FeedError::Diverged(_) => conflict(DIVERGED, None),
        FeedError::Trimmed(detail) => Problem::new(StatusCode::GONE, detail).kind(TRIMMED, None),
        FeedError::Unavailable(error) => {
            if let Some(left_out) = SAID.admit("read", &error.to_string()) {
                tracing::error!(%error, left_out, "the log could not be read for a feed");
            }
            let detail = "the source's database did not answer as it should (its log says more)";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1)
        }
    }
}

/// The body, and for a full page its tag.
fn write(page: &FeedPage) -> Option<(Vec<u8>, Option<String>)> {
    let body = match encode_batch(&page.batch) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            return None;
        }
    };
    let tag = page.full.then(|| {
        let hex: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\"{hex}\"")
    });
    Some((body, tag))
}

fn respond(body: Vec<u8>, tag: Option<String>, headers: &HeaderMap) -> Response {
    let kind = [(header::CONTENT_TYPE, BATCH_CONTENT_TYPE), (header::VARY, "authorization")];
    let Some(tag) = tag else {
        return (kind, [(header::CACHE_CONTROL, "no-store")], body).into_response();
    };
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.split(',').any(|known| known.trim() == tag || known.trim() == "*")
    });
    let kept = [(header::CACHE_CONTROL, FULL.to_owned()), (header::ETAG, tag)];
    match known {
        true => (StatusCode::NOT_MODIFIED, [(header::VARY, "authorization")], kept).into_response(),
        false => (kind, kept, body).into_response(),
    }
}
