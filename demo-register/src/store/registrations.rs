//! What the saga of a registration asks of the database.

use async_trait::async_trait;
use demo_common::{Hashed, display_key};
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::Storage;
use uuid::Uuid;

use crate::registration::Registration;

/// What was asked for and is not active yet.
#[derive(Debug, Clone)]
pub struct Requested {
    /// The saga's instance.
    pub saga: Uuid,
    /// What it started with.
    pub registration: Registration,
    /// Of the password that was asked for.
    pub password_hash: Hashed,
}

/// Registrations that are under way or refused, display names, and the mailbox.
#[async_trait]
pub trait Registrations: Storage {
    /// Notes what is asked for; false when the id is.
    async fn request(tx: &mut Transaction<'_, Self>, requested: &Requested) -> sqlx::Result<bool>;

    /// What was asked for, as committed.
    async fn requested(pool: &Pool<Self>, user_id: &str) -> sqlx::Result<Option<Requested>>;

    /// The hash of the password that was asked for.
    async fn requested_hash(
        tx: &mut Transaction<'_, Self>,
        user_id: &str,
    ) -> sqlx::Result<Option<Hashed>>;

    /// Remembers which instance registers a user whose account is there.
    async fn registers(
        tx: &mut Transaction<'_, Self>,
        user_id: &str,
        saga: Uuid,
    ) -> sqlx::Result<()>;

    /// The instance that has registered a user.
    async fn registered(
        tx: &mut Transaction<'_, Self>,
        user_id: &str,
    ) -> sqlx::Result<Option<Uuid>>;

    /// Forgets what was asked for: it is there as an account now.
    async fn granted(tx: &mut Transaction<'_, Self>, user_id: &str) -> sqlx::Result<()>;

    /// Forgets what was asked for when `saga` was started; false when it is not there.
    async fn forget(
        tx: &mut Transaction<'_, Self>,
        user_id: &str,
        saga: Uuid,
    ) -> sqlx::Result<bool>;

    /// Claims a display name; false when it is taken.
    async fn claim_name(
        tx: &mut Transaction<'_, Self>,
        user_id: &str,
        name: &str,
    ) -> sqlx::Result<bool>;

    /// Releases a user's display name.
    async fn release_name(tx: &mut Transaction<'_, Self>, user_id: &str) -> sqlx::Result<()>;

    /// Writes a user a message, unless there is no such user any more.
    async fn mail(
        tx: &mut Transaction<'_, Self>,
        id: Uuid,
        user_id: &str,
        subject: &str,
        body: &str,
    ) -> sqlx::Result<()>;
}

mod standard {
    pub(super) const REQUEST: &str = "INSERT INTO registrations
        (user_id, saga, name, email, display_name, password_hash)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id) DO NOTHING";
    pub(super) const REQUESTED: &str =
        "SELECT saga, name, email, display_name, password_hash FROM registrations
        WHERE user_id = $1";
    pub(super) const REQUESTED_HASH: &str =
        "SELECT password_hash FROM registrations WHERE user_id = $1";
    pub(super) const REGISTERS: &str = "INSERT INTO registered (user_id, saga) VALUES ($1, $2)";
    pub(super) const REGISTERED: &str = "SELECT saga FROM registered WHERE user_id = $1";
    pub(super) const GRANTED: &str = "DELETE FROM registrations WHERE user_id = $1";
    pub(super) const FORGET: &str = "DELETE FROM registrations WHERE user_id = $1 AND saga = $2";
    pub(super) const CLAIM: &str = "INSERT INTO display_names (name_key, name, user_id)
        VALUES ($1, $2, $3) ON CONFLICT (name_key) DO NOTHING";
    pub(super) const RELEASE: &str = "DELETE FROM display_names WHERE user_id = $1";
    pub(super) const MAIL: &str = "INSERT INTO mailbox (id, subject, body, user_id)
        SELECT $1, $2, $3, id FROM users WHERE id = $4";
}

mod mysql {
    pub(super) const REQUEST: &str = "INSERT INTO registrations
        (user_id, saga, name, email, display_name, password_hash) VALUES (?, ?, ?, ?, ?, ?)";
    pub(super) const REQUESTED: &str =
        "SELECT saga, name, email, display_name, password_hash FROM registrations
        WHERE user_id = ?";
    pub(super) const REQUESTED_HASH: &str =
        "SELECT password_hash FROM registrations WHERE user_id = ?";
    pub(super) const REGISTERS: &str = "INSERT INTO registered (user_id, saga) VALUES (?, ?)";
    pub(super) const REGISTERED: &str = "SELECT saga FROM registered WHERE user_id = ?";
    pub(super) const GRANTED: &str = "DELETE FROM registrations WHERE user_id = ?";
    pub(super) const FORGET: &str = "DELETE FROM registrations WHERE user_id = ? AND saga = ?";
    pub(super) const CLAIM: &str =
        "INSERT INTO display_names (name_key, name, user_id) VALUES (?, ?, ?)";
    pub(super) const RELEASE: &str = "DELETE FROM display_names WHERE user_id = ?";
    pub(super) const MAIL: &str = "INSERT INTO mailbox (id, subject, body, user_id)
        SELECT ?, ?, ?, id FROM users WHERE id = ?";
}

macro_rules! added {
    ($done:expr) => {
        match $done {
            Ok(done) => Ok(done.rows_affected() == 1),
            // MySQL, where only this statement is undone.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
            Err(error) => Err(error),
        }
    };
}

macro_rules! registrations {
    ($db:ty, $sql:ident) => {
        #[async_trait]
        impl Registrations for $db {
            async fn request(
                tx: &mut Transaction<'_, Self>,
                Requested { saga, registration, password_hash }: &Requested,
            ) -> sqlx::Result<bool> {
                let request = sqlx::query($sql::REQUEST)
                    .bind(&registration.user_id)
                    .bind(saga.to_string())
                    .bind(&registration.name)
                    .bind(&registration.email)
                    .bind(&registration.display_name)
                    .bind(&password_hash.0);
                added!(request.execute(&mut **tx).await)
            }

            async fn requested(
                pool: &Pool<Self>,
                user_id: &str,
            ) -> sqlx::Result<Option<Requested>> {
                let row: Option<(String, String, String, Option<String>, String)> =
                    sqlx::query_as($sql::REQUESTED).bind(user_id).fetch_optional(pool).await?;
                let Some((saga, name, email, display_name, hash)) = row else { return Ok(None) };
                let saga = saga.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
                let user_id = user_id.to_owned();
                let registration = Registration { user_id, name, email, display_name };
                Ok(Some(Requested { saga, registration, password_hash: Hashed(hash) }))
            }

            async fn requested_hash(
                tx: &mut Transaction<'_, Self>,
                user_id: &str,
            ) -> sqlx::Result<Option<Hashed>> {
                let hash = sqlx::query_scalar($sql::REQUESTED_HASH).bind(user_id);
                Ok(hash.fetch_optional(&mut **tx).await?.map(Hashed))
            }

            async fn registers(
                tx: &mut Transaction<'_, Self>,
                user_id: &str,
                saga: Uuid,
            ) -> sqlx::Result<()> {
                let note = sqlx::query($sql::REGISTERS).bind(user_id).bind(saga.to_string());
                note.execute(&mut **tx).await.map(drop)
            }

            async fn registered(
                tx: &mut Transaction<'_, Self>,
                user_id: &str,
            ) -> sqlx::Result<Option<Uuid>> {
                let saga: Option<String> = sqlx::query_scalar($sql::REGISTERED)
                    .bind(user_id)
                    .fetch_optional(&mut **tx)
                    .await?;
                let read = |saga: String| saga.parse();
                saga.map(read).transpose().map_err(|error| sqlx::Error::Decode(Box::new(error)))
            }

            async fn granted(tx: &mut Transaction<'_, Self>, user_id: &str) -> sqlx::Result<()> {
                sqlx::query($sql::GRANTED).bind(user_id).execute(&mut **tx).await.map(drop)
            }

            async fn forget(
                tx: &mut Transaction<'_, Self>,
                user_id: &str,
                saga: Uuid,
            ) -> sqlx::Result<bool> {
                let forget = sqlx::query($sql::FORGET).bind(user_id).bind(saga.to_string());
                Ok(forget.execute(&mut **tx).await?.rows_affected() == 1)
            }

            async fn claim_name(
                tx: &mut Transaction<'_, Self>,
                user_id: &str,
                name: &str,
            ) -> sqlx::Result<bool> {
                let claim =
                    sqlx::query($sql::CLAIM).bind(display_key(name)).bind(name).bind(user_id);
                added!(claim.execute(&mut **tx).await)
            }

            async fn release_name(
                tx: &mut Transaction<'_, Self>,
                user_id: &str,
            ) -> sqlx::Result<()> {
                sqlx::query($sql::RELEASE).bind(user_id).execute(&mut **tx).await.map(drop)
            }

            async fn mail(
                tx: &mut Transaction<'_, Self>,
                id: Uuid,
                user_id: &str,
                subject: &str,
                body: &str,
            ) -> sqlx::Result<()> {
                let mail = sqlx::query($sql::MAIL).bind(id.to_string()).bind(subject).bind(body);
                mail.bind(user_id).execute(&mut **tx).await.map(drop)
            }
        }
    };
}

registrations!(MySql, mysql);
registrations!(Postgres, standard);
registrations!(Sqlite, standard);
