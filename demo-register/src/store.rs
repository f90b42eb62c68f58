//! This service's tables. The statements differ by the row lock, which SQLite has not, and by the
//! placeholders, which have no numbers in MySQL: values are bound in its order.

mod mysql;
mod registrations;

use async_trait::async_trait;
use demo_common::Hashed;
pub use registrations::{Registrations, Requested};
use sqlx::{MySql, Pool, Postgres, Row, Sqlite, Transaction};

use crate::user::{Status, User};

/// What this service asks of its database.
#[async_trait]
pub trait Store: Registrations {
    /// The tables, made at start-up.
    const TABLES: &'static [(&'static str, &'static str)];

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

    /// Remembers which values `message` told of, and where it stands in the outbox if it is to be erased
    /// once it is answered.
    async fn sent(
        tx: &mut Transaction<'_, Self>,
        user: &User,
        message: &str,
        seq: Option<i64>,
    ) -> sqlx::Result<()>;

    /// Where `message` stands in the outbox.
    async fn sent_at(tx: &mut Transaction<'_, Self>, message: &str) -> sqlx::Result<Option<i64>>;

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

/// The statements of PostgreSQL and SQLite.
mod standard {
    pub(super) const TABLES: &[(&str, &str)] = &[
        ("users", include_str!("../migrations/0001_users.sql")),
        ("registrations", include_str!("../migrations/0002_registrations.sql")),
        ("erasure", include_str!("../migrations/0003_erasure.sql")),
    ];
    pub(super) const GET: &str =
        "SELECT id, name, email, password_hash, status, reason, version, last_version,
            (SELECT n.name FROM display_names n WHERE n.user_id = users.id) AS display_name
        FROM users WHERE id = $1";
    pub(super) const ADD: &str = "INSERT INTO users
        (name, email, password_hash, status, reason, version, last_version, id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";
    pub(super) const SAVE: &str =
        "UPDATE users SET name = $1, email = $2, password_hash = $3, status = $4,
        reason = $5, version = $6, last_version = $7 WHERE id = $8";
    pub(super) const REMOVE: &str = "DELETE FROM users WHERE id = $1";
    pub(super) const SENT: &str = "INSERT INTO user_versions
        (user_id, version, message_id, seq, name, email, password_hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    pub(super) const SENT_AT: &str = "SELECT seq FROM user_versions WHERE message_id = $1";
    pub(super) const ACCEPTED: &str =
        "SELECT version FROM user_versions WHERE user_id = $1 AND message_id = $2";
    pub(super) const FORGET_OLDER: &str =
        "DELETE FROM user_versions WHERE user_id = $1 AND version < $2";
    pub(super) const REFUSED: &str = "SELECT user_id FROM user_versions WHERE message_id = $1";
    pub(super) const FORGET: &str = "DELETE FROM user_versions WHERE message_id = $1";
    pub(super) const NEWEST: &str = "SELECT version, name, email, password_hash
        FROM user_versions WHERE user_id = $1 ORDER BY version DESC LIMIT 1";
}
const GET_FOR_UPDATE: &str =
    "SELECT id, name, email, password_hash, status, reason, version, last_version,
        (SELECT n.name FROM display_names n WHERE n.user_id = users.id) AS display_name
    FROM users WHERE id = $1 FOR UPDATE";

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
            display_name: row.try_get(8)?,
        })
    }};
}

macro_rules! write_user {
    ($sql:expr, $user:expr, $tx:expr) => {
        sqlx::query($sql)
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
            .bind(&$user.id)
            .execute(&mut **$tx)
            .await
    };
}

macro_rules! store {
    ($db:ty, $sql:ident, $lock:expr) => {
        #[async_trait]
        impl Store for $db {
            const TABLES: &'static [(&'static str, &'static str)] = $sql::TABLES;

            async fn get(pool: &Pool<Self>, id: &str) -> sqlx::Result<Option<User>> {
                let row = sqlx::query($sql::GET).bind(id).fetch_optional(pool).await?;
                row.map(|row| user!(row)).transpose()
            }

            async fn lock(tx: &mut Transaction<'_, Self>, id: &str) -> sqlx::Result<Option<User>> {
                let row = sqlx::query($lock).bind(id).fetch_optional(&mut **tx).await?;
                row.map(|row| user!(row)).transpose()
            }

            async fn add(tx: &mut Transaction<'_, Self>, user: &User) -> sqlx::Result<bool> {
                match write_user!($sql::ADD, user, tx) {
                    Ok(done) => Ok(done.rows_affected() == 1),
                    // MySQL, where only this statement is undone.
                    Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
                    Err(error) => Err(error),
                }
            }

            async fn save(tx: &mut Transaction<'_, Self>, user: &User) -> sqlx::Result<()> {
                write_user!($sql::SAVE, user, tx).map(drop)
            }

            async fn remove(tx: &mut Transaction<'_, Self>, id: &str) -> sqlx::Result<bool> {
                let done = sqlx::query($sql::REMOVE).bind(id).execute(&mut **tx).await?;
                Ok(done.rows_affected() == 1)
            }

            async fn sent(
                tx: &mut Transaction<'_, Self>,
                user: &User,
                message: &str,
                seq: Option<i64>,
            ) -> sqlx::Result<()> {
                sqlx::query($sql::SENT)
                    .bind(&user.id)
                    .bind(user.version)
                    .bind(message)
                    .bind(seq)
                    .bind(&user.name)
                    .bind(&user.email)
                    .bind(&user.password_hash.0)
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            }

            async fn sent_at(
                tx: &mut Transaction<'_, Self>,
                message: &str,
            ) -> sqlx::Result<Option<i64>> {
                let seq: Option<Option<i64>> = sqlx::query_scalar($sql::SENT_AT)
                    .bind(message)
                    .fetch_optional(&mut **tx)
                    .await?;
                Ok(seq.flatten())
            }

            async fn accepted(
                tx: &mut Transaction<'_, Self>,
                id: &str,
                message: &str,
            ) -> sqlx::Result<Option<i64>> {
                let version = sqlx::query_scalar($sql::ACCEPTED).bind(id).bind(message);
                let version: Option<i64> = version.fetch_optional(&mut **tx).await?;
                if let Some(version) = version {
                    sqlx::query($sql::FORGET_OLDER)
                        .bind(id)
                        .bind(version)
                        .execute(&mut **tx)
                        .await?;
                }
                Ok(version)
            }

            async fn refused(
                tx: &mut Transaction<'_, Self>,
                message: &str,
            ) -> sqlx::Result<Option<(String, Option<Values>)>> {
                let id: Option<String> = sqlx::query_scalar($sql::REFUSED)
                    .bind(message)
                    .fetch_optional(&mut **tx)
                    .await?;
                let Some(id) = id else { return Ok(None) };
                sqlx::query($sql::FORGET).bind(message).execute(&mut **tx).await?;
                let row: Option<(i64, String, String, String)> =
                    sqlx::query_as($sql::NEWEST).bind(&id).fetch_optional(&mut **tx).await?;
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

store!(MySql, mysql, mysql::GET_FOR_UPDATE);
store!(Postgres, standard, GET_FOR_UPDATE);
store!(Sqlite, standard, standard::GET);
