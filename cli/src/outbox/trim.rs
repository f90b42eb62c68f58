//! `syncline outbox trim`.

use std::time::Duration;

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    relay::{Plan, Retention, trim, trim_telling},
};

use crate::{
    ask::{Consent, Who},
    failure::{Failure, Outcome},
    output::Output,
    progress::Progress,
    text::count,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep what is younger than so many hours
    #[arg(long, value_name = "HOURS", default_value_t = 168)]
    keep_hours: u64,
    /// Keep no more than so many messages, even if they are younger
    #[arg(long, value_name = "MESSAGES", default_value_t = 10_000_000)]
    keep_messages: u64,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    who: Who,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let mut retention = Retention::default();
    retention.keep_for = Duration::from_secs(args.keep_hours.saturating_mul(60 * 60));
    retention.keep_messages = Some(args.keep_messages);
    let plan = trim(pool, &retention, true).await?;
    let goes = plan.reach.0 - plan.trimmed.0;
    if !args.consent.is_given() {
        report(&plan, plan.trimmed.0, true, output)?;
        if goes == 0 {
            return Ok(Outcome::Unchanged);
        }
        let act = format!("remove {} from the log for good", count(goes, "message"));
        if !args.consent.obtain(output, &act)? {
            return Ok(Outcome::Done);
        }
    }
    let target = format!("up to position {}", plan.reach);
    let progress = Progress::new(output, "removing");
    progress.more(usize::try_from(goes).unwrap_or_default());
    let act = async {
        let plan = trim_telling(pool, &retention, false, |rows| progress.done(rows)).await?;
        let now = DB::trimmed(pool).await?.position.0;
        Ok(((now - plan.trimmed.0).max(0).unsigned_abs(), (plan, now)))
    };
    let (plan, now) = args.who.record(pool, "outbox trim", &target, act).await?;
    drop(progress);
    report(&plan, now, false, output)?;
    Ok(if now > plan.trimmed.0 { Outcome::Done } else { Outcome::Unchanged })
}

/// Tells what would go, or what went.
fn report(plan: &Plan, now: i64, dry: bool, output: &mut Output) -> Result<(), Failure> {
    let Plan { trimmed, head, keep, slowest, goal, reach, .. } = plan;
    if output.is_json() {
        return output.json(&json!({
            "trimmed": now, "before": trimmed, "goal": goal, "reach": reach, "head": head, "keep": keep,
            "slowest": slowest, "dry_run": dry,
        }));
    }
    output.line(format!("the log begins after position {trimmed} and ends at {head}"))?;
    output.line(match slowest {
        None => "no route waits for anything".to_owned(),
        Some(slowest) => format!("the slowest route is at {slowest}"),
    })?;
    output.line(format!("by age and number it is kept from {keep} on"))?;
    output.line(match dry {
        true => format!("{} would go", count(reach.0 - trimmed.0, "message")),
        false => format!("{} went: it begins after {now}", count(now - trimmed.0, "message")),
    })
}
