//! `syncline held retry`.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    held::{ParkedKey, retry_now},
};

use super::unattended;
use crate::{
    ask::Who,
    failure::{Failure, Outcome},
    output::Output,
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The key, as `held list` shows it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    key: Option<String>,
    /// Every key that is parked now
    #[arg(long)]
    all: bool,
    /// Only at this consumer
    #[arg(long)]
    consumer: Option<String>,
    #[command(flatten)]
    who: Who,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    // Before its time is set anew.
    let waits = unattended(pool).await?;
    let consumer = args.consumer.as_deref();
    let act = async {
        let found = retry_now(pool, consumer, args.key.as_deref()).await?;
        Ok((found.iter().filter(|key| !key.blocked).count() as u64, found))
    };
    let target = args.key.as_ref().map_or("all".to_owned(), |key| format!("key {key}"));
    let found = args.who.record(pool, "held retry", &target, act).await?;
    let (blocked, now): (Vec<_>, Vec<_>) = found.into_iter().partition(|key| key.blocked);
    if output.is_json() {
        let [retried, blocked] =
            [&now, &blocked].map(|keys| keys.iter().map(document).collect::<Vec<_>>());
        output.json(&json!({"retried": retried, "blocked": blocked}))?;
    } else {
        for ParkedKey { consumer, key, id, .. } in &now {
            let line = format!("{key} of {consumer}: message {id} is tried now");
            output.line(text::escape(&line))?;
        }
        for key in &blocked {
            output.line(text::escape(&says_blocked(key)))?;
        }
    }
    if now.is_empty() {
        let (outcome, problem) = match (&args.key, blocked.first()) {
            (_, Some(first)) => (Outcome::Refused, says_blocked(first)),
            (Some(key), None) => {
                (Outcome::NotFound, format!("no key {key:?} is parked: see `syncline held list`"))
            }
            (None, None) => (Outcome::Unchanged, "no key is parked".to_owned()),
        };
        // For people a key that is blocked is told above.
        if !output.is_json() && blocked.is_empty() {
            output.line(text::escape(&problem))?;
        }
        return match (output.is_json(), outcome) {
            (false, outcome) => Ok(outcome),
            (true, Outcome::NotFound) => Err(Failure::not_found(problem)),
            (true, Outcome::Unchanged) => Err(Failure::unchanged(problem)),
            (true, _) => Err(Failure::failed(problem)),
        };
    }
    for line in waits {
        output.note(&text::escape(&line))?;
    }
    Ok(Outcome::Done)
}

fn says_blocked(key: &ParkedKey) -> String {
    let ParkedKey { consumer, key, id, .. } = key;
    format!("{key} of {consumer} waits for dead letter {id}: `syncline dead redrive {id}`")
}

fn document(key: &ParkedKey) -> Value {
    json!({"consumer": key.consumer, "source": key.source, "key": key.key, "id": key.id})
}
