//! Forgetting what is older than its retention, by the database's clock.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::{Result, Storage};

/// How often old rows are forgotten, and how many in one statement.
const PAUSE: Duration = Duration::from_secs(300);
const CHUNK: i64 = 1_000;

/// Forgets ids of foreign messages, and steps of sagas that this consumer took part in: at once, so
/// that a service which is started anew more often than the pause is long forgets as well.
pub(super) async fn run<DB: Storage>(consumer: Arc<Inner<DB>>, stop: CancellationToken) {
    let Inner { name, pool, foreign_retention, barriers, .. } = &*consumer;
    loop {
        let seen = || async {
            let pool = pool.now();
            pool.limit(DB::purge_seen(&pool, name, *foreign_retention, CHUNK)).await
        };
        report(name, "ids of foreign messages", all(&stop, seen).await);
        if let Some(retention) = *barriers {
            let steps = || async {
                let pool = pool.now();
                pool.limit(DB::purge_barriers(&pool, retention, CHUNK)).await
            };
            report(name, "steps of sagas", all(&stop, steps).await);
        }
        if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}

async fn all<F: Future<Output = Result<u64>>>(
    stop: &CancellationToken,
    chunk: impl Fn() -> F,
) -> Result<()> {
    while chunk().await? >= CHUNK.unsigned_abs() && !stop.is_cancelled() {}
    Ok(())
}

fn report(consumer: &str, what: &str, done: Result<()>) {
    if let Err(error) = done {
        tracing::warn!(consumer, %error, "old {what} were not forgotten");
    }
}
