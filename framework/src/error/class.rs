//! Errors of databases by their codes: the one place where it is decided what an error means for the
//! work that met it, and for the connection that it came from. No text is looked at: texts are
//! translated.

use super::Error;
use Class::{Lasting, Passing, Session, Stale};

/// What follows from an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It comes again with the same work: it counts as an attempt.
    Lasting,
    /// It passes by itself: the work is tried again, and nothing is counted.
    Passing,
    /// It comes from the session: the connection is closed, and the work is tried again on another
    /// one without being counted.
    Session,
    /// The session may know what is not so any more, such as the columns of a table: the connection is
    /// closed, and the work is tried once on a fresh one without being counted. Then it counts.
    Stale,
}

/// A line of a table: the code, its class, and its name with where that is told.
type Line<C> = (C, Class, &'static str);

/// SQLSTATEs, or their first two characters; the longer one counts. Names are those of "PostgreSQL Error
/// Codes" (Appendix A), with the setting or the version that leads to them.
const POSTGRES: &[Line<&str>] = &[
    ("08", Session, "class 08, connection exception; poolers say 08P01 of a server that is away"),
    ("0A000", Stale, "feature_not_supported; a cached plan whose result changed (plancache.c)"),
    ("25006", Session, "read_only_sql_transaction; default_transaction_read_only, a standby"),
    ("25P02", Stale, "in_failed_sql_transaction; the error before it was not told"),
    ("25P03", Session, "idle_in_transaction_session_timeout"),
    ("25P04", Session, "transaction_timeout, as of version 17"),
    ("26000", Stale, "invalid_sql_statement_name; DEALLOCATE, a pooler's other server connection"),
    ("40001", Passing, "serialization_failure"),
    ("40003", Session, "statement_completion_unknown"),
    ("40P01", Passing, "deadlock_detected"),
    ("42P05", Stale, "duplicate_prepared_statement; a pooler's other server connection"),
    ("53", Passing, "class 53, insufficient resources: disk full, out of memory, connections"),
    ("55P03", Passing, "lock_not_available; lock_timeout, NOWAIT"),
    ("57014", Session, "query_canceled; statement_timeout, pg_cancel_backend"),
    ("57P", Session, "57P01 to 57P05: shutdown, crash, start-up, dropped, idle_session_timeout"),
    ("58", Passing, "class 58, system error: I/O, files"),
    ("72000", Passing, "snapshot_too_old, before version 17"),
    ("XX000", Stale, "internal_error; cache lookup failed for a type that was made anew"),
];

/// Error numbers: SQLSTATEs often say nothing. Names are those of the "Server Error Message Reference" of
/// MySQL and of "MariaDB Error Codes". After a lock wait time-out InnoDB has undone only the statement;
/// whoever gets such an error repeats the whole transaction all the same.
#[cfg(feature = "mysql")]
const MYSQL: &[Line<u16>] = &[
    (3, Passing, "EE_WRITE: an error writing a file, the disk is full"),
    (1020, Passing, "ER_CHECKREAD: the record has changed since it was read"),
    (1021, Passing, "ER_DISK_FULL"),
    (1026, Passing, "ER_ERROR_ON_WRITE"),
    (1037, Passing, "ER_OUTOFMEMORY"),
    (1038, Passing, "ER_OUT_OF_SORTMEMORY"),
    (1040, Passing, "ER_CON_COUNT_ERROR: too many connections"),
    (1041, Passing, "ER_OUT_OF_RESOURCES"),
    (1053, Session, "ER_SERVER_SHUTDOWN"),
    (1114, Passing, "ER_RECORD_FILE_FULL: the table is full"),
    (1135, Passing, "ER_CANT_CREATE_THREAD"),
    (1158, Session, "ER_NET_READ_ERROR"),
    (1159, Session, "ER_NET_READ_INTERRUPTED: net_read_timeout"),
    (1160, Session, "ER_NET_ERROR_ON_WRITE"),
    (1161, Session, "ER_NET_WRITE_INTERRUPTED: net_write_timeout"),
    (1180, Passing, "ER_ERROR_DURING_COMMIT"),
    (1203, Passing, "ER_TOO_MANY_USER_CONNECTIONS"),
    (1205, Passing, "ER_LOCK_WAIT_TIMEOUT: innodb_lock_wait_timeout; NOWAIT on MariaDB"),
    (1206, Passing, "ER_LOCK_TABLE_FULL"),
    (1213, Passing, "ER_LOCK_DEADLOCK"),
    (1226, Passing, "ER_USER_LIMIT_REACHED"),
    (1243, Stale, "ER_UNKNOWN_STMT_HANDLER: a prepared statement that the server does not know"),
    (1290, Session, "ER_OPTION_PREVENTS_STATEMENT: read_only, super_read_only"),
    (1317, Session, "ER_QUERY_INTERRUPTED: KILL QUERY"),
    (1412, Passing, "ER_TABLE_DEF_CHANGED: the table changed under the transaction"),
    (1461, Passing, "ER_MAX_PREPARED_STMT_COUNT_REACHED"),
    (1615, Stale, "ER_NEED_REPREPARE: a prepared statement whose tables changed"),
    (1637, Passing, "ER_TOO_MANY_CONCURRENT_TRXS"),
    (1792, Session, "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: transaction_read_only"),
    (1836, Session, "ER_READ_ONLY_MODE: InnoDB is read only"),
    (1927, Session, "ER_CONNECTION_KILLED of MariaDB"),
    (1969, Session, "ER_STATEMENT_TIMEOUT of MariaDB: max_statement_time"),
    (2003, Session, "CR_CONN_HOST_ERROR, as proxies say"),
    (2006, Session, "CR_SERVER_GONE_ERROR, as proxies say"),
    (2013, Session, "CR_SERVER_LOST, as proxies say"),
    (3024, Session, "ER_QUERY_TIMEOUT of MySQL: max_execution_time"),
    (3101, Passing, "ER_TRANSACTION_ROLLBACK_DURING_COMMIT of MySQL: the group refused"),
    (3572, Passing, "ER_LOCK_NOWAIT of MySQL"),
    (4031, Session, "ER_CLIENT_INTERACTION_TIMEOUT of MySQL: wait_timeout"),
];

/// Primary result codes, the lower eight bits of extended ones ("Result and Error Codes").
const SQLITE: &[Line<i32>] = &[
    (5, Passing, "SQLITE_BUSY"),
    (6, Passing, "SQLITE_LOCKED"),
    (7, Passing, "SQLITE_NOMEM"),
    (8, Session, "SQLITE_READONLY: the file, its directory, or another file in its place"),
    (9, Session, "SQLITE_INTERRUPT"),
    (10, Session, "SQLITE_IOERR"),
    (13, Passing, "SQLITE_FULL"),
    (14, Session, "SQLITE_CANTOPEN"),
    (15, Passing, "SQLITE_PROTOCOL: the locks of a WAL"),
    (17, Stale, "SQLITE_SCHEMA"),
];

/// What a driver's error means.
pub(crate) fn class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Passing,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed => Session,
        // SQLite's thread panics when a table has more columns than a statement that it has kept
        // (sqlx-sqlite 0.9.0, row.rs).
        sqlx::Error::WorkerCrashed => Stale,
        sqlx::Error::Database(_) => coded(error),
        _ => Lasting,
    }
}

