//! `syncline held`: everything that came in and was not applied.

mod retry;

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    storage::{Ahead, OverdueKeys, check_schema},
};

use crate::{
    dead::{state, summary},
    failure::{Failure, Outcome},
    layout::{cut, spare, text as whole_text, whole},
    output::{Output, cut_off},
    schema::to_look,
    text,
};

/// A parked key that was not tried for so long after its time waits in vain, or its consumer is far
/// behind.
const LATE: Duration = Duration::from_secs(30);

#[derive(Subcommand)]
pub(crate) enum Command {
    /// What is held, why, under which key and since when; and what waits for a missing message
    List(Args),
    /// Have parked keys tried again now, and not when their pause is over
    Retry(retry::Args),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Begin after this id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    /// At most so many
    #[arg(short = 'n', value_name = "MESSAGES", default_value_t = 100,
        value_parser = clap::value_parser!(i64).range(1..=10_000))]
    number: i64,
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::List(_) => to_look(pool, output).await?,
        Command::Retry(_) => check_schema(pool).await?,
    }
    match command {
        Command::List(args) => list(args, pool, output).await,
        Command::Retry(args) => retry::run(args, pool, output).await,
    }
}

/// Parked keys that nobody tries, a line for each consumer.
pub(crate) async fn unattended<DB: Storage>(
    pool: &Pool<DB>,
) -> Result<Vec<String>, syncline::Error> {
    let says = |OverdueKeys { consumer, keys, since }| {
        format!(
            "{consumer}: {} {} to be tried since {} ({}), and nobody has",
            text::count(keys, "parked key"),
            text::verb(keys, "was", "were"),
            text::time(since),
            text::ago(Some(since))
        )
    };
    Ok(DB::overdue_keys(pool, None, LATE).await?.into_iter().map(says).collect())
}

/// The advice to it.
pub(crate) const START_IT: &str = "see that a process of the consumer runs and takes messages in, and that it has started the consumer \
     (`Consumer::start`), which `build` alone does not";

async fn list<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let mut held = DB::held(pool, true, args.after, args.number + 1).await?;
    let more = cut_off(&mut held, usize::try_from(args.number).unwrap_or(usize::MAX));
    let early: Vec<Ahead> = DB::ahead(pool, None).await?;
    let early: Vec<&Ahead> = early.iter().filter(|early| early.waiting > 0).collect();
    if output.is_json() {
        let early = early.iter().map(|early| {
            json!({
                "consumer": early.consumer,
                "source": early.origin.source,
                "stream": early.origin.stream,
                "shard": early.origin.shard,
                "waiting": early.waiting,
                "bytes": early.bytes,
                "since_at": text::at(early.since),
                "applied": early.row.last.position,
                "first": early.first,
            })
        });
        let held: Vec<_> = held.iter().map(summary).collect();
        let early: Vec<_> = early.collect();
        let overdue: Vec<_> = DB::overdue_keys(pool, None, LATE).await?;
        let overdue = overdue.iter().map(
            |OverdueKeys { consumer, keys, since }| json!({"consumer": consumer, "keys": keys, "since_at": text::at(*since)}),
        );
        let overdue: Vec<_> = overdue.collect();
        output.json(&json!({"items": held, "more": more, "early": early, "overdue": overdue}))?;
        return Ok(Outcome::Done);
    }
    if held.is_empty() && early.is_empty() {
        output.line("nothing is held")?;
    }
    if !held.is_empty() {
        let since = |at: DateTime<Utc>| text::ago(Some(at));
        let rows = held.iter().map(|held| {
            [
                held.id.to_string(),
                state(held).to_owned(),
                held.consumer.clone(),
                held.topic.clone(),
                held.key.clone(),
                held.position.to_string(),
                held.attempts.to_string(),
                since(held.held_at),
                held.error.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        let columns = [
            whole("id"),
            whole("state"),
            cut("consumer"),
            cut("topic"),
            cut("key"),
            whole("position"),
            whole("tries"),
            spare("held_at"),
            whole_text("error"),
        ];
        output.table(columns, rows)?;
    }
    for early in early {
        output.line(text::escape(&format!(
            "{}: {} of {} {} (shard {}) {} since {} for what is missing after position {}; the first \
             is {}",
            early.consumer,
            text::count(early.waiting, "message"),
            early.origin.source,
            early.origin.stream,
            early.origin.shard,
            text::verb(early.waiting, "waits", "wait"),
            text::time(early.since),
            early.row.last.position,
            early.first,
        )))?;
    }
    for line in unattended(pool).await? {
        output.line(text::escape(&format!("{line}: {START_IT}")))?;
    }
    if more {
        let last = held.last().map_or(0, |held| held.id);
        output.note(&format!("there are more: --after {last}"))?;
    }
    Ok(Outcome::Done)
}
