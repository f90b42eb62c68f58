//! The HTTP API.

mod find;
mod register;
mod remove;

use axum::{Router, extract::State, http::StatusCode};
use demo_common::{Fields, Json, Passwords, Problem, Segment, limits};
use serde::{Deserialize, Serialize};
use sqlx::Pool;
use syncline::{Message, begin, enqueue, saga::Sagas};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    store::Store,
    user::{Status, UserChanged},
};
use find::{Found, find};

/// What the endpoints share.
pub struct App<DB: Store> {
    /// The database.
    pub pool: Pool<DB>,
    /// Hashing.
    pub passwords: Passwords,
    /// Starts registrations.
    pub sagas: Sagas<DB>,
}

impl<DB: Store> Clone for App<DB> {
    fn clone(&self) -> Self {
        let Self { pool, passwords, sagas } = self;
        Self { pool: pool.clone(), passwords: passwords.clone(), sagas: sagas.clone() }
    }
}

#[derive(Deserialize, ToSchema)]
struct Change {
    name: Option<String>,
    email: Option<String>,
    password: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Shown {
    user_id: String,
    user: ShownUser,
}

#[derive(Debug, Serialize, ToSchema)]
struct ShownUser {
    name: String,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    status: Status,
    /// Why the registration or the last update was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(OpenApi)]
#[openapi(info(
    title = "demo-register",
    description = "Registers users; another service logs them in."
))]
struct Api;

/// This service's own endpoints.
pub fn router<DB: Store>(app: App<DB>) -> Router {
    let (router, api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(register::register))
        .routes(routes!(show, change, remove::remove))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .with_state(app)
        .split_for_parts();
    limits(router.route("/openapi.json", axum::routing::get(async move || Json(api))))
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such user")
}

/// Shows a user: `pending` while the registration is under way, then `active`, or `rejected` with
/// the reason.
#[utoipa::path(get, path = "/users/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = Shown), (status = 404, body = Problem)))]
async fn show<DB: Store>(
    State(app): State<App<DB>>,
    Segment(id): Segment,
) -> Result<Json<Shown>, Problem> {
    let found = find(&app.pool, &id).await?.ok_or_else(unknown)?;
    Ok(Json(found.shown()))
}

/// Changes a user's name, address or password. When the other service refuses it, the values
/// before come back, with the reason.
#[utoipa::path(patch, path = "/users/{id}", params(("id" = String, Path)), request_body = Change,
    responses((status = 200, body = Shown), (status = 404, body = Problem),
    (status = 409, description = "the user is not active", body = Problem),
    (status = 422, body = Problem)))]
async fn change<DB: Store>(
    State(app): State<App<DB>>,
    Segment(id): Segment,
    Json(change): Json<Change>,
) -> Result<Json<Shown>, Problem> {
    let mut fields = Fields::default();
    if let Some(name) = &change.name {
        fields.name(name);
    }
    if let Some(email) = &change.email {
        fields.email(email);
    }
    if let Some(password) = &change.password {
        fields.password(password);
    }
    fields.check()?;
    if change.name.is_none() && change.email.is_none() && change.password.is_none() {
        let detail = "nothing to change: give at least one of name, email and password";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let hash = match change.password {
        Some(password) => Some(app.passwords.hash(password).await?),
        None => None,
    };
    let mut tx = begin(&app.pool).await?;
    let user = DB::lock(&mut tx, &id).await?.filter(|user| user.status == Status::Active);
    let Some(mut user) = user else {
        drop(tx);
        return Err(not_active(&app.pool, &id).await?);
    };
    user.name = change.name.unwrap_or(user.name);
    user.email = change.email.unwrap_or(user.email);
    user.password_hash = hash.unwrap_or(user.password_hash);
    user.reason = None;
    user.last_version += 1;
    user.version = user.last_version;
    let message = Message::json("user.updated", &UserChanged::from(&user))?.key(&user.id);
    DB::save(&mut tx, &user).await?;
    let receipt = enqueue(&mut tx, &message).await?;
    let seq = receipt.appended.map(|appended| appended.seq);
    DB::sent(&mut tx, &user, &message.id.to_string(), seq).await?;
    tx.commit().await?;
    receipt.committed();
    Ok(Json(Found::from(user).shown()))
}

/// Why a user cannot be changed.
async fn not_active<DB: Store>(pool: &Pool<DB>, id: &str) -> Result<Problem, Problem> {
    let found = find(pool, id).await?.ok_or_else(unknown)?;
    if found.status() == Status::Rejected {
        let detail = "the registration was rejected; delete the user and register again";
        return Ok(Problem::new(StatusCode::CONFLICT, detail));
    }
    let detail = "the registration is under way: look at the user, and try again when it is over";
    Ok(Problem::new(StatusCode::CONFLICT, detail).retry_after(1))
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", responses((status = 200)))]
async fn healthz() -> &'static str {
    "ok"
}

/// The database answers and takes writes, and its tables fit this program.
#[utoipa::path(get, path = "/readyz", responses((status = 200), (status = 503, body = Problem)))]
async fn readyz<DB: Store>(State(app): State<App<DB>>) -> Result<&'static str, Problem> {
    syncline::storage::check_schema(&app.pool).await?;
    syncline::storage::check_writes(&app.pool).await?;
    Ok("ready")
}
