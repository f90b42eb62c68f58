//! `syncline migrate up`.

use serde_json::json;
use sqlx::Pool;
use syncline::Storage;

use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

pub(crate) async fn run<DB: Storage>(
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let applied = syncline::migrate(pool).await?;
    if output.is_json() {
        output.json(&json!({ "applied": applied }))?;
        return Ok(Outcome::Done);
    }
    if applied.is_empty() {
        output.line("nothing to do: every migration is applied")?;
    }
    for version in applied {
        output.line(format!("applied {}", super::label::<DB>(version)))?;
    }
    Ok(Outcome::Done)
}
