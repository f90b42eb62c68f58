//! Which virtual shard a message belongs to.

use sha2::{Digest, Sha256};

use super::Message;

/// The stable hash of a message's ordering key: the first 8 bytes, as a big-endian number, of the
/// SHA-256 of the key's UTF-8 bytes. A message without a key takes its id instead, in the usual
/// form of 36 lower-case characters.
///
/// In Python: `int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")`.
pub fn key_hash(message: &Message) -> u64 {
    match &message.key {
        Some(key) => hash(key.as_bytes()),
        None => hash(message.id.hyphenated().encode_lower(&mut [0; 36]).as_bytes()),
    }
}

/// The shard, of `shards`, that a message goes to: [`key_hash`] modulo `shards`.
///
/// ```
/// use syncline::{Message, message::shard_of};
/// let message = Message::json("user.registered", "x")?.key("user-1");
/// assert_eq!(shard_of(&message, 16), 2);
/// # Ok::<(), syncline::message::MessageError>(())
/// ```
pub fn shard_of(message: &Message, shards: i32) -> i32 {
    place(key_hash(message), shards)
}

/// A hash modulo a number of shards.
pub(crate) fn place(hash: u64, shards: i32) -> i32 {
    (hash % u64::from(shards.max(1).unsigned_abs())) as i32
}

pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest[..8].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// Computed with Python's hashlib: the hash must never change.
    #[test]
    fn a_key_has_the_same_hash_for_ever() {
        let message = Message::new("t", "text/plain", "").id(Uuid::from_u128(7));
        for (key, expected) in [("user-1", 14322161379998172594), ("李小龍", 13977513392363743836)]
        {
            assert_eq!(key_hash(&message.clone().key(key)), expected, "{key}");
        }
        assert_eq!(key_hash(&message), 947344828922328194);
    }
}
