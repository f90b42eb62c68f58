//! Retention waits for a reader for so long, and no longer.

use std::time::Duration;

use super::Retention;
use crate::{message::Position, storage::Patience};

/// An alarm by size is heard for at least so long before the reader is lost.
const HEARD: Duration = Duration::from_secs(60);

/// When a reader counts as standing still or lost, where the log ends at `head`, ended at `half_ago`
/// half of [`Retention::lost_after`] ago, and at `all_ago` all of it.
pub(super) fn patience(
    retention: &Retention,
    head: Position,
    half_ago: Position,
    all_ago: Position,
) -> Patience {
    let (half, behind) = (retention.lost_after / 2, retention.lost_behind);
    Patience {
        alarm_before: half_ago,
        alarm_age: half,
        alarm_far: before(head, behind.map(|behind| behind / 2)),
        lost_before: all_ago,
        lost_age: retention.lost_after,
        heard: retention.lost_after - half,
        lost_far: before(head, behind),
        heard_far: HEARD.min(half),
    }
}

/// The position so many messages before the head; the beginning when that is not limited.
pub(super) fn before(head: Position, messages: Option<u64>) -> Position {
    let most = messages.and_then(|most| i64::try_from(most).ok()).unwrap_or(i64::MAX);
    Position(head.0.saturating_sub(most).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Position = Position(5_000);

    fn of(retention: &Retention) -> Patience {
        patience(retention, HEAD, Position(30), Position(20))
    }

    #[test]
    fn an_alarm_by_size_is_heard_for_a_minute_or_half_of_a_shorter_patience() {
        assert_eq!(of(&Retention::default()).heard_far, Duration::from_secs(60));
        let lost_after = Duration::from_secs(10);
        let short = of(&Retention { lost_after, ..Retention::default() });
        assert_eq!(short.heard_far, Duration::from_secs(5));
    }

    #[test]
    fn an_alarm_by_age_is_raised_at_half_of_the_patience_and_heard_for_the_rest() {
        let lost_after = Duration::from_secs(11);
        let patience = of(&Retention { lost_after, ..Retention::default() });
        assert_eq!((patience.alarm_before, patience.lost_before), (Position(30), Position(20)));
        assert_eq!((patience.alarm_age, patience.lost_age), (lost_after / 2, lost_after));
        assert_eq!(patience.heard, lost_after - lost_after / 2);
    }

    #[test]
    fn alarm_by_size_is_raised_at_half_of_what_is_allowed_and_never_without_a_limit() {
        let far = |lost_behind| {
            let patience = of(&Retention { lost_behind, ..Retention::default() });
            (patience.alarm_far, patience.lost_far)
        };
        assert_eq!(far(Some(1_000)), (Position(4_500), Position(4_000)));
        assert_eq!(far(Some(8_000)), (Position(1_000), Position::START));
        assert_eq!(far(Some(u64::MAX)), (Position::START, Position::START));
        assert_eq!(far(None), (Position::START, Position::START));
        assert_eq!(before(HEAD, Some(0)), HEAD);
    }
}
