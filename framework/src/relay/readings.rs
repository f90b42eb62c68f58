//! Readings of the feed: how far each shard was read and when, in this process and, as they tell of it, in
//! others; and which shards have messages that nobody comes for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    Result, Storage,
    message::Position,
    processes::{Kind, Process, Reading},
    storage::{Current, StreamVersion},
    streams::unread::first_waiting,
};

/// The most shards that are told of; what is unread comes first.
const TOLD: usize = 256;
/// Pages of the log that are looked through each time; the next time goes on there.
const PAGES: usize = 10;
/// A reader that was given messages is at work on them for so long, each.
const WORK: Duration = Duration::from_millis(100);
/// A process tells of itself every 15 seconds: since then it may have served readers.
const BETWEEN: Duration = Duration::from_secs(20);

/// The readings of one shard.
struct Known {
    /// Position up to which it was read.
    at: Position,
    /// Until when its reader is taken to be there; later than now while it works on what it was given.
    until: Instant,
    /// Requests that are being served or wait for news.
    waiting: usize,
    /// It was read last by way of another relay.
    elsewhere: bool,
}

impl Known {
    /// For how long it has had no reader.
    fn quiet(&self) -> Duration {
        match self.waiting {
            0 => Instant::now().saturating_duration_since(self.until),
            _ => Duration::ZERO,
        }
    }
}

/// A stream that no route carries.
struct Watched {
    version: i32,
    /// Up to here the log was looked through for messages of quiet shards.
    looked: Position,
    shards: BTreeMap<i32, Shard>,
}

struct Shard {
    /// Since when no route carries it, as far as this process knows.
    since: Instant,
    /// It has been read by nobody for too long.
    quiet: bool,
    /// The first message of a quiet one that waits.
    first: Option<Position>,
}

/// The readings of a relay.
#[derive(Default)]
pub(super) struct Readings {
    known: Mutex<BTreeMap<(String, i32), Known>>,
    watched: tokio::sync::Mutex<BTreeMap<String, Watched>>,
}

/// A request that is being served: somebody reads as long as it is there.
pub(super) struct Served<'a> {
    of: &'a Readings,
    key: (String, i32),
    messages: u32,
}

impl Served<'_> {
    /// The reader is given a page.
    pub(super) fn given(&mut self, messages: usize) {
        self.messages = u32::try_from(messages).unwrap_or(u32::MAX);
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        if let Some(known) = self.of.known().get_mut(&self.key) {
            known.waiting = known.waiting.saturating_sub(1);
            known.until = known.until.max(Instant::now() + WORK.saturating_mul(self.messages));
        }
    }
}

