//! What an operator does with routes: look, pause, let go on, send again. The relay need not
//! stop for it: it notices within a third of its lease.

use sqlx::Pool;

use crate::{
    Error, Result, Storage,
    message::Position,
    storage::{NewPause, NewShard, RouteRow},
    streams,
};

/// The shards of `route` (of every route, with `None`), in order, also those that are closed.
///
/// # Errors
/// [`Error::Database`].
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
/// [`Error::Database`].
pub async fn pause<DB: Storage>(pool: &Pool<DB>, route: &str) -> Result<bool> {
    Ok(DB::set_paused(pool, route, true).await? > 0)
}

/// As [`pause`], and keeps by whom and why: `route list`, `outbox lag` and the relay's status and log
/// show it. Each is cut to 2,000 characters.
///
/// # Errors
/// [`Error::Database`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// let why = "the login service is being moved";
/// let known = syncline::routes::pause_because(&pool, "login", "ada", why).await?;
/// # let _ = known;
/// # Ok(()) }
/// ```
pub async fn pause_because<DB: Storage>(
    pool: &Pool<DB>,
    route: &str,
    by: &str,
    why: &str,
) -> Result<bool> {
    let pause = NewPause { by: Some(by), why: Some(why) };
    Ok(DB::set_pause(pool, route, Some(&pause)).await? > 0)
}

/// Lets a paused `route` go on. False when there is no such route.
///
/// # Errors
/// [`Error::Database`].
pub async fn resume<DB: Storage>(pool: &Pool<DB>, route: &str) -> Result<bool> {
    Ok(DB::set_paused(pool, route, false).await? > 0)
}

/// Sends `route` again what follows `position`, in every version of its stream. Its consumers
/// know what they have applied: it has no second effect. What the relays under way still save
/// is refused. False when there is no such route, or the log does not reach so far.
///
/// Nothing is skipped by it: forward it goes only over what is no longer kept.
///
/// # Errors
/// [`Error::Definition`] when a shard has not sent all up to `position`, and
/// [`Error::Trimmed`] when what follows it is no longer kept; nothing is changed then.
/// [`Error::Database`].
pub async fn rewind<DB: Storage>(pool: &Pool<DB>, route: &str, position: Position) -> Result<bool> {
    let rows = list(pool, Some(route)).await?;
    let Some(first) = rows.first() else { return Ok(false) };
    if position < Position::START || position > DB::head(pool).await? {
        return Ok(false);
    }
    let mut versions = DB::streams(pool).await?;
    versions.retain(|version| version.name == first.stream);
    let place = |row: RouteRow| {
        let of = versions.iter().find(|known| known.version == row.key.version);
        let until = of.and_then(|of| streams::ends(&versions, of));
        let at = position.max(of.map_or(Position::START, |of| of.after));
        let at = at.min(until.unwrap_or(at));
        let closed = until.is_some_and(|until| until <= position);
        NewShard { key: row.key, at, closed }
    };
    let to: Vec<_> = rows.iter().cloned().map(place).collect();
    let kept = DB::trimmed(pool).await?.position;
    let reach = |row: &RouteRow| row.checkpoint.cursor.position.max(kept);
    let unsent = rows.iter().zip(&to).filter(|(row, to)| !row.closed && to.at > reach(row));
    if let Some((row, _)) = unsent.min_by_key(|(row, _)| reach(row)) {
        return Err(unsent_before(row, reach(row), position));
    }
    DB::rewind(pool, &to).await?;
    Ok(true)
}

/// That a rewind would go over what a shard has not sent.
fn unsent_before(row: &RouteRow, reach: Position, position: Position) -> Error {
    let RouteRow { key, stream, checkpoint, .. } = row;
    let (at, shard) = (checkpoint.cursor.position, key.shard);
    let problem = format!(
        "shard {shard} has sent up to position {at} only, and a rewind skips nothing: rewind to {reach} \
         or before it; what the consumer is to do without is given up there (`syncline inbox skip \
         CONSUMER --source SOURCE --stream {stream} --shard {shard} --to {position} --log-ends \
         {position}`), and the route goes on from there by itself"
    );
    Error::Definition { what: "route", name: key.route.clone(), problem }
}
