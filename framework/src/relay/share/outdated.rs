//! Routes that are not sent although their relay runs: of an older definition or a closed stream, or
//! paused.

use std::time::Duration;

use super::{
    super::{Route, status::Board},
    Share,
    kept::STOPPING,
};
use crate::{
    Result, Storage,
    message::Position,
    storage::{FoundProblem, RouteRow, ShardKey},
};

/// The kind of problem that is stored.
const OUTDATED: &str = "outdated";

/// A shard that only processes with an older definition have.
pub(super) struct Stale {
    key: ShardKey,
    why: String,
    /// Another problem is stored of it.
    known: bool,
}

impl Stale {
    /// None when it is stored already, or there is nothing to be sent.
    pub(super) fn of(row: &RouteRow, why: &str) -> Option<Self> {
        let stored = row.problem.as_ref().is_some_and(|problem| problem.kind == OUTDATED);
        let (key, known) = (row.key.clone(), row.problem.is_some());
        (!row.closed && !stored).then(|| Self { key, why: why.to_owned(), known })
    }
}

pub(super) fn outdated_text(newest: i32) -> String {
    format!(
        "version {newest} of the stream's definition is in force, and this process has an older \
         one: start its newer program, or see `Stream::replaces`"
    )
}

/// Tells that an operator has closed the stream of a route.
pub(super) fn note_closed(route: &Route, at: Position) {
    let Route { name, stream, .. } = route;
    tracing::warn!(
        route = name,
        stream,
        "the stream was closed at position {at}: what stands before it is still sent, and nothing after \
         it; leave the stream out when all is sent, or take it up again (`Stream::replaces`)"
    );
}

/// Tells by status and log by whom and why a shard is paused, and when it goes on.
pub(super) fn note_pause(board: &Board, row: &RouteRow) {
    let (route, shard) = (&row.key.route, row.key.shard);
    let pause = row.pause.as_ref().map(ToString::to_string);
    if !board.pause(&row.key, pause.clone()) {
        return;
    }
    match pause {
        Some(pause) => {
            tracing::warn!(route, shard, "{pause}; `syncline route resume {route}` lets it go on");
        }
        None => tracing::info!(route, shard, "the route is not paused any more"),
    }
}

impl<DB: Storage> Share<DB> {
    /// Stores that shards are left to processes that cannot send them. Their leases are taken for it: a
    /// process that can send them finds this when it begins, and takes it back once they move. False
    /// when a lease is still another's, who may have died.
    pub(super) async fn note_stale(&mut self) -> Result<bool> {
        let stale = std::mem::take(&mut self.stale);
        if stale.is_empty() || self.shared.stop.is_cancelled() {
            return Ok(true);
        }
        let (pool, shared) = (&self.shared.pool.now(), &self.shared);
        let names: Vec<String> = stale.iter().map(|stale| stale.key.lease_name()).collect();
        let asked = DB::acquire_all(pool, &names, shared.holder, shared.options.lease);
        let (leases, mut all) = (pool.limit(asked).await?, true);
        for (Stale { key, why, known }, lease) in stale.iter().zip(leases) {
            let Some(lease) = lease else {
                all = false;
                continue;
            };
            let (age, next) = (Duration::ZERO, None);
            let known = *known;
            let found = FoundProblem { kind: OUTDATED, text: why, age, known, tries: 0, next };
            let noted = pool.limit(DB::note_problem(pool, key, &lease, Some(&found))).await;
            drop(pool.limit_to(STOPPING, DB::release(pool, &lease)).await);
            noted?;
        }
        Ok(all)
    }
}
