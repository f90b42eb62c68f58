//! The relay's row in the table of processes: its streams as they are declared here, its routes, and
//! what it does not get on with.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{Route, RouteState, RouteStatus, Shared};
use crate::{
    Result, Storage, Stream,
    processes::{self, Defined, DefinedStream, Kind, Process, Reporter, Tell, Told},
    storage::{Current, ShardKey, StreamVersion},
    streams::unread::{self, Unread},
};

/// The streams and routes of one relay.
pub(super) struct Declared<DB: Storage> {
    shared: Arc<Shared<DB>>,
    streams: Vec<Stream>,
    routes: Vec<String>,
    /// Texts that were logged and are still so.
    said: Mutex<BTreeSet<String>>,
    /// Streams that nobody reads, as the log was told.
    unread: Mutex<BTreeSet<String>>,
}

impl<DB: Storage> Declared<DB> {
    pub(super) fn new<'a>(
        shared: &Arc<Shared<DB>>,
        streams: Vec<Stream>,
        routes: impl Iterator<Item = &'a Route>,
    ) -> Self {
        let routes = routes.map(|route| route.name.clone()).collect();
        Self {
            shared: Arc::clone(shared),
            streams,
            routes,
            said: Mutex::default(),
            unread: Mutex::default(),
        }
    }

    /// Reports until the relay has given everything back.
    pub(super) async fn report(self, source: String) {
        let Shared { holder, pool, saved, .. } = &*self.shared;
        let (reporter, stop) =
            (Reporter::new(*holder, Kind::Relay, source, pool.clone()), saved.clone());
        reporter.run(self, stop).await;
    }

    /// Routes that wait for the lease of a process which has died.
    async fn waiting(
        &self,
        pool: &Current<DB>,
        all: &[Process],
        shards: &[RouteStatus],
    ) -> Result<Vec<String>> {
        let silent: Vec<_> = all.iter().filter(|process| !process.is_alive()).collect();
        let leases = match silent.is_empty() {
            true => Vec::new(),
            false => pool.limit(processes::leases(pool)).await?,
        };
        let mut found = Vec::new();
        for RouteStatus { route, version, shard, state, .. } in shards {
            if *state != RouteState::Standby {
                continue;
            }
            let name = ShardKey::new(route.as_str(), *version, *shard).lease_name();
            let lease = leases.iter().find(|lease| lease.name == name);
            let dead = lease.and_then(|lease| {
                Some((lease, silent.iter().find(|process| process.id == lease.holder)?))
            });
            found.extend(dead.map(|(lease, process)| {
                format!(
                    "route {route} shard {shard} waits for the lease of {process}, which has died: it \
                     runs out in {} s at the latest",
                    lease.left.as_secs()
                )
            }));
        }
        Ok(found)
    }

    /// Logs what is new of what is `found`.
    fn say(&self, found: &[String]) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // That the lease runs out sooner is no news.
        let known = |text: &str| text.split(": ").next().unwrap_or_default().to_owned();
        for text in found.iter().filter(|text| !said.contains(&known(text))) {
            tracing::warn!("{text}");
        }
        *said = found.iter().map(|text| known(text)).collect();
    }

    /// Logs which streams reach nobody, once, and which do again.
    fn say_unread(&self, found: &[Unread]) {
        let mut said = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        for unread in found.iter().filter(|unread| !said.contains(&unread.stream)) {
            tracing::warn!(stream = unread.stream, "{unread}");
        }
        for stream in said.iter().filter(|said| !found.iter().any(|one| one.stream == **said)) {
            tracing::info!(stream, "the stream is read again, or nothing of it waits any more");
        }
        *said = found.iter().map(|unread| unread.stream.clone()).collect();
    }
}

#[async_trait]
impl<DB: Storage> Tell<DB> for Declared<DB> {
    async fn tell(&self, pool: &Current<DB>) -> Result<Told> {
        let stored = pool.limit(DB::streams(pool)).await?;
        let streams = self.streams.iter().map(|stream| defined(stream, &stored)).collect();
        let Shared { works, board, resting, readings, options, holder, .. } = &*self.shared;
        let all = pool.limit(processes::list(pool)).await?;
        let readings = readings.look(pool, *holder, &all, &stored, options.unread_after).await?;
        let unread = unread::of(&readings);
        let defined =
            Defined { streams, routes: self.routes.clone(), readings, ..Defined::default() };
        let shards = board.all(works.standstill());
        let waiting = self.waiting(pool, &all, &shards).await?;
        // That a route is paused is stored with it, and logged by who finds it.
        let mut found: Vec<String> = shards.iter().filter_map(paused).collect();
        found.dedup();
        found.extend(waiting.iter().cloned().chain(unread.iter().map(ToString::to_string)));
        *resting.lock().unwrap_or_else(PoisonError::into_inner) = found;
        self.say(&waiting);
        self.say_unread(&unread);
        let ours = works.problems().into_iter().chain(shards.iter().filter_map(problem));
        Ok(Told { defined, problems: ours.chain(waiting).collect() })
    }
}

/// `stream` as it is declared, with its version and the one in force.
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

/// By whom and why a route is paused, and what to do.
fn paused(status: &RouteStatus) -> Option<String> {
    let (route, pause) = (&status.route, status.pause.as_ref()?);
    Some(format!("route {route} is {pause}; `syncline route resume {route}` lets it go on"))
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
