//! From a consumer's answer to a place in our log: positions are believed only with the id
//! of the message that stands there.

use sqlx::Pool;
use uuid::Uuid;

use crate::{
    Result, Storage,
    message::{Continues, Link, Position},
    storage::{Checkpoint, PageLimit},
};

/// A consumer's watermark, held against this log.
pub(super) enum Verified {
    /// It is a place in this log.
    Here(Checkpoint),
    /// It is not, and this is what was found.
    Diverged(String),
}

/// Finds the checkpoint that a consumer's watermark and last message speak of; `acked` is one that
/// was confirmed before.
pub(super) async fn verify<DB: Storage>(
    pool: &Pool<DB>,
    watermark: Position,
    last: Link,
    acked: &Checkpoint,
) -> Result<Verified> {
    if let Some(problem) = disagreement(pool, watermark, last).await? {
        return Ok(Verified::Diverged(problem));
    }
    // What lies between its last message and its watermark the consumer has only been told of:
    // it is looked at again, unless this log is known to hold nothing there.
    let at = match last == acked.last {
        true => watermark.min(acked.cursor.position),
        false => last.position,
    };
    let cursor = DB::locate(pool, at).await?;
    Ok(Verified::Here(Checkpoint { cursor, last }))
}

/// What of a consumer's place does not agree with this log.
async fn disagreement<DB: Storage>(
    pool: &Pool<DB>,
    watermark: Position,
    last: Link,
) -> Result<Option<String>> {
    let head = DB::head(pool).await?;
    if watermark > head {
        return Ok(Some(format!(
            "the consumer has applied up to position {watermark}, this log ends at {head}: this \
             database was restored from a backup, or it is not the one the consumer knows"
        )));
    }
    mismatch(pool, last).await
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
    former: Uuid,
    watermark: Position,
    last: Link,
) -> Result<Continuation> {
    let known = DB::former_incarnations(pool).await?;
    let Some(agreed) = known.iter().find(|known| known.incarnation == former) else {
        return Ok(Continuation::Unknown(format!(
            "the consumer follows incarnation {former}, which this database does not know: if it \
             lost that one when a backup was restored, name it: `syncline stream rebase --lost \
             {former}`"
        )));
    };
    let agreed = agreed.agreed;
    let known = match last.is_anchor() {
        true => last.position <= agreed,
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
