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

/// The part of `limit` after which a command that can tell half of what was asked for does so.
pub(crate) fn telling(limit: Option<Duration>) -> Duration {
    limit.unwrap_or(SHORT).min(LONG * 24) / 6 * 5
}

/// Does `work` within `limit`, if there is one. Where it ends for a lock, or not in time, the failure
/// names who holds what it waits for.
pub(crate) async fn within<DB: Storage>(
    limit: Option<Duration>,
    json: bool,
    pool: &Pool<DB>,
    work: impl Future<Output = Result<Outcome, Failure>>,
) -> Result<Outcome, Failure> {
    let (mut work, began) = (pin!(work), Instant::now());
    let Some(limit) = limit else { return work.await };
    if let Some(done) = in_time(limit.min(SOON), began, work.as_mut()).await {
        return explained(done, pool).await;
    }
    if limit > SOON {
        let asked = tokio::select! {
            done = &mut work => return explained(done, pool).await,
            found = blockers(pool) => found,
        };
        if !json && !asked.is_empty() {
            drop(writeln!(std::io::stderr(), "waiting: {}", asked.join("; ")));
        }
        if let Some(done) = in_time(limit, began, work.as_mut()).await {
            return explained(done, pool).await;
        }
    }
    let found = blockers(pool).await;
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

/// A failure that may come from a lock, with who holds it.
async fn explained<DB: Storage>(
    done: Result<Outcome, Failure>,
    pool: &Pool<DB>,
) -> Result<Outcome, Failure> {
    match done {
        Err(failure) if failure.is_unreachable() => {
            let found = blockers(pool).await;
            Err(if found.is_empty() { failure } else { failure.with(&found.join("; ")) })
        }
        done => done,
    }
}

/// The sessions that hold locks, as far as the database tells in time; escaped.
async fn blockers<DB: Storage>(pool: &Pool<DB>) -> Vec<String> {
    let found = timeout(ASKING, DB::blocking(pool, Duration::ZERO)).await;
    let found = found.ok().and_then(Result::ok).unwrap_or_default();
    found.iter().map(|one| text::escape(&one.to_string())).collect()
}
