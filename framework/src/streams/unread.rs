//! Streams that reach nobody: no route carries them, and no reader pulls them.

use std::{collections::BTreeMap, fmt, time::Duration};

use sqlx::Pool;

use super::{PAGE, takeover};
use crate::{
    Result, Storage,
    message::{Position, SET_ASIDE, key_hash, place},
    processes::{self, Kind, Process, Reading},
    storage::StreamVersion,
};

/// The most shards that a text names.
const NAMED: usize = 5;
/// Relays learn of each other's readings every 15 seconds: of two that are no further apart none is the
/// later one.
const APART: Duration = Duration::from_secs(25);

/// A stream with messages that no route carries and nobody pulls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unread {
    /// The stream.
    pub stream: String,
    /// The version of its definition that is in force.
    pub version: i32,
    /// Its shards that nobody reads, in order.
    pub shards: Vec<i32>,
    /// The first message of them that waits for a reader.
    pub first: Position,
    /// Position up to which one of them was read; none when nobody is known to have read any.
    pub read: Option<Position>,
    /// For how long at least nobody has read any of them.
    pub quiet: Duration,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, shards, first, read, quiet, .. } = self;
        let named: Vec<_> = shards.iter().take(NAMED).map(i32::to_string).collect();
        let more = match shards.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let read = match read {
            Some(read) => format!(" (up to position {read} it was read)"),
            None => String::new(),
        };
        write!(
            f,
            "stream {stream} shard {}{more} is read by nobody: no route carries it, and no reader has \
             asked its feed for {} s{read}; what waits begins at position {first}, and is removed by \
             retention: start the service that pulls it, compare its URL, token and stream with the \
             feed's; where nobody is to read it any more, `syncline stream close {stream}` gives up what \
             waits",
            named.join(", "),
            quiet.as_secs(),
        )
    }
}

/// The streams in force with committed messages that no route carries, and that nobody has read from a
/// feed for [`RelayOptions::unread_after`](crate::relay::RelayOptions::unread_after), in order of their
/// names. The relays that run here find them, and tell of them every 15 seconds: where none
/// runs, none is found.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// for stream in syncline::streams::unread(&pool).await? {
///     println!("{}: since {} s", stream.stream, stream.quiet.as_secs());
/// }
/// # Ok(()) }
/// ```
pub async fn unread<DB: Storage>(pool: &Pool<DB>) -> Result<Vec<Unread>> {
    Ok(found(&processes::list(pool).await?))
}

/// The streams that relays tell of, unless another one knows of a later reading.
fn found(all: &[Process]) -> Vec<Unread> {
    let of_relays = || all.iter().filter(|process| process.kind == Kind::Relay);
    let told = |process: &Process, reading: &Reading| process.unseen + reading.quiet();
    let mut latest: BTreeMap<(&str, i32), Duration> = BTreeMap::new();
    for process in of_relays() {
        for reading in process.defined.readings.iter().filter(|reading| reading.read.is_some()) {
            let quiet = told(process, reading);
            let known = latest.entry((&reading.stream, reading.shard)).or_insert(quiet);
            *known = quiet.min(*known);
        }
    }
    let mut found = Vec::new();
    for process in of_relays().filter(|process| process.is_alive()) {
        let readings = process.defined.readings.iter().map(|reading| Reading {
            quiet_seconds: told(process, reading).as_secs(),
            ..reading.clone()
        });
        found.extend(readings.filter(|reading| {
            let latest = latest.get(&(reading.stream.as_str(), reading.shard));
            latest.is_none_or(|latest| *latest + APART >= reading.quiet())
        }));
    }
    of(&found)
}

/// The unread ones of `readings`, by stream.
pub(crate) fn of(readings: &[Reading]) -> Vec<Unread> {
    let mut streams: BTreeMap<&str, Unread> = BTreeMap::new();
    for reading in readings {
        let Some(first) = reading.unread else { continue };
        let (version, quiet) = (reading.version, reading.quiet());
        let known = streams.entry(&reading.stream).or_insert_with(|| Unread {
            stream: reading.stream.clone(),
            version,
            shards: Vec::new(),
            first,
            read: None,
            quiet,
        });
        known.shards.push(reading.shard);
        known.version = known.version.max(version);
        known.first = known.first.min(first);
        known.read = known.read.max(reading.read);
        known.quiet = known.quiet.min(quiet);
    }
    let mut all: Vec<_> = streams.into_values().collect();
    for unread in &mut all {
        unread.shards.sort_unstable();
        unread.shards.dedup();
    }
    all
}

