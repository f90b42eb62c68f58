//! A process writes its row: at once, then every 15 seconds, and removes it when it stops in order.

use async_trait::async_trait;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Defined, EVERY, Kind, RETENTION, host, program};
use crate::{
    Error, Result, Storage, cap,
    storage::{Current, Own, ProcessReport},
};

/// Time limit on removing the row.
const STOPPING: Duration = Duration::from_secs(5);
/// Interval at which rows of processes that did not stop in order are looked for.
const FORGET: Duration = Duration::from_secs(10 * 60);
/// The most problems that are kept.
const PROBLEMS: usize = 20;

/// The changing part of a process's row.
pub(crate) struct Told {
    pub(crate) defined: Defined,
    pub(crate) problems: Vec<String>,
}

/// A relay, a consumer or an engine that is asked how it is.
#[async_trait]
pub(crate) trait Tell<DB: Storage>: Send + Sync {
    async fn tell(&self, pool: &Current<DB>) -> Result<Told>;
}

/// Writes the row of one process.
pub(crate) struct Reporter<DB: Storage> {
    id: Uuid,
    kind: Kind,
    name: String,
    pool: Own<DB>,
}

impl<DB: Storage> Reporter<DB> {
    pub(crate) fn new(id: Uuid, kind: Kind, name: impl Into<String>, pool: Own<DB>) -> Self {
        Self { id, kind, name: name.into(), pool }
    }

    /// Reports what `of` tells, until `stop`.
    pub(crate) async fn run(self, of: impl Tell<DB>, stop: CancellationToken) {
        let (kind, name) = (self.kind, &self.name);
        let (mut failing, mut forget_at) = (false, Instant::now());
        loop {
            match self.report(&of).await {
                Ok(()) => failing = false,
                // The parts that work on the database say the same, and go on saying it.
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(
                        %kind, name, %error,
                        "a process could not tell that it is alive; trying again: \
                         `syncline process list` shows it as silent meanwhile"
                    );
                }
                Err(error) => tracing::debug!(%kind, name, %error, "it still could not"),
            }
            if !failing && forget_at <= Instant::now() {
                forget_at = Instant::now() + FORGET;
                let pool = self.pool.now();
                let forgotten = pool.limit(DB::forget_processes(&pool, RETENTION)).await;
                if let Err(error) = forgotten {
                    tracing::debug!(%error, "processes that are gone were not forgotten");
                }
            }
            if stop.run_until_cancelled(sleep(EVERY)).await.is_none() {
                break;
            }
        }
        let pool = self.pool.now();
        let removed = pool.limit_to(STOPPING, DB::remove_process(&pool, self.id)).await;
        if let Err(error) = removed {
            tracing::debug!(%kind, name, %error, "the row of a process that stops stays for a day");
        }
    }

    async fn report(&self, of: &impl Tell<DB>) -> Result<()> {
        let pool = self.pool.now();
        let Told { defined, mut problems } = of.tell(&pool).await?;
        problems.truncate(PROBLEMS);
        problems.iter_mut().for_each(|problem| *problem = cap::text(problem));
        let report = ProcessReport {
            id: self.id,
            kind: self.kind.as_str(),
            name: &self.name,
            host: host(),
            pid: std::process::id().into(),
            program: program(),
            defined: &json(&defined)?,
            problems: &json(&problems)?,
        };
        pool.limit(DB::report_process(&pool, report)).await
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Database {
        action: "report a process",
        source: sqlx::Error::Encode(error.into()),
    })
}
