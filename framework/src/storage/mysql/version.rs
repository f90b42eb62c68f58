//! The server's version.

use sqlx::MySqlPool;

use crate::{Error, Result};

/// The oldest servers that have what our SQL needs.
const MARIADB: (u32, u32, u32) = (10, 6, 0);
const MYSQL: (u32, u32, u32) = (8, 0, 16);

/// Advice for a server that is too old.
pub(super) const ADVICE: &str = "Syncline needs MariaDB 10.6 or MySQL 8.0.16, or newer";

/// Advice for MySQL, on which not all that is promised is shown.
pub(super) const UNPROVEN: &str =
    "use MariaDB: on MySQL not every test of Syncline passes (see docs/operating.md)";

pub(super) async fn check(pool: &MySqlPool) -> Result<()> {
    let found: String = sqlx::query_scalar(include_str!("sql/version.sql"))
        .fetch_one(pool)
        .await
        .map_err(Error::database("read the server's version"))?;
    match is_old(&found) {
        true => Err(Error::Unfit { setting: "the server's version", found, remedy: ADVICE }),
        false => Ok(()),
    }
}

/// Whether a server that calls itself so is MariaDB.
pub(super) fn is_mariadb(found: &str) -> bool {
    found.contains("MariaDB")
}

/// Whether a server that calls itself so is older than what our SQL needs.
pub(super) fn is_old(found: &str) -> bool {
    let mariadb = is_mariadb(found);
    // Old clients were told 5.5.5 first.
    let text = found.strip_prefix("5.5.5-").unwrap_or(found);
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next()) < if mariadb { MARIADB } else { MYSQL }
}

#[cfg(test)]
mod tests {
    use super::is_old;

    #[test]
    fn old_servers_are_told_from_those_that_will_do() {
        for good in [
            "10.6.0-MariaDB",
            "11.8.2-MariaDB-log",
            "8.0.16",
            "8.4.3-0ubuntu",
            "9.1.0",
            "5.5.5-10.11.6-MariaDB",
        ] {
            assert!(!is_old(good), "{good}");
        }
        for bad in ["10.5.29-MariaDB", "8.0.15", "5.7.44-log", "5.5.5-10.3.1-MariaDB", ""] {
            assert!(is_old(bad), "{bad}");
        }
    }
}
