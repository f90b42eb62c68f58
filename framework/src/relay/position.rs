//! From a consumer's answer to a place in our log: positions are believed only with the id
//! of the message that stands there.

use sqlx::Pool;
use uuid::Uuid;

use super::carried::Carried;
use crate::{
    Error, Result, Storage,
    message::{Continues, Link, Position},
    storage::{Checkpoint, Cursor, PageLimit},
};

/// A consumer's watermark, held against this log.
pub(super) enum Verified {
    /// It is a place in this log.
    Here(Checkpoint),
    /// It is not, and this is what was found.
    Diverged(String),
}

/// Finds the checkpoint that a consumer's watermark and last message speak of; `acked` is one that
/// was confirmed before. Fails with [`Error::Trimmed`] when what the consumer lacks is no longer
/// kept.
pub(super) async fn verify<DB: Storage>(
    pool: &Pool<DB>,
    carried: &Carried,
    watermark: Position,
    last: Link,
    acked: &Checkpoint,
) -> Result<Verified> {
    let trimmed = DB::trimmed(pool).await?;
    if let Some(problem) = disagreement(pool, carried, trimmed, watermark, last).await? {
        return Ok(Verified::Diverged(problem));
    }
    // What lies between its last message and its watermark the consumer has only been told of:
    // it is looked at again, unless this log is known to hold nothing there.
    let at = match last == acked.last {
        true => watermark.min(acked.cursor.position),
        false => last.position,
    };
    // Of what is no longer kept it lacks nothing.
    let cursor = match at <= trimmed.position {
        true => carried.beginning(trimmed),
        false => DB::locate(pool, at).await?,
    };
    Ok(Verified::Here(Checkpoint { cursor, last }))
}

/// Where a reader goes on that has all up to `at`, `last` being its last message: there, or where
/// the log begins, if nothing of the shard stood between. Fails with [`Error::Trimmed`] if it did.
pub(super) async fn resume<DB: Storage>(
    pool: &Pool<DB>,
    carried: &Carried,
    at: Position,
    last: Link,
) -> Result<Checkpoint> {
    let trimmed = DB::trimmed(pool).await?;
    if at > trimmed.position {
        return Ok(Checkpoint { cursor: DB::locate(pool, at).await?, last });
    }
    if at == trimmed.position && last.is_anchor() {
        // What comes next names the message before it.
        let last = match anchor(pool, carried, trimmed.position).await? {
            none if none.is_anchor() => Link::anchor(none.position.max(carried.after)),
            last => last,
        };
        return Ok(Checkpoint { cursor: carried.beginning(trimmed), last });
    }
    match trimmed_away(pool, carried, trimmed, at, last).await? {
        None => Ok(Checkpoint { cursor: carried.beginning(trimmed), last }),
        Some(_) => Err(Error::Trimmed { position: at.0, kept: trimmed.position.0 }),
    }
}

/// The shard's last message at or below the trim point; an anchor where none stands between its
/// position and the trim point.
async fn anchor<DB: Storage>(
    pool: &Pool<DB>,
    carried: &Carried,
    trimmed: Position,
) -> Result<Link> {
    let origin = &carried.origin;
    let known = DB::anchor(pool, &origin.stream, origin.version, origin.shard).await?;
    Ok(known.unwrap_or(carried.unknown(trimmed)))
}

/// Holds a place at or below the trim point against the shard's anchor: says so when it is none,
/// and fails with [`Error::Trimmed`] when messages that the reader lacks are no longer kept.
async fn trimmed_away<DB: Storage>(
    pool: &Pool<DB>,
    carried: &Carried,
    trimmed: Cursor,
    watermark: Position,
    last: Link,
) -> Result<Option<String>> {
    let anchor = anchor(pool, carried, trimmed.position).await?;
    if watermark < anchor.position {
        return Err(Error::Trimmed { position: watermark.0, kept: trimmed.position.0 });
    }
    let agrees = last == anchor
        || (anchor.is_anchor() && last.position <= anchor.position)
        || (last.is_anchor() && last.position >= anchor.position);
    Ok((!agrees).then(|| {
        format!(
            "the consumer's last message is {} at position {}, and the last one of the stream that \
             this log held up to {} was {} at position {}",
            last.id, last.position, trimmed.position, anchor.id, anchor.position
        )
    }))
}

