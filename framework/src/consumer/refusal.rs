//! Batches that this consumer has refused itself: its database takes no writes, a commit fails, too many
//! keys are parked. Nothing is lost then, for the sender has them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::Instant;

use super::{
    Inner,
    apply::{PAUSE_MS, Part},
    stop::{Disturbed, Stop},
};
use crate::{
    Storage, cap,
    error::{Trouble, chain, is_exhausted},
    logs::count,
    message::{Origin, Position},
    processes::REFUSES,
    said::Said,
    transport::{Ack, Outcome, ReceiveError},
};

/// The time that a source is told to wait while an older version of the stream is applied.
const SHORT_PAUSE_MS: u64 = 200;
const OLDER: &str = "the stream waits: its version before this one is not at its end";
/// A batch that did not come again for so long goes to another process, or its sender is gone.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);

/// Messages that came and that the consumer itself could not take in. They are not missing: the sender
/// keeps them and tries again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Of which stream and shard.
    pub origin: Origin,
    /// When the first try failed, by this process's clock.
    pub since: DateTime<Utc>,
    /// Number of tries that failed.
    pub tries: u32,
    /// The kind of the database's trouble; none where it pauses for another reason.
    pub trouble: Option<Trouble>,
    /// The error of the last try.
    pub error: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { origin, since, tries, error, .. } = self;
        let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
        write!(
            f,
            "{REFUSES} {} {} shard {} since {since}, {}: {error}; nothing of it is missing: its sender \
             tries again",
            origin.source,
            origin.stream,
            origin.shard,
            count(*tries, "try")
        )
    }
}

/// Everything that is refused here.
#[derive(Default)]
pub(super) struct AllRefused(Mutex<State>);

#[derive(Default)]
struct State {
    refused: HashMap<Origin, Known>,
    /// When refusals ended: what waits behind one closes a little later.
    ended: HashMap<Origin, Instant>,
    said: Said,
}

struct Known {
    refused: Refused,
    /// The last message of the first batch that was refused: what comes before it may be known.
    end: Position,
    at: Instant,
}

impl AllRefused {
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.refused.retain(|_, known| known.at.elapsed() < FORGOTTEN);
        state.ended.retain(|_, ended| ended.elapsed() < FORGOTTEN);
        state
    }

    /// Takes note of a try; returns whether the log is to be told.
    fn note(
        &self,
        origin: &Origin,
        end: Position,
        trouble: Option<Trouble>,
        error: String,
    ) -> bool {
        let mut state = self.state();
        let new = state.said.is_new(&error);
        let at = Instant::now();
        let known = state.refused.entry(origin.clone()).or_insert_with(|| Known {
            refused: Refused {
                origin: origin.clone(),
                since: Utc::now(),
                tries: 0,
                trouble,
                error: String::new(),
            },
            end,
            at,
        });
        known.end = known.end.min(end);
        known.refused.tries = known.refused.tries.saturating_add(1);
        (known.refused.trouble, known.refused.error, known.at) = (trouble, error, at);
        new
    }

    /// Everything up to `reached` was taken in, here or by another process.
    pub(super) fn passed(&self, origin: &Origin, reached: Position) {
        let mut state = self.state();
        if state.refused.get(origin).is_some_and(|known| known.end <= reached) {
            let Some(Known { refused, .. }) = state.refused.remove(origin) else { return };
            state.ended.insert(origin.clone(), Instant::now());
            if state.refused.is_empty() {
                state.said.clear();
            }
            let stood_for_seconds = (Utc::now() - refused.since).num_seconds();
            tracing::info!(
                source = origin.source,
                stream = origin.stream,
                shard = origin.shard,
                stood_for_seconds,
                tries = refused.tries,
                "what was refused is taken in"
            );
        }
    }

    pub(super) fn all(&self) -> Vec<Refused> {
        let state = self.state();
        let mut all: Vec<_> = state.refused.values().map(|known| known.refused.clone()).collect();
        all.sort_by_key(|one| (one.since, one.origin.shard));
        all
    }

    /// The refusal of `origin`; or of any other, where their one database takes nothing at all.
    pub(super) fn of(&self, origin: &Origin) -> Option<Refused> {
        let all = self.all();
        let own = all.iter().find(|refused| refused.origin == *origin);
        own.or_else(|| all.iter().find(|refused| refused.trouble.is_some_and(takes_nothing)))
            .cloned()
    }

    /// Whether something of `origin` is refused, or was within `time`.
    pub(super) fn lately(&self, origin: &Origin, time: Duration) -> bool {
        let ended = self.state().ended.get(origin).is_some_and(|ended| ended.elapsed() < time);
        ended || self.of(origin).is_some()
    }
}

fn takes_nothing(trouble: Trouble) -> bool {
    matches!(trouble, Trouble::ReadOnly | Trouble::DiskFull | Trouble::Quota)
}

