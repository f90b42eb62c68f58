//! `syncline saga resolve`.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    saga::operate::{self, Act},
};

use super::{Named, Who, open};
use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The instance
    id: Named,
    #[command(flatten)]
    who: Who,
    /// Yes, what its steps have left behind is settled in another way
    #[arg(long)]
    yes: bool,
    /// End it here and now, without an engine: one that no engine can decide
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    if !args.yes {
        return Err(Failure::usage(
            "a resolved saga ends as it is, and nothing more is done or taken back: see to what is \
             left of it, then add --yes",
        ));
    }
    let id = args.id.find(pool).await?;
    let shown = open(pool, id).await?;
    if args.force {
        if !operate::force_resolve(pool, id, &args.who.by()).await? {
            return Err(Failure::failed(format!(
                "saga {id} is not stuck, and nothing of it has waited for an engine for a minute{}",
                super::act::awaited(&shown)
            )));
        }
        match output.is_json() {
            true => output.json(&json!({"saga": id, "resolved": true}))?,
            false => output.line(format!("saga {id} is over; its locks and timers are gone"))?,
        }
        return Ok(Outcome::Done);
    }
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
    super::act::act(id, Act::Resolve, &args.who, pool, output).await
}
