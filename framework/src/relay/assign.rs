//! Which relay process sends which shard: every process computes the same answer from the list
//! of those that can.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{message::hash, storage::ShardKey};

/// Who can carry each route, in order.
pub(super) type Members = HashMap<String, Vec<Uuid>>;

/// The process that is to send `key`: the shards of a route go round its members, so that each
/// has its share, give or take one.
pub(super) fn owner(key: &ShardKey, members: &Members) -> Option<Uuid> {
    let members = members.get(&key.route)?;
    // Routes begin with different members, so that many routes of one shard are shared as well.
    let first = hash(key.route.as_bytes()) % u64::try_from(members.len()).ok()?.max(1);
    let turn = first.wrapping_add(u64::from(key.shard.unsigned_abs()));
    members.get((turn % members.len().max(1) as u64) as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_one_owner_and_every_member_its_share() {
        for count in 1..=5_u128 {
            let all: Vec<Uuid> = (1..=count).map(Uuid::from_u128).collect();
            let members = Members::from([("r".to_owned(), all.clone())]);
            let owners: Vec<_> = (0..16)
                .filter_map(|shard| owner(&ShardKey::new("r", 1, shard), &members))
                .collect();
            assert_eq!(owners.len(), 16);
            for member in all {
                let share = owners.iter().filter(|owner| **owner == member).count();
                assert!((16 / count as usize..=16_usize.div_ceil(count as usize)).contains(&share));
            }
        }
        assert_eq!(owner(&ShardKey::new("r", 1, 0), &Members::new()), None);
    }
}
