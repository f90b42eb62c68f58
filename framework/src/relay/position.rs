//! From a consumer's answer to a place in our log: positions are believed only with the id
//! of the message that stands there.

use sqlx::Pool;

use crate::{
    Result, Storage,
    message::{Link, Position},
    storage::{Checkpoint, PageLimit},
};

/// A consumer's watermark, held against this log.
pub(super) enum Verified {
    /// It is a place in this log.
    Here(Checkpoint),
    /// It is not, and this is what was found.
    Diverged(String),
}

/// Finds the checkpoint that a consumer speaks of: its watermark, and its last message.
pub(super) async fn verify<DB: Storage>(
    pool: &Pool<DB>,
    watermark: Position,
    last: Link,
) -> Result<Verified> {
    let head = DB::head(pool).await?;
    if watermark > head {
        return Ok(Verified::Diverged(format!(
            "the consumer has applied up to position {watermark}, this log ends at {head}: this \
             database was restored from a backup, or it is not the one the consumer knows"
        )));
    }
    if let Some(problem) = mismatch(pool, last).await? {
        return Ok(Verified::Diverged(problem));
    }
    let cursor = DB::locate(pool, watermark).await?;
    Ok(Verified::Here(Checkpoint { cursor, last }))
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
