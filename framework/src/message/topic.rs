//! Topic patterns: a whole topic, a prefix (`user.*`), or everything (`*`).

use std::fmt;

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
