//! `syncline dead drop`.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    held::{drop_dead, drop_failing},
    storage::HeldMessage,
};

use super::{Undone, summary};
use crate::{
    ask::{Consent, Who},
    failure::{Failure, Outcome},
    output::Output,
    text,
};

/// The longest error text that is shown with a message.
const ERROR: usize = 80;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ids that `dead list` shows
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
    /// Also messages that have failed and are still tried again by themselves
    #[arg(long)]
    failing: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    who: Who,
}

impl Args {
    /// Whether a message is one that is dropped.
    fn takes(&self, held: &HeldMessage) -> bool {
        held.dead || held.reason == "unknown" || self.failing && held.reason != "behind"
    }
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    if !args.consent.is_given() {
        let (mut goes, mut stays) = (Vec::new(), Vec::new());
        for id in &args.ids {
            match super::held(pool, *id).await?.filter(|held| args.takes(held)) {
                Some(held) => goes.push(held),
                None => stays.push(super::why_not(pool, *id).await?),
            }
        }
        if goes.is_empty() {
            return super::report(output, "dropped", &[], &stays, None);
        }
        show(&goes, &stays, output)?;
        let act = format!("drop {} for good", text::count(goes.len(), "message"));
        if !args.consent.obtain(output, &act)? {
            return Ok(Outcome::Done);
        }
    }
    let ids: Vec<_> = args.ids.iter().map(ToString::to_string).collect();
    let act = async {
        let (mut done, mut undone) = (Vec::new(), Vec::new());
        for id in &args.ids {
            let dropped = match args.failing {
                true => drop_failing(pool, *id).await?,
                false => drop_dead(pool, *id).await?,
            };
            match dropped {
                true => done.push(*id),
                false => undone.push(super::why_not(pool, *id).await?),
            }
        }
        Ok((done.len() as u64, (done, undone)))
    };
    let target = format!("messages {}", ids.join(" "));
    let (done, undone) = args.who.record(pool, "dead drop", &target, act).await?;
    super::report(output, "dropped", &done, &undone, None)
}

/// Tells what would go, and what would not.
fn show(goes: &[HeldMessage], stays: &[Undone], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let goes: Vec<_> = goes.iter().map(summary).collect();
        let stays: Vec<_> = stays.iter().map(|one| one.id).collect();
        return output.json(&json!({"would_drop": goes, "not_found": stays}));
    }
    for held in goes {
        let HeldMessage { id, consumer, topic, key, position, error, .. } = held;
        let error = text::cut(error.as_deref().unwrap_or("-"), ERROR);
        let line = format!("{id} of {consumer} goes: {topic}, key {key:?}, position {position}: ");
        output.line(text::escape(&line) + &error)?;
    }
    for one in stays {
        output.line(text::escape(&one.why))?;
    }
    Ok(())
}
