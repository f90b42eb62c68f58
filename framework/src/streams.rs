//! What an operator does with streams: close one, see what waits for another stream, and find
//! messages that none carries, and those that nobody reads.

mod carriers;
pub(crate) mod takeover;
pub(crate) mod unread;

use std::collections::BTreeMap;

use sqlx::Pool;

use crate::{
    Result, Storage,
    message::{Position, SET_ASIDE, key_hash, place},
    storage::{Begins, LogRow, NewShard, NewVersion, PageLimit, RouteRow, ShardKey, StreamVersion},
};

pub use unread::{Unread, unread};

pub use carriers::{Carrier, Carriers};

/// Messages of the log that are looked at together.
const PAGE: PageLimit = PageLimit { rows: 1_000, bytes: 4 << 20 };

/// So many pages are looked at for a message that was not sent.
const PAGES: usize = 50;

/// Where a stream was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The stream carries the log up to here.
    pub position: Position,
    /// The version of the stream that carries nothing.
    pub version: i32,
    /// What is not sent to its end yet, shard by shard.
    pub open: Vec<RouteRow>,
}

/// Closes `stream` at the head of the log: what is there by then is still sent by the relays that
/// declare the stream, and nothing that comes later. Its topics are free for another stream, which
/// takes over there. A stream that is closed already stays as it is. None when there is no such
/// stream.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// if let Some(closed) = syncline::streams::close(&pool, "users").await? {
///     println!("closed after position {}", closed.position);
/// }
/// # Ok(()) }
/// ```
pub async fn close<DB: Storage>(pool: &Pool<DB>, stream: &str) -> Result<Option<Closed>> {
    loop {
        let mut versions = DB::streams(pool).await?;
        versions.retain(|version| version.name == stream);
        let Some(last) = versions.last() else { return Ok(None) };
        if last.rests() {
            let mut open = DB::shards(pool).await?;
            open.retain(|row| row.stream == stream && !row.closed);
            return Ok(Some(Closed { position: last.after, version: last.version, open }));
        }
        let new = NewVersion::resting(stream, last.version + 1, Begins::Head);
        DB::define_streams(pool, &[new]).await?;
    }
}

/// Gives up what the routes of a closed stream have not sent: their shards are closed as they are,
/// and what they lack is left to retention. Returns how many positions of the log they had not
/// looked at, each shard for itself. Does nothing to a stream that is not closed.
///
/// That the stream has ended is still told to its consumers; a second call gives that up, too.
///
/// A consumer that lacks messages of it applies nothing of a stream that took over until it was told
/// to go on without them ([`inboxes::skip`](crate::inboxes::skip)).
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
pub async fn give_up<DB: Storage>(pool: &Pool<DB>, stream: &str) -> Result<u64> {
    let versions = DB::streams(pool).await?;
    let of: Vec<_> = versions.iter().filter(|version| version.name == stream).collect();
    let Some(last) = of.last().filter(|last| last.rests()) else { return Ok(0) };
    let mut rows = DB::shards(pool).await?;
    rows.retain(|row| row.stream == stream && !row.closed);
    // The last one tells consumers that the stream has ended: it is given up when nothing else is.
    if rows.iter().any(|row| row.key.version < last.version) {
        rows.retain(|row| row.key.version < last.version);
    }
    let (mut to, mut lacking) = (Vec::new(), 0);
    for row in rows {
        let version = of.iter().find(|known| known.version == row.key.version);
        let Some(version) = version else { continue };
        let (at, end) = (row.checkpoint.cursor.position, ends(&versions, version));
        let at_end = end.unwrap_or(at).max(at);
        lacking += at_end.0.abs_diff(at.0);
        to.push(NewShard { key: row.key, at: at_end, closed: true });
    }
    if !to.is_empty() {
        DB::rewind(pool, &to).await?;
    }
    Ok(lacking)
}

/// Number of positions of the log that the routes of `stream` have not looked at, each shard for itself:
/// what [`give_up`] would give up once the stream is closed. None when there is no such stream.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
pub async fn not_sent<DB: Storage>(pool: &Pool<DB>, stream: &str) -> Result<Option<u64>> {
    let versions = DB::streams(pool).await?;
    if versions.iter().all(|version| version.name != stream) {
        return Ok(None);
    }
    let head = DB::head(pool).await?;
    let lacking = |row: &RouteRow| {
        let of = |known: &&StreamVersion| known.name == stream && known.version == row.key.version;
        let version = versions.iter().find(of)?;
        let end = ends(&versions, version).unwrap_or(head);
        Some((end.0 - row.checkpoint.cursor.position.0).max(0).unsigned_abs())
    };
    let rows = DB::shards(pool).await?;
    let open = rows.iter().filter(|row| row.stream == stream && !row.closed);
    Ok(Some(open.filter_map(lacking).sum()))
}

/// The last position that a version is sent up to; none for the one in force. One that carries
/// nothing is at its end where it begins.
pub(crate) fn ends(all: &[StreamVersion], of: &StreamVersion) -> Option<Position> {
    if of.rests() { Some(of.after) } else { takeover::until(all, of) }
}

