//! The crate's error: what was wrong, where, and what to do.

mod class;
#[cfg(test)]
mod coded;
mod trouble;

pub(crate) use class::{Class, class_of_handler, is_of_data, is_read_only};
pub use trouble::Trouble;

use crate::message::MessageError;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between the framework and its database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message is not of the allowed form; nothing was written.
    #[error("message refused: {0}")]
    Message(#[from] MessageError),
    /// The idempotency key stands for another content; no message was written.
    #[error(
        "idempotency key {key:?} was used for another content, in message {id}: a new message needs a key of its own"
    )]
    IdempotencyKey {
        /// The key.
        key: String,
        /// The message that was written under it.
        id: uuid::Uuid,
    },
    /// The database answered with an error.
    #[error("{action}: {}", told(source))]
    Database {
        /// What was being done.
        action: &'static str,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// The database has not answered in time; whether it has done what it was asked is not known.
    #[error(
        "{database} has not answered for {seconds} s: its connections are closed and made anew; look at the network, proxies and poolers between here and it, at locks, and whether it is frozen or overloaded"
    )]
    Unanswered {
        /// Which kind of database.
        database: &'static str,
        /// The time that it was waited for, in seconds.
        seconds: f64,
    },
    /// The database takes no writes.
    #[error(
        "{database} takes no writes: it is a standby, or was set to read only; new connections answer the same. Let it take writes again, or connect to the one that does"
    )]
    ReadOnly {
        /// Which kind of database.
        database: &'static str,
    },
    /// Syncline's tables are missing.
    #[error(
        "Syncline's tables are missing in this database: run `syncline migrate up`, or call `syncline::migrate(&pool)` at start"
    )]
    NotMigrated,
    /// The schema is older than this program.
    #[error(
        "Syncline's tables are at version {found}, this program needs {needed}: run `syncline migrate up`"
    )]
    SchemaOlder {
        /// The version of the tables.
        found: i64,
        /// The version that this program needs.
        needed: i64,
    },
    /// The schema is newer than this program.
    #[error(
        "Syncline's tables are at version {found}, this program knows only up to {known}: run a newer program"
    )]
    SchemaNewer {
        /// The version of the tables.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A migration that was applied is not the one that this program holds.
    #[error(
        "migration {version} was applied with another text than this program holds: the history must not be edited; restore the migration or the database"
    )]
    HistoryEdited {
        /// Which migration.
        version: i64,
    },
    /// Applying or taking back migrations failed.
    #[error("migration failed: {0}")]
    Migration(String),
    /// A statement of a migration met an error of the database, such as a lock that was waited for.
    #[error("migration {version} failed: {}; {after}", told(source))]
    MigrationFailed {
        /// Which migration.
        version: i64,
        /// The driver's error.
        source: sqlx::Error,
        /// The run's state after it, and what to do.
        after: String,
    },
    /// Another run of the migrations has not ended in time; nothing was changed.
    #[error(
        "another migration has not ended within 60 s, and nothing was changed: wait for the process that runs it, or end it, and run this one again"
    )]
    MigrationBusy,
    /// A migration was cut off half way (MySQL and MariaDB, where DDL commits by itself).
    #[error(
        "migration {version} is half done: run `syncline migrate up` to finish it, or call `syncline::migrate(&pool)` at start"
    )]
    MigrationInterrupted {
        /// Which migration.
        version: i64,
    },
    /// Taking a migration back would lose messages or sagas; nothing was changed.
    #[error(
        "taking back migration {version} ({name}) would lose {}, unsent or held, or sagas that are not over: let the relay, the consumers and the sagas finish, settle what is dead or stuck, or force it",
        crate::logs::count(*count, "message")
    )]
    WouldLose {
        /// Which migration.
        version: i64,
        /// Its name.
        name: &'static str,
        /// How many messages or sagas.
        count: i64,
    },
    /// The database's settings would lose committed messages at a power cut.
    #[error("{setting} is {found}, which can lose committed messages at a power cut: {remedy}")]
    NotDurable {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What to set.
        remedy: &'static str,
    },
    /// The server or its role is none that messages can be given their order on.
    #[error("{setting} is {found}: {remedy}")]
    Unfit {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A handler went on after its transaction had ended, by the server or by its own `COMMIT` or
    /// `ROLLBACK`; nothing more was committed.
    #[error(
        "the handler's transaction was over before it returned: it must return the error of a deadlock instead of going on, and neither commit, roll back nor change tables"
    )]
    TransactionLost,
    /// The log does not hold what a seal or a checkpoint says it holds.
    #[error("the log is broken at position {position}: {problem}; run `syncline doctor`")]
    LogBroken {
        /// Where.
        position: i64,
        /// What was found.
        problem: String,
    },
    /// What a reader wants is no longer kept.
    #[error("{}", trimmed(*position, *kept, "syncline inbox skip CONSUMER --source SOURCE --stream STREAM", Some("ROUTE")))]
    Trimmed {
        /// The reader's place.
        position: i64,
        /// The log begins after this position.
        kept: i64,
    },
    /// The database server was replaced or started anew while this was under way: what was known
    /// of the log is read again.
    #[error(
        "the database server is another one, or was started anew: what was read of it is read again"
    )]
    ServerChanged,
    /// A definition of a stream, route, consumer or relay is wrong.
    #[error("{what} {name:?}: {problem}")]
    Definition {
        /// What is defined.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No route carries a declared stream, and it is not served to readers: its messages go nowhere.
    #[error(
        "stream {stream:?} reaches nobody: no route carries it, and no reader may pull it from a feed; give it a route, serve it to a reader, or leave it out"
    )]
    ReachesNobody {
        /// The stream.
        stream: String,
    },
}

