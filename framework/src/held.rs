//! What an operator does with dead letters: try one again, or give it up. The consumer need
//! not stop for it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sqlx::{Pool, Transaction};

use crate::{
    Error, Result, Storage,
    message::{DecodeError, JSON, Limits, Message, decode_envelope, encode_envelope},
    storage::{HeldMessage, begin_by_hand},
};

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
    if lock_dead(&mut tx, id).await?.is_none() || !DB::revive(&mut tx, id).await? {
        return Ok(false);
    }
    tx.commit().await.map_err(Error::database("commit a redrive"))?;
    Ok(true)
}

/// Gives the dead letter `id`, or a message that nobody handles, up for good; the messages behind
/// it flow on. False when there is none.
///
/// # Errors
/// [`Error::Database`].
pub async fn drop_dead<DB: Storage>(pool: &Pool<DB>, id: i64) -> Result<bool> {
    let mut tx = begin_by_hand(pool).await?;
    let Some(dead) = lock_dead(&mut tx, id).await? else { return Ok(false) };
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

/// The dead letter `id`, with its key locked against the consumer and other operators.
async fn lock_dead<DB: Storage>(
    tx: &mut Transaction<'_, DB>,
    id: i64,
) -> Result<Option<HeldMessage>> {
    let Some(held) = DB::held_by_id(tx, id).await? else { return Ok(None) };
    // The key first, as the consumer does it; what was read before may be over by then.
    DB::lock_parked(tx, &held.consumer, &held.source, &held.key).await?;
    Ok(DB::held_by_id(tx, id).await?.filter(|held| held.dead || held.reason == "unknown"))
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
    // What the source allowed in size is allowed here.
    let bytes = Limits::DEFAULT.max_bytes.max(held.envelope.len());
    let message = Arc::make_mut(&mut envelope.message);
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
