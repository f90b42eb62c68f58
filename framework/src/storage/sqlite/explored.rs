//! What the crash explorer of the test kit writes beside the effects of the steps that it watches.

use sqlx::{Row, Sqlite, SqlitePool, Transaction};
use uuid::Uuid;

use crate::{Error, Result};

/// One effect of a step, written in the transaction that had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effected {
    pub(crate) saga: Uuid,
    pub(crate) step: String,
    /// Of its compensation, else of its action.
    pub(crate) undo: bool,
    /// Its place among all effects of a run, over all databases.
    pub(crate) at: i64,
}

/// Makes the explorer's table, and the user's own by his statements.
pub(crate) async fn create(pool: &SqlitePool, tables: &[String]) -> Result<()> {
    let made = sqlx::query(include_str!("sql/explored_table.sql")).execute(pool).await;
    made.map_err(Error::database("make the explorer's table"))?;
    for sql in tables {
        let made = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(pool).await;
        made.map_err(Error::database("make the tables of a service to be explored"))?;
    }
    // A pool that is closed may have a connection that is not yet: all of it must be in the file
    // that each run copies.
    let written = sqlx::query(include_str!("sql/explored_checkpoint.sql")).execute(pool).await;
    written.map(drop).map_err(Error::database("write the service to be explored to its file"))
}

pub(crate) async fn add(tx: &mut Transaction<'_, Sqlite>, effect: &Effected) -> Result<()> {
    let added = sqlx::query(include_str!("sql/explored_add.sql"))
        .bind(effect.saga)
        .bind(&effect.step)
        .bind(effect.undo)
        .bind(effect.at)
        .execute(&mut **tx)
        .await;
    added.map(drop).map_err(Error::database("note an effect for the explorer"))
}

pub(crate) async fn list(pool: &SqlitePool) -> Result<Vec<Effected>> {
    let rows = sqlx::query(include_str!("sql/explored_list.sql")).fetch_all(pool).await;
    let rows = rows.and_then(|rows| {
        let read = |row: sqlx::sqlite::SqliteRow| {
            Ok(Effected {
                saga: row.try_get(0)?,
                step: row.try_get(1)?,
                undo: row.try_get(2)?,
                at: row.try_get(3)?,
            })
        };
        rows.into_iter().map(read).collect()
    });
    rows.map_err(Error::database("read the effects that the explorer has noted"))
}

/// How long it takes until the next timer of a saga is due, in milliseconds; none without one.
pub(crate) async fn next_timer(pool: &SqlitePool) -> Result<Option<i64>> {
    let next = sqlx::query_scalar(include_str!("sql/explored_next_timer.sql")).fetch_one(pool);
    next.await.map_err(Error::database("read the sagas' timers"))
}

/// Lets so many milliseconds pass for the sagas' timers.
pub(crate) async fn hasten(pool: &SqlitePool, by: i64) -> Result<()> {
    let hastened = sqlx::query(include_str!("sql/explored_hasten.sql")).bind(by).execute(pool);
    hastened.await.map(drop).map_err(Error::database("let time pass for the sagas' timers"))
}

/// Forgets the timers, as a process that keeps them in memory does when it dies.
pub(crate) async fn lose_timers(pool: &SqlitePool) -> Result<()> {
    let lost = sqlx::query(include_str!("sql/explored_lose_timers.sql")).execute(pool).await;
    lost.map(drop).map_err(Error::database("lose the sagas' timers"))
}

/// The state of an instance as it is stored, and why it cannot be decided.
pub(crate) async fn state(pool: &SqlitePool, id: Uuid) -> Result<(String, Option<String>)> {
    let row = sqlx::query_as(include_str!("sql/explored_state.sql")).bind(id).fetch_one(pool).await;
    row.map_err(Error::database("read an instance for the explorer"))
}
