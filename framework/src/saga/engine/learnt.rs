//! What one engine has learnt from transactions that failed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    local::{Blame, Excused, Key},
    round::Broken,
};
use crate::{
    Error,
    error::{Class, chain},
};

/// A step that has met an error which should pass by itself so often has failed.
const ROUNDS: u32 = 10;
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
    /// Tries that have had their one more on a fresh connection.
    stale: HashSet<Key>,
    /// How often tries have met errors that should pass by themselves.
    rounds: HashMap<Key, u32>,
    /// The next transaction is to have a fresh connection.
    fresh: bool,
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

    /// A try met an error that is not its own; whether it is answered by it, or made again at once.
    pub(super) fn disturbed(&mut self, key: Key, class: Class, error: &Error) -> bool {
        self.at = Some(Instant::now());
        let (id, step, _, attempt) = &key;
        if class == Class::Stale && self.stale.insert(key.clone()) {
            tracing::info!(%id, step, attempt, %error, "tried again on a fresh connection");
            self.fresh = true;
            return true;
        }
        if class == Class::Stale {
            self.excuse(key, chain(error));
            return true;
        }
        let rounds = self.rounds.entry(key.clone()).or_default();
        *rounds = rounds.saturating_add(1);
        tracing::warn!(
            %id, step, attempt, rounds, %error,
            "a step meets an error that should pass by itself: look at the limits of time, locks and \
             sizes that its statements meet; after ten rounds it counts as a failure of the step"
        );
        let stands = *rounds >= ROUNDS;
        if stands {
            let rounds = *rounds;
            let error = chain(error);
            self.excuse(
                key,
                format!("an error that should pass by itself, {rounds} rounds: {error}"),
            );
        }
        stands
    }

    /// Whether the next transaction is to have a fresh connection.
    pub(super) fn take_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    pub(super) fn forget_all(&mut self) {
        (self.excused, self.broken) = Default::default();
        self.stale.clear();
        self.rounds.clear();
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
        self.stale.retain(|(id, ..)| !decided.contains(id));
        self.rounds.retain(|(id, ..), _| !decided.contains(id));
    }
}
