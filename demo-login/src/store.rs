//! This service's tables. The statements differ by their placeholders, which have no numbers in
//! MySQL: values are bound in its order.

mod mysql;

use async_trait::async_trait;
use demo_common::{Hashed, email_key};
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::Storage;

use crate::account::Account;

/// What this service asks of its database.
#[async_trait]
pub trait Store: Storage {
    /// The tables, made at start-up.
    const TABLES: &'static [(&'static str, &'static str)];

    /// An account, as committed.
    async fn get(pool: &Pool<Self>, user_id: &str) -> sqlx::Result<Option<Account>>;

    /// The version of an account.
    async fn version(tx: &mut Transaction<'_, Self>, user_id: &str) -> sqlx::Result<Option<i64>>;

    /// Who has this address.
    async fn owner(tx: &mut Transaction<'_, Self>, email: &str) -> sqlx::Result<Option<String>>;

    /// Whether addresses of this domain get no login.
    async fn blocked(tx: &mut Transaction<'_, Self>, domain: &str) -> sqlx::Result<bool>;

    /// Writes an account, unless a newer version is there.
    async fn put(tx: &mut Transaction<'_, Self>, account: &Account) -> sqlx::Result<()>;

    /// Removes an account.
    async fn remove(tx: &mut Transaction<'_, Self>, user_id: &str) -> sqlx::Result<()>;
}

const BLOCKED_DOMAINS: &str = include_str!("../migrations/0002_blocked_domains.sql");

/// The statements of PostgreSQL and SQLite.
mod standard {
    pub(super) const TABLES: &[(&str, &str)] = &[
        ("accounts", include_str!("../migrations/0001_accounts.sql")),
        ("blocked domains", super::BLOCKED_DOMAINS),
    ];
    pub(super) const GET: &str =
        "SELECT user_id, name, email, password_hash, version FROM accounts WHERE user_id = $1";
    pub(super) const VERSION: &str = "SELECT version FROM accounts WHERE user_id = $1";
    pub(super) const OWNER: &str = "SELECT user_id FROM accounts WHERE email_key = $1";
    pub(super) const BLOCKED: &str = "SELECT domain FROM blocked_domains WHERE domain = $1";
    pub(super) const ADD: &str = "INSERT INTO accounts
        (name, email, email_key, password_hash, version, user_id) VALUES ($1, $2, $3, $4, $5, $6)";
    pub(super) const CHANGE: &str = "UPDATE accounts
        SET name = $1, email = $2, email_key = $3, password_hash = $4, version = $5
        WHERE user_id = $6";
    pub(super) const REMOVE: &str = "DELETE FROM accounts WHERE user_id = $1";
}

macro_rules! store {
    ($db:ty, $sql:ident) => {
        #[async_trait]
        impl Store for $db {
            const TABLES: &'static [(&'static str, &'static str)] = $sql::TABLES;

            async fn get(pool: &Pool<Self>, user_id: &str) -> sqlx::Result<Option<Account>> {
                let row: Option<(String, String, String, String, i64)> =
                    sqlx::query_as($sql::GET).bind(user_id).fetch_optional(pool).await?;
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
                sqlx::query_scalar($sql::VERSION).bind(user_id).fetch_optional(&mut **tx).await
            }

            async fn owner(
                tx: &mut Transaction<'_, Self>,
                email: &str,
            ) -> sqlx::Result<Option<String>> {
                let key = email_key(email);
                sqlx::query_scalar($sql::OWNER).bind(key).fetch_optional(&mut **tx).await
            }

            async fn blocked(tx: &mut Transaction<'_, Self>, domain: &str) -> sqlx::Result<bool> {
                let found: Option<String> = sqlx::query_scalar($sql::BLOCKED)
                    .bind(domain)
                    .fetch_optional(&mut **tx)
                    .await?;
                Ok(found.is_some())
            }

            async fn put(tx: &mut Transaction<'_, Self>, account: &Account) -> sqlx::Result<()> {
                let put = match Self::version(tx, &account.user_id).await? {
                    None => $sql::ADD,
                    Some(known) if known < account.version => $sql::CHANGE,
                    Some(_) => return Ok(()),
                };
                sqlx::query(put)
                    .bind(&account.name)
                    .bind(&account.email)
                    .bind(email_key(&account.email))
                    .bind(&account.password_hash.0)
                    .bind(account.version)
                    .bind(&account.user_id)
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            }

            async fn remove(tx: &mut Transaction<'_, Self>, user_id: &str) -> sqlx::Result<()> {
                sqlx::query($sql::REMOVE).bind(user_id).execute(&mut **tx).await?;
                Ok(())
            }
        }
    };
}

store!(MySql, mysql);
store!(Postgres, standard);
store!(Sqlite, standard);
