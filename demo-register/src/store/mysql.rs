//! The statements of MariaDB and MySQL.

pub(super) const TABLES: &[(&str, &str)] = &[
    ("users", include_str!("../../migrations/0001_users.mysql.sql")),
    ("registrations", include_str!("../../migrations/0002_registrations.mysql.sql")),
    ("erasure", include_str!("../../migrations/0003_erasure.mysql.sql")),
];
pub(super) const GET: &str =
    "SELECT id, name, email, password_hash, status, reason, version, last_version,
        (SELECT n.name FROM display_names n WHERE n.user_id = users.id) AS display_name
    FROM users WHERE id = ?";
pub(super) const GET_FOR_UPDATE: &str =
    "SELECT id, name, email, password_hash, status, reason, version, last_version,
        (SELECT n.name FROM display_names n WHERE n.user_id = users.id) AS display_name
    FROM users WHERE id = ? FOR UPDATE";
pub(super) const ADD: &str = "INSERT INTO users
    (name, email, password_hash, status, reason, version, last_version, id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
pub(super) const SAVE: &str = "UPDATE users SET name = ?, email = ?, password_hash = ?, status = ?,
    reason = ?, version = ?, last_version = ? WHERE id = ?";
pub(super) const REMOVE: &str = "DELETE FROM users WHERE id = ?";
pub(super) const SENT: &str = "INSERT INTO user_versions
    (user_id, version, message_id, seq, name, email, password_hash) VALUES (?, ?, ?, ?, ?, ?, ?)";
pub(super) const SENT_AT: &str = "SELECT seq FROM user_versions WHERE message_id = ?";
pub(super) const ACCEPTED: &str =
    "SELECT version FROM user_versions WHERE user_id = ? AND message_id = ?";
pub(super) const FORGET_OLDER: &str = "DELETE FROM user_versions WHERE user_id = ? AND version < ?";
pub(super) const REFUSED: &str = "SELECT user_id FROM user_versions WHERE message_id = ?";
pub(super) const FORGET: &str = "DELETE FROM user_versions WHERE message_id = ?";
pub(super) const NEWEST: &str = "SELECT version, name, email, password_hash FROM user_versions
    WHERE user_id = ? ORDER BY version DESC LIMIT 1";
