//! `syncline migrate plan`: the SQL that would run.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    storage::{Steps, plan},
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What `down` would run
    #[arg(long)]
    down: bool,
    /// The version that stays; 0 takes everything back
    #[arg(long, requires = "down", value_name = "VERSION",
        value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let (steps, direction) = match args.down {
        true => (super::down_to(pool, args.to, false).await?, "down"),
        false => (Steps::Up, "up"),
    };
    let steps: Vec<(i64, &str, &str)> = plan(pool, steps)
        .await?
        .into_iter()
        .map(|m| (m.version, m.name, if args.down { m.down } else { m.up }))
        .collect();
    if output.is_json() {
        let steps: Vec<Value> = steps
            .iter()
            .map(|(version, name, sql)| json!({"version": version, "name": name, "sql": sql}))
            .collect();
        output.json(&json!({"direction": direction, "steps": steps}))?;
        return Ok(Outcome::Done);
    }
    if steps.is_empty() {
        output.line("-- nothing to do")?;
    }
    for (version, name, sql) in steps {
        output.line(format!("-- {version} {name}, {direction}\n{}\n", sql.trim_end()))?;
    }
    Ok(Outcome::Done)
}
