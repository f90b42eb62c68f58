//! The kind of a database's trouble, as it may be told to others: no SQL, no path, no name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Error;

/// Why a database does not do what it is asked; its text follows "its database", as in "its database is
/// read-only".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trouble {
    /// It takes no writes: a standby, a replica, or set to read only.
    ReadOnly,
    /// Its disk is full.
    DiskFull,
    /// A limit on what may be used is reached.
    Quota,
    /// The user may not write the table, or the file's directory.
    Permission,
    /// A lock was waited for in vain, or a conflict was resolved against the work.
    Locked,
    /// It is out of connections, memory or other resources.
    Busy,
    /// It cannot be reached, or the connection was lost.
    Unreachable,
    /// It has not answered in time.
    Unanswered,
    /// Any other error, or one of a newer program.
    #[serde(other)]
    Other,
}

use Trouble::{Busy, DiskFull, Locked, Permission, Quota, ReadOnly, Unanswered, Unreachable};

/// SQLSTATEs of PostgreSQL, or how they begin; the longer one counts.
const POSTGRES: &[(&str, Trouble)] = &[
    ("08", Unreachable),
    ("25006", ReadOnly),
    ("40", Locked),
    ("42501", Permission),
    ("53", Busy),
    ("53100", DiskFull),
    ("53400", Quota),
    ("55P03", Locked),
    ("57014", Unanswered),
    ("57P", Unreachable),
];

/// Error numbers of MySQL and MariaDB.
#[cfg(feature = "mysql")]
const MYSQL: &[(&[u16], Trouble)] = &[
    (&[1290, 1792, 1836], ReadOnly),
    (&[3, 1021, 1026, 1114], DiskFull),
    (&[1226], Quota),
    (&[1044, 1045, 1142, 1143, 1227], Permission),
    (&[1205, 1206, 1213, 3101, 3572], Locked),
    (&[1037, 1038, 1040, 1041, 1135, 1203], Busy),
    (&[1053, 1158, 1159, 1160, 1161, 1927, 2003, 2006, 2013, 4031], Unreachable),
    (&[1317, 1969, 3024], Unanswered),
];

/// Result codes of SQLite; extended ones first.
const SQLITE: &[(i32, Trouble)] = &[
    (1544, Permission), // SQLITE_READONLY_DIRECTORY
    (3, Permission),
    (5, Locked),
    (6, Locked),
    (7, Busy),
    (8, ReadOnly),
    (13, DiskFull),
    (14, Permission),
    (23, Permission),
];

impl Error {
    /// The kind of the database's trouble, for a peer or a status: it holds nothing secret.
    ///
    /// ```
    /// use syncline::{Error, error::Trouble};
    /// let error = Error::ReadOnly { database: "PostgreSQL" };
    /// assert_eq!(error.trouble(), Trouble::ReadOnly);
    /// assert_eq!(error.trouble().to_string(), "is read-only");
    /// ```
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::ReadOnly { .. } => ReadOnly,
            Self::Unanswered { .. } => Unanswered,
            Self::MigrationBusy => Locked,
            _ => self.driver().map_or(Trouble::Other, of),
        }
    }
}

fn of(error: &sqlx::Error) -> Trouble {
    match error {
        sqlx::Error::PoolTimedOut => return Busy,
        sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed => return Unreachable,
        _ => {}
    }
    #[cfg(feature = "mysql")]
    if let Some(number) = super::mysql_number(error) {
        let found = MYSQL.iter().find(|(numbers, _)| numbers.contains(&number));
        return found.map_or(Trouble::Other, |(_, trouble)| *trouble);
    }
    let code = error.as_database_error().and_then(|error| error.code());
    let found = match code.as_deref() {
        Some(state) if state.len() == 5 => {
            let lines = POSTGRES.iter().filter(|(code, _)| state.starts_with(code));
            lines.max_by_key(|(code, _)| code.len()).map(|(_, trouble)| *trouble)
        }
        Some(code) => code.parse().ok().and_then(|code: i32| {
            let is = |known: i32| known == code || known == code & 0xff;
            SQLITE.iter().find(|(known, _)| is(*known)).map(|(_, trouble)| *trouble)
        }),
        None => None,
    };
    found.unwrap_or(Trouble::Other)
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReadOnly => "is read-only",
            DiskFull => "has no room left on its disk",
            Quota => "has reached a limit on what it may use",
            Permission => "does not permit the write",
            Locked => "is locked by others",
            Busy => "is out of connections or other resources",
            Unreachable => "cannot be reached",
            Unanswered => "does not answer in time",
            Self::Other => "fails",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::coded::coded;

    #[test]
    fn a_code_tells_the_kind() {
        for (code, expected) in [
            ("25006", ReadOnly),
            ("42501", Permission),
            ("53100", DiskFull),
            ("53300", Busy),
            ("53400", Quota),
            ("40001", Locked),
            ("57P01", Unreachable),
            ("22012", Trouble::Other),
            ("8", ReadOnly),
            ("264", ReadOnly),
            ("1544", Permission),
            ("13", DiskFull),
            ("5", Locked),
            ("1", Trouble::Other),
        ] {
            let error = Error::Database { action: "write", source: coded(code) };
            assert_eq!(error.trouble(), expected, "{code}");
        }
        assert_eq!(Error::NotMigrated.trouble(), Trouble::Other);
    }

    #[test]
    fn a_newer_programs_kind_is_read_as_another_one() {
        let read = |text: &str| serde_json::from_str::<Trouble>(text).expect("a kind");
        assert_eq!(read("\"disk_full\""), DiskFull);
        assert_eq!(read("\"on_fire\""), Trouble::Other);
    }
}
