//! `syncline saga`: instances of sagas, and an operator's hand on them.

mod act;
mod check;
mod failing;
mod find;
mod list;
mod resolve;
mod show;

use clap::{Subcommand, builder::NonEmptyStringValueParser};
use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    saga::operate::{self, By},
    storage::{SagaSummary, check_schema},
};
use uuid::Uuid;

use crate::{
    ask,
    failure::{Failure, Outcome},
    output::Output,
    schema::to_look,
    text,
};

pub(crate) use find::Named;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Instances, the newest first
    List(list::Args),
    /// One instance as a tree: its steps with what became of them, when, and why
    Show(show::Args),
    /// Have a step that has failed tried again, or one that waits for its next attempt at once; without
    /// one, have the engine look again at an instance that it could not decide; with --failing, all of it
    Retry(act::Retry),
    /// Have the command of a step sent again whose answer does not come
    Resend(act::Resend),
    /// Go on without a step that has failed
    Skip(act::Skip),
    /// Take an instance back, if its pivot is not applied
    Cancel(act::Cancel),
    /// Declare a stuck instance settled: it ends as it is
    Resolve(resolve::Args),
    /// Whether a deployment has every version that instances still need
    Check(check::Args),
}

/// Who does something, and why: both stand in the instance's log.
#[derive(clap::Args)]
pub(crate) struct Who {
    /// Name to record; the user of the operating system and the machine unless given
    #[arg(long, value_name = "NAME", default_value_t = ask::operator(), hide_default_value = true,
        value_parser = NonEmptyStringValueParser::new())]
    by: String,
    /// Why
    #[arg(long, value_name = "REASON")]
    why: String,
}

impl Who {
    pub(crate) fn by(&self) -> By {
        By { who: self.by.clone(), why: self.why.clone() }
    }

    /// As it is recorded with all that operators do.
    pub(crate) fn operator(&self) -> ask::Who {
        ask::Who { by: self.by.clone(), why: self.why.clone() }
    }
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::List(_) | Command::Show(_) | Command::Check(_) => to_look(pool, output).await?,
        _ => check_schema(pool).await?,
    }
    match command {
        Command::List(args) => list::run(args, pool, output).await,
        Command::Show(args) => show::run(args, pool, output).await,
        Command::Retry(args) => act::retry(args, pool, output).await,
        Command::Resend(args) => act::resend(args, pool, output).await,
        Command::Skip(args) => act::skip(args, pool, output).await,
        Command::Cancel(args) => act::cancel(args, pool, output).await,
        Command::Resolve(args) => resolve::run(args, pool, output).await,
        Command::Check(args) => check::run(args, pool, output).await,
    }
}

/// An instance that is there.
async fn instance<DB: Storage>(pool: &Pool<DB>, id: Uuid) -> Result<operate::Shown, Failure> {
    let shown = operate::show(pool, id).await?;
    shown.ok_or_else(|| {
        Failure::not_found(format!("there is no saga {id}: see `syncline saga list`"))
    })
}

/// One that is not over, too.
async fn open<DB: Storage>(pool: &Pool<DB>, id: Uuid) -> Result<operate::Shown, Failure> {
    let shown = instance(pool, id).await?;
    match shown.summary.ended_at {
        Some(_) => Err(over(&shown.summary)),
        None => Ok(shown),
    }
}

/// Tells of an instance what an operator is asked about.
fn preview(shown: &operate::Shown, output: &mut Output) -> Result<(), Failure> {
    let SagaSummary { id, saga, version, key, status, started_at, .. } = &shown.summary;
    if output.is_json() {
        return output.json(&json!({"saga": id, "status": status, "would_change": true}));
    }
    output.line(text::escape(&format!(
        "{saga}@{version} {id} (key {key:?}) is {status}, started {}",
        text::time(*started_at)
    )))
}

fn over(summary: &SagaSummary) -> Failure {
    Failure::unchanged(format!("saga {} is over: it is {}", summary.id, summary.status))
}
