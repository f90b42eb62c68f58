//! The messages that are measured with.

use syncline::Message;

/// So many keys there are.
pub(crate) const KEYS: usize = 10_000;

/// Message `n`, with 140 bytes of payload.
pub(crate) fn message(n: usize) -> anyhow::Result<Message> {
    let payload = serde_json::json!({ "n": n, "pad": "x".repeat(118) });
    Ok(Message::json("bench.message", &payload)?.key(format!("key {}", n % KEYS)))
}
