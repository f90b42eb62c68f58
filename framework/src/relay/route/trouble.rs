//! Why a shard does not move: told by the relay's status, and stored for those who look from outside.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{
    super::{RouteState, status},
    Sender,
};
use crate::{
    Error, Storage,
    message::Position,
    said::Said,
    storage::{FoundProblem, RouteProblem},
};

/// What may pass by itself is stored when it has lasted for so long, or for the longest pause.
const LASTS: Duration = Duration::from_secs(10);
/// Another text of the same kind is stored no sooner than this.
const AGAIN: Duration = Duration::from_secs(10);

/// What is known of a shard that does not move.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    since: Option<Instant>,
    /// Failed tries in a row, also those of the process that had the shard before.
    tries: u32,
    said: Said,
    stored: Option<Stored>,
}

#[derive(Debug)]
struct Stored {
    kind: String,
    text: String,
    tries: u32,
    /// Since when, where another sender stored it.
    since: Option<DateTime<Utc>>,
    /// When this sender stored it.
    at: Option<Instant>,
}

impl Trouble {
    /// Takes note of what is stored, by whichever process.
    pub(super) fn is_stored(&mut self, found: Option<&RouteProblem>) {
        let same = |stored: &Stored| {
            found.is_some_and(|found| found.kind == stored.kind && found.text == stored.text)
        };
        if self.stored.as_ref().is_some_and(same) {
            return;
        }
        self.tries = self.tries.max(found.map_or(0, |found| found.tries));
        let stored = |found: &RouteProblem| {
            let RouteProblem { kind, text, since, tries, .. } = found.clone();
            Stored { kind, text, tries, since: Some(since), at: None }
        };
        self.stored = found.map(stored);
    }

    /// Whether this sender's last try failed.
    pub(super) fn stands(&self) -> bool {
        self.since.is_some()
    }

    /// It began so long ago, unless it did before.
    pub(super) fn has_lasted(&mut self, time: Duration) {
        let began = Instant::now().checked_sub(time).unwrap_or_else(Instant::now);
        self.since.get_or_insert(began);
    }

    /// Whether `text` is to be logged: it was not since the shard moved, or long ago, and others were
    /// not just before.
    pub(super) fn is_unsaid(&mut self, text: &str) -> bool {
        self.said.is_news(text)
    }

    /// Whether something is to be stored that is not.
    fn is_news(&self, kind: &str, text: &str) -> bool {
        let Some(stored) = &self.stored else { return true };
        let same = stored.text == text && stored.tries == self.tries;
        let soon = stored.at.is_some_and(|stored| stored.elapsed() < AGAIN);
        stored.kind != kind || !(same || soon)
    }

    /// For how long it stood and how many tries failed meanwhile, if it did; it moves again.
    fn ends(&mut self) -> Option<(Duration, u32)> {
        let (since, tries) = (self.since.take(), std::mem::take(&mut self.tries));
        let met = self.stored.as_ref().and_then(|stored| stored.since);
        self.said.clear();
        let before = met.and_then(|since| (Utc::now() - since).to_std().ok());
        let stood = since.map(|since| since.elapsed()).max(before)?;
        Some((stood, tries))
    }
}

impl<DB: Storage> Sender<DB> {
    /// Tells that the shard does not move and is tried again after `pause`, and stores it when that
    /// is news.
    pub(super) async fn stands(&mut self, state: RouteState, pause: Duration) {
        self.shared.board.tell(&self.key, None, state.clone());
        let Some((kind, text)) = state.problem() else { return };
        self.trouble.tries = self.trouble.tries.saturating_add(1);
        let text = crate::cap::text(text);
        let age = self.trouble.since.get_or_insert_with(Instant::now).elapsed();
        let passing = matches!(state, RouteState::Backoff { .. });
        if passing && age < LASTS.min(self.shared.options.max_backoff) {
            return;
        }
        let (route, shard, tries) = (&self.key.route, self.key.shard, self.trouble.tries);
        if passing && self.trouble.is_unsaid(&text) {
            let stands_for_seconds = age.as_secs();
            tracing::warn!(
                route,
                shard,
                tries,
                stands_for_seconds,
                error = text,
                "the route stands"
            );
        }
        if !self.trouble.is_news(kind, &text) {
            return;
        }
        let known = self.trouble.stored.is_some();
        let found = FoundProblem { kind, text: &text, age, known, tries, next: Some(pause) };
        let pool = self.shared.pool.now();
        match pool.limit(DB::note_problem(&pool, &self.key, &self.lease, Some(&found))).await {
            Ok(()) => {
                let (kind, at) = (kind.to_owned(), Some(Instant::now()));
                let since = self.trouble.stored.take().and_then(|stored| stored.since);
                self.trouble.stored = Some(Stored { kind, text, tries, since, at });
            }
            // It is tried again with the next failure.
            Err(error) => tracing::debug!(%error, "why a route does not move was not stored"),
        }
    }

