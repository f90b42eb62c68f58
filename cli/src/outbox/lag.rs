//! `syncline outbox lag`.

use chrono::SecondsFormat;
use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    storage::{Delayed, RouteLag},
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Exit with 1 when a route is further behind than so many messages
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(i64).range(0..))]
    max_behind: Option<i64>,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let unsealed = DB::unsealed(pool).await?;
    let head = DB::head(pool).await?;
    let routes = DB::route_lags(pool).await?;
    let Delayed { waiting, next } = DB::delayed(pool).await?;
    if output.is_json() {
        let routes: Vec<Value> = routes
            .iter()
            .map(|route| {
                json!({
                    "route": route.route,
                    "stream": route.stream,
                    "version": route.version,
                    "shard": route.shard,
                    "paused": route.paused,
                    "position": route.position,
                    "behind": route.behind,
                    "oldest": route.oldest,
                    "updated_at": route.updated_at,
                })
            })
            .collect();
        let delayed = json!({"waiting": waiting, "next": next});
        output.json(&json!({
            "head": head, "unsealed": unsealed, "delayed": delayed, "routes": routes
        }))?;
    } else {
        output.line(format!(
            "log: up to position {head}; {unsealed} committed messages have none yet"
        ))?;
        if let Some(next) = next {
            let next = next.to_rfc3339_opts(SecondsFormat::Millis, true);
            output.line(format!(
                "delayed: {waiting} wait to be put into it, the next one at {next}"
            ))?;
        }
        if routes.is_empty() {
            output.line("no route yet: a relay makes its routes when it starts")?;
        } else {
            output.line("")?;
            let rows = routes.iter().map(|route| {
                [
                    route.route.clone(),
                    route.stream.clone(),
                    shard(route),
                    route.position.to_string(),
                    route.behind.to_string(),
                    text::ago(route.oldest),
                    text::ago(Some(route.updated_at)),
                ]
            });
            let header = ["route", "stream", "shard", "position", "behind", "oldest", "checkpoint"];
            output.table(header, rows)?;
        }
    }
    let worst = routes.iter().map(|route| route.behind).max().unwrap_or(0);
    let late = args.max_behind.is_some_and(|max| worst > max);
    Ok(if late { Outcome::Not } else { Outcome::Done })
}

/// The shard, with the version of its stream where that is not the first.
pub(crate) fn shard(route: &RouteLag) -> String {
    match route.version {
        1 => route.shard.to_string(),
        version => format!("{} of v{version}", route.shard),
    }
}
