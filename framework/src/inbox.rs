//! The inbox: decides what of a batch is new, with no I/O.

use std::borrow::Cow;

use crate::{
    message::{Envelope, Link, Position},
    storage::InboxRow,
    transport::{Ack, Outcome},
};

/// What a batch holds for an inbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News<'a> {
    /// The messages to apply (perhaps none), and the state after them.
    Apply(Cow<'a, [Envelope]>, InboxRow),
    /// The batch starts past the watermark, or does not link to what was applied.
    Gap,
}

impl InboxRow {
    /// Whether nothing is missing before a message that names `prev` as the one before it.
    pub(crate) fn is_followed_by(&self, prev: Link) -> bool {
        prev == self.last
            // One of the two only knows that nothing is missing up to its position.
            || (prev.is_anchor() && (self.last.position..=self.watermark).contains(&prev.position))
            || (self.last.is_anchor() && prev.position <= self.last.position)
    }

    /// This row after progress up to `through`, whose last message is `last`; none where something is
    /// missing. The watermark moves only where that message is the one applied, so that it can never
    /// step over a lost one.
    pub(crate) fn told(&self, through: Position, last: Link) -> Option<Self> {
        // A source that is behind what was skipped here does not say what stands there.
        let behind = last.is_anchor() || through < self.last.position;
        let last_here = if behind { self.last } else { last };
        let watermark = self.watermark.max(through);
        self.is_followed_by(last).then_some(Self { watermark, last: last_here, ..*self })
    }

    /// What to answer to a source that asks how far we are.
    pub(crate) fn ack(&self, outcome: Outcome) -> Ack {
        Ack { watermark: self.watermark, last: self.last, outcome }
    }
}

/// Compares a part of a batch (`messages`, then progress up to `through` and `last`) with the
/// inbox. A message at or below the watermark is a duplicate; the next one must name the last
/// one as its predecessor, by position and id.
pub(crate) fn compare<'a>(
    row: &InboxRow,
    messages: &'a [Envelope],
    through: Position,
    last: Link,
) -> News<'a> {
    let known = messages.partition_point(|message| message.position <= row.watermark);
    let fresh = &messages[known..];
    match (fresh.first(), row.told(through, last)) {
        (Some(first), _) if row.is_followed_by(first.prev) => {
            let watermark = row.watermark.max(through);
            News::Apply(fresh.into(), InboxRow { watermark, last, ..*row })
        }
        (Some(_), _) => News::Gap,
        (None, Some(after)) => News::Apply(fresh.into(), after),
        (None, None) if last.position > row.watermark => News::Gap,
        (None, None) => News::Apply(fresh.into(), *row),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::message::{Batch, Message, Origin};

    fn link(position: i64) -> Link {
        Link { position: Position(position), id: Uuid::from_u128(position as u128) }
    }

    fn row(watermark: i64, last: i64) -> InboxRow {
        let (watermark, last) = (Position(watermark), link(last));
        InboxRow { incarnation: Uuid::nil(), watermark, last, ended: None }
    }

    fn batch(prev: i64, positions: &[i64], through: i64) -> Batch {
        let origin = Arc::new(Origin {
            source: "/s".into(),
            incarnation: Uuid::nil(),
            stream: "s".into(),
            version: 1,
            shard: 0,
        });
        let mut last = link(prev);
        let messages = positions
            .iter()
            .map(|&position| Envelope {
                origin: Arc::clone(&origin),
                position: Position(position),
                prev: std::mem::replace(&mut last, link(position)),
                message: Message::new("t", "text/plain", "").id(link(position).id).into(),
            })
            .collect();
        Batch {
            origin,
            messages,
            through: Position(through),
            last,
            handover: None,
            continues: None,
        }
    }

    fn compare_batch<'a>(row: &InboxRow, batch: &'a Batch) -> News<'a> {
        compare(row, &batch.messages, batch.through, batch.last)
    }

    fn positions(news: &News<'_>) -> Option<(Vec<i64>, i64, i64)> {
        match news {
            News::Apply(fresh, row) => Some((
                fresh.iter().map(|m| m.position.0).collect(),
                row.watermark.0,
                row.last.position.0,
            )),
            News::Gap => None,
        }
    }

    #[test]
    fn duplicates_are_dropped_and_the_rest_is_applied() {
        let cases = [
            (row(3, 3), batch(3, &[5, 6], 7), Some((vec![5, 6], 7, 6))),
            (row(5, 5), batch(3, &[5, 6], 7), Some((vec![6], 7, 6))),
            (row(9, 6), batch(3, &[5, 6], 7), Some((vec![], 9, 6))),
            (row(9, 8), batch(3, &[5, 6], 7), Some((vec![], 9, 8))),
            // The watermark moved past the last message by progress.
            (row(4, 3), batch(3, &[5], 5), Some((vec![5], 5, 5))),
        ];
        for (row, batch, expected) in cases {
            assert_eq!(positions(&compare_batch(&row, &batch)), expected, "{batch:?}");
        }
    }

    #[test]
    fn a_lost_message_is_a_gap_for_messages_and_for_progress() {
        assert_eq!(positions(&compare_batch(&row(3, 3), &batch(5, &[6], 6))), None);
        assert_eq!(positions(&compare_batch(&row(3, 3), &batch(5, &[], 9))), None);
        let progress = batch(3, &[], 9);
        assert_eq!(positions(&compare_batch(&row(3, 3), &progress)), Some((vec![], 9, 3)));
    }

    #[test]
    fn an_anchor_fits_where_nothing_can_be_missing() {
        let anchored = |prev: i64, positions: &[i64], through| {
            let mut batch = batch(prev, positions, through);
            match batch.messages.first_mut() {
                Some(first) => first.prev.id = Uuid::nil(),
                None => batch.last.id = Uuid::nil(),
            }
            batch
        };
        // The source began at 5: who has applied up to there, or seen that nothing was there.
        for row in [row(5, 5), row(7, 3)] {
            assert_eq!(
                positions(&compare_batch(&row, &anchored(5, &[8], 9))),
                Some((vec![8], 9, 8))
            );
        }
        let idle = anchored(5, &[], 9);
        assert_eq!(positions(&compare_batch(&row(7, 3), &idle)), Some((vec![], 9, 3)));
        // Who is behind it, or has applied something after it that the source does not name.
        for row in [row(4, 4), row(7, 6)] {
            assert_eq!(positions(&compare_batch(&row, &anchored(5, &[8], 9))), None);
        }
        // The consumer began at 5: whatever the message before names at or below it.
        let began = InboxRow { last: Link::anchor(Position(5)), ..row(6, 5) };
        for prev in [2, 5] {
            let news = positions(&compare_batch(&began, &batch(prev, &[8], 8)));
            assert_eq!(news, Some((vec![8], 8, 8)));
        }
        assert_eq!(positions(&compare_batch(&began, &batch(7, &[8], 8))), None);
        // A source that is not yet there takes nothing of that back, and one that is tells more.
        assert_eq!(positions(&compare_batch(&began, &batch(2, &[], 4))), Some((vec![], 6, 5)));
        assert_eq!(positions(&compare_batch(&began, &batch(2, &[], 7))), Some((vec![], 7, 2)));
        // From START nothing fits but the first message.
        assert_eq!(positions(&compare_batch(&row(5, 5), &anchored(0, &[8], 8))), None);
    }

    #[test]
    fn another_message_at_the_same_position_is_not_taken_for_the_applied_one() {
        let mut next = batch(3, &[5], 5);
        next.messages[0].prev.id = Uuid::max();
        assert_eq!(positions(&compare_batch(&row(3, 3), &next)), None);
    }
}
