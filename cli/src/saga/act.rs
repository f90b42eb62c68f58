//! `syncline saga retry`, `resend`, `skip` and `cancel`: what the engine decides.

use std::time::{Duration, Instant};

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

use super::{Named, Who, failing, instance, open, over};
use crate::{
    ask::Consent,
    failure::{Failure, Outcome},
    output::Output,
};

/// The longest wait for the engine to decide.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Retry {
    /// The instance
    #[arg(required_unless_present = "failing", conflicts_with = "failing")]
    id: Option<Named>,
    /// The step
    #[arg(conflicts_with = "failing")]
    step: Option<String>,
    /// Every step that fails: one that waits for its next attempt, or that was given up
    #[arg(long)]
    failing: bool,
    /// With --failing: only of this saga
    #[arg(long, requires = "failing", value_name = "NAME")]
    saga: Option<String>,
    #[command(flatten)]
    who: Who,
}

#[derive(clap::Args)]
pub(crate) struct Resend {
    /// The instance
    id: Named,
    /// The step
    step: String,
    #[command(flatten)]
    who: Who,
}

#[derive(clap::Args)]
pub(crate) struct Skip {
    /// The instance
    id: Named,
    /// The step
    step: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    consent: Consent,
}

#[derive(clap::Args)]
pub(crate) struct Cancel {
    /// The instance
    id: Named,
    #[command(flatten)]
    who: Who,
}

pub(crate) async fn retry<DB: Storage>(
    args: &Retry,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Some(id) = &args.id else {
        return failing::retry(args.saga.as_deref(), &args.who, pool, output).await;
    };
    let id = id.find(pool).await?;
    let shown = open(pool, id).await?;
    match &args.step {
        Some(step) if !rests(&shown, step) => has_failed(&shown, step)?,
        None if shown.summary.problem.is_none() => {
            return Err(Failure::failed(format!(
                "the engine can decide saga {id}: name the step that is to be tried again, see \
                 `syncline saga show {id}`"
            )));
        }
        _ => {}
    }
    act(id, Act::Retry(args.step.clone()), &args.who, pool, output).await
}

pub(crate) async fn resend<DB: Storage>(
    args: &Resend,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let (id, step) = (args.id.find(pool).await?, &args.step);
    let shown = open(pool, id).await?;
    match shown.state.as_ref().map(|state| state.phase(step)) {
        Ok(None) => return Err(no_step(id, step)),
        Ok(Some(phase)) if !phase.is_under_way() => {
            return Err(Failure::failed(format!(
                "no answer of step {step:?} of saga {id} is awaited, it is {}",
                super::show::word(phase)
            )));
        }
        _ => {}
    }
    act(id, Act::Resend(step.clone()), &args.who, pool, output).await
}

fn no_step(id: Uuid, step: &str) -> Failure {
    Failure::not_found(format!("saga {id} has no step {step:?}: see `syncline saga show {id}`"))
}

pub(crate) async fn skip<DB: Storage>(
    args: &Skip,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let id = args.id.find(pool).await?;
    let shown = open(pool, id).await?;
    has_failed(&shown, &args.step)?;
    if !args.consent.is_given() {
        let step = &args.step;
        super::preview(&shown, output)?;
        output.note(
            "a step that is skipped is never done, or never taken back: see to it in another way",
        )?;
        if !args.consent.obtain(output, &format!("go on without step {step:?} of saga {id}"))? {
            return Ok(Outcome::Done);
        }
    }
    act(id, Act::Skip(args.step.clone()), &args.who, pool, output).await
}

pub(crate) async fn cancel<DB: Storage>(
    args: &Cancel,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let id = args.id.find(pool).await?;
    open(pool, id).await?;
    act(id, Act::Cancel, &args.who, pool, output).await
}

/// Whether a step waits for its next attempt.
fn rests(shown: &Shown, step: &str) -> bool {
    let phase = shown.state.as_ref().ok().and_then(|state| state.phase(step));
    matches!(phase, Some(Phase::Resting | Phase::UndoResting))
}

/// Whether a step waits for an operator, as far as this program can read it.
fn has_failed(shown: &Shown, step: &str) -> Result<(), Failure> {
    let Ok(state) = &shown.state else { return Ok(()) };
    let id = shown.summary.id;
    match state.phase(step) {
        Some(Phase::Failed | Phase::UndoFailed) => Ok(()),
        Some(phase) if phase.is_under_way() => Err(Failure::failed(format!(
            "step {step:?} of saga {id} has not failed, it is {}: if its answer does not come, have \
             its command sent again with `syncline saga resend {id} {step}`",
            super::show::word(phase)
        ))),
        Some(phase) => Err(Failure::failed(format!(
            "step {step:?} of saga {id} has not failed, it is {}",
            super::show::word(phase)
        ))),
        None => Err(no_step(id, step)),
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
        Act::Resend(step) => {
            ("resend", format!("to send the command of step {step:?} of saga {id} again"))
        }
        Act::Skip(step) => ("skip", format!("to go on without step {step:?} of saga {id}")),
        Act::Resolve => ("resolve", format!("to end saga {id} as it is")),
    };
    let decides = act != Act::Retry(None);
    let before = instance(pool, id).await?.log.len();
    let asked = async {
        if !operate::act(pool, id, act, &who.by()).await? {
            // It has ended meanwhile.
            return Err(over(&instance(pool, id).await?.summary));
        }
        Ok((1, decides && decided(pool, id, before).await?))
    };
    let target = format!("saga {id}: {what}");
    let command = format!("saga {word}");
    let decided = who.operator().record(pool, &command, &target, asked).await?;
    match (output.is_json(), decided) {
        (true, _) => output.json(&json!({"saga": id, "asked": word, "decided": decided}))?,
        (false, true) => output.line(format!("done: the engine was asked {what}"))?,
        (false, false) => {
            output.line(format!("the engine is asked {what}; see `syncline saga show {id}`"))?;
            if decides {
                output.note("no engine has decided it yet: it does when one runs")?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// Whether the engine has decided what it was asked, within a while; an error when that changed
/// nothing.
async fn decided<DB: Storage>(pool: &Pool<DB>, id: Uuid, before: usize) -> Result<bool, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let shown = instance(pool, id).await?;
        let of_operators = ["cancelled", "retried", "resend", "skipped", "resolved"];
        for line in shown.log.iter().skip(before) {
            let detail = line.detail.as_deref().unwrap_or_default();
            if of_operators.contains(&line.what.as_str()) {
                return Ok(true);
            }
            if line.what == "ignored" && of_operators.iter().any(|word| detail.starts_with(word)) {
                return Err(Failure::unchanged(format!(
                    "nothing has changed, saga {id} is {}: {detail}{}",
                    shown.summary.status,
                    awaited(&shown)
                )));
            }
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The way out when an answer does not come.
pub(super) fn awaited(shown: &Shown) -> String {
    let Ok(state) = &shown.state else { return String::new() };
    let id = shown.summary.id;
    let open = state.steps.iter().find(|(_, step)| step.phase.is_under_way());
    open.map_or_else(String::new, |(step, _)| {
        format!(
            "; the answer of step {step:?} is awaited, have its command sent again with `syncline saga \
             resend {id} {step}`"
        )
    })
}
