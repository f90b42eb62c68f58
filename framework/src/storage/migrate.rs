//! The migrations' runner. All steps of a run, and their entries in the history, commit in
//! one transaction under a lock: a failed run leaves nothing behind, and of two runs at once
//! the second finds everything done. MySQL has a runner of its own, for DDL commits by itself there.

use chrono::{DateTime, Utc};
use sqlx::{
    Pool, SqlSafeStr,
    migrate::{Migrate, MigrateError, MigrationType},
};
use syncline_migrations::Migration;

use super::{Base, begin_by_hand};
use crate::{Error, Result};

/// The history's table; the service's own migrations keep theirs in `_sqlx_migrations`.
pub(super) const HISTORY: &str = "syncline_migrations";

/// What a run is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// Apply everything that is pending.
    Up,
    /// Take back every migration after `to` (0: all), the newest first.
    Down {
        /// The version that stays.
        to: i64,
        /// Also when messages are lost with the tables.
        force: bool,
    },
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Its version.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// SHA-384 of the SQL that was run.
    pub checksum: Vec<u8>,
    /// When it was run.
    pub at: DateTime<Utc>,
}

/// Where one migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// It was applied, as this program holds it.
    Applied,
    /// It was not applied yet.
    Pending,
    /// It was applied with another text than this program holds.
    Edited,
    /// It was applied by a newer program: this one does not hold it.
    Unknown,
}

impl MigrationState {
    /// `applied`, `pending`, `edited` or `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Edited => "edited",
            Self::Unknown => "unknown",
        }
    }
}

/// One migration, known or applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its version.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: MigrationState,
    /// When it was applied.
    pub at: Option<DateTime<Utc>>,
}

/// Applies the embedded migrations that are pending, and returns their versions. Cheap when
/// there is nothing to do: it reads the history and needs no right to write.
///
/// # Errors
/// [`Error::Unfit`] (a server that is too old, an encoding that is not UTF-8), [`Error::SchemaNewer`], [`Error::HistoryEdited`]:
/// nothing was done.
/// [`Error::MigrationBusy`]: another run goes on. [`Error::MigrationFailed`], [`Error::Migration`],
/// [`Error::Database`]: the run was rolled back as a whole; on MySQL and
/// MariaDB it stopped, and the next one goes on where it did.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::SqlitePool::connect("sqlite:users.db?mode=rwc").await?;
/// syncline::migrate(&pool).await?;
/// # Ok(()) }
/// ```
pub async fn migrate<DB: Base>(pool: &Pool<DB>) -> Result<Vec<i64>> {
    let nothing = plan(pool, Steps::Up).await?.is_empty();
    DB::check_encoding(pool).await?;
    if nothing && DB::interrupted_migration(pool).await?.is_none() {
        return Ok(Vec::new());
    }
    DB::run_migrations(pool, Steps::Up).await
}

/// Takes back every migration after version `to` (0: all of them, and the history's table),
/// and returns their versions.
///
/// # Errors
/// As [`migrate`]; and [`Error::WouldLose`] when messages would go that were not sent or are held,
/// or sagas that are not over, unless `force`.
pub async fn migrate_down<DB: Base>(pool: &Pool<DB>, to: i64, force: bool) -> Result<Vec<i64>> {
    let steps = Steps::Down { to, force };
    if plan(pool, steps).await?.is_empty() && DB::interrupted_migration(pool).await?.is_none() {
        return Ok(Vec::new());
    }
    DB::run_migrations(pool, steps).await
}

/// Says whether [`migrate_down`] without `force` would refuse because something would be lost; changes
/// nothing. Writers wait for a moment. A run that was cut off was asked before it began.
///
/// # Errors
/// As [`migrate_down`].
pub async fn check_down<DB: Base>(pool: &Pool<DB>, to: i64) -> Result<()> {
    let steps = plan(pool, Steps::Down { to, force: false }).await?;
    if DB::interrupted_migration(pool).await?.is_some() {
        return Ok(());
    }
    let mut tx = begin_by_hand(pool).await?;
    for step in &steps {
        refuse_loss::<DB>(&mut tx, step, *step == steps[0]).await?;
    }
    tx.rollback().await.map_err(Error::database("look for messages that would be lost"))
}