/// The shards that wait for another stream from which theirs took topics over, and what keeps that
/// one from its end.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
pub async fn waiting<DB: Storage>(pool: &Pool<DB>) -> Result<Vec<(ShardKey, String)>> {
    let (all, rows) = (DB::streams(pool).await?, DB::shards(pool).await?);
    let mut waiting = Vec::new();
    for version in &all {
        let Some(why) = takeover::held_up(&all, &rows, version) else { continue };
        let of = |row: &&RouteRow| {
            row.stream == version.name && row.key.version == version.version && !row.closed
        };
        waiting.extend(rows.iter().filter(of).map(|row| (row.key.clone(), why.clone())));
    }
    Ok(waiting)
}

/// Messages of one topic that no stream carries.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Uncarried {
    /// The topic.
    pub topic: String,
    /// How many there are in the part of the log that was looked at.
    pub messages: u64,
    /// The first of them.
    pub first: Position,
    /// The last of them.
    pub last: Position,
    /// The position after which a stream carries the topic by now, which makes these messages history:
    /// they were sent to nobody, and no more are added. None while no stream in force carries it.
    pub carried_after: Option<Position>,
}

/// Looks through the last `most` messages of the log for those that no stream carries, by topic.
/// Retention removes them without their having been sent anywhere. A service without any stream
/// carries nothing of what it writes. Topics have no index: the messages are read.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// for topic in syncline::streams::uncarried(&pool, 10_000).await? {
///     println!("{}: {} messages", topic.topic, topic.messages);
/// }
/// # Ok(()) }
/// ```
pub async fn uncarried<DB: Storage>(pool: &Pool<DB>, most: u32) -> Result<Vec<Uncarried>> {
    let head = DB::head(pool).await?;
    uncarried_after(pool, Position(head.0 - i64::from(most))).await
}

/// As [`uncarried`], in what follows `after`.
pub(crate) async fn uncarried_after<DB: Storage>(
    pool: &Pool<DB>,
    after: Position,
) -> Result<Vec<Uncarried>> {
    let versions = DB::streams(pool).await?;
    let mut found: BTreeMap<String, Uncarried> = BTreeMap::new();
    // Of a definition from a time when topics were not kept nothing is known.
    if versions.iter().any(|version| version.topics.is_empty()) {
        return Ok(Vec::new());
    }
    let spans: Vec<_> = versions
        .iter()
        .map(|one| (one.after, takeover::until(&versions, one), takeover::patterns(one)))
        .collect();
    let trimmed = DB::trimmed(pool).await?;
    let mut at = match after <= trimmed.position {
        true => trimmed,
        false => DB::locate(pool, after).await?,
    };
    let head = DB::head(pool).await?;
    while at.position < head {
        let rows = DB::read(pool, at, PAGE).await?;
        let Some(end) = rows.last() else { break };
        at = end.cursor;
        for row in rows {
            let (position, topic) = (row.cursor.position, &row.message.topic);
            let carried = spans.iter().any(|(after, until, patterns)| {
                let spans = position > *after && until.is_none_or(|until| position <= until);
                spans && patterns.iter().any(|pattern| pattern.matches(topic))
            });
            if carried || topic == SET_ASIDE {
                continue;
            }
            let known = found.entry(topic.clone()).or_insert_with(|| Uncarried {
                topic: topic.clone(),
                messages: 0,
                first: position,
                last: position,
                carried_after: carried_after(&versions, topic),
            });
            (known.messages, known.last) = (known.messages + 1, position);
        }
    }
    Ok(found.into_values().collect())
}

/// The position after which a version in force carries `topic`; the first one's, of several.
pub(crate) fn carried_after(versions: &[StreamVersion], topic: &str) -> Option<Position> {
    let carries = |version: &&StreamVersion| {
        takeover::until(versions, version).is_none()
            && takeover::patterns(version).iter().any(|pattern| pattern.matches(topic))
    };
    versions.iter().filter(carries).map(|version| version.after).min()
}

/// How many messages of a shard stand after `at`, up to `end`, as far as the first pages tell.
pub(crate) async fn unsent<DB: Storage>(
    pool: &Pool<DB>,
    version: &StreamVersion,
    shard: i32,
    at: Position,
    end: Position,
) -> Result<u64> {
    let patterns = takeover::patterns(version);
    let trimmed = DB::trimmed(pool).await?;
    let mut cursor = match at <= trimmed.position {
        true => trimmed,
        false => DB::locate(pool, at).await?,
    };
    let mut unsent = 0;
    for _ in 0..PAGES {
        if cursor.position >= end || unsent > 0 {
            break;
        }
        let rows = DB::read(pool, cursor, PAGE).await?;
        let Some(last) = rows.last() else { break };
        cursor = last.cursor;
        let theirs = |row: &&LogRow| {
            row.cursor.position <= end
                && row.message.topic != SET_ASIDE
                && patterns.iter().any(|pattern| pattern.matches(&row.message.topic))
                && place(key_hash(&row.message), version.shards) == shard
        };
        unsent += rows.iter().filter(theirs).count() as u64;
    }
    Ok(unsent)
}
