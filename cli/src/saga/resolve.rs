//! `syncline saga resolve`.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    saga::operate::{self, Act, Shown},
};

use super::{Named, Who, open};
use crate::{
    ask::Consent,
    failure::{Failure, Outcome},
    output::Output,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The instance
    id: Named,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    consent: Consent,
    /// End it here and now, without an engine: one that no engine can decide
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let id = args.id.find(pool).await?;
    let shown = open(pool, id).await?;
    if !args.force {
        resolvable(&shown)?;
    }
    if !args.consent.is_given() {
        super::preview(&shown, output)?;
        output.note("a resolved saga ends as it is, and nothing more is done or taken back")?;
        if !args.consent.obtain(output, &format!("end saga {id} as it is"))? {
            return Ok(Outcome::Done);
        }
    }
    if args.force {
        let act = async {
            match operate::force_resolve(pool, id, &args.who.by()).await? {
                true => Ok((1, ())),
                false => Err(Failure::failed(format!(
                    "saga {id} is not stuck, and nothing of it has waited for an engine for a minute{}",
                    super::act::awaited(&shown)
                ))),
            }
        };
        let who = args.who.operator();
        who.record(pool, "saga resolve --force", &format!("saga {id}"), act).await?;
        match output.is_json() {
            true => output.json(&json!({"saga": id, "resolved": true}))?,
            false => output.line(format!("saga {id} is over; its locks and timers are gone"))?,
        }
        return Ok(Outcome::Done);
    }
    super::act::act(id, Act::Resolve, &args.who, pool, output).await
}

/// Whether the engine would resolve it.
fn resolvable(shown: &Shown) -> Result<(), Failure> {
    let id = shown.summary.id;
    if let Some(problem) = &shown.summary.problem {
        return Err(Failure::failed(format!(
            "the engine cannot decide saga {id} ({problem}): add --force"
        )));
    }
    if shown.summary.stuck_at.is_none() {
        return Err(Failure::failed(format!(
            "saga {id} is {}, not stuck: only a stuck one is resolved; one whose version no engine \
             has takes --force",
            shown.summary.status
        )));
    }
    Ok(())
}
