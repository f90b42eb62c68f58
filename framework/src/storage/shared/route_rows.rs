//! Rows of routes as the statements bind and return them.

use crate::storage::{Begins, NewVersion, RouteRow, Save, ShardKey};

impl Begins {
    pub(in crate::storage) fn position(self, head: i64) -> i64 {
        match self {
            Self::After(position) => position.0,
            Self::Head => head,
        }
    }
}

/// What new versions mean for the routes that there are: the leases that end, in the order in which
/// everybody locks them, and the shards that begin.
pub(in crate::storage) fn routes_taken_over(
    versions: &[NewVersion],
    rows: impl Iterator<Item = RouteRow>,
) -> (Vec<String>, Vec<(ShardKey, String, Begins)>) {
    let rows: Vec<_> =
        rows.filter(|row| versions.iter().any(|new| new.name == row.stream)).collect();
    let mut leases: Vec<_> = rows.iter().map(|row| row.key.lease_name()).collect();
    leases.sort_unstable();
    let mut routes: Vec<_> = rows.into_iter().map(|row| (row.key.route, row.stream)).collect();
    routes.dedup();
    let mut shards = Vec::new();
    for (route, stream) in routes {
        for new in versions.iter().filter(|new| new.name == stream) {
            let key = |shard| ShardKey::new(route.as_str(), new.version, shard);
            shards.extend((0..new.shards).map(|shard| (key(shard), stream.clone(), new.begins)));
        }
    }
    (leases, shards)
}

/// A checkpoint as `route_save.sql` and `route_saved.sql` read it from JSON.
#[derive(serde::Serialize)]
pub(in crate::storage) struct SaveRow<'a> {
    /// Which one of those that were given.
    place: usize,
    route: &'a str,
    version: i32,
    shard: i32,
    position: i64,
    seal: i64,
    seq: i64,
    last_position: i64,
    last_id: String,
    closed: i32,
    lease: &'a str,
    holder: String,
    epoch: i64,
}

/// The rows in the order in which everybody locks leases. A sender hands in one at a time, so that
/// no shard comes twice.
pub(in crate::storage) fn save_rows(saves: &[Save]) -> Vec<SaveRow<'_>> {
    let mut rows: Vec<SaveRow<'_>> = Vec::with_capacity(saves.len());
    for (place, Save { key, lease, to, closed }) in saves.iter().enumerate() {
        rows.push(SaveRow {
            place,
            route: &key.route,
            version: key.version,
            shard: key.shard,
            position: to.cursor.position.0,
            seal: to.cursor.seal,
            seq: to.cursor.seq,
            last_position: to.last.position.0,
            last_id: to.last.id.simple().to_string(),
            closed: (*closed).into(),
            lease: &lease.name,
            holder: lease.holder.simple().to_string(),
            epoch: lease.epoch,
        });
    }
    rows.sort_by_key(|row| row.lease);
    rows
}
