//! Topic patterns: a whole topic, a prefix (`user.*`), or everything (`*`).

use std::fmt;

use super::validate::{MAX_TOPIC, word};

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

    /// Whether there can be a topic that it matches; `order.`, `*.placed` and `order.**` match none.
    pub(crate) fn can_match(&self) -> bool {
        if self.0.starts_with(RESERVED_PREFIX) {
            return [REJECTED, SAGA_REPLY].iter().any(|own| self.matches(own));
        }
        let (name, open) = match self.0.strip_suffix('*') {
            Some("") => return true,
            Some(name) => (name, true),
            None => (&*self.0, false),
        };
        // A prefix may end where a part of the topic begins, which has a character at least.
        let (parts, more) = match name.strip_suffix('.').filter(|_| open) {
            Some(parts) => (parts, 1),
            None => (name, 0),
        };
        name.len() + more <= MAX_TOPIC
            && name.bytes().all(word)
            && parts.split('.').all(|part| !part.is_empty())
    }

    /// Says so when no topic can match it.
    pub(crate) fn problem(&self) -> Option<String> {
        (!self.can_match()).then(|| {
            format!(
                "{:?} matches no topic: give a topic (user.registered), a prefix with one star at its \
                 end (user.*), or *",
                self.0
            )
        })
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
    use super::{MAX_TOPIC, TopicPattern};

    #[test]
    fn a_pattern_that_no_topic_fits_is_known() {
        let long = "x".repeat(MAX_TOPIC);
        let good = ["*", "user.*", "user*", "a.b-c_D", "syncline.*", "sync*", "syncline"];
        let own = ["syncline.rejected", "syncline.saga.reply", "syncline.saga.*", &long];
        for pattern in good.into_iter().chain(own) {
            assert!(TopicPattern::from(pattern).can_match(), "{pattern}");
        }
        let longer = format!("{long}x");
        let prefix = format!("{}.*", "x".repeat(MAX_TOPIC - 1));
        let bad =
            ["", "order.", "order.**", "*.placed", "**", ".*", "a..*", "a..b", ".a", "a b", "ü"];
        let own = ["syncline.link", "syncline.link*", "syncline.set-aside", &longer, &prefix];
        for pattern in bad.into_iter().chain(own) {
            assert!(!TopicPattern::from(pattern).can_match(), "{pattern}");
        }
    }

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
