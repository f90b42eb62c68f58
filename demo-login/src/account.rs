//! Accounts, as the other service tells of them.

use demo_common::Hashed;
use serde::{Deserialize, Serialize};
use sqlx::types::Uuid;

/// A user who can log in; also what the other service tells of a new or changed one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// The user's id.
    pub user_id: String,
    /// The user's name.
    pub name: String,
    /// As the user wrote it.
    pub email: String,
    /// Never shown to clients.
    pub password_hash: Hashed,
    /// Higher for newer values.
    pub version: i64,
}

/// A user who was deleted.
#[derive(Debug, Deserialize)]
pub(crate) struct Deleted {
    /// Which one.
    pub(crate) user_id: String,
    /// The instances of the other service's sagas that have told of the user.
    #[serde(default)]
    pub(crate) sagas: Vec<Uuid>,
}

/// What the other service is told when it was accepted what a message told of a user.
#[derive(Debug, Serialize)]
pub(crate) struct Accepted<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) message_id: String,
}
