//! What a receiver answers.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::transport::{
    Ack, Outcome,
    http::{Problem, Refused},
};

pub(super) fn respond(answer: Result<Ack, Problem>, refused: &Refused) -> Response {
    match answer {
        Ok(ack) => acknowledge(ack),
        Err(problem) => {
            refused.log(&problem, "a push was not taken in");
            problem.into_response()
        }
    }
}

fn acknowledge(ack: Ack) -> Response {
    let body = axum::Json(ack);
    match ack.outcome {
        Outcome::Complete => body.into_response(),
        Outcome::Gap | Outcome::Incarnation { .. } => (StatusCode::CONFLICT, body).into_response(),
        Outcome::Paused { retry_after_ms, .. } => {
            let seconds = retry_after_ms.div_ceil(1000).max(1).to_string();
            let later = [(header::RETRY_AFTER, seconds)];
            (StatusCode::SERVICE_UNAVAILABLE, later, body).into_response()
        }
    }
}
