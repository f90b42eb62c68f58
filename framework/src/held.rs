//! What an operator does with dead letters: try one again, or give it up. The consumer need
//! not stop for it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use sqlx::{Pool, Transaction};

use crate::{
    Error, Result, Storage,
    message::{DecodeError, JSON, Limits, Message, decode_envelope, encode_envelope},
    storage::{HeldMessage, begin_by_hand},
};

/// Held messages that are read at once.
const PAGE: i64 = 500;
/// The first message of a key.
const FIRST: i64 = 1;

/// Has the dead letter `id` tried again, now, with its attempts counted from nought; the
/// messages behind it follow in order. False when there is no such dead letter.
///
/// # Errors
/// [`Error::Database`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// use syncline::{held, storage::Inspect};
/// for letter in sqlx::Sqlite::held(&pool, false, 0, 100).await? {
///     held::redrive(&pool, letter.id).await?;
/// }
/// # Ok(()) }
/// ```
pub async fn redrive<DB: Storage>(pool: &Pool<DB>, id: i64) -> Result<bool> {
    let mut tx = begin_by_hand(pool).await?;
    let dead = lock_held(&mut tx, id).await?.is_some_and(|held| is_given_up(&held));
    if !dead || !DB::revive(&mut tx, id).await? {
        return Ok(false);
    }
    tx.commit().await.map_err(Error::database("commit a redrive"))?;
    Ok(true)
}

/// A parked key, as [`retry_now`] has found it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedKey {
    /// The consumer.
    pub consumer: String,
    /// The source that its messages come from.
    pub source: String,
    /// The key, or what stands for one that the message has not.
    pub key: String,
    /// The held message that is tried next, or the dead letter that blocks the key.
    pub id: i64,
    /// Whether a dead letter blocks it: then nothing was changed, and [`redrive`] is the way.
    pub blocked: bool,
}

