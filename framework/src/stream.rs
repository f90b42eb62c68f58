//! Streams: which topics go together. A stream is declared at the source and does not depend
//! on where it goes.

use crate::{
    Error, Result,
    message::{Position, TopicPattern, check_stream},
};

/// The most shards that a stream may have.
pub(crate) const MAX_SHARDS: i32 = 1_024;

/// Where a subscription or a route begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the first message of the log.
    #[default]
    Beginning,
    /// With what comes after now.
    Now,
    /// After this position of the source's log.
    Position(Position),
}

/// A stream: a name, its topics, and a number of virtual shards.
///
/// Messages of one ordering key are in one shard ([`shard_of`](crate::message::shard_of)), and
/// each shard of a route is sent on its own, by whichever relay process has its lease. Messages
/// of different shards are in no order towards each other.
///
/// The definition is kept at the source. A relay that starts with changed topics or shards makes
/// a new *version*: the old one carries what is in the log by then, the new one what follows,
/// and consumers apply the old one to its end first. See [`Stream::replaces`] for going back.
///
/// ```
/// use syncline::Stream;
/// let users = Stream::new("users").topic("user.*").topic("account.closed").shards(16);
/// assert!(users.carries("user.registered"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    name: String,
    topics: Vec<TopicPattern>,
    shards: i32,
    replaces: Option<i32>,
    shares: bool,
    drops: Vec<TopicPattern>,
}

impl Stream {
    /// A stream without topics yet, of one shard.
    pub fn new(name: impl Into<String>) -> Self {
        let (topics, drops) = Default::default();
        Self { name: name.into(), topics, shards: 1, replaces: None, shares: false, drops }
    }

    /// Adds a topic, a prefix (`user.*`) or all (`*`).
    #[must_use]
    pub fn topic(mut self, pattern: impl Into<TopicPattern>) -> Self {
        self.topics.push(pattern.into());
        self
    }

    /// Divides the stream into `shards` (1 to 1,024; 1 unless set) by the hash of the ordering
    /// key, so that relay processes can share it and a consumer can apply shards side by side.
    #[must_use]
    pub fn shards(mut self, shards: i32) -> Self {
        self.shards = shards;
        self
    }

    /// Lets this definition replace `version` although the stream had this very definition
    /// before.
    ///
    /// A definition that was in force earlier is taken for an old process that still runs beside
    /// the new ones: it does not carry the stream and says so. To go back to such a definition on
    /// purpose, name the version in force (`syncline stream show` tells it). It has no effect
    /// later, so it may stay in the code.
    #[must_use]
    pub fn replaces(mut self, version: i32) -> Self {
        self.replaces = Some(version);
        self
    }

    /// Lets this stream carry topics that another stream carries, too.
    ///
    /// A message of such a topic goes out once on each of them, and a consumer of both applies it
    /// twice: meant for streams that go to different consumers. Without it a relay refuses to start
    /// with two streams of one topic. A topic that *moves* needs it not: a stream that begins to
    /// carry what another one ceases to carry takes over where that one ended.
    ///
    /// ```
    /// use syncline::Stream;
    /// let users = Stream::new("users").topic("user.*");
    /// let audit = Stream::new("audit").topic("*").shares_topics();
    /// # assert!(users.carries("user.registered") && audit.carries("user.registered"));
    /// ```
    #[must_use]
    pub fn shares_topics(mut self) -> Self {
        self.shares = true;
        self
    }

    /// Says that no stream carries `pattern` from now on, which this one carried before.
    ///
    /// Without it a relay refuses to start with a definition that carries less. What is written of
    /// the topic later stays in the log until retention removes it, and the relay tells how much
    /// that is. It has no effect later, so it may stay in the code.
    ///
    /// ```
    /// use syncline::Stream;
    /// let users = Stream::new("users").topic("user.registered").drops("user.renamed");
    /// assert!(!users.carries("user.renamed"));
    /// ```
    #[must_use]
    pub fn drops(mut self, pattern: impl Into<TopicPattern>) -> Self {
        self.drops.push(pattern.into());
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

    /// How many shards it has.
    pub fn shard_count(&self) -> i32 {
        self.shards
    }

    /// The topic patterns as they are stored: in order, each once.
    pub(crate) fn patterns(&self) -> Vec<String> {
        let mut patterns: Vec<_> = self.topics.iter().map(|t| t.as_str().to_owned()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    pub(crate) fn replaced(&self) -> Option<i32> {
        self.replaces
    }

    pub(crate) fn shares(&self) -> bool {
        self.shares
    }

    pub(crate) fn dropped(&self) -> &[TopicPattern] {
        &self.drops
    }

    pub(crate) fn check(&self) -> Result<()> {
        let hopeless = self.topics.iter().chain(&self.drops).find_map(TopicPattern::problem);
        let problem = if let Err(error) = check_stream(&self.name) {
            error.to_string()
        } else if self.topics.is_empty() {
            "it has no topics".to_owned()
        } else if let Some(problem) = hopeless {
            problem
        } else if !(1..=MAX_SHARDS).contains(&self.shards) {
            format!("it has {} shards; 1 to {MAX_SHARDS} are allowed", self.shards)
        } else {
            return Ok(());
        };
        Err(Error::Definition { what: "stream", name: self.name.clone(), problem })
    }
}
