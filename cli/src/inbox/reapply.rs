//! `syncline inbox reapply`.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    inboxes::{Reapply, reapply},
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
    /// The source whose messages are applied again
    #[arg(long)]
    source: String,
    /// The stream
    #[arg(long)]
    stream: String,
    /// Only this shard, and not every one
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    shard: Option<i32>,
    /// The position after which messages are applied again; 0 for the whole stream
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    to: i64,
    /// Have all else applied again where commands of the source's sagas were: those get their
    /// recorded answers, and no second effect
    #[arg(long)]
    except_commands: bool,
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
    let again = Reapply {
        consumer: consumer.clone(),
        source: source.clone(),
        stream: stream.clone(),
        shard: args.shard,
        to: Position(*to),
        except_commands: args.except_commands,
    };
    super::is_known(pool, consumer, source, stream, args.shard).await?;
    if !args.consent.is_given() {
        let would = again.preview(pool).await?;
        super::show(&would, *to, output)?;
        let act = format!(
            "have {consumer} apply AGAIN all that it has applied of {source} {stream} after position {to}, \
             so that what its handlers do happens a second time"
        );
        if !args.consent.obtain(output, &act)? {
            return Ok(Outcome::Done);
        }
    }
    let target = format!("{consumer}: {source} {stream} after position {to}");
    let act = async {
        let moved = reapply(pool, &again).await?;
        Ok((moved.len() as u64, moved))
    };
    let moved = args.who.record(pool, "inbox reapply", &target, act).await?;
    if output.is_json() {
        let moved: Vec<_> = moved.iter().map(document).collect();
        output.json(&json!({"to": to, "moved": moved}))?;
        return Ok(Outcome::Done);
    }
    for inbox in moved {
        output.line(text::escape(&format!(
            "{consumer} was at {} in shard {} of {source} {stream} (version {}); it goes back to \
             {to}",
            inbox.row.watermark, inbox.origin.shard, inbox.origin.version,
        )))?;
    }
    output.line(
        "it is sent again when the source next hears from this consumer, or at once after `syncline \
         route rewind` at the source",
    )?;
    Ok(Outcome::Done)
}
