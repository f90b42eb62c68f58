//! This service's table. The statements are the same on both databases.

use async_trait::async_trait;
use demo_common::{Hashed, email_key};
use sqlx::{Pool, Postgres, Sqlite, Transaction};
use syncline::Storage;

use crate::account::Account;

/// The tables, made at start-up.
pub const MIGRATIONS: &[(&str, &str)] =
    &[("accounts", include_str!("../migrations/0001_accounts.sql"))];

/// What this service asks of its database.
#[async_trait]
pub trait Store: Storage {
    /// An account, as committed.
    async fn get(pool: &Pool<Self>, user_id: &str) -> sqlx::Result<Option<Account>>;

    /// The version of an account.
    async fn version(tx: &mut Transaction<'_, Self>, user_id: &str) -> sqlx::Result<Option<i64>>;

    /// Who has this address.
    async fn owner(tx: &mut Transaction<'_, Self>, email: &str) -> sqlx::Result<Option<String>>;

    /// Writes an account, unless a newer version is there.
    async fn put(tx: &mut Transaction<'_, Self>, account: &Account) -> sqlx::Result<()>;

    /// Removes an account.
    async fn remove(tx: &mut Transaction<'_, Self>, user_id: &str) -> sqlx::Result<()>;
}

const GET: &str =
    "SELECT user_id, name, email, password_hash, version FROM accounts WHERE user_id = $1";
const VERSION: &str = "SELECT version FROM accounts WHERE user_id = $1";
const OWNER: &str = "SELECT user_id FROM accounts WHERE email_key = $1";
const PUT: &str = "INSERT INTO accounts (user_id, name, email, email_key, password_hash, version)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, email = excluded.email,
        email_key = excluded.email_key, password_hash = excluded.password_hash,
        version = excluded.version
    WHERE accounts.version < excluded.version";
const REMOVE: &str = "DELETE FROM accounts WHERE user_id = $1";

macro_rules! store {
    ($db:ty) => {
        #[async_trait]
        impl Store for $db {
            async fn get(pool: &Pool<Self>, user_id: &str) -> sqlx::Result<Option<Account>> {
                let row: Option<(String, String, String, String, i64)> =
                    sqlx::query_as(GET).bind(user_id).fetch_optional(pool).await?;
                Ok(row.map(|(user_id, name, email, hash, version)| Account {
                    user_id,
                    name,
                    email,
                    password_hash: Hashed(hash),
                    version,
                }))
            }

            async fn version(
                tx: &mut Transaction<'_, Self>,
                user_id: &str,
            ) -> sqlx::Result<Option<i64>> {
                sqlx::query_scalar(VERSION).bind(user_id).fetch_optional(&mut **tx).await
            }

            async fn owner(
                tx: &mut Transaction<'_, Self>,
                email: &str,
            ) -> sqlx::Result<Option<String>> {
                let key = email_key(email);
                sqlx::query_scalar(OWNER).bind(key).fetch_optional(&mut **tx).await
            }

            async fn put(tx: &mut Transaction<'_, Self>, account: &Account) -> sqlx::Result<()> {
                sqlx::query(PUT)
                    .bind(&account.user_id)
                    .bind(&account.name)
                    .bind(&account.email)
                    .bind(email_key(&account.email))
                    .bind(&account.password_hash.0)
                    .bind(account.version)
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            }

            async fn remove(tx: &mut Transaction<'_, Self>, user_id: &str) -> sqlx::Result<()> {
                sqlx::query(REMOVE).bind(user_id).execute(&mut **tx).await?;
                Ok(())
            }
        }
    };
}

store!(Postgres);
store!(Sqlite);
