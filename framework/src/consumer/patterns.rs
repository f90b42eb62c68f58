//! The topics of a consumer: each of its handlers can be called. Of several patterns that match a
//! message the first one counts, so a handler behind a wider one, or a second one, never is.

use super::Action;
use crate::{Storage, message::TopicPattern};

impl<DB: Storage> Action<DB> {
    fn label(&self) -> &'static str {
        match self {
            Self::One(_) | Self::Many(_) => "the handler",
            Self::Answer(_) => "the participant",
            Self::Ignore => "`ignore`",
        }
    }
}

/// The problem with the topics of `actions`, in the order in which they are looked at.
pub(super) fn of_actions<DB: Storage>(actions: &[(TopicPattern, Action<DB>)]) -> Option<String> {
    of(actions.iter().map(|(pattern, action)| (action.label(), pattern)))
}

/// The same of `patterns`, all of which are `label`.
pub(super) fn of_all<'a>(
    label: &'static str,
    patterns: impl Iterator<Item = &'a TopicPattern>,
) -> Option<String> {
    of(patterns.map(|pattern| (label, pattern)))
}

/// Versions are said of a topic that no handler takes.
pub(super) fn without_handler<'a, DB: Storage>(
    mut versions: impl Iterator<Item = &'a TopicPattern>,
    actions: &[(TopicPattern, Action<DB>)],
) -> Option<String> {
    let alone = versions.find(|topic| !actions.iter().any(|(taken, _)| taken.overlaps(topic)))?;
    Some(format!("`handler_versions` names {:?}, which no handler takes", alone.as_str()))
}

fn of<'a>(patterns: impl Iterator<Item = (&'static str, &'a TopicPattern)>) -> Option<String> {
    let mut before: Vec<(&'static str, &TopicPattern)> = Vec::new();
    for (label, pattern) in patterns {
        if let Some(problem) = pattern.problem() {
            return Some(format!("{label}: {problem}"));
        }
        if let Some((first, wider)) = before.iter().find(|(_, before)| before.covers(pattern)) {
            let (wide, narrow) = (wider.as_str(), pattern.as_str());
            return Some(match wide == narrow {
                true => format!(
                    "{first} for {wide:?} takes all messages of that topic, and {label} for \
                     {narrow:?} would take none: keep one of them"
                ),
                false => format!(
                    "{label} for {narrow:?} stands behind {first} for {wide:?}, which takes all of \
                     its messages: put the narrower one first"
                ),
            });
        }
        before.push((label, pattern));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(patterns: &[&str]) -> Option<String> {
        let patterns: Vec<_> =
            patterns.iter().map(|pattern| TopicPattern::from(*pattern)).collect();
        of_all("the handler", patterns.iter())
    }

    #[test]
    fn a_handler_that_would_never_be_called_is_named_with_the_one_before_it() {
        for fine in [&["user.registered", "user.*", "*"][..], &["a.*", "b.*", "a"], &[]] {
            assert_eq!(problem(fine), None, "{fine:?}");
        }
        let cases = [
            (&["*", "user.*"][..], "for \"user.*\" stands behind the handler for \"*\""),
            (
                &["b", "user.*", "user.closed"],
                "for \"user.closed\" stands behind the handler for \"user.*\"",
            ),
            (&["user*", "user.*"], "for \"user.*\" stands behind the handler for \"user*\""),
            (
                &["a", "b", "a"],
                "the handler for \"a\" takes all messages of that topic, and the handler for \"a\"",
            ),
            (&["*", "*"], "keep one of them"),
            (&["a", "order.**"], "\"order.**\" matches no topic"),
        ];
        for (patterns, said) in cases {
            let problem = problem(patterns).unwrap_or_default();
            assert!(problem.contains(said), "{patterns:?}: {problem}");
        }
    }
}
