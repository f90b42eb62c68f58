//! Waiting until an instance is over: the engine of this process tells, and the database is asked
//! where it does not.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::tell::Tell;
use crate::{Result, cap, saga::End};

/// Who waits for which instance.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<Uuid, watch::Sender<Option<End>>>>);

impl Waiting {
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<Option<End>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hear(&self, id: Uuid) -> watch::Receiver<Option<End>> {
        self.all().entry(id).or_insert_with(|| watch::channel(None).0).subscribe()
    }

    /// Instances are over, and that is committed.
    pub(super) fn tell(&self, over: Vec<(Uuid, End)>) {
        if over.is_empty() {
            return;
        }
        let mut all = self.all();
        for (id, end) in over {
            if let Some(waiting) = all.remove(&id) {
                waiting.send_replace(Some(end));
            }
        }
    }

    /// One who waited for it is gone.
    pub(super) fn forget(&self, id: Uuid) {
        let mut all = self.all();
        if all.get(&id).is_some_and(|waiting| waiting.receiver_count() == 0) {
            all.remove(&id);
        }
    }
}

/// Waits until an instance is over; made by [`Started::over`](super::Started::over).
#[must_use = "it waits only when `within` is awaited"]
pub struct Over {
    id: Uuid,
    /// It may have been over before anybody listened.
    ask: bool,
    engine: Arc<dyn Tell>,
    /// None while it is dropped.
    told: Option<watch::Receiver<Option<End>>>,
}

impl fmt::Debug for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Over").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Over {
    pub(super) fn new(id: Uuid, ask: bool, engine: Arc<dyn Tell>) -> Self {
        let told = Some(engine.hear(id));
        Self { id, ask, engine, told }
    }

    /// How the instance has ended; none when it has not within `limit`, or when its start was not
    /// committed. To be awaited after the commit.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database): it could not be asked about.
    pub async fn within(mut self, limit: Duration) -> Result<Option<End>> {
        let Self { id, ask, engine, told, .. } = &mut self;
        let Some(told) = told else { return Ok(None) };
        let until = Instant::now() + cap::duration(limit);
        let mut ask_at = Instant::now() + if *ask { Duration::ZERO } else { engine.poll() };
        loop {
            tokio::select! {
                biased;
                Ok(end) = told.wait_for(Option::is_some) => return Ok(*end),
                () = sleep_until(ask_at.min(until)) => {}
            }
            let end = engine.end_of(*id).await?;
            if end.is_some() || Instant::now() >= until {
                return Ok(end);
            }
            ask_at = Instant::now() + engine.poll();
        }
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        drop(self.told.take());
        self.engine.forget(self.id);
    }
}
