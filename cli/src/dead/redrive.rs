//! `syncline dead redrive`.

use sqlx::Pool;
use syncline::{Storage, held::redrive};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

const PAGE: i64 = 500;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ids that `dead list` shows
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<i64>,
    /// Every dead letter that is there now
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let (mut done, mut missing) = (Vec::new(), Vec::new());
    for id in &args.ids {
        let list = if redrive(pool, *id).await? { &mut done } else { &mut missing };
        list.push(*id);
    }
    if args.all {
        let mut after = 0;
        loop {
            let page = DB::held(pool, false, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for held in &page {
                // One that is gone meanwhile was settled by somebody else.
                if redrive(pool, held.id).await? {
                    done.push(held.id);
                }
            }
        }
        if done.is_empty() && !output.is_json() {
            output.line("no dead letters")?;
        }
    }
    super::report(output, "redriven", &done, &missing)
}
