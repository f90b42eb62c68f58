//! Repeating a transaction that the database, or its connection, has failed.

use std::time::Duration;

use super::{
    Inner,
    apply::Part,
    stop::{Disturbed, Failure, Stop},
};
use crate::{
    Storage,
    error::{Class, chain, is_exhausted},
    storage::InboxRow,
    wake,
};

/// A transaction that the database rolled back is repeated so often, with these pauses.
const REPEATS: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
];
impl<DB: Storage> Inner<DB> {
    /// Applies `part`: again after what passes by itself, and once more on a fresh connection after
    /// what comes from what a connection remembers.
    pub(super) async fn apply_repeatedly(&self, part: Part<'_>) -> Result<InboxRow, Stop> {
        let alone = self.standing.is_alone(part.messages);
        let mut pauses = if alone { [].iter() } else { REPEATS.iter() };
        let mut fresh = false;
        loop {
            let stop = match self.limited(wake::committing(self.apply(part, fresh))).await {
                Err(stop) => stop,
                done => return done,
            };
            match stop {
                Stop::Disturbed(Disturbed { at, class: Class::Stale, error }) => {
                    if fresh {
                        return Err(Stop::Failed(at, Failure::Cut(chain(&error))));
                    }
                    tracing::info!(consumer = self.name, %error, "tried again on a fresh connection");
                    fresh = true;
                }
                Stop::Transient(ref error) | Stop::Disturbed(Disturbed { ref error, .. })
                    if !is_exhausted(error) =>
                {
                    let Some(pause) = pauses.next() else { return Err(stop) };
                    tracing::debug!(consumer = self.name, %error, "transaction is repeated");
                    tokio::time::sleep(*pause).await;
                }
                stop => return Err(stop),
            }
        }
    }

    pub(super) async fn settle_repeatedly(
        &self,
        part: Part<'_>,
        failure: Failure,
    ) -> Result<InboxRow, Stop> {
        for pause in REPEATS {
            match self.limited(self.settle(part, &failure)).await {
                Err(Stop::Transient(error)) if !is_exhausted(&error) => {
                    tokio::time::sleep(pause).await;
                }
                other => return other,
            }
        }
        self.limited(self.settle(part, &failure)).await
    }
}
