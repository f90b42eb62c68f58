//! Where a version of a stream took over from what carried its topics before.

use serde::{Deserialize, Serialize};

use super::TopicPattern;
use crate::message::Position;

/// No version takes over from more of other streams.
const MAX_TAKEN_OVER: usize = 1_024;

/// Where a version of a stream took over from the one before it. A message of the new version
/// waits until the old one was applied to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// How many shards the old version has; none where it carried nothing.
    pub shards: i32,
    /// Its topics.
    pub topics: Vec<TopicPattern>,
    /// The last position that the old version carries.
    pub through: Position,
    /// Versions of other streams that carried some of the new version's topics before. A consumer
    /// of them waits until they have ended there, and applies nothing again.
    pub from: Vec<TakenOver>,
}

/// A version of another stream that carried a topic before it moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    /// The stream.
    pub stream: String,
    /// The version of its definition.
    pub version: i32,
    /// How many shards it has.
    pub shards: i32,
    /// Its topics.
    pub topics: Vec<TopicPattern>,
}

/// As it stands in an event: the stream, its version, its shards, its topics.
#[derive(Serialize, Deserialize)]
struct Row(String, i32, i32, Vec<String>);

/// All of `from` as one text.
pub(super) fn to_text(from: &[TakenOver]) -> String {
    let row = |old: &TakenOver| {
        let topics = old.topics.iter().map(|topic| topic.as_str().to_owned()).collect();
        Row(old.stream.clone(), old.version, old.shards, topics)
    };
    let rows: Vec<Row> = from.iter().map(row).collect();
    // Strings and numbers are always JSON.
    serde_json::to_string(&rows).unwrap_or_default()
}

/// Reads what [`to_text`] wrote.
pub(super) fn from_text(text: &str) -> Result<Vec<TakenOver>, String> {
    let rows: Vec<Row> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if rows.len() > MAX_TAKEN_OVER {
        return Err(format!("{} versions at once", rows.len()));
    }
    let taken_over = |Row(stream, version, shards, topics)| {
        let topics = topics.into_iter().map(TopicPattern::from).collect();
        TakenOver { stream, version, shards, topics }
    };
    Ok(rows.into_iter().map(taken_over).collect())
}
