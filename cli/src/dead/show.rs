//! `syncline dead show`.

use serde::Serialize;
use serde_json::{Value, value::RawValue};
use sqlx::Pool;
use syncline::Storage;

use super::list::{state, summary};
use crate::{
    failure::{Failure, Outcome},
    output::Output,
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The id that `dead list` shows
    id: i64,
}

/// The envelope as it came in, down to the digits of its numbers.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    summary: Value,
    envelope: Option<Box<RawValue>>,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let held = super::held(pool, args.id).await?.ok_or_else(|| {
        Failure::not_found(format!(
            "no message is held under id {}: see `syncline dead list`",
            args.id
        ))
    })?;
    let envelope = String::from_utf8_lossy(&held.envelope);
    if output.is_json() {
        let envelope = RawValue::from_string(envelope.into_owned()).ok();
        output.json(&Document { summary: summary(&held), envelope })?;
        return Ok(Outcome::Done);
    }
    let edited = held.edited.as_ref();
    let edited = edited.map(|edited| format!("{} by {}", text::time(edited.at), edited.by));
    let rows = [
        ("id", held.id.to_string()),
        ("state", state(&held).to_owned()),
        ("consumer", held.consumer.clone()),
        ("source", held.source.clone()),
        ("topic", held.topic.clone()),
        ("key", held.key.clone()),
        ("message_id", held.message_id.to_string()),
        ("position", held.position.to_string()),
        ("tries", held.attempts.to_string()),
        ("held_at", format!("{} ({})", text::time(held.held_at), text::ago(Some(held.held_at)))),
        ("error", held.error.clone().unwrap_or("-".to_owned())),
        ("edited_at", edited.unwrap_or("-".to_owned())),
    ];
    output.fields(rows)?;
    output.line("")?;
    for line in pretty(&envelope).lines() {
        output.line(text::escape(line))?;
    }
    Ok(Outcome::Done)
}

fn pretty(json: &str) -> String {
    let parsed = serde_json::from_str::<Value>(json);
    parsed.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or(json.to_owned())
}