/// The migrations that a run would apply, or take back, in that order. A server that is too old is
/// refused here, before a run writes anything; what is there can still be taken back.
///
/// # Errors
/// As [`migrate`].
pub async fn plan<DB: Base>(pool: &Pool<DB>, steps: Steps) -> Result<Vec<&'static Migration>> {
    if steps == Steps::Up {
        DB::check_server(pool).await?;
    }
    let status = status(pool).await?;
    check_history::<DB>(&status)?;
    Ok(pending::<DB>(&status, steps))
}

/// Where each migration stands, in order of version.
///
/// # Errors
/// [`Error::Database`].
pub async fn status<DB: Base>(pool: &Pool<DB>) -> Result<Vec<MigrationStatus>> {
    Ok(compare::<DB>(DB::applied_migrations(pool).await?))
}

/// Refuses a database whose tables are not those of this program, or whose rows it would not see or
/// read, and a server that is too old.
///
/// # Errors
/// [`Error::Unfit`]: the server is too old, the encoding is not UTF-8, or row level security hides
/// rows from this role. [`Error::NotMigrated`], [`Error::SchemaOlder`], [`Error::SchemaNewer`],
/// [`Error::HistoryEdited`], [`Error::MigrationInterrupted`], [`Error::Database`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// // For a service that leaves its migrations to the operator.
/// syncline::storage::check_schema(&pool).await?;
/// # Ok(()) }
/// ```
pub async fn check_schema<DB: Base>(pool: &Pool<DB>) -> Result<()> {
    DB::check_server(pool).await?;
    let status = status(pool).await?;
    check_history::<DB>(&status)?;
    if let Some(version) = DB::interrupted_migration(pool).await? {
        return Err(Error::MigrationInterrupted { version });
    }
    let found = status.iter().filter(|m| m.state == MigrationState::Applied);
    match (found.map(|m| m.version).max(), newest::<DB>()) {
        (None, _) => return Err(Error::NotMigrated),
        (Some(found), needed) if found < needed => {
            return Err(Error::SchemaOlder { found, needed });
        }
        _ => {}
    }
    DB::check_encoding(pool).await?;
    DB::check_visible(pool).await
}

/// Takes `steps` on a connection that has the migrations' lock.
#[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(super) async fn take<DB: Base>(
    connection: &mut DB::Connection,
    steps: Steps,
) -> Result<Vec<i64>> {
    connection.ensure_migrations_table(HISTORY).await.map_err(failed)?;
    let todo = todo::<DB>(connection, steps).await?;
    for step in &todo {
        match steps {
            Steps::Up => {
                let up = embedded(step, MigrationType::ReversibleUp, step.up);
                connection.apply(HISTORY, &up).await.map_err(failed)?;
            }
            Steps::Down { force, .. } => {
                if !force {
                    refuse_loss::<DB>(connection, step, *step == todo[0]).await?;
                }
                let down = embedded(step, MigrationType::ReversibleDown, step.down);
                connection.revert(HISTORY, &down).await.map_err(failed)?;
            }
        }
    }
    Ok(todo.iter().map(|step| step.version).collect())
}

/// What `steps` are, by the history as it is under the lock.
#[cfg_attr(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(super) async fn todo<DB: Base>(
    connection: &mut DB::Connection,
    steps: Steps,
) -> Result<Vec<&'static Migration>> {
    let applied = connection.list_applied_migrations(HISTORY).await.map_err(failed)?;
    let applied = applied.into_iter().map(|m| AppliedMigration {
        version: m.version,
        name: String::new(),
        checksum: m.checksum.into_owned(),
        at: DateTime::default(),
    });
    let status = compare::<DB>(applied.collect());
    check_history::<DB>(&status)?;
    Ok(pending::<DB>(&status, steps))
}

/// Before a step is taken back: whether messages would go with its tables.
pub(super) async fn refuse_loss<DB: Base>(
    connection: &mut DB::Connection,
    step: &Migration,
    first: bool,
) -> Result<()> {
    match DB::lost_with(connection, step.version, first).await? {
        0 => Ok(()),
        count => Err(Error::WouldLose { version: step.version, name: step.name, count }),
    }
}

pub(super) fn embedded(
    step: &Migration,
    kind: MigrationType,
    sql: &'static str,
) -> sqlx::migrate::Migration {
    sqlx::migrate::Migration::new(step.version, step.name.into(), kind, sql.into_sql_str(), false)
}

