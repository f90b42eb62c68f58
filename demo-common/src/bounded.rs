//! Bodies of bounded size. All of a body is read before a handler runs, so that whatever is answered,
//! the client has sent what it wanted to send: to close a connection on which a client still writes
//! makes its system throw the answer away.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use tokio::sync::Semaphore;

use crate::Problem;

/// The largest body that is taken, in bytes.
pub(crate) const BODY: usize = 64 * 1024;
/// The time and the bytes for which a refused body is still read.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_BYTES: usize = 32 << 20;
/// Refused bodies that are read at once.
static LINGERING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(64)));

/// Reads a request's body before anything else is done; answers 413 to one that is too large, at once
/// where it says so itself.
pub(crate) async fn bounded(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match read(&parts.headers, body).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(problem) => problem.into_response(),
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced = announced.and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY as u64) {
        // A client that waits for `100 Continue` sends nothing, and to read would ask it to.
        return Err(match headers.contains_key(header::EXPECT) {
            true => too_large(),
            false => linger(body.into_data_stream(), too_large()),
        });
    }
    let (mut body, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "the body ended too early, or is malformed")
                .close()
        })?;
        if bytes.len() + chunk.len() > BODY {
            return Err(linger(body, too_large()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large() -> Problem {
    let detail = format!("the body has more than {BODY} bytes, the most that is taken");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).close()
}

/// Reads what is left of a refused body for a short time, beside the answer.
fn linger(mut body: BodyDataStream, problem: Problem) -> Problem {
    if let Ok(permit) = Arc::clone(&LINGERING).try_acquire_owned() {
        tokio::spawn(async move {
            let drain = async {
                let mut left = LINGER_BYTES;
                while let Some(Ok(chunk)) = body.next().await {
                    match left.checked_sub(chunk.len()) {
                        Some(less) => left = less,
                        None => break,
                    }
                }
            };
            // A client that takes longer is cut off.
            drop(tokio::time::timeout(LINGER, drain).await);
            drop(permit);
        });
    }
    problem
}
