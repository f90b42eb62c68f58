//! `syncline outbox lag`.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    storage::{Delayed, Kept, RouteLag, ShardKey},
    streams::{self, Uncarried, Unread},
};

use crate::{
    failure::{Failure, Outcome},
    layout::{cut, spare, whole},
    output::Output,
    standing::{self, pause, problem, shard, state},
    text,
};

/// What has been open for so long is said to hold retention back.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The most messages of the log that are looked through for those that no stream carries.
pub(crate) const LOOK: u32 = 10_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Exit with 1 when a route is further behind than so many messages; those that have no position
    /// yet count
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(i64).range(0..))]
    max_behind: Option<i64>,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let unsealed = DB::unsealed(pool).await?;
    let writer = DB::oldest_writer(pool).await?;
    let head = DB::head(pool).await?;
    let routes = DB::route_lags(pool).await?;
    let kept = DB::kept(pool, LONG).await?;
    let Delayed { waiting, next } = DB::delayed(pool).await?;
    let standby = DB::is_standby(pool).await?;
    let uncarried = streams::uncarried(pool, LOOK).await?;
    let waits = streams::waiting(pool).await?;
    let unread = streams::unread(pool).await?;
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
                    "oldest_at": text::at(route.oldest),
                    "updated_at": text::at(route.updated_at),
                    "state": state(route),
                    "waits": why(&waits, route),
                    "alarm_at": text::at(route.alarm_at),
                    "problem": problem(route),
                    "pause": pause(route),
                })
            })
            .collect();
        let writer = writer.map(|writer| json!({"who": writer.who, "age_seconds": writer.age}));
        let held_back: Vec<Value> = kept
            .held_back
            .iter()
            .map(|(what, age)| json!({"what": what, "age_seconds": age.as_secs()}))
            .collect();
        let delayed = json!({"waiting": waiting, "next_at": text::at(next)});
        output.json(&json!({
            "head": head, "unsealed": unsealed, "delayed": delayed, "oldest_writer": writer,
            "trimmed": kept.trimmed, "bytes": kept.bytes, "held_back": held_back, "routes": routes,
            "standby": standby,
            "uncarried": uncarried,
            "unread": unread.iter().map(reaches_nobody).collect::<Vec<_>>(),
        }))?;
    } else {
        output.line(format!(
            "log: up to position {head}; {} {} none yet",
            text::count(unsealed, "committed message"),
            text::verb(unsealed, "has", "have")
        ))?;
        if standby {
            output.line(
                "this server is a standby: it may be behind, and what holds messages or retention \
                 back is told by the primary only",
            )?;
        }
        if let Some(next) = next {
            let next = text::time(next);
            output.line(format!(
                "delayed: {waiting} {} to be put into it, the next one at {next}",
                text::verb(waiting, "waits", "wait")
            ))?;
        }
        if let Some(writer) = writer {
            output.line(format!(
                "held back: what {} has written, whose transaction has been open for {} s",
                text::escape(&writer.who),
                writer.age
            ))?;
        }
        for line in size(&kept) {
            output.line(line)?;
        }
        for line in lost(&uncarried) {
            output.line(line)?;
        }
        for line in self::waiting(&waits) {
            output.line(line)?;
        }
        for unread in &unread {
            output.line(text::escape(&unread.to_string()))?;
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
                    state(route).to_owned(),
                ]
            });
            let columns = [
                cut("route"),
                cut("stream"),
                whole("shard"),
                whole("position"),
                whole("behind"),
                spare("oldest_at"),
                spare("updated_at"),
                whole("state"),
            ];
            output.table(columns, rows)?;
            for standing in standing::of(pool, &routes, &waits).await? {
                output.line(standing.line)?;
            }
        }
    }
    // Messages without a position are behind, too: no route has them.
    let worst = routes.iter().map(|route| route.behind).max().unwrap_or(0).saturating_add(unsealed);
    let late = args.max_behind.is_some_and(|max| worst > max);
    Ok(if late { Outcome::Failing } else { Outcome::Done })
}

/// A stream that nobody reads, as JSON.
fn reaches_nobody(unread: &Unread) -> Value {
    let Unread { stream, version, shards, first, read, quiet, .. } = unread;
    json!({
        "stream": stream, "version": version, "shards": shards, "first": first, "read": read,
        "quiet_seconds": quiet.as_secs(),
    })
}

/// What is kept, and what keeps it from being less.
pub(crate) fn size(kept: &Kept) -> Vec<String> {
    let mib = kept.bytes / (1 << 20);
    let mut lines = vec![format!(
        "kept: after position {}, {}, {mib} MiB",
        kept.trimmed,
        text::count(kept.head.0 - kept.trimmed.0, "message")
    )];
    let held = |(what, age): &(String, Duration)| {
        format!("retention waits for {what}, open for {} s", age.as_secs())
    };
    lines.extend(kept.held_back.iter().map(held));
    lines
}

/// Lines about the topics that no stream carries.
pub(crate) fn lost(uncarried: &[Uncarried]) -> impl Iterator<Item = String> {
    uncarried.iter().map(|one| {
        let Uncarried { topic, messages, first, last, carried_after, .. } = one;
        let (topic, count) = (text::escape(topic), text::count(*messages, "message"));
        match carried_after {
            None => format!(
                "no stream carries {topic}: {count} of the log's last {LOOK}, at positions {first} to \
                 {last}, {} sent nowhere",
                text::verb(*messages, "is", "are")
            ),
            Some(after) => format!(
                "{count} of {topic} before position {}, the last one at {last}, {} sent to nobody: no \
                 stream carried the topic then. Enqueue again what is needed, or let a new stream \
                 begin at the start of the log",
                after.0 + 1,
                text::verb(*messages, "was", "were")
            ),
        }
    })
}

/// The routes that wait for another stream, each once.
pub(crate) fn waiting(waits: &[(ShardKey, String)]) -> Vec<String> {
    let mut lines: Vec<_> =
        waits.iter().map(|(key, why)| format!("route {} waits: {why}", key.route)).collect();
    lines.dedup();
    lines
}

/// The reason why a shard waits, if it does.
pub(crate) fn why<'a>(waits: &'a [(ShardKey, String)], route: &RouteLag) -> Option<&'a str> {
    let of = |key: &ShardKey| {
        key.route == route.route && (key.version, key.shard) == (route.version, route.shard)
    };
    waits.iter().find(|(key, _)| of(key)).map(|(_, why)| why.as_str())
}
