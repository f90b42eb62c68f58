//! Takes payloads away for good: of the messages of a key, or of all that one instance of a saga has left.
//!
//! The log is append-only because consumers link each message to the one before it. So an erased message
//! keeps its position, id, topic and key, and loses its payload and its headers: from then on it travels as
//! a bare link, which consumers pass over without a gap. **One that was not delivered yet is not
//! delivered.** Relays may hand a page on that they have read up to ten seconds before.
//!
//! [`Erase::run`] works on one database, in the caller's transaction, and takes everything there that is of
//! the key or the instance, whichever part the service has in it:
//!
//! | where | what becomes of it |
//! |---|---|
//! | messages in the log | a bare link |
//! | delayed messages | a bare link, when they are due |
//! | messages that wait past a watermark | a bare link, when it is their turn |
//! | held messages and dead letters | gone; their key is free |
//! | digests under idempotency keys | gone: a repetition gets the first receipt, whatever it contains |
//! | reasons of rejections | gone |
//! | instances that are over: input, outputs, errors, details of the log | gone; their steps stay |
//! | a participant's recorded answers | that it was applied or refused stays, what was answered goes |
//!
//! Keys, topics, ids and times stay: make keys of what may stay. What is written under the key *after* it
//! has run is as any other message: erase first, then enqueue the message that tells others of it. Their
//! copies are theirs to erase, in the handler of that message. Old row versions stay in the database's
//! files and logs until it reuses them: docs/erasure.md.

mod received;

use std::collections::BTreeSet;

use serde_json::Value;
use sqlx::Transaction;
use uuid::Uuid;

use crate::{
    Result, Storage,
    message::{Envelope, Origin, Position},
    saga::{self, operate::By},
    storage::{BarrierAnswer, SagaChanges, SagaLogLine, Whose},
};

/// Stands for the input of an instance that was erased: a repeated start is told the instance.
pub(crate) const ERASED_INPUT: &str = "\"syncline.erased\"";

/// A request to erase payloads.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(
/// #     pool: sqlx::SqlitePool, saga: uuid::Uuid,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use syncline::{Message, begin, enqueue, erasure::Erase};
/// let mut tx = begin(&pool).await?;
/// let erased = Erase::new().key("user-1").saga(saga).run(&mut tx).await?;
/// let deleted = Message::json("user.deleted", &"user-1")?.key("user-1");
/// let receipt = enqueue(&mut tx, &deleted).await?;
/// tx.commit().await?;
/// receipt.committed();
/// println!("{} messages", erased.messages);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is erased until it runs"]
pub struct Erase {
    keys: BTreeSet<String>,
    sagas: BTreeSet<Uuid>,
    messages: BTreeSet<i64>,
    before: Option<(Origin, Position)>,
    by: Option<By>,
}

/// The outcome of an [`Erase`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erased {
    /// Messages of the log.
    pub messages: u64,
    /// Delayed messages.
    pub delayed: u64,
    /// Held messages and dead letters.
    pub held: u64,
    /// Messages that wait past a watermark.
    pub ahead: u64,
    /// A participant's recorded answers.
    pub answers: u64,
    /// Instances of this service's sagas.
    pub sagas: Vec<Uuid>,
    /// Instances that are not over: nothing of them was erased, for they still need it.
    pub open: Vec<Uuid>,
}

/// The instances that were locked.
#[derive(Default)]
struct Locked {
    /// They are not over.
    open: Vec<Uuid>,
    /// They are over, with their states; those of other services have none here.
    over: Vec<(Uuid, Option<String>)>,
}

impl Erased {
    /// Whether there was nothing to erase.
    pub fn is_nothing(&self) -> bool {
        *self == Self { open: self.open.clone(), ..Self::default() }
    }
}

