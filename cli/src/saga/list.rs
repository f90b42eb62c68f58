//! `syncline saga list`.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    saga::operate,
    storage::{SagaFilter, SagaSummary},
};
use uuid::Uuid;

use super::failing;
use crate::{
    failure::{Failure, Outcome},
    output::Output,
    text,
};

/// The longest text of a problem in a table.
const PROBLEM: usize = 50;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Of this saga
    #[arg(long)]
    saga: Option<String>,
    /// With this status
    #[arg(long, value_parser = ["new", "running", "compensating", "stuck", "completed",
        "compensated", "resolved"])]
    status: Option<String>,
    /// Those that an operator should look at; of all sagas, the longest stuck first
    #[arg(long, conflicts_with = "status")]
    stuck: bool,
    /// Only instances whose command was sent again for lack of an answer, the oldest first
    #[arg(long, conflicts_with_all = ["status", "stuck", "saga", "before"])]
    overdue: bool,
    /// Steps whose last attempt has failed, by step and error: how often they are tried still, and when
    /// their sagas are rejected or stuck; exit code 0 also when there is none
    #[arg(long, conflicts_with_all = ["status", "stuck", "overdue", "before"])]
    failing: bool,
    /// Started before this one: the last one of the page before
    #[arg(long, value_name = "ID")]
    before: Option<Uuid>,
    /// At most so many
    #[arg(short = 'n', value_name = "SAGAS", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    number: u32,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    if args.failing {
        return failing::run(args.saga.as_deref(), args.number, pool, output).await;
    }
    let longest_stuck = args.stuck && args.saga.is_none() && args.before.is_none();
    let longest_first = longest_stuck || args.overdue;
    let found = if args.overdue {
        operate::overdue(pool, args.number).await?
    } else if longest_stuck {
        operate::stuck(pool, args.number).await?
    } else {
        let status = if args.stuck { Some("stuck".to_owned()) } else { args.status.clone() };
        let filter = SagaFilter { saga: args.saga.clone(), status, before: args.before };
        operate::list(pool, &filter, args.number).await?
    };
    if output.is_json() {
        output.json(&found.iter().map(summary).collect::<Vec<_>>())?;
        return Ok(Outcome::Done);
    }
    if found.is_empty() {
        output.line(match (args.stuck, args.overdue) {
            (true, _) => "no saga is stuck",
            (_, true) => "no saga waits for an answer that is overdue",
            _ => "no sagas",
        })?;
        return Ok(Outcome::Done);
    }
    let rows = found.iter().map(|saga| {
        [
            saga.id.to_string(),
            format!("{}@{}", saga.saga, saga.version),
            saga.key.clone(),
            saga.status.clone(),
            text::ago(Some(saga.started_at)),
            text::ago(Some(saga.updated_at)),
            text::ago(saga.stuck_at),
            text::cut(saga.problem.as_deref().or(saga.trouble.as_deref()).unwrap_or("-"), PROBLEM),
        ]
    });
    let header = ["id", "saga", "key", "status", "started", "changed", "stuck", "problem"];
    output.table(header, rows)?;
    if found.len() == args.number as usize {
        match found.last() {
            Some(last) if !longest_first => {
                output.note(&format!("there may be more: --before {}", last.id))?;
            }
            _ => output.note("there may be more: -n")?,
        }
    }
    Ok(Outcome::Done)
}

/// What is known of an instance without its steps.
pub(super) fn summary(saga: &SagaSummary) -> Value {
    json!({
        "id": saga.id,
        "saga": saga.saga,
        "version": saga.version,
        "key": saga.key,
        "status": saga.status,
        "problem": saga.problem,
        "trouble": saga.trouble,
        "failing_at": saga.failing_at,
        "started_at": saga.started_at,
        "updated_at": saga.updated_at,
        "stuck_at": saga.stuck_at,
        "ended_at": saga.ended_at,
    })
}
