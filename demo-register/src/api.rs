//! The HTTP API.

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse};
use demo_common::{Fields, Json, Passwords, Problem, Segment, limits};
use serde::{Deserialize, Serialize};
use sqlx::Pool;
use syncline::{Message, begin, enqueue};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    store::Store,
    user::{Status, User, UserChanged},
};

/// What the endpoints share.
pub struct App<DB: Store> {
    /// The database.
    pub pool: Pool<DB>,
    /// Hashing.
    pub passwords: Passwords,
}

impl<DB: Store> Clone for App<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), passwords: self.passwords.clone() }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
struct Registration {
    /// Any id of 1 to 64 visible characters without spaces and slashes.
    user_id: String,
    user: NewUser,
}

#[derive(Deserialize, ToSchema)]
struct NewUser {
    name: String,
    email: String,
    /// 8 to 1,024 bytes; never shown again.
    password: String,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewUser(..)")
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
    status: Status,
    /// Why the registration or the last update was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<User> for Shown {
    fn from(user: User) -> Self {
        let User { id, name, email, status, reason, .. } = user;
        Self { user_id: id, user: ShownUser { name, email, status, reason } }
    }
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
        .routes(routes!(register))
        .routes(routes!(show, change, remove))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .with_state(app)
        .split_for_parts();
    limits(router.route("/openapi.json", axum::routing::get(async move || Json(api))))
}

/// Registers a user. The same registration again gets the same answer.
#[utoipa::path(post, path = "/register", request_body = Registration, responses(
    (status = 201, body = Shown), (status = 200, description = "it was known", body = Shown),
    (status = 409, description = "the id is taken", body = Problem),
    (status = 422, body = Problem)))]
async fn register<DB: Store>(
    State(app): State<App<DB>>,
    Json(Registration { user_id, user }): Json<Registration>,
) -> Result<impl IntoResponse, Problem> {
    let NewUser { name, email, password } = user;
    let mut fields = Fields::default();
    fields.user_id(&user_id).name(&name).email(&email).password(&password).check()?;
    if let Some(known) = DB::get(&app.pool, &user_id).await? {
        return again(&app, known, &name, &email, password).await;
    }
    let user = User {
        id: user_id,
        name,
        email,
        password_hash: app.passwords.hash(password.clone()).await?,
        status: Status::Pending,
        reason: None,
        version: 1,
        last_version: 1,
    };
    let message = Message::json("user.registered", &UserChanged::from(&user))?.key(&user.id);
    let mut tx = begin(&app.pool).await?;
    if !DB::add(&mut tx, &user).await? {
        drop(tx);
        let known = DB::get(&app.pool, &user.id).await?;
        let known = known.ok_or_else(|| taken(&user.id))?;
        return again(&app, known, &user.name, &user.email, password).await;
    }
    DB::sent(&mut tx, &user, &message.id.to_string()).await?;
    let receipt = enqueue(&mut tx, &message).await?;
    tx.commit().await?;
    receipt.committed();
    Ok((StatusCode::CREATED, Json(Shown::from(user))))
}

/// Answers a repeated registration: 200 when it is the same, 409 when it is another one.
async fn again<DB: Store>(
    app: &App<DB>,
    known: User,
    name: &str,
    email: &str,
    password: String,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let hash = Some(known.password_hash.clone());
    let same = app.passwords.verify(password, hash).await? && known.name == name;
    if same && known.email == email {
        return Ok((StatusCode::OK, Json(Shown::from(known))));
    }
    Err(taken(&known.id))
}

fn taken(id: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, format!("the user_id {id:?} is taken by another user"))
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such user")
}

/// Shows a user.
#[utoipa::path(get, path = "/users/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = Shown), (status = 404, body = Problem)))]
async fn show<DB: Store>(
    State(app): State<App<DB>>,
    Segment(id): Segment,
) -> Result<Json<Shown>, Problem> {
    let user = DB::get(&app.pool, &id).await?.ok_or_else(unknown)?;
    Ok(Json(Shown::from(user)))
}

/// Changes a user's name, address or password. When the other service refuses it, the values
/// before come back, with the reason.
#[utoipa::path(patch, path = "/users/{id}", params(("id" = String, Path)), request_body = Change,
    responses((status = 200, body = Shown), (status = 404, body = Problem),
    (status = 409, description = "the registration was rejected", body = Problem),
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
    let mut user = DB::lock(&mut tx, &id).await?.ok_or_else(unknown)?;
    if user.status == Status::Rejected {
        let detail = "the registration was rejected; delete the user and register again";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    user.name = change.name.unwrap_or(user.name);
    user.email = change.email.unwrap_or(user.email);
    user.password_hash = hash.unwrap_or(user.password_hash);
    user.reason = None;
    user.last_version += 1;
    user.version = user.last_version;
    let message = Message::json("user.updated", &UserChanged::from(&user))?.key(&user.id);
    DB::save(&mut tx, &user).await?;
    DB::sent(&mut tx, &user, &message.id.to_string()).await?;
    let receipt = enqueue(&mut tx, &message).await?;
    tx.commit().await?;
    receipt.committed();
    Ok(Json(Shown::from(user)))
}

/// Deletes a user here and at the other service.
#[utoipa::path(delete, path = "/users/{id}", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
async fn remove<DB: Store>(
    State(app): State<App<DB>>,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    let mut tx = begin(&app.pool).await?;
    if !DB::remove(&mut tx, &id).await? {
        return Err(unknown());
    }
    let payload = serde_json::json!({ "user_id": id });
    let message = Message::json("user.deleted", &payload)?.key(&id);
    let receipt = enqueue(&mut tx, &message).await?;
    tx.commit().await?;
    receipt.committed();
    Ok(StatusCode::NO_CONTENT)
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", responses((status = 200)))]
async fn healthz() -> &'static str {
    "ok"
}

/// The database answers.
#[utoipa::path(get, path = "/readyz", responses((status = 200), (status = 503, body = Problem)))]
async fn readyz<DB: Store>(State(app): State<App<DB>>) -> Result<&'static str, Problem> {
    syncline::storage::check_schema(&app.pool).await?;
    Ok("ready")
}