impl Erase {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The messages with this ordering key, and the instances that were started under it.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.insert(key.into());
        self
    }

    /// All that an instance of a saga has left, of this service's sagas or another one's.
    pub fn saga(mut self, id: Uuid) -> Self {
        self.sagas.insert(id);
        self
    }

    /// The message of the log with this sequence value, which its receipt tells
    /// ([`Receipt::appended`](crate::Receipt::appended)). It is found at once.
    pub fn message(mut self, seq: i64) -> Self {
        self.messages.insert(seq);
        self
    }

    /// Of what came in by the same way as `message`, only what came before it. For its handler: what
    /// came later under the same key is not of the one that it tells is gone.
    pub fn before(mut self, message: &Envelope) -> Self {
        self.before = Some(((*message.origin).clone(), message.position));
        self
    }

    /// Names the operator and the reason, for the instances' logs.
    pub fn by(mut self, by: By) -> Self {
        self.by = Some(by);
        self
    }

    /// Locks what consumers and engines lock before they call your code: keys of held messages, and
    /// instances. Returns the instances that are not over, of which [`run`](Self::run) would erase nothing.
    ///
    /// Call it before you lock rows of your own that handlers or steps lock, too: in the other order they
    /// and this transaction can wait for each other.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
    /// # use syncline::{begin, erasure::Erase};
    /// let (erase, mut tx) = (Erase::new().key("user-1"), begin(&pool).await?);
    /// if erase.lock(&mut tx).await?.is_empty() {
    ///     sqlx::query("DELETE FROM users WHERE id = 'user-1'").execute(&mut *tx).await?;
    ///     erase.run(&mut tx).await?;
    ///     tx.commit().await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database).
    pub async fn lock<DB: Storage>(&self, tx: &mut Transaction<'_, DB>) -> Result<Vec<Uuid>> {
        Ok(self.locked(tx).await?.open)
    }

    /// Erases in `tx`. It reads the whole log once for each key and instance, for there is no index by key;
    /// it locks only what it erases, in one order whatever was asked for: keys of held messages, instances,
    /// delayed messages, messages of the log by sequence value. Keep the transaction short: while it is open,
    /// messages that it has erased and that are not sealed yet are not sealed on MySQL.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database).
    pub async fn run<DB: Storage>(&self, tx: &mut Transaction<'_, DB>) -> Result<Erased> {
        let mut erased = Erased::default();
        if self.keys.is_empty() && self.sagas.is_empty() {
            self.erase_sent(tx, &[], &mut erased).await?;
            return Ok(erased);
        }
        let Locked { open, over } = self.locked(tx).await?;
        erased.open = open;
        let mut all: Vec<Whose> = self.keys.iter().map(Whose::key).collect();
        for (id, state) in &over {
            if let Some(state) = state {
                let state = saga_without_content(state);
                DB::erase_saga(tx, *id, ERASED_INPUT, &state).await?;
                erased.sagas.push(*id);
            }
            all.push(Whose::saga(*id));
        }
        self.erase_sent(tx, &all, &mut erased).await?;
        self.erase_held(tx, &all, &mut erased).await?;
        self.erase_ahead(tx, &all, &mut erased).await?;
        for (id, _) in over {
            erased.answers += erase_answers(tx, id).await?;
        }
        self.note(tx, &erased.sagas).await?;
        tracing::info!(
            messages = erased.messages,
            delayed = erased.delayed,
            held = erased.held,
            ahead = erased.ahead,
            sagas = erased.sagas.len(),
            open = erased.open.len(),
            "payloads are erased"
        );
        Ok(erased)
    }

    async fn locked<DB: Storage>(&self, tx: &mut Transaction<'_, DB>) -> Result<Locked> {
        let mut ids = self.sagas.clone();
        for key in &self.keys {
            ids.extend(DB::sagas_to_erase(tx, key).await?);
        }
        let of_keys = self.keys.iter().map(Whose::key);
        let all: Vec<Whose> = of_keys.chain(ids.iter().copied().map(Whose::saga)).collect();
        let held = self.held(tx, &all).await?;
        let keys: BTreeSet<_> =
            held.into_iter().map(|copy| (copy.consumer, copy.source, copy.key)).collect();
        for (consumer, source, key) in keys {
            DB::lock_parked(tx, &consumer, &source, &key).await?;
        }
        let mut locked = Locked::default();
        for id in ids {
            match DB::saga_to_erase(tx, id).await? {
                Some((false, _)) => locked.open.push(id),
                Some((true, state)) => locked.over.push((id, Some(state))),
                None => locked.over.push((id, None)),
            }
        }
        Ok(locked)
    }

    /// Messages of the log, and what is kept beside it.
    async fn erase_sent<DB: Storage>(
        &self,
        tx: &mut Transaction<'_, DB>,
        all: &[Whose],
        erased: &mut Erased,
    ) -> Result<()> {
        // First, for one that is being moved into the log is found there afterwards.
        for whose in all {
            erased.delayed += DB::erase_delayed(tx, whose).await?;
        }
        let (mut seqs, mut ids) = (self.messages.clone(), BTreeSet::new());
        for whose in all {
            DB::erase_digests(tx, whose).await?;
            for (seq, id) in DB::rows_to_erase(tx, whose).await? {
                seqs.insert(seq);
                ids.insert(id);
            }
        }
        let seqs: Vec<i64> = seqs.into_iter().collect();
        erased.messages += DB::erase_rows(tx, &seqs).await?;
        for id in ids {
            DB::erase_reason(tx, id).await?;
        }
        Ok(())
    }

    async fn note<DB: Storage>(&self, tx: &mut Transaction<'_, DB>, sagas: &[Uuid]) -> Result<()> {
        let by = self.by.as_ref().map(|By { who, why }| format!("{who}: {why}"));
        let line = |id: &Uuid| SagaLogLine {
            id: *id,
            step: None,
            what: "erased",
            attempt: None,
            detail: by.clone(),
        };
        let log: Vec<_> = sagas.iter().map(line).collect();
        match log.is_empty() {
            true => Ok(()),
            false => DB::save_sagas(tx, &SagaChanges { log, ..SagaChanges::default() }).await,
        }
    }
}

