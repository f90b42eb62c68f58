//! Why a shard does not move: told by the relay's status, and stored for those who look from outside.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    super::{RouteState, status},
    Sender,
};
use crate::{
    Error, Storage,
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
    stored: Option<Stored>,
}

#[derive(Debug)]
struct Stored {
    kind: String,
    text: String,
    /// When this sender stored it.
    at: Option<Instant>,
}

impl Trouble {
    /// Takes note of what is stored, by whichever process.
    pub(super) fn is_stored(&mut self, found: Option<&RouteProblem>) {
        let same = |stored: &Stored| {
            found.is_some_and(|found| found.kind == stored.kind && found.text == stored.text)
        };
        if !self.stored.as_ref().is_some_and(same) {
            let stored = |found: &RouteProblem| {
                let RouteProblem { kind, text, .. } = found.clone();
                Stored { kind, text, at: None }
            };
            self.stored = found.map(stored);
        }
    }

    /// It began so long ago, unless it did before.
    pub(super) fn has_lasted(&mut self, time: Duration) {
        let began = Instant::now().checked_sub(time).unwrap_or_else(Instant::now);
        self.since.get_or_insert(began);
    }

    /// Whether something is to be stored that is not.
    fn is_news(&self, kind: &str, text: &str) -> bool {
        let Some(stored) = &self.stored else { return true };
        match stored.kind == kind {
            false => true,
            true => stored.text != text && stored.at.is_none_or(|stored| stored.elapsed() >= AGAIN),
        }
    }
}

impl<DB: Storage> Sender<DB> {
    /// Tells that the shard does not move, and stores it when that is news.
    pub(super) async fn stands(&mut self, state: RouteState) {
        self.shared.board.tell(&self.key, None, state.clone());
        let Some((kind, text)) = state.problem() else { return };
        let text = crate::cap::text(text);
        let age = self.trouble.since.get_or_insert_with(Instant::now).elapsed();
        let passing = matches!(state, RouteState::Backoff { .. });
        if passing && age < LASTS.min(self.shared.options.max_backoff) {
            return;
        }
        if !self.trouble.is_news(kind, &text) {
            return;
        }
        let known = self.trouble.stored.is_some();
        let found = FoundProblem { kind, text: &text, age, known };
        let pool = self.shared.pool.now();
        match pool.limit(DB::note_problem(&pool, &self.key, &self.lease, Some(&found))).await {
            Ok(()) => {
                let (kind, at) = (kind.to_owned(), Some(Instant::now()));
                self.trouble.stored = Some(Stored { kind, text, at });
            }
            // It is tried again with the next failure.
            Err(error) => tracing::debug!(%error, "why a route does not move was not stored"),
        }
    }

    /// The shard moves: what is stored of it is no longer so.
    pub(super) async fn moves(&mut self) {
        self.trouble.since = None;
        if self.trouble.stored.is_none() {
            return;
        }
        let pool = self.shared.pool.now();
        match pool.limit(DB::note_problem(&pool, &self.key, &self.lease, None)).await {
            Ok(()) => self.trouble.stored = None,
            // It is tried again with the next answer.
            Err(error) => tracing::debug!(%error, "that a route moves again was not stored"),
        }
    }

    /// Something of its own side failed. Returns how long to wait.
    pub(super) async fn failed(&mut self, error: &Error) -> Duration {
        let (route, shard) = (&self.key.route, self.key.shard);
        tracing::warn!(route, shard, %error, "route failed; trying again");
        let pause = self.backoff.failed();
        let state =
            RouteState::Backoff { failures: self.backoff.failures(), error: error.to_string() };
        match error.is_transient() || matches!(error, Error::ServerChanged) {
            // It is the database that does not answer.
            true => self.shared.board.tell(&self.key, None, state),
            false => self.stands(state).await,
        }
        pause
    }

    /// What is to be sent next is no longer kept: an operator must decide. Returns how long to
    /// wait before it is looked at again.
    pub(super) async fn trimmed(&mut self, position: i64, kept: i64) -> Duration {
        let (route, shard) = (&self.key.route, self.key.shard);
        let error = status::trimmed(position, kept, &self.key, &self.carried.origin);
        tracing::error!(route, shard, error, "route stopped: it came too late");
        self.stands(RouteState::Trimmed { error }).await;
        self.shared.options.max_backoff
    }

    /// The target failed, and is tried again.
    pub(super) async fn backs_off(&mut self, error: String) {
        let failures = self.backoff.failures();
        self.stands(RouteState::Backoff { failures, error }).await;
    }
}
