//! Who may read what.

use std::fmt;

use sha2::{Digest, Sha256};

use super::FeedConfigError;
use crate::message::{TopicPattern, check_stream};

const PREFIX: &str = "sha256:";
const HASH: usize = 32;

/// A bearer token, which its reader sends. `Debug` never shows it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes 24 to 256 letters, digits, `-`, `_`, `.` or `~`, which must be random:
    /// `openssl rand -hex 32` makes one.
    ///
    /// # Errors
    /// [`FeedConfigError::Token`] says what is wrong, without showing any of it.
    ///
    /// ```
    /// use syncline::transport::http_feed::Token;
    /// assert!(Token::parse("too short").is_err());
    /// let token = Token::parse("synf_3q2-7wX1c0ffee0ddba11f00dfeedbeef")?;
    /// assert_eq!(format!("{token:?}"), "Token(hidden)");
    /// # Ok::<(), syncline::transport::http_feed::FeedConfigError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, FeedConfigError> {
        let text = text.trim();
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
        if !text.bytes().all(good) {
            return Err(FeedConfigError::Token("it has other characters"));
        }
        if !(24..=256).contains(&text.len()) {
            return Err(FeedConfigError::Token("it has not 24 to 256 characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// What the feed's side needs to know of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// The SHA-256 of a token: enough to know it by, and of no use to whoever reads it somewhere.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; HASH]);

impl TokenHash {
    /// Reads `sha256:` and 64 hexadecimal digits, so that a service need not be told the token:
    /// `printf %s "$TOKEN" | sha256sum` makes the digits.
    ///
    /// # Errors
    /// [`FeedConfigError::Token`].
    pub fn parse(text: &str) -> Result<Self, FeedConfigError> {
        let wrong = FeedConfigError::Token("a hash is `sha256:` and 64 hexadecimal digits");
        let hex = text.trim().strip_prefix(PREFIX).filter(|hex| hex.len() == 2 * HASH);
        let Some(hex) = hex.map(str::as_bytes) else { return Err(wrong) };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let mut hash = [0; HASH];
        for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(wrong);
            };
            *byte = (high * 16 + low) as u8;
        }
        Ok(Self(hash))
    }

    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares in a time that does not depend on where they differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

impl From<&Token> for TokenHash {
    fn from(token: &Token) -> Self {
        token.hash()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(hidden)")
    }
}

/// A token, bound to a stream and to the topics of it that it may read.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(super) token: TokenHash,
    pub(super) stream: String,
    pub(super) topics: Vec<TopicPattern>,
}

impl Reader {
    /// Lets whoever has `token` (a token, or its hash) read `topics` of `stream`; every other
    /// message of the stream is only a link to it. While a token is being replaced, give a
    /// reader for each; for several streams, one for each stream.
    ///
    /// # Errors
    /// [`FeedConfigError::Name`] for a stream that could not exist, [`FeedConfigError::NoTopic`]
    /// without a topic.
    ///
    /// ```
    /// use syncline::transport::http_feed::{Reader, TokenHash};
    /// let hash = "sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
    /// let reader = Reader::new(TokenHash::parse(hash)?, "users", ["user.*"])?;
    /// assert!(!format!("{reader:?}").contains("5e88"));
    /// # Ok::<(), syncline::transport::http_feed::FeedConfigError>(())
    /// ```
    pub fn new<T: Into<TopicPattern>>(
        token: impl Into<TokenHash>,
        stream: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<Self, FeedConfigError> {
        let (token, stream) = (token.into(), stream.into());
        check_stream(&stream)?;
        let topics: Vec<_> = topics.into_iter().map(Into::into).collect();
        if topics.is_empty() {
            return Err(FeedConfigError::NoTopic);
        }
        if let Some(problem) = topics.iter().find_map(TopicPattern::problem) {
            return Err(FeedConfigError::Topic(problem));
        }
        Ok(Self { token, stream, topics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_a_pattern_that_no_topic_fits_is_refused() {
        let hash = Token::parse("synf_3q2-7wX1c0ffee0ddba11f00dfeedbeef").expect("a token").hash();
        let error = Reader::new(hash, "users", ["user.*", "user.**"]).expect_err("hopeless");
        assert!(error.to_string().contains("\"user.**\" matches no topic"), "{error}");
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_by_nothing_else() {
        let token = Token::parse("synf_3q2-7wX1c0ffee0ddba11f00dfeedbeef").expect("a token");
        let hex: String = token.hash().0.iter().map(|byte| format!("{byte:02x}")).collect();
        let read = TokenHash::parse(&format!("sha256:{hex}")).expect("a hash");
        assert!(read.is(&token.hash()));
        for at in 0..HASH {
            let mut other = token.hash();
            other.0[at] ^= 1;
            assert!(!other.is(&token.hash()), "byte {at}");
        }
        for bad in ["", "sha256:", &hex, &format!("sha256:{}g", &hex[1..]), "sha256:é"] {
            assert!(TokenHash::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "short", "with a space in the middle of it", &"x".repeat(257)] {
            let error = Token::parse(bad).expect_err(bad).to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
