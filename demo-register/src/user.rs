//! Users, as clients see them and as the other service is told of them.

use demo_common::Hashed;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The registration is under way.
    Pending,
    /// The user can log in at the other service.
    Active,
    /// The registration was refused, and all of it is taken back.
    Rejected,
}

/// A user of this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id that the client chose.
    pub id: String,
    /// Any name.
    pub name: String,
    /// As the client wrote it.
    pub email: String,
    /// A name that nobody else has, once it is claimed.
    pub display_name: Option<String>,
    /// Never shown to clients.
    pub password_hash: Hashed,
    /// Where the user stands.
    pub status: Status,
    /// Why the last update was refused.
    pub reason: Option<String>,
    /// Of these values.
    pub version: i64,
    /// The highest version given out so far.
    pub last_version: i64,
}

/// What is told of a new or changed user. The hash travels so that the user can log in at
/// the other service; the transport signs what it sends, and no API shows it.
#[derive(Debug, Serialize)]
pub(crate) struct UserChanged<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) email: &'a str,
    pub(crate) password_hash: &'a Hashed,
    pub(crate) version: i64,
}

impl<'a> From<&'a User> for UserChanged<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            user_id: &user.id,
            name: &user.name,
            email: &user.email,
            password_hash: &user.password_hash,
            version: user.version,
        }
    }
}

/// What the other service tells when it has accepted what a message told of a user. Not the
/// version: a user who was deleted and registered again begins at 1 again.
#[derive(Debug, Deserialize)]
pub(crate) struct Accepted {
    /// Which user.
    pub(crate) user_id: String,
    /// Which message.
    pub(crate) message_id: String,
}
