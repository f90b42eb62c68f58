//! `POST /register`: starts the saga of a registration.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::IntoResponse,
};
use demo_common::{Fields, Json, Problem};
use serde::Deserialize;
use syncline::{begin, saga::StartError};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    App, Shown,
    find::{Found, find},
};
use crate::{
    registration::{Registration, SAGA},
    store::{Requested, Store},
};

/// The header that names a request.
const KEY: &str = "idempotency-key";

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewRegistration {
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
    /// A name that nobody else has, if one is wanted.
    display_name: Option<String>,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewUser(..)")
    }
}

/// Registers a user. The answer comes before it is done: look at `location` for what becomes of it.
/// The same registration again gets the same answer, and a request with an `idempotency-key` has
/// one effect, however often it is sent.
#[utoipa::path(post, path = "/register", request_body = NewRegistration,
    params(("idempotency-key" = Option<String>, Header, description = "names this request")),
    responses((status = 202, description = "it is under way", body = Shown),
    (status = 200, description = "it was known", body = Shown),
    (status = 409, description = "the id is taken", body = Problem),
    (status = 422, body = Problem)))]
pub(super) async fn register<DB: Store>(
    State(app): State<App<DB>>,
    headers: HeaderMap,
    Json(NewRegistration { user_id, user }): Json<NewRegistration>,
) -> Result<impl IntoResponse, Problem> {
    let NewUser { name, email, password, display_name } = user;
    let mut fields = Fields::default();
    fields.user_id(&user_id).name(&name).email(&email).password(&password);
    if let Some(name) = &display_name {
        fields.display_name(name);
    }
    fields.check()?;
    let key = key(&headers)?;
    let registration = Registration { user_id, name, email, display_name };
    if key.is_none()
        && let Some(known) = find(&app.pool, &registration.user_id).await?
    {
        return again(&app, known, &registration, password).await;
    }
    let password_hash = app.passwords.hash(password.clone()).await?;
    let key = key.unwrap_or_else(|| Uuid::now_v7().to_string());
    let mut tx = begin(&app.pool).await?;
    let started = match app.sagas.start(&mut tx, SAGA, &key, &registration).await {
        Err(StartError::OtherInput { .. }) => {
            let detail = "this idempotency-key was used for another registration: send a new one";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        started => started?,
    };
    let (saga, repeated) = (started.id, started.repeated);
    let requested = Requested { saga, registration, password_hash };
    let user_id = &requested.registration.user_id;
    if repeated
        || !DB::request(&mut tx, &requested).await?
        || DB::lock(&mut tx, user_id).await?.is_some()
    {
        drop(tx);
        let Some(known) = find(&app.pool, user_id).await? else {
            let detail =
                "whom this request registered has been deleted: send a new idempotency-key";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        };
        return again(&app, known, &requested.registration, password).await;
    }
    tx.commit().await?;
    started.committed();
    Ok(answer(StatusCode::ACCEPTED, Found::pending(requested).shown()))
}

/// The key that the client gave the request.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(KEY) else { return Ok(None) };
    let good =
        |key: &&str| (1..=200).contains(&key.len()) && key.chars().all(|c| c.is_ascii_graphic());
    match key.to_str().ok().filter(good) {
        // A namespace of its own: other starts make up their keys.
        Some(key) => Ok(Some(format!("client/{key}"))),
        None => {
            let rule = "1 to 200 visible ASCII characters";
            Err(Problem::fields(vec![(KEY.to_owned(), rule.to_owned())]))
        }
    }
}

/// Answers a repeated registration: 200 when it is the same, 409 when it is another one.
async fn again<DB: Store>(
    app: &App<DB>,
    known: Found,
    registration: &Registration,
    password: String,
) -> Result<(StatusCode, [(axum::http::HeaderName, String); 1], Json<Shown>), Problem> {
    let Registration { user_id, name, email, display_name } = registration;
    let same = app.passwords.verify(password, Some(known.hash())).await?;
    match same && known.is(name, email, display_name.as_deref()) {
        true => Ok(answer(StatusCode::OK, known.shown())),
        false => Err(taken(user_id)),
    }
}

fn answer(
    status: StatusCode,
    shown: Shown,
) -> (StatusCode, [(axum::http::HeaderName, String); 1], Json<Shown>) {
    let place = format!("/users/{}", encoded(&shown.user_id));
    (status, [(LOCATION, place)], Json(shown))
}

/// A segment of a path.
fn encoded(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let bytes = segment.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    bytes.collect()
}

fn taken(id: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, format!("the user_id {id:?} is taken by another user"))
}
