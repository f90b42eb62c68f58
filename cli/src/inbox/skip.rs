//! `syncline inbox skip`.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    inboxes::{Skip, skip},
    message::Position,
};

use super::document;
use crate::{
    ask::{Consent, Who},
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
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    who: Who,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Args { consumer, source, stream, to, .. } = args;
    let lost = Skip {
        consumer: consumer.clone(),
        source: source.clone(),
        stream: stream.clone(),
        shard: args.shard,
        to: Position(*to),
        log_ends: args.log_ends.map(Position),
    };
    super::is_known(pool, consumer, source, stream, args.shard).await?;
    if !args.consent.is_given() {
        let would = lost.preview(pool).await?;
        super::show(&would, *to, output)?;
        let most = would.iter().map(|inbox| to - inbox.row.watermark.0).max().unwrap_or(0);
        let most = text::count(most, "position");
        let act = format!(
            "have {consumer} NEVER apply the messages of {source} {stream} at up to {most}, up to {to}"
        );
        if !args.consent.obtain(output, &act)? {
            return Ok(Outcome::Done);
        }
    }
    let target = format!("{consumer}: {source} {stream} up to position {to}");
    let act = async {
        let moved = skip(pool, &lost).await?;
        Ok((moved.len() as u64, moved))
    };
    let moved = args.who.record(pool, "inbox skip", &target, act).await?;
    if output.is_json() {
        let moved: Vec<_> = moved.iter().map(document).collect();
        output.json(&json!({"to": to, "moved": moved}))?;
        return Ok(Outcome::Done);
    }
    for inbox in moved {
        let (at, shard) = (inbox.row.watermark, inbox.origin.shard);
        output.line(text::escape(&format!(
            "{consumer} was at {at} in shard {shard} of {source} {stream} (version {}); the messages \
             at up to {} are never applied here",
            inbox.origin.version,
            text::count(to - at.0, "position"),
        )))?;
    }
    output.line(format!(
        "the source goes on from there when it next hears from this consumer; where it no longer \
         keeps what was between, after `syncline route rewind ROUTE --to {to}` there"
    ))?;
    Ok(Outcome::Done)
}
