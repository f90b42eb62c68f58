//! Removing what is no longer kept. Partitions are emptied and dropped whole, which leaves nothing
//! to vacuum; a role that does not own the outbox deletes rows instead.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor, PgPool};

use crate::{
    Error, Result, begin,
    message::Position,
    storage::{
        Cursor, Swept,
        shared::{STEP, millis},
    },
};

/// So many empty partitions are dropped together: each time writers wait for a moment.
const DROP_AT: usize = 3;
/// SQLSTATE lock_not_available.
const LOCKED: &str = "55P03";
/// SQLSTATE insufficient_privilege.
const DENIED: &str = "42501";

/// Where the trim point can go: the end of a seal, so that seals stay whole.
pub(super) async fn trim_to(pool: &PgPool, from: Cursor, goal: Position) -> Result<Option<Cursor>> {
    let near = goal.0.min(from.position.0.saturating_add(STEP));
    // A seal may be larger than a step.
    for (goal, seals) in [(near, STEP), (goal.0, 1)] {
        let to: Option<(i64, i64)> = sqlx::query_as(include_str!("sql/trim_to.sql"))
            .bind(from.seal)
            .bind(goal)
            .bind(seals)
            .fetch_optional(pool)
            .await
            .map_err(Error::database("find where to trim the log"))?;
        if let Some((position, seal)) = to {
            return Ok(Some(Cursor { position: Position(position), seal, seq: 0 }));
        }
    }
    Ok(None)
}

/// Whether the role may make partitions and empty them; none without a partitioned outbox.
pub(super) async fn owner(pool: &PgPool) -> Result<Option<bool>> {
    sqlx::query_scalar(include_str!("sql/partition_owner.sql"))
        .fetch_optional(pool)
        .await
        .map_err(Error::database("look who owns the outbox"))
}

async fn is_owner(pool: &PgPool) -> Result<bool> {
    Ok(owner(pool).await?.unwrap_or(false))
}

/// Partitions with bounds.
struct Partition {
    name: String,
    low: i64,
    high: i64,
    bytes: i64,
    /// The statement that does it.
    empty: String,
}

async fn partitions(pool: &PgPool) -> Result<Vec<Partition>> {
    let rows: Vec<(String, i64, i64, i64, String)> =
        sqlx::query_as(include_str!("sql/partitions.sql"))
            .fetch_all(pool)
            .await
            .map_err(Error::database("read the partitions of the outbox"))?;
    let partition = |(name, low, high, bytes, empty)| Partition { name, low, high, bytes, empty };
    Ok(rows.into_iter().map(partition).collect())
}

/// Keeps two partitions ahead of the writers, who wait for none of it.
pub(super) async fn extend(pool: &PgPool, messages: i64) -> Result<()> {
    if !is_owner(pool).await? {
        return Ok(());
    }
    // As many as are missing at the most; each is a step of its own.
    for _ in 0..3 {
        let top = partitions(pool).await?.iter().map(|part| part.high).max().unwrap_or(0);
        let statements: Option<String> = sqlx::query_scalar(include_str!("sql/partition_next.sql"))
            .bind(messages)
            .bind(top)
            .fetch_optional(pool)
            .await
            .map_err(Error::database("look whether a partition is missing"))?;
        let Some(statements) = statements else { return Ok(()) };
        if !alter(pool, statements).await? {
            // The default partition takes what comes meanwhile.
            return Ok(());
        }
    }
    Ok(())
}

/// Runs statements that change tables, unless a lock is not free; false then. Their text was made
/// by the server, of quoted names.
async fn alter(pool: &PgPool, statements: String) -> Result<bool> {
    let failed = "change the partitions of the outbox";
    let mut tx = begin(pool).await?;
    let session = include_str!("sql/partition_session.sql");
    tx.execute(sqlx::raw_sql(session)).await.map_err(Error::database(failed))?;
    match tx.execute(sqlx::raw_sql(AssertSqlSafe(statements))).await {
        Ok(_) => tx.commit().await.map_err(Error::database(failed))?,
        Err(error) if has_code(&error, LOCKED) => return Ok(false),
        Err(error) => return Err(Error::database(failed)(error)),
    }
    Ok(true)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some(code)
}

/// One step of removing rows, of at most `most` where it goes row by row.
pub(super) async fn sweep(pool: &PgPool, most: i64) -> Result<Swept> {
    let failed = "remove what is no longer kept";
    let mut swept = Swept::default();
    let floor: Option<i64> = sqlx::query_scalar(include_str!("sql/sweep_floor.sql"))
        .fetch_optional(pool)
        .await
        .map_err(Error::database(failed))?;
    let floor = floor.unwrap_or(0);
    let rows = match is_owner(pool).await? {
        true => {
            sweep_partitions(pool, floor, &mut swept).await?;
            include_str!("sql/sweep_default.sql")
        }
        false => include_str!("sql/sweep_rows.sql"),
    };
    let gone = sqlx::query(rows).bind(floor).bind(most).execute(pool).await;
    let gone = gone.map_err(Error::database(failed))?.rows_affected();
    let seals = sqlx::query(include_str!("sql/sweep_seals.sql")).bind(most).execute(pool).await;
    let seals = seals.map_err(Error::database(failed))?.rows_affected();
    swept.rows = gone + seals;
    swept.more = gone.max(seals) >= most.unsigned_abs();
    Ok(swept)
}

/// Empties the partitions whose rows are all at or below `floor`, and drops the empty ones now and
/// then.
async fn sweep_partitions(pool: &PgPool, floor: i64, swept: &mut Swept) -> Result<()> {
    let done = partitions(pool).await?.into_iter().take_while(|part| part.high - 1 <= floor);
    let mut emptied = Vec::new();
    for Partition { name, low, high, bytes, empty } in done {
        if bytes > 0 {
            if !alter(pool, empty).await? {
                swept.locked = true;
                continue;
            }
            tracing::info!(partition = name, low, high, bytes, "a part of the outbox was emptied");
            swept.partitions += 1;
        }
        emptied.push(name);
    }
    if emptied.len() >= DROP_AT {
        let drop: String = sqlx::query_scalar(include_str!("sql/partition_drop.sql"))
            .bind(&emptied)
            .fetch_one(pool)
            .await
            .map_err(Error::database("drop empty partitions"))?;
        match alter(pool, drop).await? {
            true => swept.partitions += emptied.len() as u64,
            false => swept.locked = true,
        }
    }
    Ok(())
}

/// What keeps rows from being removed, as far as this role sees it.
pub(super) async fn held_back(pool: &PgPool, longer: Duration) -> Result<Vec<(String, Duration)>> {
    let rows = sqlx::query_as(include_str!("sql/held_back.sql"));
    let rows = rows.bind(millis(longer)).fetch_all(pool).await;
    let rows: Vec<(String, i64)> = match rows {
        Err(error) if has_code(&error, DENIED) => Vec::new(),
        rows => rows.map_err(Error::database("look what holds retention back"))?,
    };
    let age = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
    Ok(rows.into_iter().map(|(what, seconds)| (what, age(seconds))).collect())
}
