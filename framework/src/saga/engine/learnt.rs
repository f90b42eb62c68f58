//! What one engine has learnt from transactions that failed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    local::{Blame, Excused, Key},
    round::Broken,
};
use crate::Error;

/// How long it is remembered what made a transaction fail.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Learnt {
    /// Tries of local steps that failed with their transaction.
    pub(super) excused: Arc<Excused>,
    /// Instances that cannot be decided, and why.
    pub(super) broken: Arc<Broken>,
    /// When something was learnt last.
    pub(super) at: Option<Instant>,
    /// So many instances are decided one by one.
    pub(super) alone: u32,
    /// When the database ended a transaction last: several at once may be in each other's way.
    pub(super) contended: Option<Instant>,
    /// Which definition comes first.
    turn: usize,
}

impl Learnt {
    /// How many transactions may be under way, of `most`.
    pub(super) fn at_once(&self, most: u32) -> usize {
        let contended = self.contended.is_some_and(|at| at.elapsed() <= REMEMBERED);
        if contended || self.alone > 0 { 1 } else { most as usize }
    }

    /// Each definition comes first in its turn, so that none hides the others.
    pub(super) fn owners(&mut self, owners: &[String]) -> Vec<String> {
        let mut owners = owners.to_vec();
        let first = self.turn % owners.len().max(1);
        owners.rotate_left(first);
        self.turn = self.turn.wrapping_add(1);
        owners
    }

    /// A try is answered by this error, and not made again.
    pub(super) fn excuse(&mut self, key: Key, error: String) {
        self.at = Some(Instant::now());
        Arc::make_mut(&mut self.excused).insert(key, error);
    }

    /// Finds out, one by one, whose fault it is that a transaction cannot be committed.
    ///
    /// # Errors
    /// The error, when it is nobody's.
    pub(super) fn blame(&mut self, error: Error, blame: Blame) -> Result<(), Error> {
        self.at = Some(Instant::now());
        match (&blame.instances[..], blame.last) {
            ([_], Some(key)) if !self.excused.contains_key(&key) => {
                Arc::make_mut(&mut self.excused).insert(key, error.to_string());
            }
            ([id], _) if !self.broken.contains_key(id) => {
                Arc::make_mut(&mut self.broken).insert(*id, error.to_string());
            }
            ([_] | [], _) => return Err(error),
            (all, _) => self.alone = u32::try_from(all.len()).unwrap_or(u32::MAX),
        }
        Ok(())
    }

    /// These instances have been decided.
    pub(super) fn forget(&mut self, decided: &[Uuid]) {
        if !self.excused.is_empty() {
            Arc::make_mut(&mut self.excused).retain(|(id, ..), _| !decided.contains(id));
        }
        if !self.broken.is_empty() {
            Arc::make_mut(&mut self.broken).retain(|id, _| !decided.contains(id));
        }
    }
}
