//! Room for bodies that are not verified yet. It is bounded by owner and in all, in bodies and in
//! bytes; when it is full, a body that comes slowly makes room for one that has just begun. So who
//! sends slowly takes nothing from who sends at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

/// Bytes a second; a body that comes faster is never put out.
const RATE: i128 = 64 * 1024;

/// The size of a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Bodies in all, and of one owner.
    pub(super) bodies: (usize, usize),
    /// Bytes in all, and of one owner.
    pub(super) bytes: (usize, usize),
}

/// A room whose bodies belong to owners: addresses, or principals.
pub(super) struct Room<K> {
    size: Size,
    state: Mutex<State<K>>,
}

struct State<K> {
    next: u64,
    bodies: BTreeMap<u64, Arriving<K>>,
}

struct Arriving<K> {
    owner: K,
    since: Instant,
    bytes: usize,
    out: CancellationToken,
}

impl<K: Ord + Copy> Room<K> {
    pub(super) fn new(size: Size) -> Arc<Self> {
        let state = State { next: 0, bodies: BTreeMap::new() };
        Arc::new(Self { size, state: Mutex::new(state) })
    }

    /// A place for a body that begins to arrive; none when there is none, and no slow one to put out.
    pub(super) fn enter(self: &Arc<Self>, owner: K) -> Option<Place<K>> {
        let (most, each) = self.size.bodies;
        let mut state = self.state();
        if state.of(owner).count() >= each {
            state.put_out(|_, body| body.owner == owner)?;
        }
        if state.bodies.len() >= most {
            let greediest = state.greediest(|_| 1)?;
            state.put_out(|_, body| body.owner == greediest)?;
        }
        let (id, out) = (state.next, CancellationToken::new());
        state.next += 1;
        let since = Instant::now();
        state.bodies.insert(id, Arriving { owner, since, bytes: 0, out: out.clone() });
        Some(Place { room: Arc::clone(self), id, owner, out })
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Copy> State<K> {
    fn of(&self, owner: K) -> impl Iterator<Item = &Arriving<K>> {
        self.bodies.values().filter(move |body| body.owner == owner)
    }

    /// The owner that has most, as `weight` weighs.
    fn greediest(&self, weight: impl Fn(&Arriving<K>) -> usize) -> Option<K> {
        let mut all: BTreeMap<K, usize> = BTreeMap::new();
        for body in self.bodies.values() {
            *all.entry(body.owner).or_default() += weight(body);
        }
        all.into_iter().max_by_key(|(_, weight)| *weight).map(|(owner, _)| owner)
    }

    /// Puts out the slowest of the bodies that `may` go, unless none is slow.
    fn put_out(&mut self, may: impl Fn(u64, &Arriving<K>) -> bool) -> Option<()> {
        let now = Instant::now();
        let candidates = self.bodies.iter().filter(|(id, body)| may(**id, body));
        let slow = candidates.map(|(id, body)| (body.behind(now), *id)).filter(|(b, _)| *b > 0);
        let (_, slowest) = slow.max()?;
        self.bodies.remove(&slowest)?.out.cancel();
        Some(())
    }
}

impl<K> Arriving<K> {
    /// How many bytes fewer there are than [`RATE`] would have brought.
    fn behind(&self, now: Instant) -> i128 {
        let micros = now.saturating_duration_since(self.since).as_micros() as i128;
        micros * RATE / Duration::from_secs(1).as_micros() as i128 - self.bytes as i128
    }
}

/// A body's place, given back when it is dropped.
pub(super) struct Place<K: Ord + Copy> {
    room: Arc<Room<K>>,
    id: u64,
    owner: K,
    out: CancellationToken,
}

impl<K: Ord + Copy> Place<K> {
    /// Returns when the body must make room for others.
    pub(super) async fn put_out(&self) {
        self.out.cancelled().await;
    }

    /// Takes `bytes` more, in the place of slower bodies if need be; false when there is no room.
    pub(super) fn grow(&self, bytes: usize) -> bool {
        let (most, each) = self.room.size.bytes;
        let mut state = self.room.state();
        if !state.bodies.contains_key(&self.id) {
            return false;
        }
        let of = |owner: K| {
            move |id, body: &Arriving<K>| body.owner == owner && id != self.id && body.bytes > 0
        };
        while state.of(self.owner).map(|body| body.bytes).sum::<usize>() + bytes > each {
            if state.put_out(of(self.owner)).is_none() {
                return false;
            }
        }
        while state.bodies.values().map(|body| body.bytes).sum::<usize>() + bytes > most {
            let greediest = state.greediest(|body| body.bytes);
            if greediest.and_then(|owner| state.put_out(of(owner))).is_none() {
                return false;
            }
        }
        if let Some(own) = state.bodies.get_mut(&self.id) {
            own.bytes += bytes;
        }
        true
    }
}

impl<K: Ord + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        self.room.state().bodies.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Arc<Room<u8>> {
        Room::new(Size { bodies: (4, 2), bytes: (1_000, 600) })
    }

    fn set(place: &Place<u8>, since: Instant) {
        place.room.state().bodies.get_mut(&place.id).expect("in the room").since = since;
    }

    fn slow(place: &Place<u8>) {
        set(place, Instant::now().checked_sub(Duration::from_secs(5)).expect("a time"));
    }

    fn quick(place: &Place<u8>) {
        set(place, Instant::now() + Duration::from_secs(3_600));
    }

    #[test]
    fn the_slowest_body_of_the_greediest_makes_room_and_a_quick_one_never_does() {
        let room = room();
        let enter = |owner| room.enter(owner);
        let (a, b) = (enter(1).expect("free"), enter(1).expect("free"));
        [&a, &b].into_iter().for_each(quick);
        assert!(enter(1).is_none(), "both come quickly");
        let other = enter(2).expect("it has a limit of its own");
        quick(&other);
        slow(&b);
        let c = enter(1).expect("instead of the slow one");
        quick(&c);
        assert!(b.out.is_cancelled() && !a.out.is_cancelled() && !b.grow(1));
        let d = enter(3).expect("the fourth in all");
        slow(&d);
        assert!(enter(4).is_none(), "who has most has no slow one");
        slow(&a);
        assert!(enter(4).is_some() && a.out.is_cancelled());
        assert!([&c, &d, &other].iter().all(|place| !place.out.is_cancelled()));
    }

    #[test]
    fn bytes_are_bounded_by_owner_and_in_all() {
        let room = room();
        let (a, b) = (room.enter(1).expect("free"), room.enter(1).expect("free"));
        [&a, &b].into_iter().for_each(quick);
        assert!(a.grow(400) && !b.grow(201) && b.grow(200), "600 of one owner");
        let c = room.enter(2).expect("free");
        quick(&c);
        assert!(!c.grow(401) && c.grow(400), "1,000 in all");
        slow(&a);
        assert!(c.grow(100), "the slow one of who has most makes room");
        assert!(a.out.is_cancelled() && !a.grow(1) && !b.out.is_cancelled());
        drop((a, b, c));
        assert!(room.state().bodies.is_empty());
    }
}
