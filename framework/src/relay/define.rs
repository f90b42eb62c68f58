//! The definitions of streams: what a relay declares, held against what is stored.

mod changes;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sqlx::Pool;

use self::changes::Standing;
pub(super) use self::changes::{Changes, Stored, left_behind};
use super::Route;
use crate::{
    Error, Result, Start, Storage, Stream,
    message::Position,
    storage::{NewShard, RouteRow, ShardKey, StreamVersion},
    streams,
};

/// A stream whose definition was settled.
#[derive(Clone)]
pub(super) struct Defined {
    /// Every version of it, the newest last.
    pub(super) versions: Arc<[StreamVersion]>,
    /// Whether the newest is the one that this process declares, or the stream was closed after it.
    pub(super) current: bool,
}

impl Defined {
    /// Takes in that the stream was closed: what this process declares is sent to its end. Tells where
    /// that is, once.
    pub(super) fn follow(&mut self, name: &str, stored: &[StreamVersion]) -> Option<Position> {
        let of = stored.iter().filter(|version| version.name == name);
        let ours = self.versions.last().filter(|_| self.current)?;
        let after = of.clone().find(|version| version.version == ours.version + 1)?;
        if !after.rests() || of.clone().count() != self.versions.len() + 1 {
            return None;
        }
        self.versions = of.cloned().collect();
        Some(after.after)
    }
}

/// Stores those of `streams` that are new or changed, all at one position of the log. The newest
/// stored definition wins: one that was in force before is an old process's, and changes nothing.
///
/// # Errors
/// [`Error::Definition`] when a change would send messages twice, or nowhere, without saying so.
pub(super) async fn define<DB: Storage>(
    pool: &Pool<DB>,
    streams: &[Stream],
) -> Result<HashMap<String, Defined>> {
    let mut ours = HashSet::new();
    loop {
        let stored = Stored::read(pool).await?;
        let Changes { new, tell, current, notes } = changes::changes(&stored, streams, &ours)?;
        for version in &tell {
            DB::tell_topics(pool, &version.name, version.version, &version.topics).await?;
        }
        if !tell.is_empty() {
            continue;
        }
        if new.is_empty() {
            return Ok(settled(&stored, &current));
        }
        // Of two processes at once one is the first; both look again.
        if DB::define_streams(pool, &new).await? {
            for new in new.iter().filter(|new| !new.rests()) {
                let (stream, version, shards) = (&new.name, new.version, new.shards);
                tracing::info!(stream, version, topics = ?new.topics, shards, "stream defined");
            }
            for (stream, note) in notes {
                tracing::warn!(stream, "{note}");
            }
            ours.extend(new.into_iter().map(|new| new.name));
        }
    }
}

fn settled(stored: &Stored, current: &HashMap<String, bool>) -> HashMap<String, Defined> {
    let defined = |(name, current): (&String, &bool)| {
        let versions = stored.versions.iter().filter(|version| version.name == *name);
        (name.clone(), Defined { versions: versions.cloned().collect(), current: *current })
    };
    current.iter().map(defined).collect()
}

/// Refuses what [`define`] and [`open`] refuse, and changes nothing.
pub(super) fn check(stored: &Stored, streams: &[Stream], routes: &[Route]) -> Result<()> {
    for route in routes {
        let of = |row: &&RouteRow| row.key.route == route.name && row.stream != route.stream;
        if let Some(other) = stored.rows.iter().find(of) {
            return Err(other_stream(route, other));
        }
    }
    changes::changes(stored, streams, &HashSet::new()).map(drop)
}

/// Why this relay carries nothing, or nothing new, of those of `streams` whose definition is not in
/// force, and whether anything of theirs is left to be sent.
pub(super) fn not_in_force(stored: &Stored, streams: &[Stream]) -> Vec<(String, String, bool)> {
    let told = |stream: &Stream| {
        let (name, last) = (stream.name(), stored.of(stream.name()).next_back()?);
        let newest = last.version;
        let (why, left) = match Standing::of(stored, stream) {
            Standing::Outdated => (
                format!(
                    "version {newest} of it is in force, and this definition is an older one, of \
                     which nothing is sent: start the newer program, or say that this one takes \
                     its place (`replaces`)"
                ),
                false,
            ),
            Standing::Closed => (
                format!(
                    "it was closed at position {}: nothing after that is sent; leave it out when \
                     all is sent, or take it up again (`replaces` version {newest})",
                    last.after
                ),
                stored.rows.iter().any(|row| row.stream == name && !row.closed),
            ),
            _ => return None,
        };
        Some((name.to_owned(), why, left))
    };
    streams.iter().filter_map(told).collect()
}

/// Makes the rows of `route` that are missing: all of them for a new route, where it is to begin.
pub(super) async fn open<DB: Storage>(
    pool: &Pool<DB>,
    route: &Route,
    defined: &Defined,
    rows: &[RouteRow],
) -> Result<()> {
    let known: Vec<_> = rows.iter().filter(|row| row.key.route == route.name).collect();
    if let Some(other) = known.iter().find(|row| row.stream != route.stream) {
        return Err(other_stream(route, other));
    }
    // A version that began since made its rows itself, for every route that there was.
    if !known.is_empty() {
        return Ok(());
    }
    let start = match route.start {
        Start::Beginning => Position::START,
        Start::Now => DB::head(pool).await?,
        Start::Position(position) => position.min(DB::head(pool).await?),
    };
    // The log begins at its trim point.
    let start = start.max(DB::trimmed(pool).await?.position);
    let mut shards = Vec::new();
    for version in defined.versions.iter() {
        let until = streams::ends(&defined.versions, version);
        let new = |shard| NewShard {
            key: ShardKey::new(route.name.as_str(), version.version, shard),
            at: start.max(version.after),
            closed: until.is_some_and(|until| until <= start),
        };
        shards.extend((0..version.shards).map(new));
    }
    DB::create_shards(pool, &route.stream, &shards).await
}

fn other_stream(route: &Route, row: &RouteRow) -> Error {
    Error::Definition {
        what: "route",
        name: route.name.clone(),
        problem: format!(
            "it carries stream {:?} now and carried {:?} before; give the new route another name",
            route.stream, row.stream
        ),
    }
}
