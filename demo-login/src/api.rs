//! The HTTP API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use demo_common::{Json, Passwords, Problem, limits};
use serde::{Deserialize, Serialize};
use sqlx::Pool;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{store::Store, tries::Tries};

/// The longest user id and password that are looked at, in bytes.
const LONGEST: usize = 1024;

/// What the endpoints share.
pub struct App<DB: Store> {
    /// The database.
    pub pool: Pool<DB>,
    /// Verifying.
    pub passwords: Passwords,
    /// Failed logins.
    pub tries: Tries,
}

impl<DB: Store> Clone for App<DB> {
    fn clone(&self) -> Self {
        let Self { pool, passwords, tries } = self;
        Self { pool: pool.clone(), passwords: passwords.clone(), tries: tries.clone() }
    }
}

#[derive(Deserialize, ToSchema)]
struct Login {
    user_id: String,
    password: String,
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
}

#[derive(OpenApi)]
#[openapi(info(
    title = "demo-login",
    description = "Logs users in whom another service registered."
))]
struct Api;

/// This service's own endpoints.
pub fn router<DB: Store>(app: App<DB>) -> Router {
    let (router, api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(login))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .with_state(app)
        .split_for_parts();
    limits(router.route("/openapi.json", axum::routing::get(async move || Json(api))))
}

/// Logs a user in. Unknown users and wrong passwords get the same answer after the same work.
#[utoipa::path(post, path = "/login", request_body = Login, responses(
    (status = 200, body = Shown), (status = 401, body = Problem),
    (status = 422, description = "a field is missing or too long", body = Problem),
    (status = 429, description = "too many failed tries", body = Problem)))]
async fn login<DB: Store>(
    State(app): State<App<DB>>,
    client: Option<Extension<ConnectInfo<SocketAddr>>>,
    Json(Login { user_id, password }): Json<Login>,
) -> Result<Json<Shown>, Problem> {
    if user_id.len() > LONGEST || password.len() > LONGEST {
        let detail = format!("user_id and password have at most {LONGEST} bytes");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let address = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.0.0.ip());
    let allowed = || match app.tries.wait(&user_id, address) {
        Some(seconds) => {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many failed tries");
            Err(problem.retry_after(seconds))
        }
        None => Ok(()),
    };
    allowed()?;
    let account = match user_id.contains('\0') {
        true => None,
        false => DB::get(&app.pool, &user_id).await?,
    };
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    // Again once it is this try's turn, and counted before the next one's: tries that are sent
    // all at once are limited, too.
    let turn = app.passwords.turn().await?;
    allowed()?;
    let (turn, good) = app.passwords.verify_in(turn, password, hash).await?;
    match account {
        Some(account) if good => Ok(Json(Shown {
            user_id: account.user_id,
            user: ShownUser { name: account.name, email: account.email },
        })),
        _ => {
            app.tries.failed(&user_id, address);
            drop(turn);
            Err(Problem::new(StatusCode::UNAUTHORIZED, "the user_id or the password is wrong"))
        }
    }
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
