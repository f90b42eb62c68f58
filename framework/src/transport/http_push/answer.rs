//! What a target's answer means to the publisher.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};

use crate::transport::{
    Ack, Outcome,
    http::{detail, media_type, read_body, retry_after},
};

/// No more of an answer is read than this.
const MAX_ANSWER: usize = 64 * 1024;

/// What a target said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ack(Ack),
    /// The body is too large for the target.
    TooLarge(String),
    Refused(String),
    Unavailable(String, Option<Duration>),
}

/// Reads an answer, no further than the limit, and says what it means.
///
/// # Errors
/// When the connection breaks in the middle of it.
pub(super) async fn read(mut response: reqwest::Response) -> Result<Answer, reqwest::Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = read_body(&mut response, MAX_ANSWER).await?;
    Ok(interpret(status, &headers, &body, Utc::now()))
}

fn interpret(status: StatusCode, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Answer {
    if let Some(ack) = acknowledgement(status, headers, body) {
        return Answer::Ack(ack);
    }
    let said = match body.len() > MAX_ANSWER {
        true => format!(": more than {MAX_ANSWER} bytes, of which no more were read"),
        false => detail(headers, body),
    };
    let reason = |hint: &str| format!("it answered {status}{hint}{said}");
    match status.as_u16() {
        413 => Answer::TooLarge(reason("")),
        408 | 425 | 429 | 500..=599 => Answer::Unavailable(reason(""), retry_after(headers, now)),
        300..=399 => Answer::Refused(reason(
            "; redirects are not followed: give the route the URL of the receiver itself",
        )),
        200..=299 => Answer::Refused(reason(
            " without an acknowledgement; is this the URL of a Syncline push receiver?",
        )),
        401 | 403 => Answer::Refused(reason(
            "; compare the secret, the source and the stream of this route with those of the \
             receiver's principal",
        )),
        404 | 405 => Answer::Refused(reason("; is this the URL of a Syncline push receiver?")),
        _ => Answer::Refused(reason("")),
    }
}

/// An acknowledgement counts only if status, type and content agree: an error page that
/// happens to be JSON must never move a checkpoint.
fn acknowledgement(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Ack> {
    if body.len() > MAX_ANSWER || media_type(headers) != "application/json" {
        return None;
    }
    let ack: Ack = serde_json::from_slice(body).ok()?;
    let agrees = match ack.outcome {
        Outcome::Complete => status == StatusCode::OK,
        Outcome::Gap | Outcome::Incarnation { .. } => status == StatusCode::CONFLICT,
        Outcome::Paused { .. } => status == StatusCode::SERVICE_UNAVAILABLE,
    };
    (agrees && ack.watermark.0 >= 0 && ack.last.position <= ack.watermark).then_some(ack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Trouble,
        message::{Link, Position},
    };

    fn ask(status: u16, kind: &str, body: &[u8]) -> Answer {
        let status = StatusCode::from_u16(status).expect("a status");
        let kind = (axum::http::header::CONTENT_TYPE, kind.parse().expect("a value"));
        interpret(status, &HeaderMap::from_iter([kind]), body, Utc::now())
    }

    fn ack(outcome: Outcome) -> Ack {
        let last = Link { position: Position(7), id: uuid::Uuid::from_u128(7) };
        Ack { watermark: Position(9), last, outcome }
    }

    #[test]
    fn an_acknowledgement_needs_the_status_the_type_and_the_content() {
        let paused = Outcome::Paused { retry_after_ms: 5, trouble: Some(Trouble::DiskFull) };
        for (outcome, status) in [(Outcome::Complete, 200), (Outcome::Gap, 409), (paused, 503)] {
            let body = serde_json::to_vec(&ack(outcome)).expect("JSON");
            let json = "application/json; charset=utf-8";
            assert_eq!(ask(status, json, &body), Answer::Ack(ack(outcome)));
            for other in [200, 201, 302, 400, 409, 500, 503].into_iter().filter(|o| *o != status) {
                assert!(!matches!(ask(other, json, &body), Answer::Ack(_)), "{other}");
            }
            assert!(!matches!(ask(status, "text/plain", &body), Answer::Ack(_)));
            assert!(!matches!(ask(status, json, &body[1..]), Answer::Ack(_)));
        }
        let ahead = Ack { watermark: Position(6), ..ack(Outcome::Complete) };
        let body = serde_json::to_vec(&ahead).expect("JSON");
        assert!(matches!(ask(200, "application/json", &body), Answer::Refused(_)));
    }

    #[test]
    fn other_answers_are_refusals_or_outages() {
        for status in [200, 204, 301, 302, 307, 400, 401, 403, 404, 409, 415, 422] {
            assert!(matches!(ask(status, "text/plain", b""), Answer::Refused(_)), "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(ask(status, "text/plain", b""), Answer::Unavailable(..)), "{status}");
        }
        assert!(matches!(ask(413, "text/plain", b""), Answer::TooLarge(_)));
    }

    #[test]
    fn a_reason_is_cut_and_holds_no_control_characters() {
        let problem = br#"{"status":401,"detail":"no secret\r\nfits"}"#;
        let Answer::Refused(reason) = ask(401, "application/problem+json", problem) else {
            panic!("not refused")
        };
        assert!(reason.ends_with("principal: no secret  fits"), "{reason}");
        let long = "ж\n".repeat(10_000);
        let Answer::Refused(reason) = ask(400, "text/plain", long.as_bytes()) else {
            panic!("not refused")
        };
        assert!(reason.chars().count() < 400 && !reason.contains('\n'));
        let Answer::Refused(reason) = ask(200, "application/json", &vec![b' '; MAX_ANSWER + 1])
        else {
            panic!("not refused")
        };
        assert!(reason.contains("more than 65536 bytes"), "{reason}");
    }
}
