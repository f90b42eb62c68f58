//! What is asked of a source's database about its lives: which incarnations there were, and where
//! the log ended when a process began to seal it.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use super::Base;
use crate::{Result, message::Position};

/// An incarnation that this database does not have any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former {
    /// Which one.
    pub incarnation: Uuid,
    /// Its log and this one are the same up to here.
    pub agreed: Position,
    /// When it ended here.
    pub ended_at: DateTime<Utc>,
}

/// A time in which one process sealed the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Where the log ended when it began.
    pub head: Position,
    /// When that was.
    pub began_at: DateTime<Utc>,
}

/// A committed message that has no position yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsealedRow {
    /// Its id.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its ordering key.
    pub key: Option<String>,
}

impl fmt::Display for UnsealedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.topic, self.id)?;
        self.key.as_ref().map_or(Ok(()), |key| write!(f, " of key {key:?}"))
    }
}

/// The lives of a source's database.
#[async_trait]
pub trait IncarnationStore: Base {
    /// The incarnation of this database.
    async fn incarnation(pool: &Pool<Self>) -> Result<Uuid>;

    /// Former and lost incarnations, the oldest first.
    async fn former_incarnations(pool: &Pool<Self>) -> Result<Vec<Former>>;

    /// Begins a new incarnation, whose log is the one of those before it up to `agreed`: all
    /// leases end, and routes that are past it go back to it.
    async fn begin_incarnation(
        tx: &mut Transaction<'_, Self>,
        agreed: Position,
        lost: &[Uuid],
    ) -> Result<Uuid>;

    /// Notes where the log ends as a process begins to seal it; only the newest terms are kept.
    async fn note_term(pool: &Pool<Self>, head: Position) -> Result<()>;

    /// The newest terms, in order.
    async fn terms(pool: &Pool<Self>) -> Result<Vec<Term>>;

    /// Fails with [`Error::Unfit`](crate::Error::Unfit) when the log cannot be sealed until a
    /// new incarnation begins.
    async fn check_sealable(_pool: &Pool<Self>) -> Result<()> {
        Ok(())
    }

    /// The first `most` committed messages that have no position.
    async fn first_unsealed(_pool: &Pool<Self>, _most: i64) -> Result<Vec<UnsealedRow>> {
        Ok(Vec::new())
    }

    /// Keeps the log as it is until the transaction ends: nobody seals, and where sealing can be
    /// told only by it writers wait. Returns where the log ends.
    async fn hold_log(tx: &mut Transaction<'_, Self>) -> Result<Position>;

    /// Removes the committed messages that have no position, after
    /// [`IncarnationStore::hold_log`]. Returns how many there were.
    async fn discard_unsealed(_tx: &mut Transaction<'_, Self>) -> Result<u64> {
        Ok(0)
    }

    /// Makes a log sealable again that [`IncarnationStore::check_sealable`] found not to be, after
    /// [`IncarnationStore::hold_log`]. Returns how many messages were written anew.
    async fn reseal(_tx: &mut Transaction<'_, Self>) -> Result<u64> {
        Ok(0)
    }
}