pub(super) fn failed(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(source) => Error::Database { action: "migrate", source },
        MigrateError::ExecuteMigration(source, version) => {
            Error::MigrationFailed { version, source, after: "nothing was changed".to_owned() }
        }
        other => Error::Migration(other.to_string()),
    }
}

fn newest<DB: Base>() -> i64 {
    DB::MIGRATIONS.last().map_or(0, |last| last.version)
}

/// The history against what this program holds.
fn compare<DB: Base>(applied: Vec<AppliedMigration>) -> Vec<MigrationStatus> {
    let mut status: Vec<_> = applied.into_iter().map(state_of::<DB>).collect();
    for known in DB::MIGRATIONS {
        if status.iter().all(|m| m.version != known.version) {
            let (version, name) = (known.version, known.name.to_owned());
            status.push(MigrationStatus {
                version,
                name,
                state: MigrationState::Pending,
                at: None,
            });
        }
    }
    status.sort_by_key(|m| m.version);
    status
}

fn state_of<DB: Base>(applied: AppliedMigration) -> MigrationStatus {
    let AppliedMigration { version, name, checksum, at } = applied;
    let state = match DB::MIGRATIONS.iter().find(|known| known.version == version) {
        None => MigrationState::Unknown,
        Some(known) => {
            let known = embedded(known, MigrationType::ReversibleUp, known.up);
            let text: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
            let former = DB::FORMER.contains(&(version, text.as_str()));
            match *known.checksum == *checksum || former {
                true => MigrationState::Applied,
                false => MigrationState::Edited,
            }
        }
    };
    MigrationStatus { version, name, state, at: Some(at) }
}

/// Refuses to touch what a newer program, or somebody by hand, has made.
fn check_history<DB: Base>(status: &[MigrationStatus]) -> Result<()> {
    if let Some(edited) = status.iter().find(|m| m.state == MigrationState::Edited) {
        return Err(Error::HistoryEdited { version: edited.version });
    }
    match status.iter().rfind(|m| m.state == MigrationState::Unknown) {
        Some(found) => Err(Error::SchemaNewer { found: found.version, known: newest::<DB>() }),
        None => Ok(()),
    }
}

fn pending<DB: Base>(status: &[MigrationStatus], steps: Steps) -> Vec<&'static Migration> {
    let state =
        |known: &&Migration| status.iter().find(|m| m.version == known.version).map(|m| m.state);
    let known = DB::MIGRATIONS.iter();
    match steps {
        Steps::Up => known.filter(|m| state(m) == Some(MigrationState::Pending)).collect(),
        Steps::Down { to, .. } => known
            .rev()
            .filter(|m| m.version > to && state(m) == Some(MigrationState::Applied))
            .collect(),
    }
}

/// The tables that a migration's SQL drops, and columns of others as `table.column`: what is lost when it
/// is taken back.
pub fn dropped(sql: &'static str) -> (Vec<&'static str>, Vec<String>) {
    let (mut tables, mut columns) = (Vec::new(), Vec::new());
    for statement in sql.split(';') {
        let lines = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
        let words: Vec<&'static str> = lines.flat_map(str::split_whitespace).collect();
        let plain = |word: &'static str| word.trim_matches([',', '`', '"']);
        match words.as_slice() {
            ["DROP", "TABLE", rest @ ..] => {
                tables.extend(rest.iter().map(|w| plain(w)).filter(|w| w.starts_with("syncline_")));
            }
            ["ALTER", "TABLE", table, rest @ ..] => {
                let pairs = rest.windows(3).filter(|three| three[..2] == ["DROP", "COLUMN"]);
                columns.extend(pairs.map(|three| format!("{}.{}", plain(table), plain(three[2]))));
            }
            _ => {}
        }
    }
    (tables, columns)
}

#[cfg(test)]
mod tests {
    use super::dropped;

    #[test]
    fn what_a_step_drops_is_read_from_its_own_sql() {
        let sql = "-- DROP TABLE no;\nDROP TABLE syncline_a;\nALTER TABLE syncline_b\n    DROP KEY k,\n    DROP COLUMN c,\n    DROP COLUMN d,\n    ALGORITHM = COPY;\nDROP TABLE IF EXISTS syncline_e, `syncline_f`;";
        let (tables, columns) = dropped(sql);
        assert_eq!(tables, ["syncline_a", "syncline_e", "syncline_f"]);
        assert_eq!(columns, ["syncline_b.c", "syncline_b.d"]);
    }
}