/// Where this log ends, if that is before `at`.
pub(super) async fn beyond<DB: Storage>(pool: &Pool<DB>, at: Position) -> Result<Option<Position>> {
    let head = DB::head(pool).await?;
    Ok((at > head).then_some(head))
}

/// A consumer has applied more than this log holds.
pub(super) fn applied_beyond(watermark: Position, head: Position) -> String {
    format!(
        "the consumer has applied up to position {watermark}, this log ends at {head}: this database \
         was restored from a backup (`syncline stream rebase`), it is not the one the consumer knows, \
         or `inbox skip` was told a position that this log has not reached"
    )
}

/// What of a consumer's place does not agree with this log.
async fn disagreement<DB: Storage>(
    pool: &Pool<DB>,
    carried: &Carried,
    trimmed: Cursor,
    watermark: Position,
    last: Link,
) -> Result<Option<String>> {
    if let Some(head) = beyond(pool, watermark).await? {
        return Ok(Some(applied_beyond(watermark, head)));
    }
    match last.position <= trimmed.position {
        true => trimmed_away(pool, carried, trimmed, watermark, last).await,
        false => mismatch(pool, last).await,
    }
}

/// How this log continues what a consumer of another incarnation has applied.
pub(super) enum Continuation {
    /// From here.
    At(Continues),
    /// It does not, and this is why.
    Unknown(String),
}

/// Finds out how this log continues what a consumer has applied that follows `former`.
pub(super) async fn continuation<DB: Storage>(
    pool: &Pool<DB>,
    carried: &Carried,
    former: Uuid,
    watermark: Position,
    last: Link,
) -> Result<Continuation> {
    let known = DB::former_incarnations(pool).await?;
    let Some(agreed) = known.iter().find(|known| known.incarnation == former) else {
        return Ok(Continuation::Unknown(format!(
            "the consumer follows incarnation {former}, which this database does not know: if it \
             lost that one when a backup was restored, name it: `syncline stream rebase --head --lost \
             {former}`, or with the last position that consumers know (`--to`) where messages were \
             written since"
        )));
    };
    let agreed = agreed.agreed;
    let trimmed = DB::trimmed(pool).await?.position;
    let known = match last.is_anchor() {
        true => last.position <= agreed,
        // It cannot be looked at any more: both logs are the same up to what is agreed.
        false if last.position <= trimmed => {
            last.position <= agreed || last == anchor(pool, carried, trimmed).await?
        }
        false => last.position <= DB::head(pool).await? && mismatch(pool, last).await?.is_none(),
    };
    Ok(Continuation::At(match known {
        // It may have gone on in this log past the agreed position.
        true => Continues { former, agreed: agreed.max(last.position), last },
        false => Continues { former, agreed, last: Link::anchor(watermark.min(agreed)) },
    }))
}

/// Says so when another message stands at `link` than it names.
async fn mismatch<DB: Storage>(pool: &Pool<DB>, link: Link) -> Result<Option<String>> {
    // An anchor names no message.
    if link.is_anchor() {
        return Ok(None);
    }
    let before = DB::locate(pool, Position((link.position.0 - 1).max(0))).await?;
    let rows = DB::read(pool, before, PageLimit { rows: 1, bytes: usize::MAX }).await?;
    let found = rows.first().map(|row| (row.cursor.position, row.message.id));
    Ok((found != Some((link.position, link.id))).then(|| {
        format!(
            "the consumer's last message is {} at position {}, and this log holds {} there",
            link.id,
            link.position,
            found.map_or("nothing".to_owned(), |(_, id)| id.to_string())
        )
    }))
}
