use std::collections::HashSet;

use super::*;
use crate::error::coded::coded;

#[test]
fn postgres_codes_are_what_they_are() {
    for (code, expected) in [
        ("08000", Session),
        ("08006", Session),
        ("08P01", Session),
        ("0A000", Stale),
        ("22001", Lasting),
        ("22012", Lasting),
        ("23505", Lasting),
        ("25001", Lasting),
        ("25006", Session),
        ("25P01", Lasting),
        ("25P02", Stale),
        ("25P03", Session),
        ("25P04", Session),
        ("26000", Stale),
        ("28P01", Lasting),
        ("40000", Lasting),
        ("40001", Passing),
        ("40002", Lasting),
        ("40003", Session),
        ("40P01", Passing),
        ("42601", Lasting),
        ("42703", Lasting),
        ("42P01", Lasting),
        ("42P05", Stale),
        ("53000", Passing),
        ("53100", Passing),
        ("53200", Passing),
        ("53300", Passing),
        ("53400", Passing),
        ("54000", Lasting),
        ("55000", Lasting),
        ("55P03", Passing),
        ("57000", Lasting),
        ("57014", Session),
        ("57P01", Session),
        ("57P02", Session),
        ("57P03", Session),
        ("57P04", Session),
        ("57P05", Session),
        ("58000", Passing),
        ("58030", Passing),
        ("58P01", Passing),
        ("72000", Passing),
        ("P0001", Lasting),
        ("XX000", Stale),
        ("XX001", Lasting),
    ] {
        assert_eq!(class(&coded(code)), expected, "{code}");
    }
}

#[cfg(feature = "mysql")]
#[test]
fn mysql_numbers_are_what_they_are() {
    for (number, expected) in [
        (3, Passing),
        (1020, Passing),
        (1021, Passing),
        (1026, Passing),
        (1037, Passing),
        (1038, Passing),
        (1040, Passing),
        (1041, Passing),
        (1053, Session),
        (1062, Lasting),
        (1064, Lasting),
        (1114, Passing),
        (1135, Passing),
        (1146, Lasting),
        (1158, Session),
        (1159, Session),
        (1160, Session),
        (1161, Session),
        (1180, Passing),
        (1203, Passing),
        (1205, Passing),
        (1206, Passing),
        (1213, Passing),
        (1226, Passing),
        (1243, Stale),
        (1290, Session),
        (1305, Lasting),
        (1317, Session),
        (1412, Passing),
        (1461, Passing),
        (1615, Stale),
        (1637, Passing),
        (1644, Lasting),
        (1792, Session),
        (1836, Session),
        (1927, Session),
        (1969, Session),
        (2003, Session),
        (2006, Session),
        (2013, Session),
        (3024, Session),
        (3101, Passing),
        (3572, Passing),
        (4024, Lasting),
        (4031, Session),
    ] {
        assert_eq!(of(MYSQL, |known| *known == number), expected, "{number}");
    }
}

#[test]
fn sqlite_codes_are_what_they_are() {
    for (code, expected) in [
        ("1", Lasting),
        ("5", Passing),
        ("6", Passing),
        ("7", Passing),
        ("8", Session),
        ("9", Session),
        ("10", Session),
        ("11", Lasting),
        ("13", Passing),
        ("14", Session),
        ("15", Passing),
        ("17", Stale),
        ("19", Lasting),
        ("26", Lasting),
        ("261", Passing),
        ("262", Passing),
        ("517", Passing),
        ("778", Session),
        ("1032", Session),
        ("2067", Lasting),
    ] {
        assert_eq!(class(&coded(code)), expected, "{code}");
    }
}

#[test]
fn what_the_driver_says_is_what_it_is() {
    let io = std::io::Error::other("reset");
    for (error, expected) in [
        (sqlx::Error::PoolTimedOut, Passing),
        (sqlx::Error::PoolClosed, Passing),
        (sqlx::Error::Io(io), Session),
        (sqlx::Error::Protocol("odd".into()), Session),
        (sqlx::Error::BeginFailed, Session),
        (sqlx::Error::WorkerCrashed, Stale),
        (sqlx::Error::RowNotFound, Lasting),
        (sqlx::Error::ColumnNotFound("a".into()), Lasting),
    ] {
        assert_eq!(class(&error), expected, "{error}");
    }
}

#[test]
fn no_code_stands_in_a_table_twice_and_each_says_where_it_is_from() {
    fn check<C: std::hash::Hash + Eq + std::fmt::Debug>(table: &[Line<C>]) {
        let mut seen = HashSet::new();
        for (code, class, source) in table {
            assert!(seen.insert(code), "{code:?}");
            assert!(*class != Lasting && source.len() > 3, "{code:?}");
        }
    }
    check(POSTGRES);
    check(SQLITE);
    #[cfg(feature = "mysql")]
    check(MYSQL);
}

#[test]
fn what_speaks_of_the_data_is_told_from_what_may_concern_all() {
    for (code, expected) in [
        ("22001", true),
        ("22P02", true),
        ("54000", true),
        ("18", true),
        ("20", true),
        ("23505", false),
        ("23514", false),
        ("42501", false),
        ("P0001", false),
        ("19", false),
        ("1811", false),
    ] {
        assert_eq!(is_of_data(&coded(code)), expected, "{code}");
    }
}

#[test]
fn read_only_is_told_by_its_code() {
    for (code, expected) in
        [("25006", true), ("8", true), ("1032", true), ("25001", false), ("5", false)]
    {
        assert_eq!(is_read_only(&coded(code)), expected, "{code}");
    }
}

#[test]
fn a_handlers_error_is_that_of_the_database_behind_it() {
    #[derive(Debug, thiserror::Error)]
    #[error("the user could not be made")]
    struct Wrapped(#[source] sqlx::Error);
    assert_eq!(class_of_handler(&Wrapped(coded("0A000"))), Stale);
    assert_eq!(class_of_handler(&Error::NotMigrated), Lasting);
    let error = Error::Database { action: "", source: coded("57014") };
    assert_eq!(class_of_handler(&error), Session);
}
