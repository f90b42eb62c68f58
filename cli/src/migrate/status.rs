//! `syncline migrate status`.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Error, Storage,
    storage::{check_schema, status},
};

use crate::{
    failure::{Failure, Outcome},
    layout::{cut, spare, whole},
    output::Output,
    text,
};

/// Exits with 4 unless the tables are those of this program.
pub(crate) async fn run<DB: Storage>(
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let migrations = status(pool).await?;
    let problem: Option<Error> = check_schema(pool).await.err();
    if output.is_json() {
        let migrations: Vec<Value> = migrations
            .iter()
            .map(|m| {
                json!({"version": m.version, "name": m.name, "state": m.state.as_str(),
                       "applied_at": text::at(m.at)})
            })
            .collect();
        output.json(&json!({
            "usable": problem.is_none(),
            "problem": problem.as_ref().map(Error::to_string),
            "migrations": migrations,
        }))?;
    } else {
        let rows = migrations.iter().map(|m| {
            let at = m.at.map_or("-".to_owned(), text::time);
            [m.version.to_string(), m.name.clone(), m.state.as_str().to_owned(), at]
        });
        output.table([whole("version"), cut("name"), whole("state"), spare("applied_at")], rows)?;
        if let Some(problem) = &problem {
            output.line(format!("\n{problem}"))?;
        }
    }
    Ok(if problem.is_none() { Outcome::Done } else { Outcome::Schema })
}
