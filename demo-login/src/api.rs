//! The HTTP API.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode};
use demo_common::{
    Client, Fields, Guard, Json, Limit, Problem, Proxies, Rule, described, id_form, limits,
    names_nobody, ready,
};
use serde::{Deserialize, Serialize};
use sqlx::Pool;
use syncline::storage::Writes;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{account::Account, store::Store};

/// What the endpoints share.
pub struct App<DB: Store> {
    /// The database.
    pub pool: Pool<DB>,
    /// Whether it takes writes.
    pub writes: Arc<Writes<DB>>,
    /// Looks at passwords.
    pub guard: Guard,
    /// Proxies that say from where requests come.
    pub proxies: Proxies,
}

impl<DB: Store> Clone for App<DB> {
    fn clone(&self) -> Self {
        let Self { pool, writes, guard, proxies } = self;
        let (pool, writes) = (pool.clone(), Arc::clone(writes));
        Self { pool, writes, guard: guard.clone(), proxies: proxies.clone() }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    user_id: String,
    password: String,
}

/// The limits of the fields.
const LIMITS: &[Limit] =
    &[("Login", "user_id", &Rule::LOGIN_ID), ("Login", "password", &Rule::LOGIN_PASSWORD)];

#[derive(Debug, Serialize, ToSchema)]
struct Shown {
    user_id: String,
    user: ShownUser,
}

#[derive(Debug, Serialize, ToSchema)]
struct ShownUser {
    name: String,
    email: String,
}

#[derive(OpenApi)]
#[openapi(info(
    title = "demo-login",
    description = "Logs users in whom another service registered."
))]
struct Api;

/// This service's own endpoints.
pub fn router<DB: Store>(app: App<DB>) -> Router {
    let proxies = app.proxies.clone();
    let (router, api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(login))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .with_state(app)
        .split_for_parts();
    let api = described(api, LIMITS);
    limits(router.route("/openapi.json", axum::routing::get(async move || Json(api))), proxies)
}

/// Logs a user in. Unknown users and wrong passwords get the same answer after the same work.
#[utoipa::path(post, path = "/login", request_body = Login, responses(
    (status = 200, description = "the user", body = Shown),
    (status = 401, description = "the user_id or the password is wrong"),
    (status = 422, description = "a field is missing, unknown, or too long"),
    (status = 429, description = "too many failed tries")))]
async fn login<DB: Store>(
    State(app): State<App<DB>>,
    client: Client,
    Json(Login { user_id, password }): Json<Login>,
) -> Result<Json<Shown>, Problem> {
    let mut fields = Fields::default();
    fields.field(&Rule::LOGIN_ID, &user_id).field(&Rule::LOGIN_PASSWORD, &password).check()?;
    // However the id is written, its tries are counted together.
    let form = id_form(&user_id);
    app.guard.admit(&form, client).await?;
    let account = account(&app.pool, &user_id, &form).await?;
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    match (app.guard.verify(&form, client, password, hash).await?, account) {
        (true, Some(account)) => Ok(Json(Shown {
            user_id: account.user_id,
            user: ShownUser { name: account.name, email: account.email },
        })),
        _ => Err(Problem::new(StatusCode::UNAUTHORIZED, "the user_id or the password is wrong")),
    }
}

/// The account of this id; ids of earlier days may be stored in another form.
async fn account<DB: Store>(
    pool: &Pool<DB>,
    user_id: &str,
    form: &str,
) -> sqlx::Result<Option<Account>> {
    if names_nobody(user_id) {
        return Ok(None);
    }
    match DB::get(pool, user_id).await? {
        None if form != user_id => DB::get(pool, form).await,
        account => Ok(account),
    }
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
