//! What an operator does with a consumer's watermarks: look, and have applied again what was
//! applied. The consumer need not stop for it.

use std::cmp::Reverse;

use sqlx::{Pool, Transaction};

use crate::{
    Error, Result, Storage,
    logs::{count, verb},
    message::{Link, Origin, Position},
    storage::{Inbox, InboxRow, begin_by_hand},
};

/// How far `consumer` (every consumer, with `None`) is, in order of consumer, source, stream,
/// version and shard.
///
/// # Errors
/// [`Error::Database`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// for inbox in syncline::inboxes::list(&pool, Some("login")).await? {
///     println!("{} is applied up to {}", inbox.origin.stream, inbox.row.watermark);
/// }
/// # Ok(()) }
/// ```
pub async fn list<DB: Storage>(pool: &Pool<DB>, consumer: Option<&str>) -> Result<Vec<Inbox>> {
    DB::inboxes(pool, consumer).await
}

/// The most messages past a watermark that are looked at.
const LOOKED_AT: i64 = 1_000;

/// What is to be applied again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reapply {
    /// By which consumer.
    pub consumer: String,
    /// Of which source.
    pub source: String,
    /// Of which of its streams.
    pub stream: String,
    /// Of which shard; of every one, with `None`.
    pub shard: Option<i32>,
    /// What follows this position.
    pub to: Position,
    /// Commands of sagas that were applied stay as they are: without this, a source whose commands
    /// are recorded here is refused.
    pub except_commands: bool,
}

/// Moves the consumer's watermarks back to [`Reapply::to`], in every version of the stream, so
/// that what follows is applied **again**: each effect happens once more. It comes when the
/// source next hears from the consumer: with the next message or page, when its relay asks
/// ([`RelayOptions::ask_every`](crate::relay::RelayOptions::ask_every)), or at once after
/// [`routes::rewind`](crate::routes::rewind) at the source. Returns what stood further on, as it
/// was.
///
/// A running consumer need not stop; what it is applying meanwhile is done first. A compensation
/// runs once for each message, also after this.
///
/// **A command of a saga is never applied again**: what became of its step is recorded, and asked again it
/// gets the recorded answer. So this refuses when steps of the source's sagas are recorded here, unless
/// [`Reapply::except_commands`] says that all else is to be applied again.
///
/// # Errors
/// [`Error::Definition`] when the consumer knows nothing of the stream or is not past the
/// position, when messages after it are held or wait for a missing one, and when one shard is
/// named and the stream was given another definition after the position, and when the source's
/// commands are recorded; nothing is changed then. [`Error::Database`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// use syncline::{inboxes::{Reapply, reapply}, message::Position};
/// let [consumer, source, stream] = ["login", "/register", "users"].map(String::from);
/// let again = Reapply { consumer, source, stream, shard: None, to: Position(900), except_commands: false };
/// for inbox in reapply(&pool, &again).await? {
///     println!("shard {} was at {}", inbox.origin.shard, inbox.row.watermark);
/// }
/// # Ok(()) }
/// ```
pub async fn reapply<DB: Storage>(pool: &Pool<DB>, again: &Reapply) -> Result<Vec<Inbox>> {
    let (tx, known) = moved_back(pool, again).await?;
    tx.commit().await.map_err(Error::database("move the watermarks back"))?;
    for Inbox { origin, row, .. } in &known {
        let Reapply { consumer, source, stream, to, .. } = again;
        tracing::warn!(
            consumer, source, stream, shard = origin.shard, from = %row.watermark, to = %to,
            "an operator has a consumer apply again what it has applied"
        );
    }
    Ok(known)
}

impl Reapply {
    /// The watermarks that [`reapply`] would move back, as they are. It makes the same checks and
    /// changes nothing.
    ///
    /// # Errors
    /// As [`reapply`].
    pub async fn preview<DB: Storage>(&self, pool: &Pool<DB>) -> Result<Vec<Inbox>> {
        let (tx, known) = moved_back(pool, self).await?;
        tx.rollback().await.map_err(Error::database("look which watermarks would move back"))?;
        Ok(known)
    }
}

