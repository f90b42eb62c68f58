//! `syncline dead`: messages that came in and failed for good.

mod drop;
mod edit;
mod list;
mod redrive;
mod show;

use clap::Subcommand;
use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    storage::{HeldMessage, check_schema},
};

use crate::{
    database::said,
    failure::{Failure, Outcome},
    output::Output,
    schema::to_look,
    text,
};

pub(crate) use list::{state, summary};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Dead letters, the oldest first
    List(list::Args),
    /// One held message with its error and its envelope
    Show(show::Args),
    /// Give a held message another payload; what it was at first is kept
    Edit(edit::Args),
    /// Have dead letters tried again, now
    Redrive(redrive::Args),
    /// Give dead letters up for good; what waits behind them flows on
    Drop(drop::Args),
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::List(_) | Command::Show(_) => to_look(pool, output).await?,
        _ => check_schema(pool).await?,
    }
    match command {
        Command::List(args) => list::run(args, pool, output).await,
        Command::Show(args) => show::run(args, pool, output).await,
        Command::Edit(args) => edit::run(args, pool, output).await,
        Command::Redrive(args) => redrive::run(args, pool, output).await,
        Command::Drop(args) => drop::run(args, pool, output).await,
    }
}

/// A message that nothing is done to.
struct Undone {
    id: i64,
    /// Whether it is held at all.
    held: bool,
    why: String,
}

/// Says what became of each id, and why of each that nothing was done to; `none` is why nothing was found
/// to do. That there is one is an outcome of its own.
fn report(
    output: &mut Output,
    word: &str,
    done: &[i64],
    undone: &[Undone],
    none: Option<String>,
) -> Result<Outcome, Failure> {
    let outcome = match undone.iter().find(|undone| !undone.held).or(undone.first()) {
        Some(Undone { held: false, .. }) => Outcome::NotFound,
        Some(_) => Outcome::Refused,
        None if none.is_some() => Outcome::Unchanged,
        None => Outcome::Done,
    };
    let problems: Vec<String> = undone.iter().map(|one| one.why.clone()).chain(none).collect();
    if output.is_json() {
        let missing: Vec<_> = undone.iter().map(|one| one.id).collect();
        output.json(&json!({word: done, "not_found": missing}))?;
        let problems = problems.join("; ");
        return match outcome {
            Outcome::NotFound => Err(Failure::not_found(problems)),
            Outcome::Unchanged => Err(Failure::unchanged(problems)),
            Outcome::Refused => Err(Failure::failed(problems)),
            outcome => Ok(outcome),
        };
    }
    for id in done {
        output.line(format!("{word} {id}"))?;
    }
    for problem in &problems {
        output.line(text::escape(problem))?;
    }
    Ok(outcome)
}

/// Why nothing was done to message `id` as a dead letter, and what can be.
async fn why_not<DB: Storage>(pool: &Pool<DB>, id: i64) -> Result<Undone, Failure> {
    let Some(held) = held(pool, id).await? else {
        let why = format!("there is no dead letter {id}: see `syncline dead list`");
        return Ok(Undone { id, held: false, why });
    };
    let HeldMessage { key, consumer, attempts, reason, .. } = &held;
    let why = match &**reason {
        _ if held.dead => format!("dead letter {id} was changed meanwhile: try again"),
        "behind" => format!(
            "message {id} is not dead: it waits behind an earlier one of key {key:?} at {consumer}, \
             which `syncline held list` shows"
        ),
        "unknown" => format!(
            "message {id} is not dead: no process of {consumer} knows its topic or schema version: start \
             one that does, and it is applied; `syncline held retry {key:?}` has it looked at now. Only if \
             nobody needs it: `syncline dead drop {id}` gives it up for good"
        ),
        _ => format!(
            "message {id} is not dead: it has failed {} and is tried again by itself; \
             `syncline held retry {key:?}` has it tried now, `syncline dead edit {id}` changes it, \
             `syncline dead drop {id} --failing` gives it up",
            text::count(*attempts, "time")
        ),
    };
    Ok(Undone { id, held: true, why })
}

/// One held message.
async fn held<DB: Storage>(pool: &Pool<DB>, id: i64) -> Result<Option<HeldMessage>, Failure> {
    let mut connection = pool.acquire().await.map_err(|error| {
        Failure::unreachable(format!("cannot reach the database: {}", said(error)))
    })?;
    Ok(DB::held_by_id(&mut connection, id).await?)
}
