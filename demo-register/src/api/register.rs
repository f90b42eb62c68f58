//! `POST /register`: starts the saga of a registration.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header::LOCATION},
    response::IntoResponse,
};
use demo_common::{Client, Fields, Json, Problem, Rule, object, single};
use serde::Deserialize;
use syncline::{begin, saga::StartError};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    App, Shown,
    find::{Found, find, stored_id},
};
use crate::{
    registration::{Registration, SAGA},
    store::{Requested, Store},
};

/// The header that names a request.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRegistration {
    /// Any id of 1 to 63 visible characters without spaces and slashes; it is stored in NFC.
    user_id: String,
    #[serde(deserialize_with = "object")]
    user: NewUser,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    name: String,
    email: String,
    /// Never shown again; changing the user takes it.
    password: String,
    /// A name that nobody else has, in whatever spelling, if one is wanted.
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
    responses((status = 202, description = "it is under way", body = Shown,
        headers(("location" = String, description = "where to look what becomes of it"))),
    (status = 200, description = "it was known", body = Shown,
        headers(("location" = String, description = "where it is"))),
    (status = 400, description = "no JSON, or several idempotency-keys"),
    (status = 409, description = "the id is taken"),
    (status = 422, description = "a field is missing, unknown, or not of the allowed form; or the \
        idempotency-key was used for another registration"),
    (status = 429, description = "too many failed tries for this id")))]
pub(super) async fn register<DB: Store>(
    State(app): State<App<DB>>,
    client: Client,
    headers: HeaderMap,
    Json(NewRegistration { user_id, user }): Json<NewRegistration>,
) -> Result<impl IntoResponse, Problem> {
    let NewUser { name, email, password, display_name } = user;
    let mut fields = Fields::default();
    fields.field(&Rule::USER_ID, &user_id).field(&Rule::NAME, &name).field(&Rule::EMAIL, &email);
    fields.field(&Rule::PASSWORD, &password);
    fields.maybe(&Rule::DISPLAY_NAME, display_name.as_deref()).check()?;
    let key = key(&headers)?;
    let user_id = stored_id(&app.pool, user_id).await?;
    let registration = Registration { user_id, name, email, display_name };
    if key.is_none()
        && let Some(known) = find(&app.pool, &registration.user_id).await?
    {
        return again(&app, client, known, &registration, password).await;
    }
    let password_hash = app.guard.hash(password.clone()).await?;
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
        return again(&app, client, known, &requested.registration, password).await;
    }
    tx.commit().await?;
    started.committed();
    Ok(answer(StatusCode::ACCEPTED, Found::pending(requested).shown()))
}

/// The key that the client gave the request.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = single(headers, &KEY)? else { return Ok(None) };
    // A value that is no text is of no allowed form either.
    let key = key.to_str().unwrap_or_default();
    Fields::default().field(&Rule::IDEMPOTENCY_KEY, key).check()?;
    // A namespace of its own: other starts make up their keys.
    Ok(Some(format!("client/{key}")))
}

/// Answers a repeated registration: 200 when it is the same, 409 when it is another one. It tells whether
/// the password is right, and is limited as a log-in is.
async fn again<DB: Store>(
    app: &App<DB>,
    client: Client,
    known: Found,
    registration: &Registration,
    password: String,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Shown>), Problem> {
    let Registration { user_id, name, email, display_name } = registration;
    app.guard.admit(user_id, client).await?;
    let same = app.guard.verify(user_id, client, password, Some(known.hash())).await?;
    match same && known.is(name, email, display_name.as_deref()) {
        true => Ok(answer(StatusCode::OK, known.shown())),
        false => Err(taken(user_id)),
    }
}

fn answer(
    status: StatusCode,
    shown: Shown,
) -> (StatusCode, [(HeaderName, String); 1], Json<Shown>) {
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
