//! Migrations: each DDL statement commits by itself, so the progress of a run is kept in a table,
//! statement by statement. A run that was cut off is finished by the next one.
//!
//! Before a statement it is noted as in flight; a statement that changes rows commits together
//! with the note that it is done. So only a DDL statement that was in flight when the run was cut
//! off is doubtful, and it is run again: that it was done already is then no error.

use std::time::Duration;

use sqlx::{Connection, Executor, MySqlConnection, MySqlPool, migrate::Migrate};
use syncline_migrations::Migration;
use tokio::time::timeout;

use super::session;
use crate::{
    Error, Result,
    error::mysql_number,
    storage::{Steps, migrate},
};

/// What a DDL statement says that was done before: a table, a column, a key, a procedure or a CHECK is
/// there already, or is not there (1050, 1060, 1061, 1304, MariaDB's 1826, MySQL's 3822; 1051, 1091,
/// MySQL's 3940).
const DONE: [u16; 9] = [1050, 1060, 1061, 1304, 1826, 3822, 1051, 1091, 3940];

/// Time limit on closing a connection.
const CLOSING: Duration = Duration::from_secs(5);

/// Making or dropping one is refused to whoever has locked tables, as the way back has.
const PROCEDURE: &str = " PROCEDURE ";

/// A migration that is half done.
#[derive(Debug, Clone, Copy)]
struct Step {
    version: i64,
    up: bool,
    done: i64,
    in_flight: bool,
}

pub(super) async fn run(pool: &MySqlPool, steps: Steps) -> Result<Vec<i64>> {
    session::check_database(pool).await?;
    let connection = pool.acquire().await.map_err(Error::database("migrate"))?;
    // A connection of its own: its locks and settings go with it, also when the run is cancelled.
    let mut connection = connection.detach();
    let done = run_alone(pool, &mut connection, steps).await;
    drop(timeout(CLOSING, connection.close()).await);
    done
}

