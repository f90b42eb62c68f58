//! `syncline operations`: what operators have done here.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    operations::{self, OperationRow},
    storage::check_schema,
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// At most so many, the newest first
    #[arg(short = 'n', value_name = "OPERATIONS", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    number: u32,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    check_schema(pool).await?;
    // One more tells whether there are more.
    let mut all = operations::list(pool, args.number.saturating_add(1)).await?;
    let more = all.len() > args.number as usize;
    all.truncate(args.number as usize);
    if output.is_json() {
        let items: Vec<_> = all.iter().map(document).collect();
        output.json(&json!({"items": items, "more": more}))?;
        return Ok(Outcome::Done);
    }
    if all.is_empty() {
        output.line("no operator has changed anything within a year")?;
        return Ok(Outcome::Done);
    }
    let rows = all.iter().map(|row| {
        [
            text::time(row.began_at),
            row.operator.clone(),
            row.command.clone(),
            row.target.clone(),
            ended(row),
            row.why.clone(),
        ]
    });
    output.table(["began at", "operator", "command", "target", "outcome", "why"], rows)?;
    if more {
        output.note("there are more: -n")?;
    }
    Ok(Outcome::Done)
}

/// The outcome in words.
fn ended(row: &OperationRow) -> String {
    match (&row.problem, row.affected, row.ended_at) {
        (Some(problem), ..) => format!("not done: {problem}"),
        (None, Some(affected), _) => format!("done: {affected}"),
        (None, None, Some(_)) => "done".to_owned(),
        (None, None, None) => "under way, or cut off: look whether it took effect".to_owned(),
    }
}

fn document(row: &OperationRow) -> Value {
    json!({
        "id": row.id,
        "began_at": text::time(row.began_at),
        "ended_at": row.ended_at.map(text::time),
        "operator": row.operator,
        "command": row.command,
        "target": row.target,
        "why": row.why,
        "affected": row.affected,
        "problem": row.problem,
    })
}