/// Moves watermarks back in a transaction that is still to be committed; returns them as they were.
async fn moved_back<DB: Storage>(
    pool: &Pool<DB>,
    again: &Reapply,
) -> Result<(Transaction<'static, DB>, Vec<Inbox>)> {
    let Reapply { consumer, source, stream, shard, to, except_commands } = again;
    let mut known = list(pool, Some(consumer)).await?;
    known.retain(|inbox| inbox.origin.source == *source && inbox.origin.stream == *stream);
    let mut tx = begin_by_hand(pool).await?;
    // The newest version first, as the consumer locks them.
    known.sort_by_key(|inbox| (Reverse(inbox.origin.version), inbox.origin.shard));
    for inbox in &mut known {
        inbox.row = DB::lock_inbox(&mut tx, consumer, &inbox.origin, inbox.row).await?;
    }
    check(again, &known)?;
    known.retain(|inbox| inbox.row.watermark > *to);
    known.retain(|inbox| shard.is_none_or(|shard| shard == inbox.origin.shard));
    let held = DB::held_after(&mut tx, consumer, source, stream, *shard, *to).await?;
    if held > 0 {
        return refuse(
            again,
            format!(
                "{} of {} after position {to} {} held: let it be applied (`syncline held list`), or \
                 settle dead letters with `syncline dead`",
                count(held, "message"),
                shard.map_or("the stream".to_owned(), |shard| format!(
                    "shard {shard} of the stream"
                )),
                verb(held, "is", "are")
            ),
        );
    }
    let steps = DB::recorded_steps(&mut tx, source).await?;
    if steps > 0 && !except_commands {
        return refuse(
            again,
            format!(
                "{} of sagas of {source} {} recorded here, and a command that was applied is not applied again: it would get the recorded answer, as with `syncline saga \
                 resend ID STEP` at the saga's service, and the effect that it had, if that is gone, \
                 must be made by hand or by a new saga; to have all else applied again, say so \
                 (`--except-commands`)",
                count(steps, "step"),
                verb(steps, "is", "are")
            ),
        );
    }
    for Inbox { origin, row, .. } in &known {
        send_back(&mut tx, again, origin, row).await?;
    }
    known.reverse();
    Ok((tx, known))
}

/// Moves one watermark back. The version that it belongs to takes messages again.
async fn send_back<DB: Storage>(
    tx: &mut Transaction<'_, DB>,
    again: &Reapply,
    origin: &Origin,
    row: &InboxRow,
) -> Result<()> {
    let Reapply { consumer, to, .. } = again;
    let (_, waiting) = DB::ahead_size(tx, consumer, origin).await?;
    if waiting > 0 {
        return refuse(
            again,
            format!(
                "messages of shard {} wait for a missing one, and who sent them may not send them \
             again: see `syncline held list`",
                origin.shard
            ),
        );
    }
    // What was applied past the watermark is applied again, too.
    DB::forget_ahead(tx, consumer, origin, *to).await?;
    let back = InboxRow { watermark: *to, last: Link::anchor(*to), ended: None, ..*row };
    DB::save_inbox(tx, consumer, origin, back).await
}

/// Whether there is something to apply again, and it can be told apart.
fn check(again: &Reapply, known: &[Inbox]) -> Result<()> {
    let Reapply { source, stream, shard, to, .. } = again;
    let wanted = |inbox: &&Inbox| shard.is_none_or(|shard| shard == inbox.origin.shard);
    let furthest = known.iter().filter(wanted).map(|inbox| inbox.row.watermark).max();
    if *to < Position::START {
        return refuse(again, "a position is at least 0".to_owned());
    }
    match furthest {
        None => {
            let what = format!("it has taken in nothing of {source} {stream} there");
            return refuse(again, format!("{what}: see `syncline inbox list`"));
        }
        Some(furthest) if furthest <= *to => {
            return refuse(again, format!("it has applied up to position {furthest} only"));
        }
        Some(_) => {}
    }
    let mut ended = known.iter().filter_map(|inbox| inbox.row.ended);
    if shard.is_some() && ended.any(|end| end > *to) {
        return refuse(
            again,
            format!(
                "the stream was given another definition after position {to}, and a shard is not the \
             same before and after it: have all shards applied again"
            ),
        );
    }
    Ok(())
}

fn refuse<T>(again: &Reapply, problem: String) -> Result<T> {
    Err(Error::Definition { what: "consumer", name: again.consumer.clone(), problem })
}

/// Messages that a consumer gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// By which consumer.
    pub consumer: String,
    /// Of which source.
    pub source: String,
    /// Of which of its streams.
    pub stream: String,
    /// Of which shard; of every one, with `None`.
    pub shard: Option<i32>,
    /// Everything up to this position that was not applied.
    pub to: Position,
    /// Where the source's log ends, as it is told there (`syncline outbox lag`): a position beyond it
    /// is refused, for messages that are yet to be written would never be applied. With `None`, one
    /// beyond all that this database has seen of the source is.
    pub log_ends: Option<Position>,
}

