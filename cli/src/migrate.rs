//! `syncline migrate`: Syncline's tables.

mod down;
mod plan;
mod status;
mod up;

use clap::Subcommand;
use sqlx::Pool;
use syncline::{
    Storage,
    storage::{self, MigrationState, Steps},
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Apply what is pending
    Up,
    /// Take the newest migration back, or all after a version
    Down(down::Args),
    /// Where each migration stands
    Status,
    /// Print the SQL that `up` (or `down`) would run
    Plan(plan::Args),
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::Up => up::run(pool, output).await,
        Command::Down(args) => down::run(args, pool, output).await,
        Command::Status => status::run(pool, output).await,
        Command::Plan(args) => plan::run(args, pool, output).await,
    }
}

/// The steps down to `to`; without it, the newest migration only.
async fn down_to<DB: Storage>(
    pool: &Pool<DB>,
    to: Option<i64>,
    force: bool,
) -> Result<Steps, Failure> {
    let to = match to {
        Some(to) => to,
        None => {
            let status = storage::status(pool).await?;
            let newest = status.iter().rfind(|m| m.state == MigrationState::Applied);
            newest.map_or(0, |newest| newest.version - 1)
        }
    };
    Ok(Steps::Down { to, force })
}

/// `3 inbox`, of a version that this program knows.
fn label<DB: Storage>(version: i64) -> String {
    let known = DB::MIGRATIONS.iter().find(|m| m.version == version);
    known.map_or(version.to_string(), |m| format!("{version} {}", m.name))
}
