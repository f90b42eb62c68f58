//! What becomes of a message that failed on its own, in a transaction of its own: its key
//! is parked, or its rejection goes back to the source.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use sqlx::Transaction;

use super::{
    Inner, OnDead, RetryPolicy,
    apply::Part,
    compensation::rejection,
    stop::{Failure, Stop},
};
use crate::{
    Error, Storage, cap,
    message::{Envelope, Origin},
    outbox::enqueue,
    storage::{HeldReason, Holding, InboxRow},
};

/// How often a message that nobody here handles is looked at again: another process of this
/// consumer may know it, and takes it when it is due.
const UNKNOWN: Duration = Duration::from_secs(15);

/// What follows a failed try.
pub(super) struct NextTry {
    pub(super) reason: HeldReason,
    /// When the key is looked at again; never, while a dead letter blocks it.
    pub(super) after: Option<Duration>,
    pub(super) dead: bool,
    pub(super) error: String,
}

impl RetryPolicy {
    /// The pause after the try number `attempts` (from 1).
    fn pause(&self, attempts: i32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1).max(0).unsigned_abs());
        self.base.saturating_mul(doubled).min(self.max)
    }
}

impl<DB: Storage> Inner<DB> {
    /// Records the outcome of the one message of `part` and moves the watermark over it.
    pub(super) async fn settle(&self, part: Part<'_>, failure: &Failure) -> Result<InboxRow, Stop> {
        let mut tx = self.begin().await?;
        let taken = self.take(&mut tx, part).await?;
        let (mut receipt, mut parked_as) = (None, None);
        if let [message] = &taken.fresh[..] {
            let (source, key) = (&message.origin.source, self.key_of(message));
            if let Failure::Reject(reason) = failure {
                let rejection = rejection(&self.name, message, reason)?;
                receipt = Some(enqueue(&mut tx, &rejection).await?);
            } else {
                let parked = DB::parked_keys(&mut tx, &self.name, source, self.max_parked).await?;
                if parked.len() as i64 >= self.max_parked {
                    return Err(Stop::TooManyParked);
                }
                self.room_to_hold(&mut tx, 1).await?;
                let next = self.next_try(failure, 1);
                let holding =
                    Holding { reason: next.reason, error: Some(&next.error), dead: next.dead };
                DB::park(&mut tx, &self.name, source, &key, next.after).await?;
                DB::hold(&mut tx, &self.name, &key, message, holding).await?;
                parked_as = Some((key, next));
            }
        }
        let after = self.save(&mut tx, part, &taken).await?;
        tx.commit().await.map_err(Error::database("commit"))?;
        if let [message] = &taken.fresh[..] {
            match (&parked_as, failure) {
                (Some((key, next)), _) => self.tell_failed(message, key, 1, failure, next),
                (None, Failure::Reject(reason)) => self.tell_rejected(message, reason),
                _ => {}
            }
        }
        if let Some(receipt) = receipt {
            receipt.committed();
        }
        self.parked.notify_one();
        Ok(after)
    }

    /// Logs a try that failed, and what follows.
    pub(super) fn tell_failed(
        &self,
        message: &Envelope,
        key: &str,
        attempt: i32,
        failure: &Failure,
        next: &NextTry,
    ) {
        let (consumer, topic, id, position) =
            (&self.name, &message.topic, message.id, message.position.0);
        let (source, stream) = (&message.origin.source, &message.origin.stream);
        let (of, error) = (self.retry.max_attempts, &next.error);
        if next.dead && self.on_dead == OnDead::Block {
            tracing::error!(
                consumer, topic, key, %id, source, stream, position, attempt, of, error,
                "message is a dead letter and blocks its key: mend the cause and have it tried again \
                 (`syncline dead redrive`), change it (`dead edit`) or give it up (`dead drop`); `dead \
                 list` has its number"
            );
        } else if next.dead {
            tracing::error!(
                consumer, topic, key, %id, source, stream, position, attempt, of, error,
                "message is a dead letter; its key goes on without it: mend the cause and have it tried \
                 again (`syncline dead redrive`), change it (`dead edit`) or give it up (`dead drop`); \
                 `dead list` has its number"
            );
        } else if matches!(failure, Failure::Unknown(_)) {
            tracing::warn!(
                consumer, topic, key, %id, source, stream, position, error,
                "message is held with its key: no process of this consumer that has seen it knows it"
            );
        } else {
            let again_in_s = next.after.unwrap_or_default().as_secs_f64();
            tracing::warn!(
                consumer, topic, key, %id, source, stream, position, attempt, of, again_in_s, error,
                "message failed: its key is parked until it is tried again; `syncline held list` has \
                 it, `held retry` has it tried at once"
            );
        }
    }