/// Has what is held tried again now and not when its pause is over: of the parked key `key` (of every
/// one, with `None`), at one consumer or at all of them. Attempts are counted as they would be then.
/// Returns the keys that there are, also those that a dead letter blocks.
///
/// # Errors
/// [`Error::Database`]; keys that came before it are hurried.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// for key in syncline::held::retry_now(&pool, None, Some("u-0977")).await? {
///     println!("{} at {}: {}", key.key, key.consumer, if key.blocked { "blocked" } else { "now" });
/// }
/// # Ok(()) }
/// ```
pub async fn retry_now<DB: Storage>(
    pool: &Pool<DB>,
    consumer: Option<&str>,
    key: Option<&str>,
) -> Result<Vec<ParkedKey>> {
    let (mut keys, mut after) = (BTreeSet::new(), 0);
    loop {
        let page = DB::held(pool, true, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for held in page {
            let meant = consumer.is_none_or(|consumer| consumer == held.consumer)
                && key.is_none_or(|key| key == held.key);
            if meant {
                keys.insert((held.consumer, held.source, held.key));
            }
        }
    }
    let mut found = Vec::new();
    for (consumer, source, key) in keys {
        if let Some((id, blocked)) = hurry(pool, &consumer, &source, &key).await? {
            found.push(ParkedKey { consumer, source, key, id, blocked });
        }
    }
    Ok(found)
}

/// Hurries one key; the message that is next, and whether it blocks the key.
async fn hurry<DB: Storage>(
    pool: &Pool<DB>,
    consumer: &str,
    source: &str,
    key: &str,
) -> Result<Option<(i64, bool)>> {
    let mut tx = begin_by_hand(pool).await?;
    if !DB::lock_parked(&mut tx, consumer, source, key).await? {
        return Ok(None);
    }
    let mut next = DB::held_of_key(&mut tx, consumer, source, key, true, FIRST).await?;
    if let Some(dead) = next.first().filter(|next| next.dead) {
        // What was tried since it died goes on without it (`OnDead::Skip`).
        let id = dead.id;
        next = DB::held_of_key(&mut tx, consumer, source, key, false, FIRST).await?;
        if next.first().is_none_or(|next| next.reason == "behind") {
            return Ok(Some((id, true)));
        }
    }
    let Some(next) = next.first() else { return Ok(None) };
    DB::park(&mut tx, consumer, source, key, Some(Duration::ZERO)).await?;
    tx.commit().await.map_err(Error::database("have a parked key tried now"))?;
    Ok(Some((next.id, false)))
}

/// Gives the dead letter `id`, or a message that nobody handles, up for good; the messages behind
/// it flow on. False when there is none.
///
/// # Errors
/// [`Error::Database`].
pub async fn drop_dead<DB: Storage>(pool: &Pool<DB>, id: i64) -> Result<bool> {
    drop_held(pool, id, is_given_up).await
}

/// As [`drop_dead`], and also a message that has failed and is still tried by itself. One that waits
/// behind another is not dropped.
///
/// # Errors
/// [`Error::Database`].
pub async fn drop_failing<DB: Storage>(pool: &Pool<DB>, id: i64) -> Result<bool> {
    drop_held(pool, id, |held| held.dead || held.reason != "behind").await
}

async fn drop_held<DB: Storage>(
    pool: &Pool<DB>,
    id: i64,
    may: impl Fn(&HeldMessage) -> bool + Send,
) -> Result<bool> {
    let mut tx = begin_by_hand(pool).await?;
    let Some(dead) = lock_held(&mut tx, id).await?.filter(may) else { return Ok(false) };
    let HeldMessage { consumer, source, key, .. } = &dead;
    DB::unhold(&mut tx, id).await?;
    match DB::held_of_key(&mut tx, consumer, source, key, true, 1).await?.first() {
        None => DB::unpark(&mut tx, consumer, source, key).await?,
        // It blocks the key just so; its own timer, if it has one, stays.
        Some(next) if next.dead => {}
        Some(_) => DB::park(&mut tx, consumer, source, key, Some(Duration::ZERO)).await?,
    }
    tx.commit().await.map_err(Error::database("commit the drop of a dead letter"))?;
    Ok(true)
}

/// Whether only an operator, or another version of the program, does something about it.
fn is_given_up(held: &HeldMessage) -> bool {
    held.dead || held.reason == "unknown"
}

/// The held message `id`, with its key locked against the consumer and other operators.
async fn lock_held<DB: Storage>(
    tx: &mut Transaction<'_, DB>,
    id: i64,
) -> Result<Option<HeldMessage>> {
    let Some(held) = DB::held_by_id(tx, id).await? else { return Ok(None) };
    // The key first, as the consumer does it; what was read before may be over by then.
    DB::lock_parked(tx, &held.consumer, &held.source, &held.key).await?;
    DB::held_by_id(tx, id).await
}

/// Replaces the payload of the held message `id`, whatever it is held for; what it was at first
/// is kept, with who changed it and when. The message is not tried before its time: redrive it
/// when it is a dead letter. False when there is no such message.
///
/// # Errors
/// [`Error::Message`] when the message would not be of the allowed form,
/// [`Error::Definition`] when `by` names nobody, [`Error::Database`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// use syncline::held;
/// if held::edit(&pool, 7, r#"{"email": "mo@example.org"}"#, "Ada").await? {
///     held::redrive(&pool, 7).await?;
/// }
/// # Ok(()) }
/// ```
pub async fn edit<DB: Storage>(
    pool: &Pool<DB>,
    id: i64,
    payload: impl Into<Bytes>,
    by: &str,
) -> Result<bool> {
    if by.is_empty() || by.len() > 255 || by.chars().any(char::is_control) {
        let problem = "write who edits, in 1 to 255 bytes without control characters".to_owned();
        let name = by.chars().take(80).collect();
        return Err(Error::Definition { what: "editor", name, problem });
    }
    let mut tx = begin_by_hand(pool).await?;
    let Some(held) = DB::held_by_id(&mut tx, id).await? else { return Ok(false) };
    DB::lock_parked(&mut tx, &held.consumer, &held.source, &held.key).await?;
    let Some(held) = DB::held_by_id(&mut tx, id).await? else { return Ok(false) };
    let broken = |error: DecodeError| Error::LogBroken {
        position: held.position.0,
        problem: format!("held message {id}: {error}"),
    };
    let mut envelope = decode_envelope(&held.envelope).map_err(broken)?;
    let message = Arc::make_mut(&mut envelope.message);
    // The size that the source allowed is allowed here.
    let bytes = Limits::DEFAULT.max_bytes.max(message.data.len());
    message.data = payload.into();
    if message.content_type == JSON {
        // An editor ends a file with a line end; with it the document would travel as bytes.
        message.data = message.data.slice_ref(message.data.trim_ascii());
    }
    let form = Message { headers: Default::default(), ..message.clone() };
    form.validate(&Limits::new(bytes, Limits::DEFAULT.max_json_depth))?;
    let encoded = encode_envelope(&envelope).map_err(broken)?;
    DB::edit(&mut tx, id, &encoded, by).await?;
    tx.commit().await.map_err(Error::database("commit an edit"))?;
    Ok(true)
}
