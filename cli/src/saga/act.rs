//! `syncline saga retry`, `skip` and `cancel`: what the engine decides.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    saga::{
        Phase,
        operate::{self, Act, Shown},
    },
};
use uuid::Uuid;

use super::{Who, instance, open, over};
use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

#[derive(clap::Args)]
pub(crate) struct Retry {
    /// The instance
    id: Uuid,
    /// The step
    step: Option<String>,
    #[command(flatten)]
    who: Who,
}

#[derive(clap::Args)]
pub(crate) struct Skip {
    /// The instance
    id: Uuid,
    /// The step
    step: String,
    #[command(flatten)]
    who: Who,
    /// Yes, what this step does, or takes back, is settled in another way
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
pub(crate) struct Cancel {
    /// The instance
    id: Uuid,
    #[command(flatten)]
    who: Who,
}

pub(crate) async fn retry<DB: Storage>(
    args: &Retry,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let shown = open(pool, args.id).await?;
    match &args.step {
        Some(step) => has_failed(&shown, step)?,
        None if shown.summary.problem.is_none() => {
            return Err(Failure::failed(format!(
                "the engine can decide saga {}: name the step that is to be tried again, see \
                 `syncline saga show {}`",
                args.id, args.id
            )));
        }
        None => {}
    }
    act(args.id, Act::Retry(args.step.clone()), &args.who, pool, output).await
}

pub(crate) async fn skip<DB: Storage>(
    args: &Skip,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    if !args.yes {
        return Err(Failure::usage(
            "a step that is skipped is never done, or never taken back: see to it in another way, \
             then add --yes",
        ));
    }
    has_failed(&open(pool, args.id).await?, &args.step)?;
    act(args.id, Act::Skip(args.step.clone()), &args.who, pool, output).await
}

pub(crate) async fn cancel<DB: Storage>(
    args: &Cancel,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    open(pool, args.id).await?;
    act(args.id, Act::Cancel, &args.who, pool, output).await
}

/// Whether a step waits for an operator, as far as this program can read it.
fn has_failed(shown: &Shown, step: &str) -> Result<(), Failure> {
    let Ok(state) = &shown.state else { return Ok(()) };
    let id = shown.summary.id;
    match state.phase(step) {
        Some(Phase::Failed | Phase::UndoFailed) => Ok(()),
        Some(phase) => Err(Failure::failed(format!(
            "step {step:?} of saga {id} has not failed, it is {}",
            super::show::word(phase)
        ))),
        None => Err(Failure::failed(format!(
            "saga {id} has no step {step:?}: see `syncline saga show {id}`"
        ))),
    }
}

/// Hands it to the engine.
pub(super) async fn act<DB: Storage>(
    id: Uuid,
    act: Act,
    who: &Who,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let (word, what) = match &act {
        Act::Cancel => ("cancel", format!("to take back saga {id}")),
        Act::Retry(Some(step)) => ("retry", format!("to try step {step:?} of saga {id} again")),
        Act::Retry(None) => ("retry", format!("to look at saga {id} again")),
        Act::Skip(step) => ("skip", format!("to go on without step {step:?} of saga {id}")),
        Act::Resolve => ("resolve", format!("to end saga {id} as it is")),
    };
    if !operate::act(pool, id, act, &who.by()).await? {
        // It has ended meanwhile.
        return Err(over(&instance(pool, id).await?.summary));
    }
    if output.is_json() {
        output.json(&json!({"saga": id, "asked": word}))?;
    } else {
        output.line(format!("the engine is asked {what}; see `syncline saga show {id}`"))?;
    }
    Ok(Outcome::Done)
}