/// The statements of a migration: each ends with `;` and an empty line.
pub(super) fn statements(sql: &'static str) -> impl Iterator<Item = &'static str> {
    let trimmed = sql.split(";\n\n").map(|statement| statement.trim().trim_end_matches(';'));
    trimmed.filter(|statement| !statement.is_empty())
}

async fn run_alone(
    pool: &MySqlPool,
    connection: &mut MySqlConnection,
    steps: Steps,
) -> Result<Vec<i64>> {
    raw(connection, include_str!("sql/migrate_session.sql")).await?;
    let locked: Option<i32> = sqlx::query_scalar(include_str!("sql/migrate_lock.sql"))
        .fetch_one(&mut *connection)
        .await
        .map_err(Error::database("wait for another migration"))?;
    if locked != Some(1) {
        return Err(Error::MigrationBusy);
    }
    connection.ensure_migrations_table(migrate::HISTORY).await.map_err(migrate::failed)?;
    raw(connection, include_str!("sql/step_table.sql")).await?;
    let mut done = Vec::new();
    if let Some(step) = half_done(&mut *connection).await? {
        let migration = known(step.version)?;
        finish(pool, connection, migration, &step).await?;
        if step.up == (steps == Steps::Up) {
            done.push(step.version);
        }
    }
    let todo = migrate::todo::<sqlx::MySql>(connection, steps).await?;
    if let Steps::Down { force, .. } = steps {
        take_back_locked(connection, &todo, force).await?;
    }
    for migration in todo {
        let step =
            Step { version: migration.version, up: steps == Steps::Up, done: 0, in_flight: false };
        sqlx::query(include_str!("sql/step_begin.sql"))
            .bind(step.version)
            .bind(step.up)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        commit(connection).await?;
        finish(pool, connection, migration, &step).await?;
        done.push(migration.version);
    }
    if matches!(steps, Steps::Down { to: ..=0, .. }) {
        raw(connection, include_str!("sql/migrations_drop.sql")).await?;
    }
    Ok(done)
}

/// Locks every table of ours until the run ends, and looks whether messages would go.
async fn take_back_locked(
    connection: &mut MySqlConnection,
    todo: &[&'static Migration],
    force: bool,
) -> Result<()> {
    let lock: Option<String> = sqlx::query_scalar(include_str!("sql/lock_tables.sql"))
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    // Made by the server of the names of our tables, which are of letters only.
    let lock = sqlx::AssertSqlSafe(lock.unwrap_or_default());
    connection.execute(sqlx::raw_sql(lock)).await.map_err(failed)?;
    if !force {
        for step in todo {
            migrate::refuse_loss::<sqlx::MySql>(connection, step, *step == todo[0]).await?;
        }
    }
    Ok(())
}

/// Runs the statements that are left, and then writes the history.
async fn finish(
    pool: &MySqlPool,
    connection: &mut MySqlConnection,
    migration: &'static Migration,
    step: &Step,
) -> Result<()> {
    let sql = if step.up { migration.up } else { migration.down };
    for (number, statement) in
        (0..).zip(statements(sql)).skip(usize::try_from(step.done).unwrap_or(0))
    {
        note(connection, step.version, number, true).await?;
        let doubtful = step.in_flight && number == step.done;
        let run = match !step.up && statement.contains(PROCEDURE) {
            true => elsewhere(pool, statement).await,
            false => connection.execute(sqlx::raw_sql(statement)).await.map(drop),
        };
        match run {
            Ok(()) => {}
            Err(error) if doubtful && mysql_number(&error).is_some_and(|n| DONE.contains(&n)) => {}
            Err(error) => {
                // It answered, so the statement was not done.
                if error.as_database_error().is_some() {
                    note(connection, step.version, number, false).await?;
                }
                let after = format!(
                    "it stopped at its statement {}: remove the cause and run it again, it goes on \
                     there",
                    number + 1
                );
                return Err(Error::MigrationFailed { version: step.version, source: error, after });
            }
        }
        note(connection, step.version, number + 1, false).await?;
    }
    let history = match step.up {
        true => {
            let applied =
                migrate::embedded(migration, sqlx::migrate::MigrationType::ReversibleUp, sql);
            sqlx::query(include_str!("sql/history_add.sql"))
                .bind(migration.version)
                .bind(migration.name)
                .bind(applied.checksum.into_owned())
                .execute(&mut *connection)
                .await
        }
        false => {
            sqlx::query(include_str!("sql/history_remove.sql"))
                .bind(migration.version)
                .execute(&mut *connection)
                .await
        }
    };
    history.map_err(failed)?;
    sqlx::query(include_str!("sql/step_end.sql"))
        .bind(step.version)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    commit(connection).await
}

/// Runs a statement on another connection, with this one's settings.
async fn elsewhere(pool: &MySqlPool, statement: &'static str) -> sqlx::Result<()> {
    let mut other = pool.acquire().await?.detach();
    other.execute(sqlx::raw_sql(include_str!("sql/migrate_session.sql"))).await?;
    let done = other.execute(sqlx::raw_sql(statement)).await;
    drop(timeout(CLOSING, other.close()).await);
    done.map(drop)
}

/// Notes how many statements are done and whether the next one runs; commits.
async fn note(c: &mut MySqlConnection, version: i64, done: i64, in_flight: bool) -> Result<()> {
    sqlx::query(include_str!("sql/step_set.sql"))
        .bind(done)
        .bind(in_flight)
        .bind(version)
        .execute(&mut *c)
        .await
        .map_err(failed)?;
    commit(c).await
}

async fn commit(connection: &mut MySqlConnection) -> Result<()> {
    raw(connection, "COMMIT").await
}

async fn raw(connection: &mut MySqlConnection, sql: &'static str) -> Result<()> {
    connection.execute(sqlx::raw_sql(sql)).await.map(drop).map_err(failed)
}

fn failed(error: sqlx::Error) -> Error {
    Error::database("migrate")(error)
}

fn known(version: i64) -> Result<&'static Migration> {
    let all = syncline_migrations::MYSQL;
    all.iter().find(|known| known.version == version).ok_or(Error::SchemaNewer {
        found: version,
        known: all.last().map_or(0, |last| last.version),
    })
}

async fn half_done<'c, E>(executor: E) -> Result<Option<Step>>
where
    E: sqlx::Executor<'c, Database = sqlx::MySql>,
{
    let step: Option<(i64, bool, i64, bool)> = sqlx::query_as(include_str!("sql/step_get.sql"))
        .fetch_optional(executor)
        .await
        .map_err(Error::database("look for a migration that is half done"))?;
    Ok(step.map(|(version, up, done, in_flight)| Step { version, up, done, in_flight }))
}

/// The migration that is half done.
pub(super) async fn interrupted(pool: &MySqlPool) -> Result<Option<i64>> {
    match half_done(pool).await {
        Ok(step) => Ok(step.map(|step| step.version)),
        Err(Error::NotMigrated) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn lost_with(
    connection: &mut MySqlConnection,
    version: i64,
    first: bool,
) -> Result<i64> {
    let statement = match version {
        8 => include_str!("sql/lost_delayed.sql"),
        9 => include_str!("sql/lost_saga.sql"),
        5 => include_str!("sql/lost_ahead.sql"),
        4 => include_str!("sql/lost_shards.sql"),
        3 => include_str!("sql/lost_held.sql"),
        2 => include_str!("sql/lost_unsent.sql"),
        // What was unsent was asked when the routes went.
        1 if first => include_str!("sql/lost_log.sql"),
        _ => return Ok(0),
    };
    sqlx::query_scalar(statement)
        .fetch_one(connection)
        .await
        .map_err(Error::database("look for messages that would be lost"))
}
