//! This service's tables. The statements are the same on both databases but for the row lock.

use async_trait::async_trait;
use demo_common::Hashed;
use sqlx::{Pool, Postgres, Row, Sqlite, Transaction};
use syncline::Storage;

use crate::user::{Status, User};

/// The tables, made at start-up.
pub const MIGRATIONS: &[(&str, &str)] = &[("users", include_str!("../migrations/0001_users.sql"))];

/// What this service asks of its database.
#[async_trait]
pub trait Store: Storage {
    /// A user, as committed.
    async fn get(pool: &Pool<Self>, id: &str) -> sqlx::Result<Option<User>>;

    /// A user, locked until the transaction ends.
    async fn lock(tx: &mut Transaction<'_, Self>, id: &str) -> sqlx::Result<Option<User>>;

    /// Adds a user; false when the id is taken.
    async fn add(tx: &mut Transaction<'_, Self>, user: &User) -> sqlx::Result<bool>;

    /// Writes a locked user's new values.
    async fn save(tx: &mut Transaction<'_, Self>, user: &User) -> sqlx::Result<()>;

    /// Removes a user; false when there is none.
    async fn remove(tx: &mut Transaction<'_, Self>, id: &str) -> sqlx::Result<bool>;

    /// Remembers which values `message` told of.
    async fn sent(tx: &mut Transaction<'_, Self>, user: &User, message: &str) -> sqlx::Result<()>;

    /// The other service has the values that `message` told of: older ones are not needed any
    /// more. Returns their version, unless this user did not send the message.
    async fn accepted(
        tx: &mut Transaction<'_, Self>,
        id: &str,
        message: &str,
    ) -> sqlx::Result<Option<i64>>;

    /// Forgets the values that `message` told of, and returns the user's id and the newest
    /// values that are left, if any.
    async fn refused(
        tx: &mut Transaction<'_, Self>,
        message: &str,
    ) -> sqlx::Result<Option<(String, Option<Values>)>>;
}

/// One version of a user's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// Which version.
    pub version: i64,
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
    /// The password.
    pub password_hash: Hashed,
}

const GET: &str = "SELECT id, name, email, password_hash, status, reason, version, last_version
    FROM users WHERE id = $1";
const GET_FOR_UPDATE: &str =
    "SELECT id, name, email, password_hash, status, reason, version, last_version
    FROM users WHERE id = $1 FOR UPDATE";
const ADD: &str = "INSERT INTO users
    (id, name, email, password_hash, status, reason, version, last_version)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";
const SAVE: &str = "UPDATE users SET name = $2, email = $3, password_hash = $4, status = $5,
    reason = $6, version = $7, last_version = $8 WHERE id = $1";
const REMOVE: &str = "DELETE FROM users WHERE id = $1";
const SENT: &str = "INSERT INTO user_versions
    (user_id, version, message_id, name, email, password_hash) VALUES ($1, $2, $3, $4, $5, $6)";
const ACCEPTED: &str = "SELECT version FROM user_versions WHERE user_id = $1 AND message_id = $2";
const FORGET_OLDER: &str = "DELETE FROM user_versions WHERE user_id = $1 AND version < $2";
const REFUSED: &str = "DELETE FROM user_versions WHERE message_id = $1 RETURNING user_id";
const NEWEST: &str = "SELECT version, name, email, password_hash FROM user_versions
    WHERE user_id = $1 ORDER BY version DESC LIMIT 1";

macro_rules! user {
    ($row:expr) => {{
        let row = $row;
        let status: String = row.try_get(4)?;
        Ok(User {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            email: row.try_get(2)?,
            password_hash: Hashed(row.try_get(3)?),
            status: match status.as_str() {
                "active" => Status::Active,
                "rejected" => Status::Rejected,
                _ => Status::Pending,
            },
            reason: row.try_get(5)?,
            version: row.try_get(6)?,
            last_version: row.try_get(7)?,
        })
    }};
}

macro_rules! write_user {
    ($sql:expr, $user:expr, $tx:expr) => {
        sqlx::query($sql)
            .bind(&$user.id)
            .bind(&$user.name)
            .bind(&$user.email)
            .bind(&$user.password_hash.0)
            .bind(match $user.status {
                Status::Pending => "pending",
                Status::Active => "active",
                Status::Rejected => "rejected",
            })
            .bind(&$user.reason)
            .bind($user.version)
            .bind($user.last_version)
            .execute(&mut **$tx)
            .await?
            .rows_affected()
    };
}

macro_rules! store {
    ($db:ty, $lock:expr) => {
        #[async_trait]
        impl Store for $db {
            async fn get(pool: &Pool<Self>, id: &str) -> sqlx::Result<Option<User>> {
                let row = sqlx::query(GET).bind(id).fetch_optional(pool).await?;
                row.map(|row| user!(row)).transpose()
            }

            async fn lock(tx: &mut Transaction<'_, Self>, id: &str) -> sqlx::Result<Option<User>> {
                let row = sqlx::query($lock).bind(id).fetch_optional(&mut **tx).await?;
                row.map(|row| user!(row)).transpose()
            }

            async fn add(tx: &mut Transaction<'_, Self>, user: &User) -> sqlx::Result<bool> {
                Ok(write_user!(ADD, user, tx) == 1)
            }

            async fn save(tx: &mut Transaction<'_, Self>, user: &User) -> sqlx::Result<()> {
                write_user!(SAVE, user, tx);
                Ok(())
            }

            async fn remove(tx: &mut Transaction<'_, Self>, id: &str) -> sqlx::Result<bool> {
                let done = sqlx::query(REMOVE).bind(id).execute(&mut **tx).await?;
                Ok(done.rows_affected() == 1)
            }

            async fn sent(
                tx: &mut Transaction<'_, Self>,
                user: &User,
                message: &str,
            ) -> sqlx::Result<()> {
                sqlx::query(SENT)
                    .bind(&user.id)
                    .bind(user.version)
                    .bind(message)
                    .bind(&user.name)
                    .bind(&user.email)
                    .bind(&user.password_hash.0)
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            }

            async fn accepted(
                tx: &mut Transaction<'_, Self>,
                id: &str,
                message: &str,
            ) -> sqlx::Result<Option<i64>> {
                let version = sqlx::query_scalar(ACCEPTED).bind(id).bind(message);
                let version: Option<i64> = version.fetch_optional(&mut **tx).await?;
                if let Some(version) = version {
                    sqlx::query(FORGET_OLDER).bind(id).bind(version).execute(&mut **tx).await?;
                }
                Ok(version)
            }

            async fn refused(
                tx: &mut Transaction<'_, Self>,
                message: &str,
            ) -> sqlx::Result<Option<(String, Option<Values>)>> {
                let id: Option<String> =
                    sqlx::query_scalar(REFUSED).bind(message).fetch_optional(&mut **tx).await?;
                let Some(id) = id else { return Ok(None) };
                let row: Option<(i64, String, String, String)> =
                    sqlx::query_as(NEWEST).bind(&id).fetch_optional(&mut **tx).await?;
                let newest = row.map(|(version, name, email, hash)| Values {
                    version,
                    name,
                    email,
                    password_hash: Hashed(hash),
                });
                Ok(Some((id, newest)))
            }
        }
    };
}

store!(Postgres, GET_FOR_UPDATE);
store!(Sqlite, GET);
