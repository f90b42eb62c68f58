//! The time that a command may take, and who it waits for.

use std::{
    io::Write,
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use sqlx::Pool;
use syncline::Storage;
use tokio::time::timeout;

use crate::{
    ask::asked,
    failure::{Failure, Outcome},
    text,
};

/// For one that looks, or changes one thing.
pub(crate) const SHORT: Duration = Duration::from_secs(30);
/// For one that works through much.
pub(crate) const LONG: Duration = Duration::from_secs(60 * 60);
/// After this a person is told who is waited for.
const SOON: Duration = Duration::from_secs(5);
/// The time that asking who holds locks may take.
const ASKING: Duration = Duration::from_secs(3);

/// Connections of a command, and of one whose checks are made side by side.
const CONNECTIONS: (u32, u32) = (2, 6);

/// Time limits of a command, from its start.
pub(crate) struct Limits {
    began: Instant,
    /// None where it goes on until it is stopped.
    pub(crate) whole: Option<Duration>,
    /// Limit of a statement at the server: one that the client has given up waits there for nobody.
    pub(crate) statement: Option<Duration>,
    /// Limit of the wait for a lock at the server, where there is other work meanwhile.
    pub(crate) lock: Option<Duration>,
    pub(crate) connections: u32,
}

impl Limits {
    /// `checks` tells whether it makes checks side by side, each with a limit of its own.
    pub(crate) fn start(whole: Option<Duration>, checks: bool) -> Self {
        let whole = whole.map(|whole| whole.min(LONG * 24));
        let (statement, lock) = match checks {
            true => {
                let telling = telling(whole);
                (Some(telling / 20 * 9), Some(telling / 6))
            }
            false => (whole.map(|whole| whole - reserve(whole) / 2), None),
        };
        let connections = if checks { CONNECTIONS.1 } else { CONNECTIONS.0 };
        Self { began: Instant::now(), whole, statement, lock, connections }
    }

    /// The time that is left until a command that can tell half of what was asked for does so.
    pub(crate) fn telling(&self) -> Duration {
        telling(self.whole).saturating_sub(self.began.elapsed())
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.whole.map_or(LONG, |whole| whole.saturating_sub(self.began.elapsed()))
    }
}

fn telling(limit: Option<Duration>) -> Duration {
    limit.unwrap_or(SHORT) / 6 * 5
}

/// The last part of `limit`, in which is asked who holds what is waited for.
fn reserve(limit: Duration) -> Duration {
    ASKING.min(limit / 6)
}

/// Does `work` within the limit, if there is one. Where it ends for a lock, or not in time, the failure
/// names who holds what it waits for.
pub(crate) async fn within<DB: Storage>(
    limits: &Limits,
    json: bool,
    pool: &Pool<DB>,
    work: impl Future<Output = Result<Outcome, Failure>>,
) -> Result<Outcome, Failure> {
    let (mut work, began) = (pin!(work), limits.began);
    let Some(limit) = limits.whole else { return work.await };
    let (most, mut found) = (limit - reserve(limit), Vec::new());
    if let Some(done) = in_time(most.min(SOON), began, work.as_mut()).await {
        return explained(done, pool, found, limits.left()).await;
    }
    if most > SOON {
        found = tokio::select! {
            done = &mut work => return explained(done, pool, found, limits.left()).await,
            found = blockers(pool, ASKING.min(most - SOON)) => found,
        };
        if !json && !found.is_empty() {
            drop(writeln!(std::io::stderr(), "waiting: {}", found.join("; ")));
        }
        if let Some(done) = in_time(most, began, work.as_mut()).await {
            return explained(done, pool, found, limits.left()).await;
        }
    }
    // It is asked while the work waits: after that nothing shows on MariaDB who it waits for.
    let (asked, done) =
        tokio::join!(blockers(pool, reserve(limit)), in_time(limit, began, work.as_mut()));
    match done {
        // The server's own limit.
        Some(Err(failure)) if failure.is_unreachable() => {}
        Some(done) => return done,
        None => {}
    }
    let found = if asked.is_empty() { found } else { asked };
    let why = match found.is_empty() {
        true => {
            "the database has not answered, and does not tell of a lock; look at its load and at \
                 open transactions"
                .to_owned()
        }
        false => found.join("; "),
    };
    Err(Failure::unreachable(format!(
        "not done within {} s (--timeout): {why}. Whether what was asked for is still done is not \
         known: look before you ask again for a change",
        limit.as_secs_f64()
    )))
}

/// Outcome of `work` within `limit` from `began` on, without the time in which a person was asked.
async fn in_time<T>(
    limit: Duration,
    began: Instant,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    loop {
        let asked = asked();
        let left = (limit + asked).saturating_sub(began.elapsed());
        match timeout(left, work.as_mut()).await {
            Ok(done) => return Some(done),
            // The work was at rest while it asked.
            Err(_) if self::asked() > asked => {}
            Err(_) => return None,
        }
    }
}

/// A failure that may come from a lock, with who holds it, as was `found` before if not now.
async fn explained<DB: Storage>(
    done: Result<Outcome, Failure>,
    pool: &Pool<DB>,
    found: Vec<String>,
    left: Duration,
) -> Result<Outcome, Failure> {
    match done {
        Err(failure) if failure.is_unreachable() => {
            let asked = blockers(pool, ASKING.min(left)).await;
            let found = if asked.is_empty() { found } else { asked };
            Err(if found.is_empty() { failure } else { failure.with(&found.join("; ")) })
        }
        done => done,
    }
}

/// The sessions that hold locks, as far as the database tells within `time`; escaped.
async fn blockers<DB: Storage>(pool: &Pool<DB>, time: Duration) -> Vec<String> {
    let found = timeout(time, DB::blocking(pool, Duration::ZERO)).await;
    let found = found.ok().and_then(Result::ok).unwrap_or_default();
    found.iter().map(|one| text::escape(&one.to_string())).collect()
}