impl Error {
    /// For `map_err`: what was being done when the driver failed.
    pub(crate) fn database(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| match missing_table(&source) {
            true => Self::NotMigrated,
            false => Self::Database { action, source },
        }
    }

    /// Whether the server takes no writes: it is a standby or a replica, or read-only. A fail-over may
    /// change that, so [`Error::is_transient`] holds as well, except for a file of SQLite.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::ReadOnly { .. } => true,
            _ => self.driver().is_some_and(is_read_only),
        }
    }

    /// Whether trying again later may help without anybody's help: the connection was lost,
    /// the pool is exhausted, or the database rolled the transaction back to resolve a conflict.
    pub fn is_transient(&self) -> bool {
        // SQLite's thread is made anew with its connection.
        let crashed = matches!(self.driver(), Some(sqlx::Error::WorkerCrashed));
        let file = self.driver().is_some_and(class::is_read_only_file);
        crashed || !file && matches!(self.class(), Class::Passing | Class::Session)
    }

    /// The driver's error, where it is one.
    fn driver(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database { source, .. } | Self::MigrationFailed { source, .. } => Some(source),
            _ => None,
        }
    }

    /// What follows from it.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Database { source, .. } | Self::MigrationFailed { source, .. } => {
                class::class(source)
            }
            Self::MigrationBusy => Class::Passing,
            Self::Unanswered { .. } | Self::ReadOnly { .. } => Class::Session,
            _ => Class::Lasting,
        }
    }

    /// Whether other connections of the same pool are most likely no better than the one that it
    /// comes from.
    pub(crate) fn condemns_pool(&self) -> bool {
        self.is_read_only() || self.class() == Class::Stale
    }
}

/// Whether a connection of the pool, or an answer, was waited for in vain: whoever asks again at once
/// may wait as long again.
pub(crate) fn is_exhausted(error: &Error) -> bool {
    matches!(
        error,
        Error::Database { source: sqlx::Error::PoolTimedOut, .. } | Error::Unanswered { .. }
    )
}

/// SQLSTATE 42P01, or SQLite's only sign of it, its text; MySQL 42S02.
fn missing_table(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    let table = error.message().contains("syncline_");
    match error.code().as_deref() {
        Some("42P01") => table,
        // It names the database first, which may be called so, too.
        Some("42S02") => error.message().contains(".syncline_"),
        _ => table && error.message().starts_with("no such table"),
    }
}

/// The server's own number of an error; its SQLSTATE often says nothing.
#[cfg(feature = "mysql")]
pub(crate) fn mysql_number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?;
    Some(error.number())
}

/// A handler's error as the database's that it comes from.
pub(crate) fn of_database(action: &'static str, error: crate::HandlerError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::Database {
            action,
            source: match error.downcast::<sqlx::Error>() {
                Ok(error) => *error,
                Err(error) => sqlx::Error::Io(std::io::Error::other(error)),
            },
        },
    }
}

/// That what a reader wants is no longer kept, with the commands that cure it: the one that skips it
/// at the consumer, without its place, and the one of `route`, if a route sends to the reader. The log
/// has reached `kept`, so that it is named as its end: where it ends now differs at every look.
pub(crate) fn trimmed(position: i64, kept: i64, skip: &str, route: Option<&str>) -> String {
    let rewind = route.map_or_else(String::new, |route| {
        format!(" and go on from there at the source (`syncline route rewind {route} --to {kept}`)")
    });
    format!(
        "what follows position {position} is no longer kept: this log begins after position {kept}; \
         start the reader anew from a copy of the data; or, if it can do without what was between, \
         give that up at the consumer (`{skip} --to {kept} --log-ends {kept}`){rewind}"
    )
}

/// The driver's words, without the place in PostgreSQL's own source.
fn told(error: &sqlx::Error) -> String {
    match own_place(error) {
        Some((with, without)) => error.to_string().replace(&with, &without),
        None => error.to_string(),
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let (mut text, mut next) = (String::new(), Some(error));
    while let Some(error) = next {
        next = error.source();
        let mut more = error.to_string();
        if let Some((with, without)) = error.downcast_ref().and_then(own_place) {
            // An error around it may quote it; its own cause says the same again.
            text = text.replace(&with, &without);
            more = more.replace(&with, &without);
            next = None;
        }
        if text.is_empty() {
            text = more;
        } else if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
    }
    text
}

/// What PostgreSQL says with the line of the server's own source (`at line 350`), and the same without
/// it: whoever reads it looks for the line in what they have written.
fn own_place(error: &sqlx::Error) -> Option<(String, String)> {
    let database = error.as_database_error()?;
    let (with, without) = (database.to_string(), database.message().to_owned());
    let place = with.strip_prefix(&without)?.starts_with(" at line ");
    place.then_some((with, without))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL's driver tells it.
    #[derive(Debug, thiserror::Error)]
    #[error("no room at line 350")]
    struct Told;

    impl sqlx::error::DatabaseError for Told {
        fn message(&self) -> &str {
            "no room"
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    /// An error that quotes its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("it failed: {0}")]
    struct Quoting(#[source] sqlx::Error);

    #[test]
    fn an_error_of_postgresql_is_told_without_the_line_of_the_servers_source() {
        let told = || sqlx::Error::Database(Box::new(Told));
        assert!(chain(&told()).ends_with("no room"), "{}", chain(&told()));
        let source = told();
        let text = chain(&Error::Database { action: "store it", source });
        assert!(text.starts_with("store it") && text.ends_with("no room"), "{text}");
        let quoted = "it failed: error returned from database: no room";
        assert_eq!(chain(&Quoting(told())), quoted);
        // A line that somebody else names stays.
        let theirs: Box<dyn std::error::Error> = "the file is wrong at line 350".into();
        assert_eq!(chain(&*theirs), "the file is wrong at line 350");
    }
}