fn coded(error: &sqlx::Error) -> Class {
    #[cfg(feature = "mysql")]
    if let Some(number) = super::mysql_number(error) {
        return of(MYSQL, |known| *known == number);
    }
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some(state) if state.len() == 5 => sqlstate(state),
        Some(code) => {
            code.parse().map_or(Lasting, |code: i32| of(SQLITE, |known| *known == code & 0xff))
        }
        None => Lasting,
    }
}

fn sqlstate(state: &str) -> Class {
    let lines = POSTGRES.iter().filter(|(code, ..)| state.starts_with(code));
    lines.max_by_key(|(code, ..)| code.len()).map_or(Lasting, |(_, class, _)| *class)
}

fn of<C>(table: &[Line<C>], is: impl Fn(&C) -> bool) -> Class {
    table.iter().find(|(code, ..)| is(code)).map_or(Lasting, |(_, class, _)| *class)
}

/// Classes of SQLSTATE that speak of the data of a statement.
const POSTGRES_DATA: &[(&str, &str)] = &[
    ("22", "class 22, data exception: too long, out of range, not of the type"),
    ("54", "class 54, program limit exceeded: a row or a value is too large"),
];

/// Error numbers that do.
#[cfg(feature = "mysql")]
const MYSQL_DATA: &[(u16, &str)] = &[
    (1118, "ER_TOO_BIG_ROWSIZE"),
    (1153, "ER_NET_PACKET_TOO_LARGE"),
    (1264, "ER_WARN_DATA_OUT_OF_RANGE"),
    (1292, "ER_TRUNCATED_WRONG_VALUE"),
    (1366, "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD: no text of the character set"),
    (1406, "ER_DATA_TOO_LONG"),
    (3140, "ER_INVALID_JSON_TEXT"),
];

/// Primary result codes that do.
const SQLITE_DATA: &[(i32, &str)] = &[(18, "SQLITE_TOOBIG"), (20, "SQLITE_MISMATCH")];

/// Whether the database says that the data of the statement does not fit. Integrity constraints are not
/// among it: a check or a key may refuse every row.
pub(crate) fn is_of_data(error: &sqlx::Error) -> bool {
    #[cfg(feature = "mysql")]
    if let Some(number) = super::mysql_number(error) {
        return MYSQL_DATA.iter().any(|(known, _)| *known == number);
    }
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| match code.len() {
        5 => POSTGRES_DATA.iter().any(|(known, _)| code.starts_with(known)),
        _ => code
            .parse()
            .is_ok_and(|code: i32| SQLITE_DATA.iter().any(|(known, _)| *known == code & 0xff)),
    })
}

/// Whether the database, or the session, takes no writes.
pub(crate) fn is_read_only(error: &sqlx::Error) -> bool {
    #[cfg(feature = "mysql")]
    if let Some(number) = super::mysql_number(error) {
        return matches!(number, 1290 | 1792 | 1836);
    }
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "25006") || is_read_only_file(error)
}

/// Whether SQLite's file takes no writes, which no fail-over changes.
pub(crate) fn is_read_only_file(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.filter(|code| code.len() != 5)
        .is_some_and(|code| code.parse().is_ok_and(|code: i32| code & 0xff == 8))
}

/// The class of a handler's error: that of the database's error behind it, if there is one.
pub(crate) fn class_of_handler(error: &(dyn std::error::Error + 'static)) -> Class {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            return class(error);
        }
        if let Some(error) = error.downcast_ref::<Error>() {
            return error.class();
        }
        cause = error.source();
    }
    Lasting
}

#[cfg(test)]
mod tests;
