//! `syncline operations`: what operators have done here.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    operations::{self, OperationRow},
};

use crate::{
    failure::{Failure, Outcome},
    layout::{self, cut, spare, whole},
    output::{Output, cut_off},
    schema::to_look,
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
    to_look(pool, output).await?;
    // One more tells whether there are more.
    let mut all = operations::list(pool, args.number.saturating_add(1)).await?;
    let more = cut_off(&mut all, args.number as usize);
    if output.is_json() {
        output.list(all.iter().map(document), more)?;
        return Ok(Outcome::Done);
    }
    if all.is_empty() {
        output.line("no operator has changed anything within a year")?;
        return Ok(Outcome::Done);
    }
    let rows = all.iter().map(|row| {
        [
            row.id.to_string(),
            text::time(row.began_at),
            row.operator.clone(),
            row.command.clone(),
            row.target.clone(),
            ended(row),
            row.why.clone(),
        ]
    });
    let columns = [
        whole("id"),
        spare("began_at"),
        cut("operator"),
        cut("command"),
        cut("target"),
        cut("outcome"),
        layout::text("why"),
    ];
    output.table(columns, rows)?;
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
        "began_at": text::at(row.began_at),
        "ended_at": text::at(row.ended_at),
        "operator": row.operator,
        "command": row.command,
        "target": row.target,
        "why": row.why,
        "affected": row.affected,
        "problem": row.problem,
    })
}
