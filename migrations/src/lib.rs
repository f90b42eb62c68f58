//! The SQL of Syncline's tables, embedded: the same migrations, under the same names, for
//! each database. It is pure data; `syncline::migrate` applies it.

/// One step of the schema and the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its place in the order, from 1, without gaps.
    pub version: i64,
    /// What it is about; the same in every database.
    pub name: &'static str,
    /// The SQL that makes the step.
    pub up: &'static str,
    /// The SQL that takes it back.
    pub down: &'static str,
}

// A file's name begins with four digits: zeros, and the version.
macro_rules! migrations {
    ($dir:literal: $($zeros:literal $version:literal $name:literal),+ $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            up: include_str!(concat!("../", $dir, "/", $zeros, $version, "_", $name, ".up.sql")),
            down: include_str!(concat!("../", $dir, "/", $zeros, $version, "_", $name, ".down.sql")),
        }),+]
    };
}

/// For MariaDB 10.6, MySQL 8.0.16, or newer. DDL commits by itself there: each statement ends with
/// `;` and an empty line, and is run and noted on its own.
pub const MYSQL: &[Migration] = migrations!(
    "mysql": "000" 1 "log", "000" 2 "routes", "000" 3 "inbox", "000" 4 "shards", "000" 5 "ahead",
        "000" 6 "incarnation", "000" 7 "retention", "000" 8 "source", "000" 9 "saga", "00" 10 "checks",
        "00" 11 "checked", "00" 12 "guards", "00" 13 "literals", "00" 14 "problems",
        "00" 15 "outcomes", "00" 16 "processes", "00" 17 "sagas",
        "00" 18 "operations", "00" 19 "doors"
);

/// Versions of [`MYSQL`] that once had another text with the same effect, and its SHA-384: they called
/// MD5, which MySQL 9.6 no longer has. A history with the former text is as good.
pub const MYSQL_FORMER: &[(i64, &str)] = &[
    (
        1,
        "c5376e8c633f359ea5dfdcbde04ff06276b2daf2fcba74635e76c79ad7087e25a852f31a1873f3d854aff6c57b2438c1",
    ),
    (
        8,
        "72c48f0135036ae83161c46bbcc58ede6600552e6b5e455767f83dd568000d91c55db180868a2b3d1365a91d7fcfd8df",
    ),
];

/// For PostgreSQL 14 or newer.
pub const POSTGRES: &[Migration] = migrations!(
    "postgres": "000" 1 "log", "000" 2 "routes", "000" 3 "inbox", "000" 4 "shards", "000" 5 "ahead",
        "000" 6 "incarnation", "000" 7 "retention", "000" 8 "source", "000" 9 "saga", "00" 10 "checks",
        "00" 11 "checked", "00" 12 "guards", "00" 13 "literals", "00" 14 "problems",
        "00" 15 "outcomes", "00" 16 "processes", "00" 17 "sagas",
        "00" 18 "operations", "00" 19 "doors"
);

/// For SQLite 3.42 or newer.
pub const SQLITE: &[Migration] = migrations!(
    "sqlite": "000" 1 "log", "000" 2 "routes", "000" 3 "inbox", "000" 4 "shards", "000" 5 "ahead",
        "000" 6 "incarnation", "000" 7 "retention", "000" 8 "source", "000" 9 "saga", "00" 10 "checks",
        "00" 11 "checked", "00" 12 "guards", "00" 13 "literals", "00" 14 "problems",
        "00" 15 "outcomes", "00" 16 "processes", "00" 17 "sagas",
        "00" 18 "operations", "00" 19 "doors"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_database_has_the_same_migrations_in_order() {
        let names = |set: &[Migration]| set.iter().map(|m| (m.version, m.name)).collect::<Vec<_>>();
        assert_eq!(names(POSTGRES), names(SQLITE));
        assert_eq!(names(POSTGRES), names(MYSQL));
        for (index, migration) in POSTGRES.iter().enumerate() {
            assert_eq!(migration.version, index as i64 + 1);
        }
    }
}
