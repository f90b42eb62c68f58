//! Plain CloudEvents of producers that are not Syncline's, signed as Standard Webhooks describe:
//! `POST /foreign`, structured or in batches. The binary mode is refused: it carries the event's
//! attributes in headers, which the signature does not cover.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};

use super::{receiver::Shared, reply::respond, sign::Signed};
use crate::{
    message::{BATCH_CONTENT_TYPE, ForeignMessage, decode_foreign},
    transport::{
        Ack,
        http::{Problem, media_type},
    },
};

/// One event, all of it in the body.
const STRUCTURED: &str = "application/cloudevents+json";

pub(super) async fn take_in(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    respond(answer(&shared, &parts.headers, body).await)
}

async fn answer(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Ack, Problem> {
    let body = body.into_data_stream();
    let (permit, signed) = match announced(shared, headers) {
        Ok(signed) => match shared.permit() {
            Ok(permit) => (permit, signed),
            Err(problem) => return Err(shared.linger(body, problem)),
        },
        Err(problem) => return Err(shared.linger(body, problem)),
    };
    let body = shared.read(headers, body).await?;
    let (source, messages) = open(shared, &signed, &body)?;
    let receiver = Arc::clone(&shared.push.receiver);
    let work = async move { receiver.receive_foreign(&source, messages).await };
    shared.hand_over(work, permit).await
}

/// What can be told before the body is read.
fn announced(shared: &Shared, headers: &HeaderMap) -> Result<Signed, Problem> {
    if ![STRUCTURED, BATCH_CONTENT_TYPE].contains(&media_type(headers).as_str()) {
        let detail = format!(
            "the content type must be {STRUCTURED} or {BATCH_CONTENT_TYPE}: in the binary mode the \
             signature would not cover the event's attributes"
        );
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    shared.acceptable(headers)?;
    let signed = Signed::read(headers);
    let signed = signed.map_err(|detail| Problem::new(StatusCode::UNAUTHORIZED, detail))?;
    shared.on_time(&signed)?;
    Ok(signed)
}

/// Finds out who has signed, and reads only then; nobody speaks in another's name.
fn open(
    shared: &Shared,
    signed: &Signed,
    body: &[u8],
) -> Result<(String, Vec<ForeignMessage>), Problem> {
    let mut foreign = shared.push.principals.iter().filter(|principal| principal.foreign);
    let Some(principal) = foreign.find(|principal| signed.is_by(&principal.secrets, body)) else {
        let detail = "the signature is by none of the secrets of foreign sources, or the body was \
                      changed on its way";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    };
    let events = decode_foreign(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    if events.iter().any(|(source, _)| *source != principal.source) {
        let detail = "an event is of another source than the one that its secret is bound to";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok((principal.source.clone(), events.into_iter().map(|(_, message)| message).collect()))
}