    /// Logs a rejection.
    pub(super) fn tell_rejected(&self, message: &Envelope, reason: &str) {
        let (topic, key, origin) = (&message.topic, &message.key, &message.origin);
        tracing::info!(
            consumer = self.name, topic, key, id = %message.id, source = origin.source,
            stream = origin.stream, position = message.position.0, reason = cap::text(reason),
            "message rejected: its source is told"
        );
        self.rejects.store(true, Ordering::Relaxed);
    }

    /// The keys of `messages` that are parked, locked until the transaction ends.
    pub(super) async fn lock_parked_keys(
        &self,
        tx: &mut Transaction<'_, DB>,
        origin: &Origin,
        messages: &[Envelope],
    ) -> Result<HashSet<String>, Stop> {
        let mut locked = HashSet::new();
        if messages.is_empty() {
            return Ok(locked);
        }
        let parked: HashSet<String> =
            DB::parked_keys(tx, &self.name, &origin.source, self.max_parked + 1)
                .await?
                .into_iter()
                .collect();
        if parked.is_empty() {
            return Ok(locked);
        }
        // In one order, so that two transactions cannot wait for each other.
        let mut keys: Vec<String> =
            messages.iter().map(|m| self.key_of(m)).filter(|key| parked.contains(key)).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            if DB::lock_parked(tx, &self.name, &origin.source, &key).await? {
                locked.insert(key);
            }
        }
        Ok(locked)
    }

    /// Whether `more` messages may be held.
    pub(super) async fn room_to_hold(
        &self,
        tx: &mut Transaction<'_, DB>,
        more: usize,
    ) -> Result<(), Stop> {
        let held = DB::held_count(tx, &self.name, self.max_held).await?;
        match held.saturating_add(i64::try_from(more).unwrap_or(i64::MAX)) > self.max_held {
            true => Err(Stop::TooManyHeld),
            false => Ok(()),
        }
    }

    /// What follows the try number `attempts` (from 1) that ended in `failure`.
    pub(super) fn next_try(&self, failure: &Failure, attempts: i32) -> NextTry {
        let unknown = matches!(failure, Failure::Unknown(_));
        let spent = attempts >= self.retry.max_attempts && !unknown;
        let dead = spent || matches!(failure, Failure::Undecodable(_));
        let (reason, pause) = match failure {
            Failure::Unknown(_) => (HeldReason::Unknown, UNKNOWN),
            Failure::Retry(after) => (HeldReason::Retry, *after),
            _ => (HeldReason::Failed, self.retry.pause(attempts)),
        };
        let after = match (dead, self.on_dead) {
            (false, _) => Some(pause),
            (true, OnDead::Block) => None,
            (true, OnDead::Skip) => Some(Duration::ZERO),
        };
        NextTry { reason, after, dead, error: cap::text(&failure.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_tries_doubles_and_never_exceeds_its_maximum() {
        let (base, max) = (Duration::from_secs(1), Duration::from_secs(300));
        let retry = RetryPolicy { max_attempts: i32::MAX, base, max };
        let pauses: Vec<_> = (1..=11).map(|attempts| retry.pause(attempts).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        for attempts in [12, 32, 33, 34, 1_000, i32::MAX] {
            assert_eq!(retry.pause(attempts), max, "{attempts} tries");
        }
        // A count that no try has made.
        for attempts in [0, -1, i32::MIN] {
            assert_eq!(retry.pause(attempts), base, "{attempts} tries");
        }
        let hasty = RetryPolicy { base: max * 2, ..retry };
        assert_eq!(hasty.pause(1), max);
        let patient = RetryPolicy { base: Duration::MAX, max: Duration::MAX, ..retry };
        assert_eq!(patient.pause(9), Duration::MAX);
    }
}
