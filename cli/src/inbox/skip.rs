//! `syncline inbox skip`.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    inboxes::{Skip, list, skip},
    message::Position,
};

use super::document;
use crate::{
    failure::{Failure, Outcome},
    output::Output,
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The consumer, as `inbox list` names it
    consumer: String,
    /// The source whose messages are skipped
    #[arg(long)]
    source: String,
    /// The stream
    #[arg(long)]
    stream: String,
    /// Only this shard, and not every one
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    shard: Option<i32>,
    /// The position up to which nothing more is applied
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    to: i64,
    /// Where the source's log ends, as `syncline outbox lag` says there (log: up to position ...): a
    /// position beyond it is refused. Without it, one beyond all that this database has seen of the
    /// source is
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    log_ends: Option<i64>,
    /// Yes, these messages are never to be applied here
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Args { consumer, source, stream, to, .. } = args;
    if !args.yes {
        let known = list(pool, Some(consumer)).await?;
        let behind = known.iter().filter(|inbox| {
            inbox.origin.source == *source
                && inbox.origin.stream == *stream
                && args.shard.is_none_or(|shard| shard == inbox.origin.shard)
        });
        let most: i64 = behind.map(|inbox| (to - inbox.row.watermark.0).max(0)).max().unwrap_or(0);
        let ends = match args.log_ends {
            Some(_) => "",
            None => {
                ", and with --log-ends where the source's log ends, as `syncline outbox lag` says there"
            }
        };
        return Err(Failure::usage(format!(
            "the messages of {source} {stream} at up to {most} positions, up to {to}, would NEVER \
             be applied by {consumer}; to give them up, add --yes{ends}"
        )));
    }
    let lost = Skip {
        consumer: consumer.clone(),
        source: source.clone(),
        stream: stream.clone(),
        shard: args.shard,
        to: Position(*to),
        log_ends: args.log_ends.map(Position),
    };
    let moved = skip(pool, &lost).await?;
    if output.is_json() {
        let moved: Vec<_> = moved.iter().map(document).collect();
        output.json(&json!({"to": to, "moved": moved}))?;
        return Ok(Outcome::Done);
    }
    for inbox in moved {
        let (at, shard) = (inbox.row.watermark, inbox.origin.shard);
        output.line(text::escape(&format!(
            "{consumer} was at {at} in shard {shard} of {source} {stream} (version {}); the messages \
             at up to {} positions are never applied here",
            inbox.origin.version,
            to - at.0,
        )))?;
    }
    output.line(format!(
        "the source goes on from there when it next hears from this consumer; where it no longer \
         keeps what was between, after `syncline route rewind ROUTE --to {to}` there"
    ))?;
    Ok(Outcome::Done)
}
