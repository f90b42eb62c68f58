//! `syncline dead drop`.

use sqlx::Pool;
use syncline::{
    Storage,
    held::{drop_dead, drop_failing},
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ids that `dead list` shows
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
    /// Yes, these messages are to be lost
    #[arg(long)]
    yes: bool,
    /// Also messages that have failed and are still tried again by themselves
    #[arg(long)]
    failing: bool,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    if !args.yes {
        return Err(Failure::usage(
            "a dropped message is lost for good: look at it with `syncline dead show ID`, \
             then add --yes",
        ));
    }
    let (mut done, mut missing) = (Vec::new(), Vec::new());
    for id in &args.ids {
        let dropped = match args.failing {
            true => drop_failing(pool, *id).await?,
            false => drop_dead(pool, *id).await?,
        };
        match dropped {
            true => done.push(*id),
            false => missing.push(super::why_not(pool, *id).await?),
        }
    }
    super::report(output, "dropped", &done, &missing, None)
}
