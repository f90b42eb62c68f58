//! What a server's answer says, whoever it is: read with limits, and fit for a log.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::logs;

/// No more of a refusal is passed on than this, in characters.
const MAX_REASON: usize = 300;

/// Reads the body of an answer; as soon as it has more than `most` bytes, no further.
///
/// # Errors
/// When the connection breaks in the middle of it.
pub(in crate::transport) async fn read_body(
    response: &mut reqwest::Response,
    most: usize,
) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > most {
            break;
        }
    }
    Ok(body)
}

/// The content type without its parameters, in lower case.
pub(in crate::transport) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// The `detail` of a problem, or the text itself: cut, and without colour codes and characters that a
/// terminal obeys, since it goes into logs.
pub(in crate::transport) fn detail(headers: &HeaderMap, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let text = match media_type(headers).as_str() {
        "application/problem+json" => {
            serde_json::from_slice(body).map(|problem: Problem| problem.detail).unwrap_or_default()
        }
        kind if kind.starts_with("text/html") => String::new(),
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text = crate::cap::text(&text);
    let cut: String = text.trim().chars().map(plain).take(MAX_REASON).collect();
    let cut = logs::escape(&cut);
    if cut.is_empty() { cut } else { format!(": {cut}") }
}

/// `Retry-After` in seconds or as a date.
pub(in crate::transport) fn retry_after(
    headers: &HeaderMap,
    now: DateTime<Utc>,
) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => (DateTime::parse_from_rfc2822(value).ok()?.to_utc() - now).to_std().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_may_be_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-01-02T03:04:05Z").expect("a time").to_utc();
        for (value, expected) in [
            ("7", Some(7)),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
            ("Fri, 02 Jan 2026 03:04:04 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            let headers =
                HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().expect("a value"))]);
            let found = retry_after(&headers, now);
            assert_eq!(found, expected.map(Duration::from_secs), "{value}");
        }
    }
}
