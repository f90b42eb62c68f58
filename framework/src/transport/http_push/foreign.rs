//! Plain CloudEvents of producers that are not Syncline's, signed as Standard Webhooks describe:
//! `POST /foreign`, structured or in batches. The binary mode is refused: it carries the event's
//! attributes in headers, which the signature does not cover.

use std::{net::IpAddr, sync::Arc};

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
        http::{Problem, media_type, peer},
    },
};

/// One event, all of it in the body.
const STRUCTURED: &str = "application/cloudevents+json";

pub(super) async fn take_in(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    respond(answer(&shared, &parts.headers, peer(&parts), body).await, &shared.refused)
}

async fn answer(
    shared: &Shared,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    body: Body,
) -> Result<Ack, Problem> {
    let body = body.into_data_stream();
    let announced = announced(shared, headers).and_then(|signed| {
        shared.is_free()?;
        Ok(signed)
    });
    let signed = match announced {
        Ok(signed) => signed,
        Err(problem) => return Err(shared.reading.linger(body, problem)),
    };
    let may = |principal: usize| shared.push.principals[principal].foreign;
    let body = shared.reading.read(headers, body, peer, may).await?;
    let (principal, messages) = open(shared, &signed, &body.bytes)?;
    drop(body);
    shared.reading.has_verified(principal, peer);
    let permit = shared.permit()?;
    let receiver = Arc::clone(&shared.push.receiver);
    let source = shared.push.principals[principal].source.clone();
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
    let late = |detail| Problem::new(StatusCode::UNAUTHORIZED, detail).logged_as("foreign clocks");
    shared.on_time(&signed).map_err(late)?;
    Ok(signed)
}

/// Finds out who has signed, and reads only then; nobody speaks in another's name. The principal, by
/// its place in the list, and its messages.
fn open(
    shared: &Shared,
    signed: &Signed,
    body: &[u8],
) -> Result<(usize, Vec<ForeignMessage>), Problem> {
    let principals = &shared.push.principals;
    let by = principals
        .iter()
        .position(|principal| principal.foreign && signed.is_by(&principal.secrets, body));
    let Some(by) = by else {
        let detail = "the signature is by none of the secrets of foreign sources, or the body was \
                      changed on its way";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
        return Err(problem.logged_as("foreign signatures"));
    };
    let events = decode_foreign(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    if events.iter().any(|(source, _)| *source != principals[by].source) {
        let detail = "an event is of another source than the one that its secret is bound to";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok((by, events.into_iter().map(|(_, message)| message).collect()))
}
