//! Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, and whom a secret may speak for.

use std::{fmt, time::Duration};

use axum::http::{HeaderMap, HeaderName};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{ID_HEADER, PushConfigError, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use crate::message::{check_source, check_stream};

/// With or without padding: both are in use.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const PREFIX: &str = "whsec_";
/// SHA-256's block: a key of up to this length is used as it is, filled up with zeros.
const BLOCK: usize = 64;
/// More signatures than a rotation could need are not looked at.
const MAX_SIGNATURES: usize = 8;
const MAX_ID: usize = 256;

/// A webhook secret, shared by a publisher and a receiver. `Debug` never shows it.
#[derive(Clone)]
pub struct Secret([u8; BLOCK]);

impl Secret {
    /// Reads `whsec_` and the base64 of 24 to 64 random bytes; `whsec_$(openssl rand -base64
    /// 32)` makes one.
    ///
    /// # Errors
    /// [`PushConfigError::Secret`] says what is wrong, without showing any of it.
    pub fn parse(text: &str) -> Result<Self, PushConfigError> {
        let fail = PushConfigError::Secret;
        let text = text.trim().strip_prefix(PREFIX).ok_or(fail("`whsec_` is missing"))?;
        let bytes = BASE64.decode(text).map_err(|_| fail("what follows `whsec_` is not base64"))?;
        if !(24..=BLOCK).contains(&bytes.len()) {
            return Err(fail("it has not 24 to 64 bytes"));
        }
        let mut key = [0; BLOCK];
        key[..bytes.len()].copy_from_slice(&bytes);
        Ok(Self(key))
    }

    /// Signs `body` as sent under `id` at `timestamp` (seconds since 1970): `v1,BASE64`.
    ///
    /// ```
    /// use syncline::transport::http_push::Secret;
    /// let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    /// let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    /// let signature = secret.sign(id, 1614265330, br#"{"test": 2432232314}"#);
    /// assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    /// # Ok::<(), syncline::transport::http_push::PushConfigError>(())
    /// ```
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let tag = self.mac(id, timestamp, body).finalize().into_bytes();
        format!("v1,{}", BASE64.encode(tag))
    }

    fn mac(&self, id: &str, timestamp: i64, body: &[u8]) -> Hmac<Sha256> {
        Hmac::<Sha256>::new(&self.0.into())
            .chain_update(id)
            .chain_update(".")
            .chain_update(timestamp.to_string())
            .chain_update(".")
            .chain_update(body)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Which source and stream a secret may speak for.
///
/// Give the current and the previous secret while one is being replaced: either is accepted.
#[derive(Debug, Clone)]
pub struct Principal {
    pub(super) source: String,
    pub(super) stream: String,
    pub(super) secrets: Vec<Secret>,
    /// It sends plain CloudEvents, and nothing else.
    pub(super) foreign: bool,
    pub(super) shards: i32,
}

impl Principal {
    /// Binds `secrets` to one stream of one source.
    ///
    /// # Errors
    /// [`PushConfigError::Name`] for a source or stream that could not exist,
    /// [`PushConfigError::NoSecret`] without a secret.
    ///
    /// ```
    /// use syncline::transport::http_push::{Principal, Secret};
    /// let current = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    /// let principal = Principal::new("/demo/register", "users", [current])?;
    /// assert!(!format!("{principal:?}").contains("MfKQ"));
    /// # Ok::<(), syncline::transport::http_push::PushConfigError>(())
    /// ```
    pub fn new(
        source: impl Into<String>,
        stream: impl Into<String>,
        secrets: impl IntoIterator<Item = Secret>,
    ) -> Result<Self, PushConfigError> {
        let (source, stream) = (source.into(), stream.into());
        check_source(&source)?;
        check_stream(&stream)?;
        let secrets: Vec<_> = secrets.into_iter().collect();
        if secrets.is_empty() {
            return Err(PushConfigError::NoSecret);
        }
        Ok(Self { source, stream, secrets, foreign: false, shards: 1 })
    }

    /// How many shards the stream has (1 unless set); a batch of any other shard is refused. While the
    /// source changes their number, the larger one.
    ///
    /// ```
    /// use syncline::transport::http_push::{Principal, Secret};
    /// let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    /// let principal = Principal::new("/demo/register", "users", [secret])?.shards(16);
    /// # drop(principal);
    /// # Ok::<(), syncline::transport::http_push::PushConfigError>(())
    /// ```
    #[must_use]
    pub fn shards(mut self, shards: i32) -> Self {
        self.shards = shards.max(1);
        self
    }

    /// Binds `secrets` to a source that is not Syncline's and sends plain CloudEvents to
    /// `POST /foreign`, signed as Standard Webhooks describe. Each event's `source` must be this
    /// one; its `id` counts once. It cannot send batches.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// ```
    /// use syncline::transport::http_push::{Principal, Secret};
    /// let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    /// let payments = Principal::foreign("/payments", [secret])?;
    /// # drop(payments);
    /// # Ok::<(), syncline::transport::http_push::PushConfigError>(())
    /// ```
    pub fn foreign(
        source: impl Into<String>,
        secrets: impl IntoIterator<Item = Secret>,
    ) -> Result<Self, PushConfigError> {
        // The stream is never looked at.
        Ok(Self { foreign: true, ..Self::new(source, "foreign", secrets)? })
    }
}

/// What the headers say about a signature.
pub(super) struct Signed {
    id: String,
    timestamp: i64,
    signatures: Vec<Vec<u8>>,
}

impl Signed {
    /// Reads the three headers; the error says which one is wrong.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let wrong = |name, problem| format!("the header {name} {problem}");
        let id = only(headers, ID_HEADER)?;
        // A full stop would make `id.timestamp.body` ambiguous.
        if id.is_empty() || id.len() > MAX_ID || id.contains('.') {
            return Err(wrong(ID_HEADER, "must have 1 to 256 characters and no full stop"));
        }
        let timestamp = only(headers, TIMESTAMP_HEADER)?;
        let digits = timestamp.bytes().all(|b| b.is_ascii_digit());
        let (true, Ok(timestamp)) = (digits, timestamp.parse()) else {
            return Err(wrong(TIMESTAMP_HEADER, "is not a number of seconds since 1970"));
        };
        let signatures: Vec<_> = only(headers, SIGNATURE_HEADER)?
            .split(' ')
            .filter_map(|signature| signature.strip_prefix("v1,"))
            .filter_map(|signature| BASE64.decode(signature).ok())
            .take(MAX_SIGNATURES)
            .collect();
        if signatures.is_empty() {
            return Err(wrong(SIGNATURE_HEADER, "holds no signature of the form v1,BASE64"));
        }
        Ok(Self { id: id.to_owned(), timestamp, signatures })
    }

    /// How far the time of signing is from `now`, if it is too far.
    pub(super) fn off_by(&self, now: i64, tolerance: Duration) -> Option<u64> {
        let off = self.timestamp.abs_diff(now);
        (off > tolerance.as_secs()).then_some(off)
    }

    /// Whether one of `secrets` has signed `body`; each comparison takes constant time.
    pub(super) fn is_by(&self, secrets: &[Secret], body: &[u8]) -> bool {
        secrets.iter().any(|secret| {
            let mac = secret.mac(&self.id, self.timestamp, body);
            self.signatures.iter().any(|tag| mac.clone().verify_slice(tag).is_ok())
        })
    }
}

/// The value of a header that must be there once, so that nobody can read it differently.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, String> {
    let mut values = headers.get_all(HeaderName::from_static(name)).iter();
    let value = values.next().ok_or_else(|| format!("the header {name} is missing"))?;
    if values.next().is_some() {
        return Err(format!("the header {name} stands there more than once"));
    }
    value.to_str().map_err(|_| format!("the header {name} is not ASCII text"))
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    const KNOWN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn secret(byte: u8) -> Secret {
        Secret::parse(&format!("whsec_{}", BASE64.encode([byte; 32]))).expect("a secret")
    }

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [(ID_HEADER, id), (TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, signature)]
        {
            headers.insert(HeaderName::from_static(name), value.parse().expect("a value"));
        }
        headers
    }

    fn accepted(headers: &HeaderMap, secrets: &[Secret], body: &[u8]) -> bool {
        Signed::read(headers).is_ok_and(|signed| signed.is_by(secrets, body))
    }

    /// Computed by the Python package `standardwebhooks` 1.1.0.
    #[test]
    fn signatures_are_those_of_the_reference_implementation() {
        let longest: Vec<u8> = (0..64).collect();
        let longest = format!("whsec_{}", BASE64.encode(longest));
        for (secret, id, timestamp, body, signature) in [
            (
                KNOWN,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1614265330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                &longest,
                "msg_018f_7_12",
                1700000000,
                r#"[{"s":"ключ 🔑 \u0000"}]"#,
                "v1,iXkvSWciPlTZYZWPV6QQnNEMDqubv8/lx8JUPB9wMSw=",
            ),
        ] {
            let secret = Secret::parse(secret).expect("a secret");
            assert_eq!(secret.sign(id, timestamp, body.as_bytes()), signature);
            let headers = headers(id, &timestamp.to_string(), signature);
            assert!(accepted(&headers, &[secret], body.as_bytes()));
        }
    }

    #[test]
    fn only_a_signature_of_the_whole_by_one_of_the_secrets_is_accepted() {
        let (old, new) = (secret(1), secret(2));
        let good = new.sign("msg_1", 17, b"[1]");
        let both = format!("v1a,AAAA {} {good} v1,%%%", old.sign("msg_1", 17, b"[1]"));
        for signature in [&good, &both, good.trim_end_matches('=')] {
            assert!(accepted(
                &headers("msg_1", "17", signature),
                &[old.clone(), new.clone()],
                b"[1]"
            ));
            assert!(accepted(&headers("msg_1", "17", signature), slice::from_ref(&new), b"[1]"));
        }
        assert!(accepted(&headers("msg_1", "17", &both), slice::from_ref(&old), b"[1]"));
        assert!(!accepted(&headers("msg_1", "17", &good), slice::from_ref(&old), b"[1]"));
        let secrets = [new.clone()];
        assert!(!accepted(&headers("msg_2", "17", &good), &secrets, b"[1]"));
        assert!(!accepted(&headers("msg_1", "18", &good), &secrets, b"[1]"));
        assert!(!accepted(&headers("msg_1", "17", &good), &secrets, b"[2]"));
        assert!(!accepted(&headers("msg_1", "17", &good), &secrets, b""));
        for signature in ["", "v1", "v1,", "v1,AAAA", "v1,=", &good[3..], &good.replace("v1", "v2")]
        {
            assert!(!accepted(&headers("msg_1", "17", signature), &secrets, b"[1]"), "{signature}");
        }
    }

    #[test]
    fn a_signature_that_is_wrong_in_any_one_byte_is_refused() {
        let (secrets, id, timestamp, body) = ([secret(1)], "msg_1", "1700000000", b"[1,2]");
        let good = secrets[0].sign(id, 1_700_000_000, body);
        let tag = BASE64.decode(&good[3..]).expect("base64");
        let signed = |tag: &[u8]| headers(id, timestamp, &format!("v1,{}", BASE64.encode(tag)));
        assert!(tag.len() == 32 && accepted(&signed(&tag), &secrets, body));
        for at in 0..tag.len() {
            for bit in 0..8 {
                let mut wrong = tag.clone();
                wrong[at] ^= 1 << bit;
                assert!(!accepted(&signed(&wrong), &secrets, body), "byte {at}, bit {bit}");
            }
            assert!(!accepted(&signed(&tag[..at]), &secrets, body), "its first {at} bytes");
            assert!(!accepted(&signed(&tag[at + 1..]), &secrets, body), "without the first ones");
        }
        assert!(!accepted(&signed(&[&tag[..], &[0]].concat()), &secrets, body), "one byte more");
        // Each byte of what is signed counts as well.
        let others = |text: &str| -> Vec<String> {
            let other = |at: usize| {
                let byte = (text.as_bytes()[at] ^ 1) as char;
                format!("{}{byte}{}", &text[..at], &text[at + 1..])
            };
            (0..text.len()).map(other).collect()
        };
        for other in others(id) {
            assert!(!accepted(&headers(&other, timestamp, &good), &secrets, body), "{other}");
        }
        for other in others(timestamp) {
            assert!(!accepted(&headers(id, &other, &good), &secrets, body), "{other}");
        }
        for other in others("[1,2]") {
            assert!(!accepted(&signed(&tag), &secrets, other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn headers_that_could_be_read_in_two_ways_are_refused() {
        let secret = secret(1);
        let signature = secret.sign("a.17", 18, b"[1]");
        assert!(Signed::read(&headers("a.17", "18", &signature)).is_err());
        for timestamp in ["", "+17", "-17", "17.5", "1e9", " 17", "0x11", &"9".repeat(40)] {
            assert!(Signed::read(&headers("a", timestamp, &signature)).is_err(), "{timestamp:?}");
        }
        for name in [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER] {
            let mut twice = headers("a", "17", &signature);
            twice.append(HeaderName::from_static(name), "17".parse().expect("a value"));
            assert!(Signed::read(&twice).is_err_and(|problem| problem.contains(name)));
            twice.remove(name);
            assert!(Signed::read(&twice).is_err_and(|problem| problem.contains("missing")));
        }
    }

    #[test]
    fn the_time_tolerance_holds_in_both_directions() {
        let signed = Signed { id: "a".into(), timestamp: 1_000, signatures: vec![] };
        let tolerance = Duration::from_secs(300);
        for (now, off) in
            [(1_000, None), (700, None), (1_300, None), (699, Some(301)), (1_301, Some(301))]
        {
            assert_eq!(signed.off_by(now, tolerance), off);
        }
        let far = Signed { timestamp: i64::MAX, ..signed };
        assert!(far.off_by(i64::MIN, tolerance).is_some());
    }

    #[test]
    fn secrets_have_a_form_and_are_never_shown() {
        let of = |bytes| format!("whsec_{}", BASE64.encode(vec![7_u8; bytes]));
        for good in [24, 32, 64] {
            assert!(Secret::parse(&of(good)).is_ok());
        }
        for bad in ["", "whsec_", "whsec_%%%", &of(23), &of(65), &of(32)[6..], "WHSEC_AAAA"] {
            let error = Secret::parse(bad).expect_err(bad);
            assert!(error.to_string().contains("24 to 64"), "{error}");
            assert!(bad.len() < 8 || !format!("{error} {error:?}").contains(&bad[6..]));
        }
        let principal = Principal::new("/s", "t", [Secret::parse(KNOWN).expect("a secret")]);
        let shown = format!("{:?}", principal.expect("a principal"));
        assert!(shown.contains("hidden") && !shown.contains("MfKQ"), "{shown}");
        assert!(Principal::new("/s", "t", []).is_err());
        assert!(Principal::new("/s p", "t", [secret(1)]).is_err());
        assert!(Principal::new("/s", "a b", [secret(1)]).is_err());
    }
}
