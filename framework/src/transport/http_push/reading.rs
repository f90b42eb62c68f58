//! Reading bodies that nobody has verified yet: within limits of time, bytes and places.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::BodyDataStream,
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::Semaphore;

use super::room::{Place, Room, Size};
use crate::transport::http::Problem;

/// How long a refused body is still read, so that the sender sees the answer instead of a
/// broken connection.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 32 << 20;
/// The size of the pieces in which a body is kept until all of it is there.
const PIECE: usize = 64 * 1024;
/// Bodies of senders that have not verified yet, in all and of one address.
const STRANGERS: (usize, usize) = (64, 16);
/// The most pairs of a principal and an address that are known.
const KNOWN: usize = 1_024;

/// A principal, by its place in the receiver's list, at an address.
type Regular = (usize, Option<IpAddr>);

/// What is read at once. A principal that has verified from an address has room of its own there,
/// which strangers do not get into.
pub(super) struct Reading {
    body: usize,
    time: Duration,
    strangers: Arc<Room<Option<IpAddr>>>,
    regulars: Arc<Room<Regular>>,
    /// The latest at the end.
    known: Mutex<VecDeque<Regular>>,
    lingering: Arc<Semaphore>,
}

/// A body, and its place in the room, which it keeps until it is verified.
pub(super) struct Unverified {
    pub(super) bytes: Bytes,
    _place: Held,
}

/// Held for its `Drop`.
enum Held {
    Stranger { _place: Place<Option<IpAddr>> },
    Regular { _place: Place<Regular> },
}

impl Reading {
    /// Bodies of at most `body` bytes, each within `time`; `concurrency` at once of regulars.
    pub(super) fn new(body: usize, time: Duration, concurrency: usize) -> Self {
        let times = |factor: usize| body.saturating_mul(factor);
        Self {
            body,
            time,
            strangers: Room::new(Size { bodies: STRANGERS, bytes: (times(2), body) }),
            regulars: Room::new(Size {
                bodies: (concurrency.saturating_mul(2), concurrency),
                bytes: (times(4), times(2)),
            }),
            known: Mutex::default(),
            lingering: Arc::new(Semaphore::new(concurrency)),
        }
    }

    /// Remembers that `principal` has signed what came from `peer`.
    pub(super) fn has_verified(&self, principal: usize, peer: Option<IpAddr>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&(principal, peer)) {
            return;
        }
        if known.len() >= KNOWN {
            known.pop_front();
        }
        known.push_back((principal, peer));
    }

    /// Reads a body that says it is of one of the principals for which `may` holds.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: BodyDataStream,
        peer: Option<IpAddr>,
        may: impl Fn(usize) -> bool,
    ) -> Result<Unverified, Problem> {
        let regular = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.iter().find(|(principal, from)| *from == peer && may(*principal)).copied()
        };
        match regular {
            Some(regular) => match self.regulars.enter(regular) {
                Some(place) => {
                    let bytes = self.read_in(headers, body, &place).await?;
                    Ok(Unverified { bytes, _place: Held::Regular { _place: place } })
                }
                None => Err(self.linger(body, busy().logged_as("regulars"))),
            },
            None => match self.strangers.enter(peer) {
                Some(place) => {
                    let bytes = self.read_in(headers, body, &place).await?;
                    Ok(Unverified { bytes, _place: Held::Stranger { _place: place } })
                }
                None => Err(self.linger(body, busy())),
            },
        }
    }

    async fn read_in<K: Ord + Copy>(
        &self,
        headers: &HeaderMap,
        mut body: BodyDataStream,
        place: &Place<K>,
    ) -> Result<Bytes, Problem> {
        let limit = self.body;
        let mut pieces = Pieces::default();
        let expected = announced_length(headers).unwrap_or(0).min(PIECE as u64);
        pieces.last.reserve(expected as usize);
        let all = async {
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|_| {
                    Problem::new(StatusCode::BAD_REQUEST, "the body ended too early").close()
                })?;
                if pieces.len() + chunk.len() > limit {
                    return Ok(Some(self.too_large()));
                }
                if !place.grow(chunk.len()) {
                    return Ok(Some(busy()));
                }
                pieces.push(chunk);
            }
            Ok(None)
        };
        let read = async {
            tokio::select! {
                biased;
                done = all => done,
                () = place.put_out() => {
                    let detail = "others came meanwhile, and this body came slowly: send it again";
                    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
                    Err(problem.logged_as("slow bodies").retry_after(1).close())
                }
            }
        };
        match tokio::time::timeout(self.time, read).await {
            Ok(Ok(None)) => Ok(pieces.whole()),
            Ok(Ok(Some(problem))) => Err(self.linger(body, problem)),
            Ok(Err(problem)) => Err(problem),
            Err(_) => {
                let detail = format!("the body did not arrive within {:?}", self.time);
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail).close())
            }
        }
    }

    /// Refuses a body that says how large it is before any of it is read.
    pub(super) fn fits(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match announced_length(headers).is_some_and(|length| length > self.body as u64) {
            true => Err(self.too_large()),
            false => Ok(()),
        }
    }

    fn too_large(&self) -> Problem {
        let detail = format!(
            "the body has more than {} bytes, the most that this receiver takes",
            self.body
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

/// What has arrived of a body. One buffer that grows would take up to twice the bytes that are in it,
/// and three times while it moves: more than the room has counted.
#[derive(Default)]
struct Pieces {
    full: Vec<Bytes>,
    last: BytesMut,
}

impl Pieces {
    fn len(&self) -> usize {
        self.full.len() * PIECE + self.last.len()
    }

    fn push(&mut self, mut chunk: Bytes) {
        while !chunk.is_empty() {
            let some = chunk.split_to(chunk.len().min(PIECE - self.last.len()));
            self.last.extend_from_slice(&some);
            if self.last.len() == PIECE {
                self.full.push(std::mem::take(&mut self.last).freeze());
            }
        }
    }

    fn whole(self) -> Bytes {
        if self.full.is_empty() {
            return self.last.freeze();
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for piece in self.full {
            whole.extend_from_slice(&piece);
        }
        whole.extend_from_slice(&self.last);
        whole.freeze()
    }
}

fn busy() -> Problem {
    let detail = "as many bodies as this receiver reads at once are arriving: send it again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1)
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_same_in_whatever_chunks_it_comes() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7] {
            let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            for size in [1, 1_000, PIECE, 2 * PIECE + 1] {
                let mut pieces = Pieces::default();
                for chunk in body.chunks(size) {
                    pieces.push(Bytes::copy_from_slice(chunk));
                }
                assert_eq!(pieces.len(), length);
                assert!(pieces.whole() == body, "{length} bytes by {size}");
            }
        }
    }
}
