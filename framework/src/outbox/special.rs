//! Messages under an idempotency key, and delayed ones.

use std::{collections::HashMap, time::Duration};

use chrono::Utc;
use sha2::{Digest, Sha256};
use sqlx::Transaction;
use tokio::time::Instant;

use super::Receipt;
use crate::{
    Error, Result,
    message::{Due, Message, MessageError},
    storage::{ERASED_DIGEST, Known, OutboxStore},
    wake,
};

/// Nobody waits for longer at once.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes messages of which some are under a key or delayed; one receipt each.
pub(super) async fn enqueue<DB: OutboxStore>(
    tx: &mut Transaction<'_, DB>,
    messages: &[Message],
) -> Result<Vec<Receipt>> {
    let Claims { taken, known, again } = claim(tx, messages).await?;
    let mut receipts: Vec<Receipt> = messages
        .iter()
        .map(|message| Receipt { id: message.id, appended: None, repeated: false })
        .collect();
    let written = |index: &usize| !known.contains_key(index) && !again.contains_key(index);
    let new: Vec<usize> = (0..messages.len()).filter(written).collect();
    let now: Vec<usize> = new.iter().copied().filter(|i| messages[*i].due.is_none()).collect();
    let plain: Vec<Message> = now.iter().map(|index| messages[*index].clone()).collect();
    for (index, appended) in now.into_iter().zip(DB::append(tx, &plain).await?) {
        receipts[index].appended = Some(appended);
    }
    for message in new.into_iter().map(|index| &messages[index]) {
        if let Some(due) = message.due {
            DB::delay(tx, message, due).await?;
            wake::timed(in_this_process(due));
        }
    }
    for (index, key, digest) in taken {
        let Receipt { id, appended, .. } = receipts[index];
        DB::claimed(tx, key, &Known { id, digest, appended }).await?;
    }
    for (index, Known { id, appended, .. }) in known {
        receipts[index] = Receipt { id, appended, repeated: true };
    }
    for (index, first) in again {
        receipts[index] = Receipt { repeated: true, ..receipts[first] };
    }
    Ok(receipts)
}

/// About when that is: the database's clock decides.
fn in_this_process(due: Due) -> Instant {
    let after = match due {
        Due::After(after) => after,
        Due::At(time) => (time - Utc::now()).to_std().unwrap_or_default(),
    };
    Instant::now() + after.min(FAR)
}

/// What became of the keys of messages, which are told by their index.
#[derive(Default)]
struct Claims<'a> {
    /// They are to be written.
    taken: Vec<(usize, &'a str, Vec<u8>)>,
    /// They were written before.
    known: HashMap<usize, Known>,
    /// They repeat another one of this call.
    again: HashMap<usize, usize>,
}

async fn claim<'a, DB: OutboxStore>(
    tx: &mut Transaction<'_, DB>,
    messages: &'a [Message],
) -> Result<Claims<'a>> {
    let mut keyed = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        if let Some(key) = message.idempotency_key.as_deref() {
            keyed.push((key, index, digest(message)?));
        }
    }
    // In one order, so that two transactions cannot wait for each other.
    keyed.sort_unstable();
    let mut claims = Claims::default();
    let mut first: Option<(&str, usize, Vec<u8>)> = None;
    for (key, index, digest) in keyed {
        let known = match &first {
            Some((same, first, before)) if *same == key => {
                claims.again.insert(index, *first);
                Some(Known { id: messages[*first].id, digest: before.clone(), appended: None })
            }
            _ => {
                let known = DB::claim(tx, key, messages[index].id, &digest).await?;
                first = Some((key, index, digest.clone()));
                match &known {
                    Some(known) => drop(claims.known.insert(index, known.clone())),
                    None => claims.taken.push((index, key, digest.clone())),
                }
                known
            }
        };
        // Of an erased message nothing is known that another one could differ from.
        let differs = |known: &Known| known.digest != digest && known.digest[..] != ERASED_DIGEST;
        if let Some(Known { id, .. }) = known.filter(differs) {
            return Err(Error::IdempotencyKey { key: key.to_owned(), id });
        }
    }
    Ok(claims)
}

/// What must be the same when a key is used again: everything that is sent, but the id and the
/// time. `syncline_enqueue` computes it, too.
fn digest(message: &Message) -> Result<Vec<u8>> {
    let headers = serde_json::to_string(&message.headers).map_err(MessageError::Payload)?;
    let mut hash = Sha256::new_with_prefix("syncline-1");
    let mut add = |part: Option<&[u8]>| {
        let length = part.map_or(-1, |part| part.len() as i64);
        hash.update(length.to_be_bytes());
        hash.update(part.unwrap_or_default());
    };
    add(Some(message.topic.as_bytes()));
    add(message.key.as_deref().map(str::as_bytes));
    add(Some(message.content_type.as_bytes()));
    hash.update(i64::from(message.schema_version).to_be_bytes());
    for part in [headers.as_bytes(), &message.data] {
        hash.update((part.len() as i64).to_be_bytes());
        hash.update(part);
    }
    Ok(hash.finalize().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_that_is_sent_counts_and_the_id_and_the_time_do_not() {
        let message = || Message::new("a", "text/plain", "x").key("k").header("n", "v");
        let hash = |message: &Message| digest(message).expect("a digest");
        let same = hash(&message());
        assert_eq!(hash(&message().delay(std::time::Duration::ZERO)), same);
        for other in [
            Message { topic: "b".into(), ..message() },
            Message { key: None, ..message() },
            message().key(""),
            message().header("n", "w"),
            message().schema_version(2),
            Message { content_type: "text/plai".into(), data: "nx".into(), ..message() },
            Message { data: "y".into(), ..message() },
        ] {
            assert_ne!(hash(&other), same, "{other:?}");
        }
    }
}
