//! Topic patterns: a whole topic, a prefix (`user.*`), or everything (`*`).

use std::fmt;

use super::validate::word;

/// The topic of rejections. A service whose handlers reject needs a stream with this topic
/// and a route of it to the source.
pub const REJECTED: &str = "syncline.rejected";

/// The topic of replies of a saga's participants. A service that takes part in other services'
/// sagas needs a stream with this topic and a route of it to each of their orchestrators.
pub const SAGA_REPLY: &str = "syncline.saga.reply";

/// The topic of a bare link: it stands in a feed's page for messages that its reader may not
/// read or did not ask for, so that each message still names the one before it.
pub const LINK: &str = "syncline.link";

/// The topic of a row of the outbox that cannot be read or sent, as readers of the log get it. No
/// stream carries it.
pub const SET_ASIDE: &str = "syncline.set-aside";

/// What the topics begin with that only Syncline gives.
pub(super) const RESERVED_PREFIX: &str = "syncline.";

/// Which topics a stream carries or a handler takes: `user.registered`, `user.*` or `*`.
///
/// ```
/// use syncline::message::TopicPattern;
/// let users = TopicPattern::from("user.*");
/// assert!(users.matches("user.registered") && !users.matches("username"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicPattern(String);

impl TopicPattern {
    /// Whether `topic` is one of these.
    pub fn matches(&self, topic: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => self.0 == topic,
        }
    }

    /// Whether there can be a topic that it matches.
    pub(crate) fn can_match(&self) -> bool {
        let name = self.0.strip_suffix('*').unwrap_or(&self.0);
        !self.0.is_empty() && name.bytes().all(word)
    }

    /// Whether it matches every topic that `other` matches.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => other.0.starts_with(prefix),
            None => self == other,
        }
    }

    /// Whether there is a topic that both match: one of two patterns covers the other then.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Into<String>> From<S> for TopicPattern {
    fn from(pattern: S) -> Self {
        Self(pattern.into())
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::TopicPattern;

    #[test]
    fn patterns_overlap_when_a_topic_matches_both() {
        let cases = [
            ("user.*", "user.closed", (true, false)),
            ("*", "user.*", (true, false)),
            ("user.*", "user.*", (true, true)),
            ("user.closed", "user.closed", (true, true)),
            ("user.closed", "user.close", (false, false)),
            ("user*", "username", (true, false)),
            ("user.*", "user", (false, false)),
            ("!", "*", (false, true)),
        ];
        for (one, other, covers) in cases {
            let (a, b) = (TopicPattern::from(one), TopicPattern::from(other));
            assert_eq!((a.covers(&b), b.covers(&a)), covers, "{one} {other}");
            assert_eq!(a.overlaps(&b), covers.0 || covers.1, "{one} {other}");
        }
    }
}