    /// The shard moves: that is logged once, and what is stored of it is no longer so. Returns
    /// whether it stood.
    pub(super) async fn moves(&mut self) -> bool {
        let stood = self.trouble.stands();
        if let Some((stood, tries)) = self.trouble.ends() {
            let (route, shard) = (&self.key.route, self.key.shard);
            let stood_for_seconds = stood.as_secs_f64();
            tracing::info!(route, shard, stood_for_seconds, tries, "the route goes on");
        }
        if self.trouble.stored.is_none() {
            return stood;
        }
        let pool = self.shared.pool.now();
        match pool.limit(DB::note_problem(&pool, &self.key, &self.lease, None)).await {
            Ok(()) => self.trouble.stored = None,
            // It is tried again with the next answer.
            Err(error) => {
                tracing::debug!(%error, "that a route moves again was not stored");
                if let Some(stored) = &mut self.trouble.stored {
                    stored.since = None;
                }
            }
        }
        stood
    }

    /// Something of its own side failed. Returns how long to wait.
    pub(super) async fn failed(&mut self, error: &Error) -> Duration {
        let (route, shard) = (&self.key.route, self.key.shard);
        if self.trouble.is_unsaid(&error.to_string()) {
            tracing::warn!(route, shard, %error, "route failed; trying again");
        }
        self.trouble.since.get_or_insert_with(Instant::now);
        let pause = self.backoff.failed();
        let state =
            RouteState::Backoff { failures: self.backoff.failures(), error: error.to_string() };
        match error.is_transient() || matches!(error, Error::ServerChanged) {
            // It is the database that does not answer.
            true => self.shared.board.tell(&self.key, None, state),
            false => self.stands(state, pause).await,
        }
        pause
    }

    /// What is to be sent next is no longer kept: an operator must decide. Returns how long to
    /// wait before it is looked at again.
    pub(super) async fn trimmed(&mut self, position: i64, kept: i64) -> Duration {
        let (route, shard) = (&self.key.route, self.key.shard);
        let error = status::trimmed(position, kept, &self.key, &self.carried.origin);
        if self.trouble.is_unsaid(&error) {
            tracing::error!(route, shard, error, "route stopped: it came too late");
        }
        let pause = self.shared.options.max_backoff;
        self.stands(RouteState::Trimmed { error }, pause).await;
        pause
    }

    /// Its checkpoint lies past the end of the log, so that what is written next would not be sent: an
    /// operator must decide. Returns how long to wait before it is looked at again.
    pub(super) async fn past_the_end(&mut self, at: Position, head: Position) -> Duration {
        let (route, shard) = (&self.key.route, self.key.shard);
        let error = format!(
            "the checkpoint is position {at}, this log ends at {head}: this database was restored from \
             a backup (`syncline stream rebase`), or the checkpoint was changed by hand (`syncline \
             route rewind {route}`)"
        );
        if self.trouble.is_unsaid(&error) {
            tracing::error!(route, shard, error, "route stopped: the logs differ");
        }
        let pause = self.shared.options.max_backoff;
        self.stands(RouteState::Diverged { error }, pause).await;
        pause
    }

    /// The target failed, and is tried again.
    pub(super) async fn backs_off(&mut self, error: String, pause: Duration) {
        let failures = self.backoff.failures();
        self.stands(RouteState::Backoff { failures, error }, pause).await;
    }
}
