//! `syncline route list`.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{Storage, streams};

use crate::{
    failure::{Failure, Outcome},
    layout::{cut, whole},
    outbox::lag::{waiting, why},
    output::Output,
    standing::{self, pause, problem, shard, state},
    text,
};

pub(crate) async fn run<DB: Storage>(
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let routes = DB::route_lags(pool).await?;
    let waits = streams::waiting(pool).await?;
    if output.is_json() {
        let routes: Vec<Value> = routes
            .iter()
            .map(|route| {
                json!({
                    "route": route.route,
                    "stream": route.stream,
                    "version": route.version,
                    "shard": route.shard,
                    "state": state(route),
                    "waits": why(&waits, route),
                    "paused": route.paused,
                    "alarm_at": text::at(route.alarm_at),
                    "problem": problem(route),
                    "pause": pause(route),
                    "position": route.position,
                    "behind": route.behind,
                    "oldest_at": text::at(route.oldest),
                    "updated_at": text::at(route.updated_at),
                })
            })
            .collect();
        output.list(routes, false)?;
        return Ok(Outcome::Done);
    }
    if routes.is_empty() {
        output.line("no route yet: a relay makes its routes when it starts")?;
        return Ok(Outcome::Done);
    }
    let rows = routes.iter().map(|route| {
        [
            route.route.clone(),
            route.stream.clone(),
            shard(route),
            match why(&waits, route) {
                Some(_) => "waits".to_owned(),
                None => state(route).to_owned(),
            },
            route.position.to_string(),
            route.behind.to_string(),
            text::ago(Some(route.updated_at)),
        ]
    });
    let columns = [
        cut("route"),
        cut("stream"),
        whole("shard"),
        whole("state"),
        whole("position"),
        whole("behind"),
        whole("updated_at"),
    ];
    output.table(columns, rows)?;
    let standing = standing::of(pool, &routes, &waits).await?;
    for line in standing.into_iter().map(|one| one.line).chain(waiting(&waits)) {
        output.line(line)?;
    }
    Ok(Outcome::Done)
}
