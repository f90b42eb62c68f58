//! The definitions of streams: what a relay declares, held against what is stored.

use std::sync::Arc;

use sqlx::Pool;

use super::Route;
use crate::{
    Error, Result, Start, Storage, Stream,
    message::Position,
    storage::{NewShard, RouteRow, ShardKey, StreamVersion},
};

/// A stream whose definition was settled.
#[derive(Clone)]
pub(super) struct Defined {
    /// Every version of it, the newest last.
    pub(super) versions: Arc<[StreamVersion]>,
    /// Whether the newest is the one that this process declares.
    pub(super) current: bool,
}

/// Stores `stream` if it is new or changed. The newest stored definition wins: one that was in
/// force before is an old process's, and changes nothing.
pub(super) async fn define<DB: Storage>(pool: &Pool<DB>, stream: &Stream) -> Result<Defined> {
    let topics = stream.patterns();
    let (name, shards) = (stream.name(), stream.shard_count());
    let same = |version: &StreamVersion| version.topics == topics && version.shards == shards;
    loop {
        let mut versions = DB::streams(pool).await?;
        versions.retain(|version| version.name == name);
        let newest = versions.last().map_or(0, |newest| newest.version);
        match versions.last() {
            Some(last) if last.topics.is_empty() => {
                DB::tell_topics(pool, name, newest, &topics).await?;
                continue;
            }
            Some(last) if same(last) => {
                return Ok(Defined { versions: versions.into(), current: true });
            }
            Some(_) if versions.iter().any(same) && stream.replaced() != Some(newest) => {
                return Ok(Defined { versions: versions.into(), current: false });
            }
            _ => {}
        }
        // Of two processes at once one is the first; both look again.
        if DB::define_stream(pool, name, newest + 1, &topics, shards).await? {
            tracing::info!(stream = name, version = newest + 1, ?topics, shards, "stream defined");
        }
    }
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
        return Err(Error::Definition {
            what: "route",
            name: route.name.clone(),
            problem: format!(
                "it carries stream {:?} now and carried {:?} before; give the new route another \
                 name",
                route.stream, other.stream
            ),
        });
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
    for (index, version) in defined.versions.iter().enumerate() {
        let until = defined.versions.get(index + 1).map(|next| next.after);
        let new = |shard| NewShard {
            key: ShardKey::new(route.name.as_str(), version.version, shard),
            at: start.max(version.after),
            closed: until.is_some_and(|until| until <= start),
        };
        shards.extend((0..version.shards).map(new));
    }
    DB::create_shards(pool, &route.stream, &shards).await
}
