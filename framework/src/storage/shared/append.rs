//! Several rows of the outbox in one INSERT, where the database takes no arrays.

use crate::message::Message;

/// The statements that insert 1, 2, 4, 8 and 16 rows at once, for [`portions`]; `$dir` as seen from
/// the file that asks.
macro_rules! append_sql {
    ($dir:literal) => {
        [
            append_sql!(@rows $dir:),
            append_sql!(@rows $dir: 1),
            append_sql!(@rows $dir: 1 1 1),
            append_sql!(@rows $dir: 1 1 1 1 1 1 1),
            append_sql!(@rows $dir: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1),
        ]
    };
    (@rows $dir:literal: $($more:literal)*) => {
        concat!(sql!($dir, "append"), $(append_sql!(@row $dir $more)),*)
    };
    (@row $dir:literal $more:literal) => {
        sql!($dir, "append_row")
    };
}
pub(in crate::storage) use append_sql;

/// Binds a row of `append.sql`; `$time` is the message's as the database keeps it, and `text` says how a
/// text is sent.
macro_rules! bind_row {
    ($query:expr, $message:expr, $time:expr) => {
        $query
            .bind($message.id)
            .bind(text(&$message.topic))
            .bind($message.key.as_deref().map(text))
            .bind($time)
            .bind(text(&$message.content_type))
            .bind($message.schema_version)
            .bind(text(&headers_text($message)?))
            .bind(&$message.data[..])
    };
}
pub(in crate::storage) use bind_row;

/// Splits messages into portions of a power of two, each of which goes into one statement, with the
/// power: few statements are prepared for any number of messages. A portion has no more than sixteen,
/// and no more than so many bytes of payload, unless it is a single one.
pub(in crate::storage) fn portions(
    mut messages: &[Message],
    bytes: usize,
) -> impl Iterator<Item = (usize, &[Message])> {
    std::iter::from_fn(move || {
        let mut power = messages.len().min(16).checked_ilog2()? as usize;
        let large = |power: usize| {
            let one = &messages[..1 << power];
            one.iter().map(|message| message.data.len()).sum::<usize>() > bytes
        };
        while power > 0 && large(power) {
            power -= 1;
        }
        let (portion, rest) = messages.split_at(1 << power);
        messages = rest;
        Some((power, portion))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_powers_of_two_and_not_too_large() {
        let message = |bytes| Message::new("t", "text/plain", vec![0; bytes]);
        let lengths = |messages: &[Message]| -> Vec<usize> {
            let portions = portions(messages, 100);
            portions
                .inspect(|(power, of)| assert_eq!(of.len(), 1 << power))
                .map(|(_, of)| of.len())
                .collect()
        };
        let small: Vec<_> = (0..43).map(|_| message(1)).collect();
        assert_eq!(lengths(&small), [16, 16, 8, 2, 1]);
        assert_eq!(lengths(&[]), [0; 0]);
        let large = [message(10), message(10), message(90), message(200), message(1), message(1)];
        assert_eq!(lengths(&large), [2, 1, 1, 2]);
        let all: Vec<_> = portions(&large, 100).flat_map(|(_, of)| of).map(|m| m.id).collect();
        assert_eq!(all, large.map(|message| message.id));
    }
}
