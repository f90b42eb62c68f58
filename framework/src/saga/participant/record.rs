//! What the barrier remembers of steps, as one transaction sees and changes it.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Transaction;

use crate::{
    Error, Result, Storage, cap,
    message::{Envelope, Message},
    outbox::enqueue_all,
    saga::{Answer, wire::Command},
    storage::{BarrierKey, BarrierRecord, BarrierRow, BarrierStep},
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

/// The steps that the commands of one transaction are for: claimed by one statement before the
/// first of them is answered, recorded by one after the last, with one more for the answers.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    source: String,
    claimed: HashMap<BarrierStep, BarrierRow>,
    changed: HashMap<BarrierStep, DateTime<Utc>>,
    pub(super) answers: Vec<Message>,
}

/// A claimed step: nobody else answers for it until the transaction ends.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) step: BarrierStep,
    /// What became of it; none when nothing has.
    pub(super) record: Option<Record>,
    /// Whether it was compensated, or barred by its compensation.
    pub(super) undone: bool,
    /// The database's time.
    pub(super) now: DateTime<Utc>,
    not_after: Option<DateTime<Utc>>,
}

impl Barrier {
    /// Claims the steps of `messages`, which are of one source. A command that cannot be read is
    /// an error when it is answered.
    pub(crate) async fn claim<DB: Storage>(
        tx: &mut Transaction<'_, DB>,
        messages: &[Envelope],
    ) -> Result<Self> {
        let mut steps = BTreeSet::new();
        for command in messages.iter().filter(|message| Command::is_one(message)) {
            let Ok(Command { saga, step, confirms, .. }) = Command::read(command) else { continue };
            steps.extend(confirms.map(|step| BarrierStep { saga, step }));
            steps.insert(BarrierStep { saga, step });
        }
        let source = messages.first().map(|message| message.origin.source.clone());
        let mut barrier = Self { source: source.unwrap_or_default(), ..Self::default() };
        if !steps.is_empty() {
            let claimed = DB::claim_barriers(tx, &barrier.source, &steps).await?;
            barrier.claimed.extend(claimed);
        }
        Ok(barrier)
    }

    /// What is known of `step` of the instance that `command` is for. One that was left is claimed
    /// again.
    pub(super) async fn step<DB: Storage>(
        &mut self,
        tx: &mut Transaction<'_, DB>,
        command: &Command,
        step: &str,
    ) -> Result<Claimed> {
        let (step, not_after) = (step.to_owned(), command.not_after);
        let step = BarrierStep { saga: command.saga, step };
        if !self.claimed.contains_key(&step) {
            let row = DB::claim_barrier(tx, self.key(&step)).await?;
            self.claimed.insert(step.clone(), row);
        }
        let row = &self.claimed[&step];
        let record = match row.record.is_empty() {
            true => None,
            false => Some(serde_json::from_str(&row.record).map_err(broken)?),
        };
        Ok(Claimed { record, undone: row.undone, now: row.now, not_after, step })
    }

    /// Takes note of what became of a step. A late action must still find it after its `not_after`.
    pub(super) fn record(&mut self, of: &Claimed, record: &Record, undone: bool) -> Result<()> {
        let text = serde_json::to_string(record).map_err(broken)?;
        let row = BarrierRow { record: text, undone, now: of.now };
        self.claimed.insert(of.step.clone(), row);
        let until = self.changed.entry(of.step.clone()).or_default();
        // No longer than a database can: an orchestrator may be of another kind.
        let latest = of.now + cap::LONGEST;
        *until = (*until).max(of.not_after.unwrap_or_default().min(latest));
        Ok(())
    }

    /// Leaves no trace of a claim that came to nothing.
    ///
    /// # Errors
    /// [`Error::TransactionLost`] when the claim is gone already.
    pub(super) async fn leave<DB: Storage>(
        &mut self,
        tx: &mut Transaction<'_, DB>,
        of: &Claimed,
    ) -> Result<()> {
        self.claimed.remove(&of.step);
        match DB::leave_barrier(tx, self.key(&of.step)).await? {
            true => Ok(()),
            false => Err(Error::TransactionLost),
        }
    }

    /// Writes what became of the steps, and the answers.
    pub(crate) async fn write<DB: Storage>(self, tx: &mut Transaction<'_, DB>) -> Result<()> {
        let Self { source, mut claimed, changed, answers } = self;
        let record = |(step, not_before)| {
            let BarrierRow { record, undone, .. } = claimed.remove(&step)?;
            Some(BarrierRecord { step, record, undone, not_before })
        };
        let records: Vec<_> = changed.into_iter().filter_map(record).collect();
        DB::record_barriers(tx, &source, &records).await?;
        // The consumer wakes the relay after its commit.
        enqueue_all(tx, &answers).await.map(drop)
    }

    fn key<'a>(&'a self, step: &'a BarrierStep) -> BarrierKey<'a> {
        BarrierKey { source: &self.source, saga: step.saga, step: &step.step }
    }
}

impl Claimed {
    /// What an action that comes again is told, and one that asks whether it is barred.
    pub(super) fn standing(&self) -> Option<Answer> {
        let record = self.record.as_ref()?;
        // It is not applied and never will be. An orchestrator that does not know it, such as one
        // restored from a backup, must not go on as if it were.
        Some(if self.undone { Answer::Barred } else { record.answer.clone() })
    }
}

/// A record without its content. It still tells that the step was applied, refused or barred,
/// and what has confirmed it. None when it is no record.
pub(crate) fn erased(record: &str) -> Option<String> {
    let Record { answer, confirmed } = serde_json::from_str(record).ok()?;
    let answer = match answer {
        Answer::Applied(_) => Answer::Applied(serde_json::Value::Null),
        Answer::Refused(_) => Answer::Refused("erased".to_owned()),
        Answer::Failed(_) => Answer::Failed("erased".to_owned()),
        Answer::Barred => Answer::Barred,
    };
    serde_json::to_string(&Record { answer, confirmed }).ok()
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
