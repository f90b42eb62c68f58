//! The transaction of local steps, each of which can be taken back alone.

use sqlx::Transaction;

use crate::{Error, Result, Storage, storage::Savepoint};

/// A transaction with a savepoint behind which one step after the other runs. What ends a step goes
/// to the database together with what begins the next, and not at all after the last one: the
/// commit does it.
pub(super) struct StepTx<'a, 't, DB: Storage> {
    tx: &'a mut Transaction<'t, DB>,
    /// What the next step needs first; none when the savepoint stands where it begins.
    before: Option<Savepoint>,
}

impl<'a, 't, DB: Storage> StepTx<'a, 't, DB> {
    pub(super) fn new(tx: &'a mut Transaction<'t, DB>) -> Self {
        Self { tx, before: Some(Savepoint::Set) }
    }

    /// The transaction for the next step.
    pub(super) async fn begin(&mut self) -> Result<&mut Transaction<'t, DB>> {
        if let Some(before) = self.before {
            let action = match before {
                Savepoint::Next => "end the step before this one",
                Savepoint::Set | Savepoint::Back => "set a savepoint for a step",
            };
            self.run(before, action).await?;
        }
        self.before = Some(Savepoint::Next);
        Ok(self.tx)
    }

    /// What the step wrote stays, and it is known at once whether it does.
    pub(super) async fn keep(&mut self) -> Result<()> {
        self.run(Savepoint::Next, "end a step").await
    }

    /// What the step wrote is rolled back.
    pub(super) async fn take_back(&mut self) -> Result<()> {
        self.run(Savepoint::Back, "take a step back").await
    }

    async fn run(&mut self, what: Savepoint, action: &'static str) -> Result<()> {
        DB::savepoint(self.tx, what).await.map_err(Error::database(action))?;
        self.before = None;
        Ok(())
    }
}