/// Reads on from `after`, at most `pages` pages, for the first message of each shard that is `wanted`
/// behind the position that stands there; returns them, and where the next look goes on.
pub(crate) async fn first_waiting<DB: Storage>(
    pool: &Pool<DB>,
    version: &StreamVersion,
    after: Position,
    wanted: &BTreeMap<i32, Position>,
    pages: &mut usize,
) -> Result<(BTreeMap<i32, Position>, Position)> {
    let (patterns, mut first) = (takeover::patterns(version), BTreeMap::new());
    let (trimmed, head) = (DB::trimmed(pool).await?, DB::head(pool).await?);
    let mut at = match after <= trimmed.position {
        true => trimmed,
        false => DB::locate(pool, after.min(head)).await?,
    };
    while at.position < head && first.len() < wanted.len() && *pages > 0 {
        *pages -= 1;
        let rows = DB::read(pool, at, PAGE).await?;
        let Some(end) = rows.last() else { break };
        at = end.cursor;
        for row in &rows {
            let (position, message) = (row.cursor.position, &row.message);
            let carried = message.topic != SET_ASIDE
                && patterns.iter().any(|pattern| pattern.matches(&message.topic));
            if carried {
                let shard = place(key_hash(message), version.shards);
                if wanted.get(&shard).is_some_and(|read| position > *read) {
                    first.entry(shard).or_insert(position);
                }
            }
        }
    }
    Ok((first, at.position))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::processes::Defined;

    fn reading(shard: i32, read: Option<i64>, quiet_seconds: u64, unread: Option<i64>) -> Reading {
        Reading {
            stream: "users".to_owned(),
            version: 1,
            shard,
            read: read.map(Position),
            quiet_seconds,
            unread: unread.map(Position),
        }
    }

    fn relay(readings: Vec<Reading>, unseen: u64) -> Process {
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
            defined: Defined { readings, ..Defined::default() },
            problems: Vec::new(),
        }
    }

    #[test]
    fn shards_of_a_stream_are_told_together() {
        let all = [reading(2, None, 80, Some(9)), reading(0, Some(4), 70, Some(7))];
        let all = [relay(all.to_vec(), 3), relay(vec![reading(1, Some(9), 0, None)], 1)];
        let found = found(&all);
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!((one.shards.as_slice(), one.first.0), ([0, 2].as_slice(), 7));
        assert_eq!((one.read, one.quiet), (Some(Position(4)), Duration::from_secs(73)));
        let text = one.to_string();
        assert!(text.contains("stream users shard 0, 2 is read by nobody"), "{text}");
    }

    #[test]
    fn a_reading_that_another_relay_tells_of_later_counts() {
        let stale = || relay(vec![reading(0, Some(4), 70, Some(7))], 14);
        assert_eq!(found(&[stale()]).len(), 1);
        let read = relay(vec![reading(0, Some(9), 2, None)], 1);
        assert!(found(&[stale(), read.clone()]).is_empty());
        // The same reading, told a little later.
        let same = relay(vec![reading(0, Some(4), 82, None)], 1);
        assert_eq!(found(&[stale(), same]).len(), 1);
        // A relay that is gone finds nothing, and has known of readings.
        assert!(found(&[relay(vec![reading(0, Some(4), 70, Some(7))], 60)]).is_empty());
        assert!(found(&[stale(), Process { unseen: Duration::from_secs(50), ..read }]).is_empty());
    }

    #[test]
    fn many_shards_are_counted() {
        let all: Vec<_> = (0..64).map(|shard| reading(shard, None, 60, Some(1))).collect();
        let text = of(&all)[0].to_string();
        assert!(text.contains("shard 0, 1, 2, 3, 4 and 59 more is read by nobody"), "{text}");
    }
}