async fn erase_answers<DB: Storage>(tx: &mut Transaction<'_, DB>, saga: Uuid) -> Result<u64> {
    let mut erased = 0;
    for answer in DB::barrier_answers(tx, saga).await? {
        let Some(record) = saga::erased_record(&answer.record) else { continue };
        if record != answer.record {
            DB::erase_barrier(tx, saga, &BarrierAnswer { record, ..answer }).await?;
            erased += 1;
        }
    }
    Ok(erased)
}

/// The state of an instance that is over, without what its steps returned and the texts of their errors. By
/// the names of its parts, for it may be one that this program cannot read.
fn saga_without_content(state: &str) -> String {
    let Ok(Value::Object(mut state)) = serde_json::from_str(state) else { return "{}".to_owned() };
    state.remove("reason");
    for step in state.get_mut("steps").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Value::Object(step) = step.1 {
            step.remove("output");
            step.remove("error");
        }
    }
    Value::Object(state).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_keeps_its_steps_and_loses_what_they_returned() {
        let state = json!({
            "status": {"ended": "compensated"}, "back": true, "reason": "ada@example.org is in use",
            "steps": {"one": {"phase": "undone", "attempts": 1, "output": "secret"},
                      "two": {"phase": "refused", "attempts": 1, "error": "ada@example.org"}},
        });
        let left: Value =
            serde_json::from_str(&saga_without_content(&state.to_string())).expect("JSON");
        let expected = json!({
            "status": {"ended": "compensated"}, "back": true,
            "steps": {"one": {"phase": "undone", "attempts": 1},
                      "two": {"phase": "refused", "attempts": 1}},
        });
        assert_eq!(left, expected);
        assert_eq!(saga_without_content("no JSON, but ada@example.org"), "{}");
    }

    #[test]
    fn an_instance_has_its_commands_and_replies_and_nobody_elses() {
        let id = Uuid::from_u128(7);
        let whose = Whose::saga(id);
        for own in [id.to_string(), format!("{id}/step/apply/1"), format!("{id}/s/apply/1/2")] {
            assert!(whose.has(&own), "{own}");
        }
        for other in [String::new(), format!("{id}0"), format!("{id}-x"), "user-1".to_owned()] {
            assert!(!whose.has(&other), "{other}");
        }
        assert!(Whose::key("user-1").has("user-1") && !Whose::key("user-1").has("user-10"));
        assert!(!Whose::key("user-1").has(""));
    }
}
