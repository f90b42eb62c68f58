//! `syncline dead`: messages that came in and failed for good.

mod drop;
mod edit;
mod list;
mod redrive;
mod show;

use clap::Subcommand;
use serde_json::json;
use sqlx::Pool;
use syncline::{Storage, storage::check_schema};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
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
    check_schema(pool).await?;
    match command {
        Command::List(args) => list::run(args, pool, output).await,
        Command::Show(args) => show::run(args, pool, output).await,
        Command::Edit(args) => edit::run(args, pool, output).await,
        Command::Redrive(args) => redrive::run(args, pool, output).await,
        Command::Drop(args) => drop::run(args, pool, output).await,
    }
}

/// Says what became of each id. That one was not there is an outcome of its own.
fn report(
    output: &mut Output,
    word: &str,
    done: &[i64],
    missing: &[i64],
) -> Result<Outcome, Failure> {
    if output.is_json() {
        output.json(&json!({word: done, "not_found": missing}))?;
    } else {
        for id in done {
            output.line(format!("{word} {id}"))?;
        }
        for id in missing {
            output.line(format!("there is no dead letter {id}: see `syncline dead list`"))?;
        }
    }
    Ok(if missing.is_empty() { Outcome::Done } else { Outcome::Not })
}
