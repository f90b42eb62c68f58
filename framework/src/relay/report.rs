//! The relay's row in the table of processes: its streams as they are declared here, its routes, and
//! what it does not get on with.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Route, RouteState, RouteStatus, Shared};
use crate::{
    Result, Storage, Stream,
    processes::{Defined, DefinedStream, Kind, Reporter, Tell, Told},
    storage::{Current, StreamVersion},
};

/// What one relay declares.
pub(super) struct Declared<DB: Storage> {
    shared: Arc<Shared<DB>>,
    streams: Vec<Stream>,
    routes: Vec<String>,
}

impl<DB: Storage> Declared<DB> {
    pub(super) fn new<'a>(
        shared: &Arc<Shared<DB>>,
        streams: Vec<Stream>,
        routes: impl Iterator<Item = &'a Route>,
    ) -> Self {
        let routes = routes.map(|route| route.name.clone()).collect();
        Self { shared: Arc::clone(shared), streams, routes }
    }

    /// Reports until the relay has given everything back.
    pub(super) async fn report(self, source: String) {
        let Shared { holder, pool, saved, .. } = &*self.shared;
        let (reporter, stop) =
            (Reporter::new(*holder, Kind::Relay, source, pool.clone()), saved.clone());
        reporter.run(self, stop).await;
    }
}

#[async_trait]
impl<DB: Storage> Tell<DB> for Declared<DB> {
    async fn tell(&self, pool: &Current<DB>) -> Result<Told> {
        let stored = pool.limit(DB::streams(pool)).await?;
        let streams = self.streams.iter().map(|stream| defined(stream, &stored)).collect();
        let defined = Defined { streams, routes: self.routes.clone(), ..Defined::default() };
        let works = &self.shared.works;
        let shards = self.shared.board.all(works.standstill());
        let problems = works.problems().into_iter().chain(shards.iter().filter_map(problem));
        Ok(Told { defined, problems: problems.collect() })
    }
}

/// How `stream` stands to what is stored.
fn defined(stream: &Stream, stored: &[StreamVersion]) -> DefinedStream {
    let (topics, shards) = (stream.patterns(), stream.shard_count());
    let of: Vec<_> = stored.iter().filter(|version| version.name == stream.name()).collect();
    let same = |version: &&&StreamVersion| {
        version.topics == topics && version.shards == shards || version.topics.is_empty()
    };
    let ours = of.iter().rev().find(same).map_or(0, |version| version.version);
    let mut newest_first = of.iter().rev();
    let newest = newest_first.next();
    // One that was closed is sent to its end by those that declare what was in force before.
    let in_force = match newest {
        Some(newest) if newest.rests() => newest_first.next().or(Some(newest)),
        newest => newest,
    };
    let in_force = in_force.map_or(0, |version| version.version);
    let name = stream.name().to_owned();
    DefinedStream { name, version: ours, in_force, topics, shards }
}

/// Why this process does not send a shard. What holds up the shard itself is stored with it.
fn problem(status: &RouteStatus) -> Option<String> {
    let (word, error) = match &status.state {
        RouteState::Stalled { error } => ("stalled", error),
        RouteState::Outdated { error } => ("outdated", error),
        _ => return None,
    };
    Some(format!("route {} shard {}: {word}: {error}", status.route, status.shard))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::message::Position;

    fn version(number: i32, topics: &[&str]) -> StreamVersion {
        StreamVersion {
            name: "s".to_owned(),
            version: number,
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            shards: 1,
            after: Position(0),
            created_at: DateTime::default(),
        }
    }

    #[test]
    fn an_older_definition_than_the_one_in_force_is_outdated() {
        let (old, new) = (Stream::new("s").topic("a"), Stream::new("s").topic("a").topic("b"));
        let stored = [version(1, &["a"]), version(2, &["a", "b"])];
        let found = defined(&old, &stored);
        assert!(found.is_outdated() && (found.version, found.in_force) == (1, 2), "{found:?}");
        assert!(!defined(&new, &stored).is_outdated());
        // Taken back on purpose.
        let stored = [stored[0].clone(), stored[1].clone(), version(3, &["a"])];
        assert!(!defined(&old, &stored).is_outdated() && defined(&new, &stored).is_outdated());
        // Closed, and sent to its end.
        let stored = [version(1, &["a"]), version(2, &["!"])];
        assert!(!defined(&old, &stored).is_outdated());
    }
}