impl<DB: Storage> Inner<DB> {
    /// Answers a source whose batch was not applied to its end.
    pub(super) async fn stopped(&self, part: Part<'_>, stop: Stop) -> Result<Ack, ReceiveError> {
        if let Stop::OtherStream(waits) = &stop {
            let text = waits.to_string();
            if let Some(left_out) = self.said.admit("other stream", &text) {
                let stream = &part.origin.stream;
                tracing::warn!(consumer = self.name, stream, left_out, "{text}");
            }
            return self.ends_own(part).await;
        }
        let (error, paused) = match stop {
            Stop::Gap(row) => return Ok(row.ack(Outcome::Gap)),
            Stop::Incarnation(row) => {
                return Ok(row.ack(Outcome::Incarnation { follows: row.incarnation }));
            }
            Stop::Refused(reason) => return Err(ReceiveError::Refused(reason)),
            Stop::Failed(_, failure) => return Err(ReceiveError::Refused(failure.to_string())),
            Stop::Broken(error) => {
                self.refuses(part, Some(error.trouble()), chain(&error));
                return Err(ReceiveError::Storage(error));
            }
            Stop::Transient(error) | Stop::Disturbed(Disturbed { error, .. }) => {
                self.refuses(part, Some(error.trouble()), chain(&error));
                // The watermark could not be asked for either.
                if is_exhausted(&error) {
                    return Err(ReceiveError::Storage(error));
                }
                (Some(error), "the database is away or busy")
            }
            Stop::TooManyParked => (None, "too many keys are parked: the stream pauses"),
            Stop::TooManyHeld => (None, "too many messages are held: the stream pauses"),
            Stop::OlderVersion | Stop::OtherStream(_) => (None, OLDER),
        };
        if paused == OLDER {
            tracing::debug!(consumer = self.name, stream = part.origin.stream, "{paused}");
        } else {
            if error.is_none() {
                self.refuses(part, None, paused.to_owned());
            }
            let error = error.as_ref().map(ToString::to_string);
            if let Some(left_out) = self.said.admit(paused, error.as_deref().unwrap_or_default()) {
                let stream = &part.origin.stream;
                tracing::warn!(consumer = self.name, stream, error, left_out, "{paused}");
            }
        }
        let row = self.inbox(part.origin).await?;
        let row = row.unwrap_or(self.first_row(part));
        let retry_after_ms = if paused == OLDER { SHORT_PAUSE_MS } else { PAUSE_MS };
        let trouble = error.map(|error| error.trouble());
        Ok(row.ack(Outcome::Paused { retry_after_ms, trouble }))
    }

    /// A batch waited in vain for the one before it.
    pub(super) fn is_busy(&self, part: Part<'_>, busy: ReceiveError) -> ReceiveError {
        self.refuses(part, None, busy.to_string());
        busy
    }

    fn refuses(&self, part: Part<'_>, trouble: Option<Trouble>, error: String) {
        let end = part.messages.last().map_or(part.through, |last| last.position);
        let error = cap::text(&error);
        if self.refused.note(part.origin, end, trouble, error.clone()) {
            let origin = part.origin;
            tracing::warn!(
                consumer = self.name,
                source = origin.source,
                stream = origin.stream,
                shard = origin.shard,
                error,
                "messages that came are refused here; nothing is lost: their sender tries again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn origin(shard: i32) -> Origin {
        let (source, stream) = ("/s".to_owned(), "st".to_owned());
        Origin { source, incarnation: Uuid::nil(), stream, version: 1, shard }
    }

    #[test]
    fn a_refusal_stands_until_its_first_batch_is_passed() {
        let all = AllRefused::default();
        let note = |position, text: &str| {
            let trouble = Some(Trouble::ReadOnly);
            all.note(&origin(0), Position(position), trouble, text.to_owned())
        };
        assert_eq!([note(9, "a"), note(5, "a"), note(7, "b")], [true, false, true]);
        let found = all.of(&origin(0)).expect("it is refused");
        assert_eq!((found.tries, found.error.as_str()), (3, "b"));
        assert!(found.to_string().contains("/s st shard 0 since "), "{found}");
        assert_eq!(all.of(&origin(1)).map(|found| found.origin.shard), Some(0), "one database");
        // A later batch that is held moves nothing.
        all.passed(&origin(0), Position(4));
        assert_eq!(all.all().len(), 1);
        all.passed(&origin(1), Position(9));
        assert_eq!(all.all().len(), 1);
        all.passed(&origin(0), Position(5));
        assert!(all.all().is_empty() && all.of(&origin(0)).is_none());
        let lately = |shard| all.lately(&origin(shard), Duration::from_secs(60));
        assert_eq!([lately(0), lately(1)], [true, false]);
        assert!(note(9, "a"), "it is news again");
    }
}
