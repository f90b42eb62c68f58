//! The statements of MariaDB and MySQL.

pub(super) const TABLES: &[(&str, &str)] = &[
    ("accounts", include_str!("../../migrations/0001_accounts.mysql.sql")),
    ("blocked domains", super::BLOCKED_DOMAINS),
];
pub(super) const GET: &str =
    "SELECT user_id, name, email, password_hash, version FROM accounts WHERE user_id = ?";
pub(super) const VERSION: &str = "SELECT version FROM accounts WHERE user_id = ?";
pub(super) const OWNER: &str = "SELECT user_id FROM accounts WHERE email_key = ?";
pub(super) const BLOCKED: &str = "SELECT domain FROM blocked_domains WHERE domain = ?";
pub(super) const ADD: &str = "INSERT INTO accounts
    (name, email, email_key, password_hash, version, user_id) VALUES (?, ?, ?, ?, ?, ?)";
pub(super) const CHANGE: &str = "UPDATE accounts
    SET name = ?, email = ?, email_key = ?, password_hash = ?, version = ? WHERE user_id = ?";
pub(super) const REMOVE: &str = "DELETE FROM accounts WHERE user_id = ?";
