//! Instances whose decision the database refuses. They are set aside with growing pauses and go on by
//! themselves.
//!
//! An instance is stuck only through an error that is its own: its data cannot be read, or the database
//! says that the data itself does not fit (too long, not of the type). Every other error of the database
//! may concern all instances: a trigger, a check, a right that is taken away. Whether others go on does
//! not tell the two apart, for a table may be written by some instances only. One that is set aside
//! wrongly costs a transaction now and then and is shown; one that is stuck wrongly costs an operator.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    Error,
    error::{chain, is_of_data},
    said::Said,
};

/// The first pause of an instance.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(30);
/// After so many refused instances without one that was decided, the engine pauses as a whole.
const ALL: usize = 3;
/// The most instances that are set aside one by one: claims name them.
const MOST: usize = 256;
/// One that was not met again so long after its pause is another engine's, or over.
const GONE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Aside {
    of: HashMap<Uuid, One>,
    /// Refused ones since the last that was decided.
    in_a_row: HashSet<Uuid>,
    said: Said,
}

struct One {
    error: String,
    pause: Duration,
    until: Instant,
    /// Whether its row tells.
    noted: bool,
}

impl Aside {
    /// Sets an instance aside.
    ///
    /// # Errors
    /// The error, when it concerns every instance.
    pub(super) fn put(&mut self, id: Uuid, error: Error) -> Result<(), Error> {
        let now = Instant::now();
        self.of.retain(|_, one| now.saturating_duration_since(one.until) < GONE);
        if self.in_a_row.len() < ALL {
            self.in_a_row.insert(id);
        }
        if self.of.len() >= MOST && !self.of.contains_key(&id) {
            return Err(error);
        }
        let text = chain(&error);
        let one = self.of.entry(id).or_insert_with(|| One {
            error: String::new(),
            pause: SHORTEST / 2,
            until: now,
            noted: false,
        });
        one.pause = (one.pause * 2).min(LONGEST);
        (one.error, one.until) = (text, now + one.pause);
        if self.in_a_row.len() >= ALL {
            return Err(error);
        }
        if let Some(left_out) = self.said.admit(&one.error) {
            let (error, again_in) = (&one.error, one.pause);
            tracing::warn!(
                %id, error, ?again_in, left_out,
                "the database refuses what is decided of a saga: it is set aside and tried again; \
                 mend the cause at the database, nothing needs to be done about the saga"
            );
        }
        Ok(())
    }

    /// These instances were decided, and `changed` of them.
    pub(super) fn decided(&mut self, ids: &[Uuid], changed: usize) {
        if !self.of.is_empty() {
            self.of.retain(|id, _| !ids.contains(id));
        }
        if changed == 0 {
            return;
        }
        if self.in_a_row.len() >= ALL {
            // The cause is gone: nobody waits for its pause.
            let now = Instant::now();
            self.of.values_mut().for_each(|one| one.until = now);
        }
        self.in_a_row.clear();
    }

    /// Instances that are not to be claimed now.
    pub(super) fn now(&self) -> Vec<Uuid> {
        let now = Instant::now();
        self.of.iter().filter(|(_, one)| one.until > now).map(|(id, _)| *id).collect()
    }

    /// One whose row does not tell yet; it is taken as told.
    pub(super) fn take_unnoted(&mut self) -> Option<(Uuid, String)> {
        let (id, one) = self.of.iter_mut().find(|(_, one)| !one.noted)?;
        one.noted = true;
        Some((*id, one.error.clone()))
    }

    /// The row of `id` could not be told.
    pub(super) fn is_unnoted(&mut self, id: Uuid) {
        if let Some(one) = self.of.get_mut(&id) {
            one.noted = false;
        }
    }

    /// How many there are, with the error of one; none when there are none.
    pub(super) fn summary(&self) -> Option<String> {
        let now = Instant::now();
        let is_here = |one: &&One| now.saturating_duration_since(one.until) < GONE;
        let last = self.of.values().filter(is_here).max_by_key(|one| one.until)?;
        let count = self.of.values().filter(is_here).count();
        Some(format!(
            "the database refuses what is decided of sagas, {count} are set aside and tried again: {}",
            last.error
        ))
    }
}

/// Whether an error may concern every instance, and not the data of one.
pub(super) fn is_of_database(error: &Error) -> bool {
    matches!(error, Error::Database { source: source @ sqlx::Error::Database(_), .. } if !is_of_data(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if `time` had passed.
    fn later(aside: &mut Aside, time: Duration) {
        for one in aside.of.values_mut() {
            one.until = one.until.checked_sub(time).expect("a time");
        }
    }

    fn error() -> Error {
        Error::Database { action: "decide", source: sqlx::Error::PoolTimedOut }
    }

    #[test]
    fn pauses_grow_up_to_the_longest_and_end_when_the_cause_is_gone() {
        let (mut aside, one) = (Aside::default(), Uuid::from_u128(1));
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert!(aside.put(one, error()).is_ok(), "one alone does not hold the others up");
            assert_eq!(aside.now(), [one]);
            assert_eq!(aside.of[&one].pause, Duration::from_secs(pause));
            later(&mut aside, Duration::from_secs(pause));
            assert!(aside.now().is_empty(), "{pause}");
        }
        for n in [1, 3, 4] {
            drop(aside.put(Uuid::from_u128(n), error()));
        }
        aside.decided(&[Uuid::from_u128(2)], 1);
        assert!(aside.now().is_empty(), "another one was decided after all were refused");
        aside.decided(&[1, 3, 4].map(Uuid::from_u128), 3);
        assert_eq!(aside.summary(), None);
    }

    #[test]
    fn what_others_are_refused_as_well_concerns_all() {
        let mut aside = Aside::default();
        let put = |aside: &mut Aside, n| aside.put(Uuid::from_u128(n), error()).is_ok();
        assert_eq!([1, 2, 3, 4].map(|n| put(&mut aside, n)), [true, true, false, false]);
        assert!(aside.summary().is_some_and(|text| text.contains("4 are set aside")));
        // One that is claimed and has nothing to decide proves nothing.
        aside.decided(&[Uuid::from_u128(5)], 0);
        assert!(!put(&mut aside, 6));
        aside.decided(&[Uuid::from_u128(5)], 1);
        assert!(put(&mut aside, 7));
        later(&mut aside, GONE + LONGEST);
        assert_eq!(aside.summary(), None, "they are not met again: others have decided them");
    }

    #[test]
    fn only_the_databases_own_word_may_concern_all() {
        for (error, expected) in [
            (Error::TransactionLost, false),
            (Error::Database { action: "", source: sqlx::Error::RowNotFound }, false),
            (Error::Database { action: "", source: sqlx::Error::Decode("odd".into()) }, false),
        ] {
            assert_eq!(is_of_database(&error), expected, "{error}");
        }
    }
}
