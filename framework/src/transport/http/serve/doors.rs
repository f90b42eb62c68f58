//! Which connections are open, by address, and which of them makes room for another one: of those that
//! wait for their client (idle, or with a request that has not arrived to its end) the one that has
//! waited longest. One whose request is being answered keeps its place.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::sync::CancellationToken;

/// All connections of one server.
pub(super) struct Doors {
    most: usize,
    each: usize,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
}

struct Open {
    from: IpAddr,
    /// Since when it waits for its client; none while its request is being answered.
    waits: Option<Instant>,
    out: CancellationToken,
}

impl Doors {
    /// At most `most` connections, of which `each` from one address.
    pub(super) fn new(most: usize, each: usize) -> Arc<Self> {
        let (next, open) = (AtomicU64::new(0), Mutex::default());
        Arc::new(Self { most: most.max(1), each: each.max(1), next, open })
    }

    /// Lets a connection in, instead of another one if need be; none where each has a request that is
    /// being answered.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Door> {
        let mut open = self.open();
        if open.values().filter(|other| other.from == from).count() >= self.each {
            make_room(&mut open, from)?;
        }
        if open.len() >= self.most {
            let greediest = greediest(&open)?;
            make_room(&mut open, greediest)?;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let out = CancellationToken::new();
        let entered = Open { from, waits: Some(Instant::now()), out: out.clone() };
        open.insert(id, entered);
        Some(Door { doors: Arc::clone(self), id, out })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that has most connections.
fn greediest(open: &HashMap<u64, Open>) -> Option<IpAddr> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for other in open.values() {
        *counts.entry(other.from).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(from, _)| from)
}

/// Closes the connection from `from` that has waited longest for its client.
fn make_room(open: &mut HashMap<u64, Open>, from: IpAddr) -> Option<()> {
    let waiting = open.iter().filter(|(_, other)| other.from == from);
    let waiting = waiting.filter_map(|(id, other)| Some((other.waits?, *id)));
    let (_, longest) = waiting.min()?;
    open.remove(&longest)?.out.cancel();
    Some(())
}

/// One connection's place; given back when it is dropped.
pub(super) struct Door {
    doors: Arc<Doors>,
    id: u64,
    out: CancellationToken,
}

impl Door {
    /// Another connection has its place now.
    pub(super) async fn closed(&self) {
        self.out.cancelled().await;
    }

    /// The client has sent all of its request, and waits for us.
    fn arrived(&self) {
        self.set(None);
    }

    /// We wait for the client.
    pub(super) fn waits(&self) {
        self.set(Some(Instant::now()));
    }

    fn set(&self, waits: Option<Instant>) {
        if let Some(open) = self.doors.open().get_mut(&self.id) {
            open.waits = waits;
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.doors.open().remove(&self.id);
    }
}

/// A request's body, which tells its door when all of it has arrived.
pub(super) struct Arriving {
    body: Incoming,
    door: Arc<Door>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, door: Arc<Door>) -> Self {
        match body.is_end_stream() {
            true => door.arrived(),
            false => door.waits(),
        }
        Self { body, door }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.door.arrived();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_newcomer_takes_the_place_of_who_has_waited_longest_and_of_nobody_who_is_answered() {
        let doors = Doors::new(4, 2);
        let enter = |last| doors.enter(address(last));
        let (first, second) = (enter(1).expect("free"), enter(1).expect("free"));
        first.arrived();
        let third = enter(1).expect("instead of the second");
        assert!(second.out.is_cancelled() && !first.out.is_cancelled());
        third.arrived();
        assert!(enter(1).is_none(), "both are being answered");
        third.waits();
        assert!(enter(1).is_some() && third.out.is_cancelled());
        // The dropped message has made room.
        drop(enter(1).expect("the one before is gone"));
        let (a, b, c) = (enter(2).expect("free"), enter(2).expect("free"), enter(3).expect("free"));
        let d = enter(4).expect("instead of one of the address that has most");
        assert!(a.out.is_cancelled() && !b.out.is_cancelled() && !c.out.is_cancelled());
        drop((a, b, c, d, second));
        assert_eq!(doors.open().len(), 1, "the first is still there");
    }
}
