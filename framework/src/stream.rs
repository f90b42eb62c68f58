//! Streams: which topics go together. A stream is declared at the source and does not depend
//! on where it goes.

use std::sync::Arc;

use crate::{
    Error, Result,
    message::{Batch, Envelope, Link, Origin, TopicPattern, check_stream},
    storage::{Checkpoint, LogRow},
};

/// A stream: a name and its topics.
///
/// The topics are part of what consumers rely on: a changed set is a new stream with a new
/// name.
///
/// ```
/// use syncline::Stream;
/// let users = Stream::new("users").topic("user.*").topic("account.closed");
/// assert!(users.carries("user.registered"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    name: String,
    topics: Vec<TopicPattern>,
}

impl Stream {
    /// A stream without topics yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), topics: Vec::new() }
    }

    /// Adds a topic, a prefix (`user.*`) or all (`*`).
    #[must_use]
    pub fn topic(mut self, pattern: impl Into<TopicPattern>) -> Self {
        self.topics.push(pattern.into());
        self
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether messages of `topic` go into this stream.
    pub fn carries(&self, topic: &str) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(topic))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let problem = if let Err(error) = check_stream(&self.name) {
            error.to_string()
        } else if self.topics.is_empty() {
            "it has no topics".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Definition { what: "stream", name: self.name.clone(), problem })
    }

    /// Makes a batch of `rows`, which follow `from` in the log: filtered and linked.
    pub(crate) fn batch(
        &self,
        origin: &Arc<Origin>,
        from: &Checkpoint,
        rows: Vec<LogRow>,
    ) -> Batch {
        let mut last = from.last;
        let through = rows.last().map_or(from.cursor.position, |row| row.cursor.position);
        let messages = rows
            .into_iter()
            .filter(|row| self.carries(&row.message.topic))
            .map(|row| {
                let position = row.cursor.position;
                let prev = std::mem::replace(&mut last, Link { position, id: row.message.id });
                Envelope { origin: Arc::clone(origin), position, prev, message: row.message }
            })
            .collect();
        Batch { origin: Arc::clone(origin), messages, through, last }
    }
}
