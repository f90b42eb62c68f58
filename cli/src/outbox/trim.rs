//! `syncline outbox trim`.

use std::time::Duration;

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    relay::{Plan, Retention, trim, trim_telling},
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    progress::Progress,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep what is younger than so many hours
    #[arg(long, value_name = "HOURS", default_value_t = 168)]
    keep_hours: u64,
    /// Keep no more than so many messages, even if they are younger
    #[arg(long, value_name = "MESSAGES", default_value_t = 10_000_000)]
    keep_messages: u64,
    /// Say what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let mut retention = Retention::default();
    retention.keep_for = Duration::from_secs(args.keep_hours.saturating_mul(60 * 60));
    retention.keep_messages = Some(args.keep_messages);
    let Plan { trimmed, head, keep, slowest, goal, .. } = match args.dry_run {
        true => trim(pool, &retention, true).await?,
        false => {
            let plan = trim(pool, &retention, true).await?;
            let progress = Progress::new(output, "removing");
            progress.more(usize::try_from(plan.goal.0 - plan.trimmed.0).unwrap_or_default());
            trim_telling(pool, &retention, false, |rows| progress.done(rows)).await?
        }
    };
    let now = DB::trimmed(pool).await?.position;
    if output.is_json() {
        output.json(&json!({
            "trimmed": now, "before": trimmed, "goal": goal, "head": head, "keep": keep,
            "slowest": slowest, "dry_run": args.dry_run,
        }))?;
        return Ok(Outcome::Done);
    }
    output.line(format!("the log begins after position {trimmed} and ends at {head}"))?;
    output.line(match slowest {
        None => "no route waits for anything".to_owned(),
        Some(slowest) => format!("the slowest route is at {slowest}"),
    })?;
    output.line(format!("by age and number it is kept from {keep} on"))?;
    output.line(match args.dry_run {
        true => format!("{} messages would go", goal.0 - trimmed.0),
        false => format!("{} messages went: it begins after {now}", now.0 - trimmed.0),
    })?;
    Ok(Outcome::Done)
}
