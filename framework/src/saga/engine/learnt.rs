//! What one engine has learnt from transactions that failed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    aside::{Aside, is_of_database},
    local::{Blame, Excused, Key},
    round::Broken,
};
use crate::{
    Error,
    error::{Class, chain},
    said::Said,
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
    /// Instances that the database refuses.
    pub(super) aside: Aside,
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
    said: Said,
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
        if let Some(left_out) = self.said.admit(&error.to_string()) {
            tracing::warn!(
                %id, step, attempt, rounds, %error, left_out,
                "a step meets an error that should pass by itself: look at the limits of time, locks \
                 and sizes that its statements meet; after ten rounds it counts as a failure of the step"
            );
        }
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
    /// The error, when it is nobody's, or everybody's.
    pub(super) fn blame(&mut self, error: Error, blame: Blame) -> Result<(), Error> {
        self.at = Some(Instant::now());
        match (&blame.instances[..], blame.last) {
            ([_], Some(key)) if !self.excused.contains_key(&key) => {
                Arc::make_mut(&mut self.excused).insert(key, chain(&error));
            }
            ([id], _) if is_of_database(&error) => {
                // Its steps are not to blame.
                Arc::make_mut(&mut self.excused).retain(|(of, ..), _| of != id);
                self.alone = self.alone.saturating_sub(1);
                return self.aside.put(*id, error);
            }
            ([id], _) if !self.broken.contains_key(id) => {
                Arc::make_mut(&mut self.broken).insert(*id, chain(&error));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        (Uuid::nil(), "step".to_owned(), false, 1)
    }

    #[test]
    fn after_a_deadlock_one_transaction_decides_at_a_time_for_a_minute() {
        let at_once = |contended: Option<u64>, alone| {
            let ago = |ago| Instant::now().checked_sub(Duration::from_secs(ago));
            let contended = contended.map(|seconds| ago(seconds).expect("a time"));
            Learnt { contended, alone, ..Learnt::default() }.at_once(4)
        };
        assert_eq!(at_once(None, 0), 4);
        assert_eq!(at_once(Some(0), 0), 1);
        assert_eq!(at_once(Some(30), 0), 1);
        assert_eq!(at_once(Some(61), 0), 4);
        assert_eq!(at_once(None, 2), 1, "these are decided one by one");
    }

    #[test]
    fn an_error_that_should_pass_is_the_steps_own_after_ten_rounds() {
        let mut learnt = Learnt::default();
        for round in 1..ROUNDS {
            assert!(!learnt.disturbed(key(), Class::Passing, &Error::TransactionLost), "{round}");
            assert!(learnt.excused.is_empty(), "{round}");
        }
        assert!(learnt.disturbed(key(), Class::Passing, &Error::TransactionLost));
        assert!(learnt.excused.contains_key(&key()));
        assert!(!learnt.take_fresh(), "the connection was not to blame");
        // Once it is decided, nothing of it is left.
        learnt.forget(&[key().0]);
        assert!(learnt.excused.is_empty() && learnt.rounds.is_empty());
    }

    #[test]
    fn a_stale_connection_is_replaced_once_and_then_it_is_the_step() {
        let mut learnt = Learnt::default();
        assert!(learnt.disturbed(key(), Class::Stale, &Error::TransactionLost));
        assert!(learnt.excused.is_empty());
        assert_eq!([learnt.take_fresh(), learnt.take_fresh()], [true, false]);
        assert!(learnt.disturbed(key(), Class::Stale, &Error::TransactionLost));
        assert!(learnt.excused.contains_key(&key()) && !learnt.take_fresh());
    }

    #[test]
    fn what_cannot_be_committed_is_found_one_by_one() {
        let mut learnt = Learnt::default();
        let blame = |learnt: &mut Learnt, instances: &[Uuid], last: Option<Key>| {
            let blame = Blame { instances: instances.to_vec(), last };
            learnt.blame(Error::TransactionLost, blame)
        };
        let three = [1, 2, 3].map(Uuid::from_u128);
        assert!(blame(&mut learnt, &three, None).is_ok());
        assert_eq!((learnt.alone, learnt.at_once(4)), (3, 1));
        // First the step that ran last, then the instance, and then nobody.
        let one = [key().0];
        assert!(blame(&mut learnt, &one, Some(key())).is_ok());
        assert!(learnt.excused.contains_key(&key()) && learnt.broken.is_empty());
        assert!(blame(&mut learnt, &one, Some(key())).is_ok());
        assert!(learnt.broken.contains_key(&key().0));
        assert!(blame(&mut learnt, &one, Some(key())).is_err());
        assert!(blame(&mut learnt, &[], None).is_err());
    }

    #[test]
    fn each_definition_comes_first_in_its_turn() {
        let owners = ["a/1", "b/1", "c/1"].map(str::to_owned);
        let mut learnt = Learnt::default();
        let first = |learnt: &mut Learnt| learnt.owners(&owners)[0].clone();
        let turns: Vec<_> = (0..4).map(|_| first(&mut learnt)).collect();
        assert_eq!(turns, ["a/1", "b/1", "c/1", "a/1"]);
    }
}
