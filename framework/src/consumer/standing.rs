//! Messages that meet errors of the moment again and again, while the database answers: what should
//! pass by itself must not stand for ever.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Inner, stop::Disturbed};
use crate::{Storage, error::chain, message::Envelope};

/// Rounds in vain, each on connections that have just been closed or made anew, after which a message
/// is tried alone.
const ALONE: u32 = 3;
/// Rounds in vain after which a key is parked.
const ROUNDS: u32 = 10;
/// One that did not come again for so long is another consumer's, or gone.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);

/// A message whose handler meets an error that should pass, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The message.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key; the later messages of its stream wait with it.
    pub key: Option<String>,
    /// The source it came from.
    pub source: String,
    /// The stream it came by.
    pub stream: String,
    /// Its place in the source's log.
    pub position: i64,
    /// Number of rounds in vain; its key is parked after ten.
    pub rounds: u32,
    /// When the first one was, by this process's clock.
    pub since: DateTime<Utc>,
    /// The error of the last one.
    pub error: String,
}

/// The messages that stand here.
#[derive(Default)]
pub(super) struct AllStanding(Mutex<State>);

#[derive(Default)]
struct State {
    messages: HashMap<Uuid, (Standing, Instant)>,
    /// How many transactions with messages were committed here.
    worked: u64,
    /// How many had been, when a key was parked for it last. Another one is parked only after some
    /// have: where everything stands, no message is to blame.
    parked_at: Option<u64>,
}

impl AllStanding {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of `messages` stands long enough to be tried alone.
    pub(super) fn is_alone(&self, messages: &[Envelope]) -> bool {
        let state = self.state();
        let stands = |message: &Envelope| state.messages.get(&message.id);
        !state.messages.is_empty()
            && messages.iter().filter_map(stands).any(|(standing, _)| standing.rounds >= ALONE)
    }

    /// These were applied.
    pub(super) fn applied(&self, messages: &[Envelope]) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.state();
        state.worked += 1;
        if !state.messages.is_empty() {
            messages.iter().for_each(|message| drop(state.messages.remove(&message.id)));
        }
    }

    fn note(&self, message: &Envelope, error: String) -> Standing {
        let mut state = self.state();
        state.messages.retain(|_, (_, seen)| seen.elapsed() < FORGOTTEN);
        let first = || Standing {
            id: message.id,
            topic: message.topic.clone(),
            key: message.key.clone(),
            source: message.origin.source.clone(),
            stream: message.origin.stream.clone(),
            position: message.position.0,
            rounds: 0,
            since: Utc::now(),
            error: String::new(),
        };
        let (standing, seen) =
            state.messages.entry(message.id).or_insert_with(|| (first(), Instant::now()));
        standing.rounds = standing.rounds.saturating_add(1);
        (standing.error, *seen) = (error, Instant::now());
        standing.clone()
    }

    fn is_to_be_parked(&self, standing: &Standing) -> bool {
        let state = self.state();
        standing.rounds >= ROUNDS && state.parked_at.is_none_or(|at| state.worked > at)
    }

    /// The key of a message was parked, or its try was counted, for [`Inner::stands`] has said so. The
    /// database takes writes.
    pub(super) fn parked(&self, message: &Envelope) {
        let mut state = self.state();
        if state.messages.remove(&message.id).is_some() {
            state.parked_at = Some(state.worked);
        }
    }

    pub(super) fn all(&self) -> Vec<Standing> {
        let mut all: Vec<_> =
            self.state().messages.values().map(|(standing, _)| standing.clone()).collect();
        all.sort_by_key(|standing| (standing.since, standing.position));
        all
    }
}

impl<DB: Storage> Inner<DB> {
    /// A round of `message` was in vain; returns why its key is to be parked, if it is.
    pub(super) fn stands(&self, message: &Envelope, disturbed: &Disturbed) -> Option<String> {
        let standing = self.standing.note(message, crate::cap::text(&chain(&disturbed.error)));
        let Standing { rounds, error, .. } = &standing;
        let park = self.standing.is_to_be_parked(&standing);
        let (id, position) = (message.id, message.position.0);
        tracing::warn!(
            consumer = self.name, %id, position, topic = message.topic, key = message.key, rounds,
            park, error,
            "a message meets an error that should pass by itself: look at the limits of time, locks \
             and sizes that its handler's statements meet; its key is parked after ten rounds"
        );
        park.then(|| {
            let since = standing.since.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            format!(
                "an error that should pass by itself stands since {since}, {}: {error}",
                crate::logs::count(*rounds, "round")
            )
        })
    }
}