impl Readings {
    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, i32), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader whose place was held against the log asks for what follows `after`.
    pub(super) fn serve(&self, stream: &str, shard: i32, after: Position) -> Served<'_> {
        let key = (stream.to_owned(), shard);
        let mut all = self.known();
        let known = all.entry(key.clone()).or_insert(Known {
            at: after,
            until: Instant::now(),
            waiting: 0,
            elsewhere: false,
        });
        (known.at, known.waiting) = (known.at.max(after), known.waiting + 1);
        known.elsewhere = false;
        known.until = known.until.max(Instant::now());
        Served { of: self, key, messages: 0 }
    }

    /// Takes over later readings that other relays tell of, as old as they are: relays that learn of each
    /// other's must not make one younger.
    fn learn(&self, others: &[&Process]) {
        let mut all = self.known();
        for process in others {
            for Reading { stream, shard, read, quiet_seconds, .. } in &process.defined.readings {
                let quiet = process.unseen + Duration::from_secs(*quiet_seconds);
                let (Some(at), Some(until)) = (*read, Instant::now().checked_sub(quiet)) else {
                    continue;
                };
                let new = || Known { at, until, waiting: 0, elsewhere: true };
                let known = all.entry((stream.clone(), *shard)).or_insert_with(new);
                known.at = known.at.max(at);
                if known.until < until {
                    (known.until, known.elsewhere) = (until, true);
                }
            }
        }
    }

    /// How far a shard was read, how long ago, and how old that may be before it tells anything.
    fn last(&self, stream: &str, shard: i32) -> Option<(Position, Duration, Duration)> {
        let all = self.known();
        let known = all.get(&(stream.to_owned(), shard))?;
        let unknown = if known.elsewhere { BETWEEN } else { Duration::ZERO };
        Some((known.at, known.quiet(), unknown))
    }

    /// Readings of each shard that is in force and that no route carries, the unread ones first.
    /// `all` are the processes as they have told of themselves, `us` among them.
    pub(super) async fn look<DB: Storage>(
        &self,
        pool: &Current<DB>,
        us: Uuid,
        all: &[Process],
        stored: &[StreamVersion],
        after: Duration,
    ) -> Result<Vec<Reading>> {
        let is_other = |process: &&Process| process.kind == Kind::Relay && process.id != us;
        let others: Vec<_> = all.iter().filter(is_other).collect();
        self.learn(&others);
        let rows = pool.limit(DB::shards(pool)).await?;
        let routed: BTreeSet<_> =
            rows.iter().filter(|row| !row.closed).map(|row| row.stream.as_str()).collect();
        let mut watched = self.watched.lock().await;
        let streams = in_force(stored).filter(|one| !routed.contains(one.name.as_str()));
        let streams: Vec<_> = streams.collect();
        watched.retain(|name, of| {
            streams.iter().any(|one| one.name == *name && one.version == of.version)
        });
        let (mut told, mut pages) = (Vec::new(), PAGES);
        if streams.is_empty() {
            return Ok(told);
        }
        let head = pool.limit(DB::head(pool)).await?;
        let trimmed = pool.limit(DB::trimmed(pool)).await?.position;
        for version in streams {
            let of = watched.entry(version.name.clone()).or_insert_with(|| Watched {
                version: version.version,
                looked: head,
                shards: BTreeMap::new(),
            });
            // A relay that says nothing of a shard is an older program's, and may serve its reader.
            let says = |shard, other: &Process| {
                let declares = |name: &str| name == version.name;
                let reading = |one: &Reading| one.stream == version.name && one.shard == shard;
                !other.defined.streams.iter().any(|stream| declares(&stream.name))
                    || other.defined.readings.iter().any(reading)
            };
            let is_known = |shard| {
                others.iter().filter(|other| other.is_alive()).all(|other| says(shard, other))
            };
            let mut wanted = BTreeMap::new();
            for shard in 0..version.shards {
                let new = || Shard { since: Instant::now(), quiet: false, first: None };
                let state = of.shards.entry(shard).or_insert_with(new);
                let last = self.last(&version.name, shard);
                let since = state.since.elapsed();
                let (quiet, unknown) =
                    last.map_or((since, Duration::ZERO), |(_, quiet, unknown)| (quiet, unknown));
                let was = state.quiet;
                state.quiet =
                    since >= after && quiet >= after.saturating_add(unknown) && is_known(shard);
                // A place beyond the log's end is of a time before a backup was restored.
                let read = last.map(|(at, ..)| at).filter(|at| *at <= head);
                let from = read.unwrap_or_default().max(version.after);
                if !state.quiet {
                    state.first = None;
                } else if !was {
                    of.looked = of.looked.min(from);
                }
                if state.first.is_some_and(|first| first <= trimmed) {
                    (state.first, of.looked) = (None, of.looked.min(trimmed));
                }
                if state.quiet && state.first.is_none() {
                    wanted.insert(shard, from);
                }
            }
            if !wanted.is_empty() && pages > 0 {
                let look = first_waiting(pool, version, of.looked, &wanted, &mut pages);
                let (found, looked) = pool.limit(look).await?;
                of.looked = looked;
                for (shard, first) in found {
                    if let Some(state) = of.shards.get_mut(&shard) {
                        state.first = Some(first);
                    }
                }
            }
            for (shard, state) in &of.shards {
                let last = self.last(&version.name, *shard);
                let quiet = last.map_or(state.since.elapsed(), |(_, quiet, _)| quiet);
                told.push(Reading {
                    stream: version.name.clone(),
                    version: version.version,
                    shard: *shard,
                    read: last.map(|(at, ..)| at),
                    // Rounded up: whoever learns of it must not find it younger.
                    quiet_seconds: quiet.as_millis().div_ceil(1_000) as u64,
                    unread: state.first,
                });
            }
        }
        // Readings of what is stored no more are forgotten.
        self.known().retain(|(stream, _), known| {
            known.waiting > 0 || stored.iter().any(|version| version.name == *stream)
        });
        told.sort_by_key(|reading| reading.unread.is_none());
        told.truncate(TOLD);
        Ok(told)
    }
}

/// The newest version of each stream that carries something, and of which that is known.
fn in_force(stored: &[StreamVersion]) -> impl Iterator<Item = &StreamVersion> {
    let mut newest: BTreeMap<&str, &StreamVersion> = BTreeMap::new();
    for version in stored {
        let known = newest.entry(&version.name).or_insert(version);
        if known.version < version.version {
            *known = version;
        }
    }
    newest.into_values().filter(|one| !one.rests() && !one.topics.is_empty())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::processes::Defined;

    fn relay(quiet_seconds: u64, unseen: u64) -> Process {
        let reading = Reading {
            stream: "s".to_owned(),
            version: 1,
            read: Some(Position(3)),
            quiet_seconds,
            ..Reading::default()
        };
        Process {
            id: Uuid::nil(),
            kind: Kind::Relay,
            name: "/s".to_owned(),
            host: "web".to_owned(),
            pid: 1,
            program: "p".to_owned(),
            started_at: DateTime::default(),
            seen_at: DateTime::default(),
            ran: Duration::from_secs(600),
            unseen: Duration::from_secs(unseen),
            defined: Defined { readings: vec![reading], ..Defined::default() },
            problems: Vec::new(),
        }
    }

    fn quiet(readings: &Readings) -> Duration {
        readings.last("s", 0).expect("known").1
    }

    #[test]
    fn a_reading_grows_old_although_relays_learn_of_it_from_each_other() {
        let (one, other) = (Readings::default(), Readings::default());
        // Each tells what it knows, and the other one hears of it 14 seconds later.
        let mut told = 5;
        for _ in 0..3 {
            one.known().clear();
            one.learn(&[&relay(told, 14)]);
            told = quiet(&one).as_secs();
            other.known().clear();
            other.learn(&[&relay(told, 14)]);
            told = quiet(&other).as_secs();
        }
        assert!(told >= 5 + 6 * 14, "{told} s");
    }

    #[test]
    fn a_request_that_waits_is_a_reading_and_what_is_older_elsewhere_changes_nothing() {
        let readings = Readings::default();
        let served = readings.serve("s", 0, Position(7));
        readings.learn(&[&relay(40, 10)]);
        assert_eq!(readings.last("s", 0), Some((Position(7), Duration::ZERO, Duration::ZERO)));
        drop(served);
        readings.learn(&[&relay(0, 0)]);
        let (at, quiet, unknown) = readings.last("s", 0).expect("known");
        assert!(at == Position(7) && quiet < Duration::from_secs(5) && unknown <= BETWEEN);
    }
}