/// Moves the consumer's watermarks forward to [`Skip::to`]: what stands between was **not applied
/// here and never will be**. It is the way out when the source no longer keeps it
/// ([`Error::Trimmed`]); the source goes on from there when it next hears from the consumer, or at
/// once after [`routes::rewind`](crate::routes::rewind) to the same position. Returns what stood
/// before it, as it was.
///
/// # Errors
/// [`Error::Definition`] when the consumer knows nothing of the stream or is past the position
/// everywhere, when the source is not known to have come so far ([`Skip::log_ends`]), and when
/// messages at or below it wait here for a missing one: they would be lost, too. Nothing is changed then. [`Error::Database`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// use syncline::{inboxes::{Skip, skip}, message::Position};
/// let [consumer, source, stream] = ["login", "/register", "users"].map(String::from);
/// let log_ends = Some(Position(2104));
/// let lost = Skip { consumer, source, stream, shard: None, to: Position(1683), log_ends };
/// for inbox in skip(&pool, &lost).await? {
///     println!("shard {} was at {}", inbox.origin.shard, inbox.row.watermark);
/// }
/// # Ok(()) }
/// ```
pub async fn skip<DB: Storage>(pool: &Pool<DB>, skip: &Skip) -> Result<Vec<Inbox>> {
    let (tx, known) = moved_forward(pool, skip).await?;
    tx.commit().await.map_err(Error::database("move the watermarks forward"))?;
    for Inbox { origin, row, .. } in &known {
        let Skip { consumer, source, stream, to, .. } = skip;
        tracing::warn!(
            consumer, source, stream, shard = origin.shard, from = %row.watermark, to = %to,
            "an operator has had messages skipped: they are never applied here"
        );
    }
    Ok(known)
}

impl Skip {
    /// The watermarks that [`skip`] would move forward, as they are. It makes the same checks and
    /// changes nothing.
    ///
    /// # Errors
    /// As [`skip`].
    pub async fn preview<DB: Storage>(&self, pool: &Pool<DB>) -> Result<Vec<Inbox>> {
        let (tx, known) = moved_forward(pool, self).await?;
        tx.rollback().await.map_err(Error::database("look which watermarks would move forward"))?;
        Ok(known)
    }
}

/// Moves watermarks forward in a transaction that is still to be committed; returns them as they were.
async fn moved_forward<DB: Storage>(
    pool: &Pool<DB>,
    skip: &Skip,
) -> Result<(Transaction<'static, DB>, Vec<Inbox>)> {
    let Skip { consumer, source, stream, shard, to, log_ends } = skip;
    let refuse = |problem: String| {
        Err(Error::Definition { what: "consumer", name: consumer.clone(), problem })
    };
    let mut known = list(pool, None).await?;
    known.retain(|inbox| inbox.origin.source == *source);
    let seen = known.iter().map(|inbox| inbox.row.watermark.max(inbox.row.last.position)).max();
    known.retain(|inbox| inbox.consumer == *consumer && inbox.origin.stream == *stream);
    known.retain(|inbox| shard.is_none_or(|shard| shard == inbox.origin.shard));
    if known.is_empty() {
        let what = format!("it has taken in nothing of {source} {stream} there");
        return refuse(format!("{what}: see `syncline inbox list`"));
    }
    let mut tx = begin_by_hand(pool).await?;
    // The newest version first, as the consumer locks them.
    known.sort_by_key(|inbox| (Reverse(inbox.origin.version), inbox.origin.shard));
    for inbox in &mut known {
        inbox.row = DB::lock_inbox(&mut tx, consumer, &inbox.origin, inbox.row).await?;
    }
    known.retain(|inbox| inbox.row.ended.is_none_or(|end| inbox.row.watermark < end));
    known.retain(|inbox| inbox.row.watermark < *to);
    if known.is_empty() {
        return refuse(format!("it is past position {to}: there is nothing to skip"));
    }
    if let Some(end) = log_ends.filter(|end| to > end) {
        return refuse(format!(
            "position {to} is beyond {end}, where the log of {source} is said to end: what is yet to \
             be written there would be lost"
        ));
    }
    let mut waiting = Vec::new();
    for Inbox { origin, row, .. } in &known {
        let ahead = DB::next_ahead(&mut tx, consumer, origin, row.watermark, LOOKED_AT).await?;
        waiting.push(ahead);
    }
    let seen = waiting.iter().flatten().map(|ahead| ahead.link.position).chain(seen).max();
    if let Some(seen) = seen.filter(|seen| log_ends.is_none() && to > seen) {
        return refuse(format!(
            "position {to} is beyond all that this database has seen of {source}, which is up to \
             {seen}: if the log there ends before it, what is yet to be written would be lost; say \
             where it ends, as `syncline outbox lag` tells it there (`--log-ends POSITION`)"
        ));
    }
    for (Inbox { origin, row, .. }, ahead) in known.iter().zip(&waiting) {
        let mut here = ahead.iter().filter(|ahead| ahead.link.position <= *to);
        if let Some(waits) = here.find(|ahead| ahead.envelope.is_some()) {
            return refuse(format!(
                "messages from position {} on wait here for the missing ones and would be lost, \
                 too: skip to {} first",
                waits.link.position,
                waits.link.position.0 - 1
            ));
        }
        let to = row.ended.map_or(*to, |end| end.min(*to));
        DB::remove_ahead(&mut tx, consumer, origin, to).await?;
        let forward = InboxRow { watermark: to, last: Link::anchor(to), ..*row };
        DB::save_inbox(&mut tx, consumer, origin, forward).await?;
    }
    known.reverse();
    Ok((tx, known))
}
