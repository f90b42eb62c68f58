//! The HTTP API.

mod find;
mod owner;
mod register;
mod remove;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use demo_common::{
    Client, Fields, Guard, Json, Limit, Problem, Proxies, Rule, Segment, described, limits, ready,
};
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::Pool;
use syncline::{Message, begin, enqueue, saga::Sagas, storage::Writes};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    store::Store,
    user::{Status, UserChanged},
};
use find::{Found, find, stored_id};
use owner::Owner;

/// What the endpoints share.
pub struct App<DB: Store> {
    /// The database.
    pub pool: Pool<DB>,
    /// Whether it takes writes.
    pub writes: Arc<Writes<DB>>,
    /// Looks at passwords.
    pub guard: Guard,
    /// Starts registrations.
    pub sagas: Sagas<DB>,
    /// Proxies that say from where requests come.
    pub proxies: Proxies,
}

impl<DB: Store> Clone for App<DB> {
    fn clone(&self) -> Self {
        let Self { pool, writes, guard, sagas, proxies } = self;
        let (pool, writes, guard) = (pool.clone(), Arc::clone(writes), guard.clone());
        Self { pool, writes, guard, sagas: sagas.clone(), proxies: proxies.clone() }
    }
}

/// At least one of these.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
struct Change {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    email: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    password: Option<String>,
}

/// A value that may be left out, and is no `null`: that would look like taking it away.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// The limits of the fields.
const LIMITS: &[Limit] = &[
    ("NewRegistration", "user_id", &Rule::USER_ID),
    ("NewUser", "name", &Rule::NAME),
    ("NewUser", "email", &Rule::EMAIL),
    ("NewUser", "password", &Rule::PASSWORD),
    ("NewUser", "display_name", &Rule::DISPLAY_NAME),
    ("Change", "name", &Rule::NAME),
    ("Change", "email", &Rule::EMAIL),
    ("Change", "password", &Rule::PASSWORD),
];

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
    let proxies = app.proxies.clone();
    let (router, api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(register::register))
        .routes(routes!(show, change, remove::remove))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .with_state(app)
        .split_for_parts();
    let api = described(api, LIMITS);
    limits(router.route("/openapi.json", axum::routing::get(async move || Json(api))), proxies)
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such user")
}

/// Shows a user: `pending` while the registration is under way, then `active`, or `rejected` with
/// the reason.
#[utoipa::path(get, path = "/users/{id}", params(("id" = String, Path)), responses(
    (status = 200, description = "the user", body = Shown),
    (status = 404, description = "there is no such user")))]
async fn show<DB: Store>(
    State(app): State<App<DB>>,
    Segment(id): Segment,
) -> Result<Json<Shown>, Problem> {
    let id = stored_id(&app.pool, id).await?;
    let found = find(&app.pool, &id).await?.ok_or_else(unknown)?;
    Ok(Json(found.shown()))
}

/// Changes a user's name, address or password; only the user itself may. When the other service
/// refuses it, the values before come back, with the reason.
#[utoipa::path(patch, path = "/users/{id}", params(("id" = String, Path)), request_body = Change,
    security(("password" = [])),
    responses((status = 200, description = "the user", body = Shown),
    (status = 401, description = "the password is missing or wrong"),
    (status = 403, description = "the credentials are another user's"),
    (status = 404, description = "there is no such user"),
    (status = 409, description = "the user is not active, or has changed meanwhile"),
    (status = 422, description = "a field is missing, unknown, or not of the allowed form"),
    (status = 429, description = "too many failed tries")))]
async fn change<DB: Store>(
    State(app): State<App<DB>>,
    Segment(id): Segment,
    client: Client,
    headers: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Json<Shown>, Problem> {
    let owner = Owner::of(&app, &headers, client, id).await?;
    let mut fields = Fields::default();
    fields.maybe(&Rule::NAME, change.name.as_deref());
    fields.maybe(&Rule::EMAIL, change.email.as_deref());
    fields.maybe(&Rule::PASSWORD, change.password.as_deref()).check()?;
    if change.name.is_none() && change.email.is_none() && change.password.is_none() {
        let detail = "nothing to change: give at least one of name, email and password";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let hash = match change.password {
        Some(password) => Some(app.guard.hash(password).await?),
        None => None,
    };
    let mut tx = begin(&app.pool).await?;
    let user = DB::lock(&mut tx, &owner.id).await?;
    let Some(mut user) = user.filter(|user| user.status == Status::Active) else {
        drop(tx);
        return Err(not_active(&app.pool, &owner.id).await?);
    };
    owner.still_is(&user.password_hash)?;
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
#[utoipa::path(get, path = "/healthz", responses(
    (status = 200, description = "it does", body = String)))]
async fn healthz() -> &'static str {
    "ok"
}

/// The database answers and takes writes, and its tables fit this program.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "it is ready", body = String)))]
async fn readyz<DB: Store>(State(app): State<App<DB>>) -> Result<&'static str, Problem> {
    ready(&app.pool, &app.writes).await
}
