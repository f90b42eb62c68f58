//! What an operator does with routes: look, pause, let go on, send again. The relay need not
//! stop for it: it notices within a third of its lease.

use sqlx::Pool;

use crate::{
    Result, Storage,
    message::Position,
    storage::{NewShard, RouteRow},
};

/// The shards of `route` (of every route, with `None`), in order, also those that are closed.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// for shard in syncline::routes::list(&pool, Some("login")).await? {
///     println!("{} is at {}", shard.key.shard, shard.checkpoint.cursor.position);
/// }
/// # Ok(()) }
/// ```
pub async fn list<DB: Storage>(pool: &Pool<DB>, route: Option<&str>) -> Result<Vec<RouteRow>> {
    let mut rows = DB::shards(pool).await?;
    rows.retain(|row| route.is_none_or(|route| row.key.route == route));
    Ok(rows)
}

/// Pauses `route`: what is under way is finished, and nothing more is sent. False when there is
/// no such route.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
pub async fn pause<DB: Storage>(pool: &Pool<DB>, route: &str) -> Result<bool> {
    Ok(DB::set_paused(pool, route, true).await? > 0)
}

/// Lets a paused `route` go on. False when there is no such route.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
pub async fn resume<DB: Storage>(pool: &Pool<DB>, route: &str) -> Result<bool> {
    Ok(DB::set_paused(pool, route, false).await? > 0)
}

/// Sends `route` again what follows `position`, in every version of its stream. Its consumers
/// know what they have applied: it has no second effect. What the relays under way still save
/// is refused. False when there is no such route, or the log does not reach so far.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
pub async fn rewind<DB: Storage>(pool: &Pool<DB>, route: &str, position: Position) -> Result<bool> {
    let rows = list(pool, Some(route)).await?;
    let Some(first) = rows.first() else { return Ok(false) };
    if position < Position::START || position > DB::head(pool).await? {
        return Ok(false);
    }
    let mut versions = DB::streams(pool).await?;
    versions.retain(|version| version.name == first.stream);
    let place = |row: RouteRow| {
        let version = row.key.version;
        let after = versions.iter().find(|known| known.version == version).map(|v| v.after);
        let until = versions.iter().find(|known| known.version == version + 1).map(|v| v.after);
        let at = position.max(after.unwrap_or_default());
        let closed = until.is_some_and(|until| until <= position);
        NewShard { key: row.key, at, closed }
    };
    let to: Vec<_> = rows.into_iter().map(place).collect();
    DB::rewind(pool, &to).await?;
    Ok(true)
}
