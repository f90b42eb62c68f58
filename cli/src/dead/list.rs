//! `syncline dead list`.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{Storage, storage::HeldMessage};

use crate::{
    failure::{Failure, Outcome},
    layout::{cut, spare, text as whole_text, whole},
    output::{Output, cut_off},
    text,
};

/// How many are shown.
const LIMIT: i64 = 100;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also messages that are tried again by themselves, or wait behind another
    #[arg(long)]
    held: bool,
    /// Begin after this id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    /// At most so many
    #[arg(short = 'n', value_name = "MESSAGES", default_value_t = LIMIT,
        value_parser = clap::value_parser!(i64).range(1..=10_000))]
    number: i64,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let mut found = DB::held(pool, args.held, args.after, args.number + 1).await?;
    let more = cut_off(&mut found, usize::try_from(args.number).unwrap_or(usize::MAX));
    if output.is_json() {
        output.list(found.iter().map(summary), more)?;
        return Ok(Outcome::Done);
    }
    if found.is_empty() {
        output.line(if args.held { "nothing is held" } else { "no dead letters" })?;
        return Ok(Outcome::Done);
    }
    let rows = found.iter().map(|held| {
        [
            held.id.to_string(),
            state(held).to_owned(),
            held.consumer.clone(),
            held.source.clone(),
            held.topic.clone(),
            held.key.clone(),
            held.attempts.to_string(),
            text::ago(Some(held.held_at)),
            held.error.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let columns = [
        whole("id"),
        whole("state"),
        cut("consumer"),
        cut("source"),
        cut("topic"),
        cut("key"),
        whole("tries"),
        spare("held_at"),
        whole_text("error"),
    ];
    output.table(columns, rows)?;
    if more {
        let last = found.last().map_or(0, |held| held.id);
        output.note(&format!("there are more: --after {last}"))?;
    }
    Ok(Outcome::Done)
}

/// `dead`, or why it is held.
pub(crate) fn state(held: &HeldMessage) -> &str {
    if held.dead { "dead" } else { &held.reason }
}

/// All of it but the envelope.
pub(crate) fn summary(held: &HeldMessage) -> Value {
    json!({
        "id": held.id,
        "state": state(held),
        "consumer": held.consumer,
        "source": held.source,
        "topic": held.topic,
        "key": held.key,
        "message_id": held.message_id,
        "position": held.position,
        "tries": held.attempts,
        "held_at": text::at(held.held_at),
        "error": held.error,
        "edited_by": held.edited.as_ref().map(|edited| &edited.by),
        "edited_at": text::at(held.edited.as_ref().map(|edited| edited.at)),
    })
}
