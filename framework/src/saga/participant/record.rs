//! What the barrier remembers of a step.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Transaction;

use crate::{
    Error, Result, Storage,
    message::Envelope,
    saga::{Answer, wire::Command},
    storage::BarrierKey,
};

/// What is recorded of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// What was answered, or that it is barred; never a failure.
    pub(super) answer: Answer,
    /// The step that has confirmed this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) confirmed: Option<String>,
}

/// A claimed step: nobody else answers for it until the transaction ends.
pub(super) struct Claimed<'a> {
    pub(super) key: BarrierKey<'a>,
    /// What became of it; none when nothing has.
    pub(super) record: Option<Record>,
    /// Whether it was compensated, or barred by its compensation.
    pub(super) undone: bool,
    /// The database's time.
    pub(super) now: DateTime<Utc>,
    not_after: Option<DateTime<Utc>>,
}

impl<'a> Claimed<'a> {
    /// Claims `step` of the instance that `command` is for.
    pub(super) async fn claim<DB: Storage>(
        tx: &mut Transaction<'_, DB>,
        message: &'a Envelope,
        command: &Command,
        step: &'a str,
    ) -> Result<Self> {
        let key = BarrierKey { source: &message.origin.source, saga: command.saga, step };
        let row = DB::claim_barrier(tx, key).await?;
        let record = match row.record.is_empty() {
            true => None,
            false => Some(serde_json::from_str(&row.record).map_err(broken)?),
        };
        let not_after = command.not_after;
        Ok(Self { key, record, undone: row.undone, now: row.now, not_after })
    }

    /// What an action that comes again is told, and one that asks whether it is barred.
    pub(super) fn standing(&self) -> Option<Answer> {
        let record = self.record.as_ref()?;
        // It is not applied and never will be. An orchestrator that does not know it, such as one
        // restored from a backup, must not go on as if it were.
        Some(if self.undone { Answer::Barred } else { record.answer.clone() })
    }

    /// Records what became of it. A late action must still find it after its `not_after`.
    pub(super) async fn record<DB: Storage>(
        &self,
        tx: &mut Transaction<'_, DB>,
        record: &Record,
        undone: bool,
    ) -> Result<()> {
        let text = serde_json::to_string(record).map_err(broken)?;
        DB::record_barrier(tx, self.key, &text, undone, self.not_after).await
    }

    /// Leaves no trace of a claim that came to nothing.
    ///
    /// # Errors
    /// [`Error::TransactionLost`] when the claim is gone already.
    pub(super) async fn leave<DB: Storage>(&self, tx: &mut Transaction<'_, DB>) -> Result<()> {
        match DB::leave_barrier(tx, self.key).await? {
            true => Ok(()),
            false => Err(Error::TransactionLost),
        }
    }
}

impl From<Answer> for Record {
    fn from(answer: Answer) -> Self {
        Self { answer, confirmed: None }
    }
}

fn broken(error: serde_json::Error) -> Error {
    let source = sqlx::Error::Decode(Box::new(error));
    Error::Database { action: "read what the barrier has recorded of a saga's step", source }
}
