//! `syncline outbox`: messages on their way out.

pub(crate) mod lag;
mod tail;
mod trim;

use clap::Subcommand;
use sqlx::Pool;
use syncline::{Storage, storage::check_schema};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    schema::to_look,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// How far each route is behind the log
    Lag(lag::Args),
    /// The last messages of the log, or those from a position
    Tail(tail::Args),
    /// Trim the log now, as the relay does by itself, or say what could go
    Trim(trim::Args),
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::Trim(_) => check_schema(pool).await?,
        _ => to_look(pool, output).await?,
    }
    match command {
        Command::Lag(args) => lag::run(args, pool, output).await,
        Command::Tail(args) => tail::run(args, pool, output).await,
        Command::Trim(args) => trim::run(args, pool, output).await,
    }
}
