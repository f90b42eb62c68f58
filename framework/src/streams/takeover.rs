//! Topics that move from one stream to another, found from the stored definitions. A stream that
//! begins to carry a topic after another one ceased to carry it takes over from that one: it waits
//! until the other's shards are closed, and consumers of both apply nothing again.

use std::collections::BTreeMap;

use crate::{
    message::{Position, TakenOver, TopicPattern},
    storage::{RouteRow, StreamVersion},
};

/// The patterns of a version that carries something.
pub(crate) fn patterns(version: &StreamVersion) -> Vec<TopicPattern> {
    match version.rests() {
        true => Vec::new(),
        false => version.topics.iter().map(TopicPattern::from).collect(),
    }
}

/// Whether one of `these` matches a topic that one of `those` matches, too; the narrower of the two.
pub(crate) fn shared<'a>(
    these: &'a [TopicPattern],
    those: &'a [TopicPattern],
) -> Option<&'a TopicPattern> {
    these.iter().find_map(|one| {
        let other = those.iter().find(|other| one.overlaps(other))?;
        Some(if one.covers(other) { other } else { one })
    })
}

/// The last position that a version carries; none for the one in force.
pub(crate) fn until(all: &[StreamVersion], of: &StreamVersion) -> Option<Position> {
    let next = |next: &&StreamVersion| next.name == of.name && next.version == of.version + 1;
    all.iter().find(next).map(|next| next.after)
}

/// The versions of other streams that `of` took topics over from, and those of its own stream from
/// before it was closed. `all` is in order.
pub(crate) fn taken_over<'a>(
    all: &'a [StreamVersion],
    of: &StreamVersion,
) -> Vec<&'a StreamVersion> {
    let mut own = all.iter().filter(|known| known.name == of.name);
    let Some(before) = own.find(|known| known.version == of.version - 1) else { return Vec::new() };
    let (reopened, old) = (before.rests(), patterns(before));
    let mut added = patterns(of);
    added.retain(|pattern| !old.iter().any(|old| old.covers(pattern)));
    let mut last = BTreeMap::new();
    for version in all {
        let earlier = match version.name == of.name {
            true => reopened && version.version < of.version,
            false => version.after <= of.after,
        };
        if earlier && shared(&patterns(version), &added).is_some() {
            last.insert(version.name.as_str(), version);
        }
    }
    let ended = |version: &&StreamVersion| {
        until(all, version).is_some_and(|until| version.after < until && until <= of.after)
    };
    last.into_values().filter(ended).collect()
}

/// As a consumer is told of them.
pub(crate) fn told(all: &[StreamVersion], of: &StreamVersion) -> Vec<TakenOver> {
    let told = |old: &StreamVersion| TakenOver {
        stream: old.name.clone(),
        version: old.version,
        shards: old.shards,
        topics: patterns(old),
    };
    taken_over(all, of).into_iter().map(told).collect()
}

/// What `of` waits for before it is sent: a route that has not sent what `of` takes over from.
pub(crate) fn held_up(
    all: &[StreamVersion],
    rows: &[RouteRow],
    of: &StreamVersion,
) -> Option<String> {
    taken_over(all, of).into_iter().find_map(|old| held_up_by(all, rows, old))
}

/// What keeps the version `old` from having been sent to its end.
pub(crate) fn held_up_by(
    all: &[StreamVersion],
    rows: &[RouteRow],
    old: &StreamVersion,
) -> Option<String> {
    // One that carries nothing tells consumers that the one before it has ended.
    let next = |next: &&StreamVersion| next.name == old.name && next.version == old.version + 1;
    let closing = all.iter().find(next).filter(|next| next.rests());
    let last = closing.map_or(old.version, |next| next.version);
    let open = |row: &&RouteRow| {
        row.stream == old.name && row.key.version <= last && !row.closed && !row.lost
    };
    let row = rows.iter().find(open)?;
    let (route, stream) = (&row.key.route, &old.name);
    let (at, end) = (row.checkpoint.cursor.position, until(all, old).unwrap_or_default());
    let what = match row.paused {
        true => format!("it is paused: `syncline route resume {route}`"),
        false => format!("a relay that declares stream {stream:?} and the route sends the rest"),
    };
    Some(format!(
        "it takes topics over from stream {stream:?}, which ended at position {end}, and whose \
         route {route:?} is not closed yet: shard {} of version {} is at position {at}; {what}",
        row.key.shard, row.key.version
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, version: i32, topics: &str, after: i64) -> StreamVersion {
        let topics = topics.split_whitespace().map(str::to_owned).collect();
        let (name, after, created_at) = (name.to_owned(), Position(after), Default::default());
        StreamVersion { name, version, topics, shards: 1, after, created_at }
    }

    fn from(all: &[StreamVersion], index: usize) -> Vec<(&str, i32)> {
        let old = taken_over(all, &all[index]).into_iter();
        old.map(|old| (old.name.as_str(), old.version)).collect()
    }

    #[test]
    fn a_stream_takes_over_from_the_last_that_carried_its_topics() {
        let all = [
            version("a", 1, "x y", 0),
            version("a", 2, "y", 10),
            version("b", 1, "!", 0),
            version("b", 2, "x", 10),
            version("c", 1, "*", 0),
        ];
        assert_eq!(from(&all, 3), [("a", 1)]);
        assert_eq!(from(&all, 1), [], "nothing was added");
        assert_eq!(from(&all, 4), [], "it carries the whole log, on purpose");
        // And back again.
        let mut back = all.to_vec();
        back.insert(2, version("a", 3, "x y", 20));
        back.insert(5, version("b", 3, "!", 20));
        assert_eq!(from(&back, 2), [("b", 2)]);
        assert_eq!(from(&back, 4), [("a", 1)]);
    }

    #[test]
    fn what_still_carries_a_topic_is_shared_and_not_taken_over() {
        let all = [
            version("a", 1, "x", 0),
            version("a", 2, "x y", 10),
            version("b", 1, "z", 0),
            version("b", 2, "x z", 10),
        ];
        assert_eq!(from(&all, 3), []);
    }

    #[test]
    fn two_streams_that_swap_topics_take_over_from_each_other() {
        let all = [
            version("a", 1, "x", 0),
            version("a", 2, "y", 10),
            version("b", 1, "y", 0),
            version("b", 2, "x", 10),
        ];
        assert_eq!((from(&all, 1), from(&all, 3)), (vec![("b", 1)], vec![("a", 1)]));
    }

    #[test]
    fn a_stream_that_was_closed_takes_over_from_itself() {
        let all = [version("a", 1, "x", 0), version("a", 2, "!", 10), version("a", 3, "x", 20)];
        assert_eq!(from(&all, 2), [("a", 1)]);
        assert_eq!(from(&all, 1), []);
    }
}
