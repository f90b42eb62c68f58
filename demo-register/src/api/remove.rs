//! `DELETE /users/{id}`.

use std::collections::BTreeSet;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use demo_common::{Client, Problem, Segment};
use syncline::{
    Message, begin, enqueue,
    erasure::Erase,
    saga::operate::{self, Act, By},
};
use uuid::Uuid;

use super::{App, not_active, owner::Owner, unknown};
use crate::{store::Store, user::Status};

/// Deletes a user here and at the other service; only the user itself may. A registration that is under
/// way is withdrawn: look at the user for what becomes of it.
#[utoipa::path(delete, path = "/users/{id}", params(("id" = String, Path)),
    security(("password" = [])), responses(
    (status = 204, description = "the user is gone"),
    (status = 202, description = "the registration is being withdrawn"),
    (status = 401, description = "the password is missing or wrong"),
    (status = 403, description = "the credentials are another user's"),
    (status = 404, description = "there is no such user"),
    (status = 409, description = "the registration is about to end, or the user has changed meanwhile"),
    (status = 429, description = "too many failed tries")))]
pub(super) async fn remove<DB: Store>(
    State(app): State<App<DB>>,
    Segment(id): Segment,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let owner = Owner::of(&app, &headers, client, id).await?;
    let id = &owner.id;
    let requested = DB::requested(&app.pool, id).await?;
    if let Some(requested) = &requested {
        owner.still_is(&requested.password_hash)?;
        let by = By { who: "the user".to_owned(), why: "withdrawn".to_owned() };
        if operate::act(&app.pool, requested.saga, Act::Cancel, &by).await? {
            return Ok(StatusCode::ACCEPTED.into_response());
        }
    }
    let mut tx = begin(&app.pool).await?;
    let own = DB::registered(&mut tx, id).await?;
    let sagas: BTreeSet<Uuid> = requested.iter().map(|one| one.saga).chain(own).collect();
    let erase = sagas.iter().fold(Erase::new().key(id), |erase, saga| erase.saga(*saga));
    // In the order of those who handle messages and run steps: what is held, the saga, what was asked for,
    // the user, the user's messages.
    if !erase.lock(&mut tx).await?.is_empty() {
        drop(tx);
        return Err(not_active(&app.pool, id).await?);
    }
    // Of a registration that is over: one that has begun meanwhile stays.
    let forgotten = match &requested {
        Some(requested) => DB::forget(&mut tx, id, requested.saga).await?,
        None => false,
    };
    let user = DB::lock(&mut tx, id).await?;
    if let Some(user) = &user {
        owner.still_is(&user.password_hash)?;
    }
    if requested.is_none() && user.as_ref().is_some_and(|user| user.status == Status::Pending) {
        drop(tx);
        return Err(not_active(&app.pool, id).await?);
    }
    let removed = user.is_some() && DB::remove(&mut tx, id).await?;
    if !removed && !forgotten {
        return Err(unknown());
    }
    // First what is there of the user goes; the message that tells the other service names ids alone.
    if !erase.run(&mut tx).await?.open.is_empty() {
        drop(tx);
        return Err(not_active(&app.pool, id).await?);
    }
    let payload = serde_json::json!({ "user_id": id, "sagas": sagas });
    // Without a key, for it must not wait behind an update that the other service cannot apply.
    let message = Message::json("user.deleted", &payload)?;
    let receipt = enqueue(&mut tx, &message).await?;
    tx.commit().await?;
    receipt.committed();
    Ok(StatusCode::NO_CONTENT.into_response())
}
