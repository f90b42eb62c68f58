//! The routes by which a message of the log is sent, and whether each has sent it.

use sqlx::Pool;

use super::takeover;
use crate::{
    Message, Result, Storage,
    message::{Position, key_hash, place},
    storage::{RouteRow, StreamVersion},
};

/// The streams and routes of a log at one moment.
#[derive(Debug, Clone)]
pub struct Carriers {
    versions: Vec<StreamVersion>,
    rows: Vec<RouteRow>,
}

/// A stream that carries a message, with one of its routes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Carrier {
    /// The stream.
    pub stream: String,
    /// The version of its definition.
    pub version: i32,
    /// The shard that the message is in.
    pub shard: i32,
    /// The route; none where the stream has none yet.
    pub route: Option<String>,
    /// The position up to which the route has sent its shard.
    pub at: Position,
    /// Whether the message is sent, and its consumer has confirmed it.
    pub sent: bool,
    /// Whether an operator has paused the route.
    pub paused: bool,
}

impl Carriers {
    /// Reads the streams and routes of `pool`'s database.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database).
    pub async fn read<DB: Storage>(pool: &Pool<DB>) -> Result<Self> {
        Ok(Self { versions: DB::streams(pool).await?, rows: DB::shards(pool).await? })
    }

    /// The streams that carry `message`, which stands at `position` of the log, with their routes; none
    /// when it is sent nowhere. A definition from a time when topics were not kept is left out.
    pub fn of(&self, position: Position, message: &Message) -> Vec<Carrier> {
        let carries = |version: &&StreamVersion| {
            let until = takeover::until(&self.versions, version);
            let spans = position > version.after && until.is_none_or(|until| position <= until);
            let patterns = takeover::patterns(version);
            spans && patterns.iter().any(|pattern| pattern.matches(&message.topic))
        };
        let carriers = self.versions.iter().filter(carries);
        carriers.flat_map(|version| self.routes(version, position, message)).collect()
    }

    fn routes(
        &self,
        version: &StreamVersion,
        position: Position,
        message: &Message,
    ) -> Vec<Carrier> {
        let shard = place(key_hash(message), version.shards);
        let carrier = |row: Option<&RouteRow>| {
            let at = row.map_or(Position::START, |row| row.checkpoint.cursor.position);
            Carrier {
                stream: version.name.clone(),
                version: version.version,
                shard,
                route: row.map(|row| row.key.route.clone()),
                at,
                sent: at >= position,
                paused: row.is_some_and(|row| row.paused),
            }
        };
        let of = |row: &&RouteRow| {
            let key = &row.key;
            row.stream == version.name && (key.version, key.shard) == (version.version, shard)
        };
        let found: Vec<_> = self.rows.iter().filter(of).map(|row| carrier(Some(row))).collect();
        if found.is_empty() { vec![carrier(None)] } else { found }
    }
}
