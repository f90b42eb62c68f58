//! `syncline migrate down`.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    storage::{Steps, migrate_down},
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The version that stays; 0 takes everything back
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
    /// Also when messages are lost that were not sent, or are held
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let undone = match super::down_to(pool, args.to, args.force).await? {
        Steps::Down { to, force } => migrate_down(pool, to, force).await?,
        Steps::Up => Vec::new(),
    };
    if output.is_json() {
        output.json(&json!({ "taken_back": undone }))?;
        return Ok(Outcome::Done);
    }
    if undone.is_empty() {
        output.line("nothing to take back")?;
    }
    for version in undone {
        output.line(format!("took back {}", super::label::<DB>(version)))?;
    }
    Ok(Outcome::Done)
}
