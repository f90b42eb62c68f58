//! What each shard of each route is doing in this process.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::{
    message::{Envelope, Origin, Position},
    storage::ShardKey,
    transport::PublishError,
};

/// That what follows `position` is no longer kept, with the commands of this route: what can be
/// pasted, but for the consumer's name, which is not known here.
pub(super) fn trimmed(position: i64, kept: i64, key: &ShardKey, origin: &Origin) -> String {
    let skip = skip(origin, key.shard);
    crate::error::trimmed(position, kept, &skip, Some(&key.route))
}

/// The same for a reader that asks by itself, and needs no route.
pub(super) fn came_too_late(position: i64, kept: i64, origin: &Origin) -> String {
    crate::error::trimmed(position, kept, &skip(origin, origin.shard), None)
}

/// That a target refuses a message, and what an operator can do.
pub(super) fn refused(
    error: &PublishError,
    message: &Envelope,
    key: &ShardKey,
    origin: &Origin,
) -> String {
    let (id, position) = (message.id, message.position);
    let (topic, bytes) = (&message.topic, crate::logs::count(message.data.len(), "byte"));
    let of_key = message.key.as_ref().map_or("no key".to_owned(), |key| format!("key {key:?}"));
    let skip = skip(origin, key.shard);
    format!(
        "message {id} at position {position} (topic {topic}, {of_key}, {bytes}) is refused, and \
         what follows it in this shard waits: {error}; raise the target's limit or mend what it \
         refuses, and it goes on by itself; or, if the consumer can do without this message, give it \
         up there (`{skip} --to {position} --log-ends {position}`)"
    )
}

fn skip(Origin { source, stream, .. }: &Origin, shard: i32) -> String {
    format!("syncline inbox skip CONSUMER --source {source} --stream {stream} --shard {shard}")
}

/// What a shard of a route is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RouteState {
    /// Another process has the lease, or nobody yet; or an older version of the stream is not at
    /// its end.
    Standby,
    /// It has sent everything that it knows of.
    Idle,
    /// Batches are under way.
    Sending,
    /// The target failed; the route waits and tries again.
    Backoff {
        /// So many failures in a row.
        failures: u32,
        /// The last one.
        error: String,
    },
    /// The target refuses a message for good, or everything: what follows waits. It is tried again
    /// now and then.
    Refused {
        /// Where the message stands; none when the target refuses an empty batch, too.
        position: Option<Position>,
        /// The message's id, topic, key and size, what the target said, and what to do.
        error: String,
    },
    /// The target has applied what is not in this log: one of the two databases was restored
    /// from a backup. The route looks again now and then, and sends nothing.
    Diverged {
        /// What was found.
        error: String,
    },
    /// What it is to send next is no longer kept, for it stood still for too long. Nothing is
    /// skipped: it waits for an operator, and looks again now and then.
    Trimmed {
        /// From where on the log is kept, and what to do.
        error: String,
    },
    /// This process cannot go on: its database does not answer, or refuses.
    Stalled {
        /// Which work, and why.
        error: String,
    },
    /// An operator paused the route.
    Paused,
    /// The stream has a newer definition than this process: it carries nothing of it.
    Outdated {
        /// What is in force, and what to do.
        error: String,
    },
}

impl RouteState {
    /// The tag and the text of one in which the shard does not move, and that is stored.
    pub(super) fn problem(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Backoff { error, .. } => Some(("backoff", error)),
            Self::Refused { error, .. } => Some(("refused", error)),
            Self::Diverged { error } => Some(("diverged", error)),
            Self::Trimmed { error } => Some(("trimmed", error)),
            _ => None,
        }
    }
}

/// A shard of a route, as [`RelayHandle::status`](super::RelayHandle::status) tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RouteStatus {
    /// The route's name.
    pub route: String,
    /// The version of the stream's definition.
    pub version: i32,
    /// The shard.
    pub shard: i32,
    /// The last acknowledged position.
    pub position: Position,
    /// What it is doing.
    pub state: RouteState,
    /// Why somebody should look at it: it has been standing still for too long, or is too far
    /// behind; with what becomes of it.
    pub alarm: Option<String>,
    /// By whom the route was paused, since when and why, while it is.
    pub pause: Option<String>,
}

/// The states of all shards, in order.
#[derive(Default)]
pub(super) struct Board(Mutex<Vec<RouteStatus>>);

impl Board {
    /// Tells what a shard is doing; `None` keeps the position.
    pub(super) fn tell(&self, key: &ShardKey, position: Option<Position>, state: RouteState) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.binary_search_by(|known| order(known).cmp(&name(key))) {
            Ok(at) => {
                all[at].position = position.unwrap_or(all[at].position);
                all[at].state = state;
            }
            Err(at) => {
                let (ShardKey { route, version, shard }, position) =
                    (key.clone(), position.unwrap_or_default());
                let (alarm, pause) = Default::default();
                all.insert(
                    at,
                    RouteStatus { route, version, shard, position, state, alarm, pause },
                );
            }
        }
    }

    /// Tells that somebody should look at a shard, or need not any more. False when it said so.
    pub(super) fn alarm(&self, key: &ShardKey, alarm: Option<String>) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(at) = all.binary_search_by(|known| order(known).cmp(&name(key))) else {
            return false;
        };
        std::mem::replace(&mut all[at].alarm, alarm.clone()) != alarm
    }

    /// Tells that a shard is paused, or goes on. False when it said so.
    pub(super) fn pause(&self, key: &ShardKey, pause: Option<String>) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(at) = all.binary_search_by(|known| order(known).cmp(&name(key))) else {
            return false;
        };
        std::mem::replace(&mut all[at].pause, pause.clone()) != pause
    }

    /// A shard that is closed does nothing any more.
    pub(super) fn forget(&self, key: &ShardKey) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| order(known) != name(key));
    }

    /// All of them; what keeps the process from sending is told of those that say nothing worse.
    pub(super) fn all(&self, standstill: Option<String>) -> Vec<RouteStatus> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(error) = standstill else { return all };
        for shard in &mut all {
            use RouteState::{Idle, Sending, Standby};
            if matches!(shard.state, Idle | Sending | Standby) {
                shard.state = RouteState::Stalled { error: error.clone() };
            }
        }
        all
    }
}

fn order(status: &RouteStatus) -> (&str, i32, i32) {
    (&status.route, status.version, status.shard)
}

fn name(key: &ShardKey) -> (&str, i32, i32) {
    (&key.route, key.version, key.shard)
}
