//! The saga of a registration: an account is made, the other service lets its user log in, the
//! display name is claimed; then the account is active, and its user is welcomed. What is refused
//! before that takes the rest back.

use std::time::Duration;

use demo_common::Hashed;
use serde::{Deserialize, Serialize};
use sqlx::{Pool, Transaction};
use syncline::{
    HandlerError, Message,
    saga::{Call, Outcome, PlanError, Saga, SagaBuilder, Sagas},
};

use crate::{
    store::Store,
    sync::SOURCE,
    user::{Status, User, UserChanged},
};

/// The saga's name.
pub const SAGA: &str = "registration";
/// Registrations wait so long for a login service that is away.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// A repeated request finds its registration for so long.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a registration starts with. The hash is not in it: operators see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registration {
    /// Who.
    pub user_id: String,
    /// Any name.
    pub name: String,
    /// As the client wrote it.
    pub email: String,
    /// A name that nobody else has, in whatever spelling, if one is wanted.
    pub display_name: Option<String>,
}

/// Registers a user.
///
/// ```text
/// create-account ── provision-login (service B) ── claim-name ── activate (pivot) ── welcome
/// ```
///
/// # Errors
/// None: the definition is sound.
pub fn registration<DB: Store>() -> Result<Saga<DB>, PlanError> {
    let mut saga = SagaBuilder::<DB, Registration>::new(SAGA, 1);

    let account = saga
        .local("create-account", (), |tx, call| Box::pin(create(tx, call)))
        .compensate(|tx, call, _| Box::pin(remove(tx, call.input)))
        // The hash is gone with the end of the instance, from its state and from the log.
        .secret()
        .add();

    saga.remote::<_, String>("provision-login", account, |call| {
        let Registration { user_id, name, email, .. } = &call.input;
        let password_hash = &call.read;
        let user = UserChanged { user_id, name, email, password_hash, version: 1 };
        Ok(Message::json("login.provision", &user)?)
    })
    .topic("login.provision")
    .compensated()
    .deadline(PATIENCE)
    .secret()
    .add();

    saga.local("claim-name", (), |tx, call| Box::pin(claim(tx, call.input)))
        .compensate(|tx, call, ()| Box::pin(release(tx, call.input)))
        .add();

    saga.local("activate", (), |tx, call| Box::pin(activate(tx, call.input))).pivot().add();

    saga.local("welcome", (), |tx, call| Box::pin(welcome(tx, call))).retriable().add();

    saga.build()
}

/// The engine that runs registrations.
///
/// # Errors
/// None: the definition is sound.
pub fn sagas<DB: Store>(pool: Pool<DB>) -> anyhow::Result<Sagas<DB>> {
    let sagas = Sagas::builder(SOURCE, pool).saga(registration()?).retention(RETENTION);
    Ok(sagas.build()?)
}

/// Makes a pending account of what was asked for; returns the hash, for the login.
async fn create<DB: Store>(
    tx: &mut Transaction<'_, DB>,
    Call { id, input, .. }: Call<Registration, ()>,
) -> Result<Outcome<Hashed>, HandlerError> {
    let Registration { user_id, name, email, display_name } = input;
    let Some(password_hash) = DB::requested_hash(tx, &user_id).await? else {
        return Ok(Outcome::Refuse(format!("the registration of {user_id:?} is gone")));
    };
    let user = User {
        id: user_id,
        name,
        email,
        display_name,
        password_hash,
        status: Status::Pending,
        reason: None,
        version: 1,
        last_version: 1,
    };
    if !DB::add(tx, &user).await? {
        return Ok(Outcome::Refuse(format!("the user_id {:?} is taken", user.id)));
    }
    // What a refused update goes back to.
    DB::sent(tx, &user, &id.to_string(), None).await?;
    DB::registers(tx, &user.id, id).await?;
    Ok(Outcome::Done(user.password_hash))
}

async fn remove<DB: Store>(
    tx: &mut Transaction<'_, DB>,
    Registration { user_id, .. }: Registration,
) -> Result<(), HandlerError> {
    DB::remove(tx, &user_id).await?;
    Ok(())
}

async fn claim<DB: Store>(
    tx: &mut Transaction<'_, DB>,
    Registration { user_id, display_name, .. }: Registration,
) -> Result<Outcome<()>, HandlerError> {
    let Some(name) = display_name else { return Ok(Outcome::Done(())) };
    Ok(match DB::claim_name(tx, &user_id, &name).await? {
        true => Outcome::Done(()),
        false => Outcome::Refuse(format!("the display name {name:?} is taken")),
    })
}

async fn release<DB: Store>(
    tx: &mut Transaction<'_, DB>,
    Registration { user_id, .. }: Registration,
) -> Result<(), HandlerError> {
    Ok(DB::release_name(tx, &user_id).await?)
}

async fn activate<DB: Store>(
    tx: &mut Transaction<'_, DB>,
    Registration { user_id, .. }: Registration,
) -> Result<Outcome<()>, HandlerError> {
    // Before the user, as it is where users register and are deleted.
    DB::granted(tx, &user_id).await?;
    let user = DB::lock(tx, &user_id).await?;
    let mut user = user.ok_or_else(|| format!("the account of {user_id:?} is gone"))?;
    user.status = Status::Active;
    DB::save(tx, &user).await?;
    Ok(Outcome::Done(()))
}

/// Writes the welcome, unless the user has left already.
async fn welcome<DB: Store>(
    tx: &mut Transaction<'_, DB>,
    Call { id, input, .. }: Call<Registration, ()>,
) -> Result<Outcome<()>, HandlerError> {
    let body = format!("Welcome, {}! You can log in as {:?} now.", input.name, input.user_id);
    DB::mail(tx, id, &input.user_id, "Welcome", &body).await?;
    Ok(Outcome::Done(()))
}
