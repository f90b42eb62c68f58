//! `syncline saga list`.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    saga::operate,
    storage::{SagaFilter, SagaSummary},
};

use super::{Named, failing};
use crate::{
    failure::{Failure, Outcome},
    layout::{cut, spare, text as whole_text, whole},
    output::{Output, cut_off},
    text,
};

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
    before: Option<Named>,
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
    let ask = args.number + 1;
    let mut found = if args.overdue {
        operate::overdue(pool, ask).await?
    } else if longest_stuck {
        operate::stuck(pool, ask).await?
    } else {
        let status = if args.stuck { Some("stuck".to_owned()) } else { args.status.clone() };
        let before = match &args.before {
            Some(before) => Some(before.find(pool).await?),
            None => None,
        };
        let filter = SagaFilter { saga: args.saga.clone(), status, before };
        operate::list(pool, &filter, ask).await?
    };
    let more = cut_off(&mut found, args.number as usize);
    if output.is_json() {
        output.list(found.iter().map(summary), more)?;
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
            saga.problem.as_deref().or(saga.trouble.as_deref()).unwrap_or("-").to_owned(),
        ]
    });
    let columns = [
        whole("id"),
        cut("saga"),
        cut("key"),
        whole("status"),
        spare("started_at"),
        spare("updated_at"),
        spare("stuck_at"),
        whole_text("problem"),
    ];
    output.table(columns, rows)?;
    if more {
        match found.last() {
            Some(last) if !longest_first => {
                output.note(&format!("there are more: --before {}", last.id))?;
            }
            _ => output.note("there are more: -n")?,
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
        "failing_at": text::at(saga.failing_at),
        "started_at": text::at(saga.started_at),
        "updated_at": text::at(saga.updated_at),
        "stuck_at": text::at(saga.stuck_at),
        "ended_at": text::at(saga.ended_at),
    })
}
