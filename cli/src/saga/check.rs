//! `syncline saga check`.

use std::path::PathBuf;

use serde_json::json;
use sqlx::Pool;
use syncline::{Storage, saga::operate};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A version that the deployment has: `registration@2`
    #[arg(long, value_name = "NAME@VERSION", value_parser = version)]
    have: Vec<(String, i32)>,
    /// A file with more of them, one a line
    #[arg(long, value_name = "FILE")]
    have_file: Option<PathBuf>,
}

fn version(text: &str) -> Result<(String, i32), String> {
    let parts = text.rsplit_once('@');
    let parts = parts.map(|(name, version)| (name, version.parse::<i32>()));
    match parts {
        Some((name, Ok(version))) if !name.is_empty() && version > 0 => {
            Ok((name.to_owned(), version))
        }
        _ => Err(format!("{text:?} is not NAME@VERSION, such as registration@2")),
    }
}

impl Args {
    fn known(&self) -> Result<Vec<(String, i32)>, Failure> {
        let mut known = self.have.clone();
        let Some(path) = &self.have_file else { return Ok(known) };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("the versions {} cannot be read: {error}", path.display()))
        })?;
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if !line.is_empty() {
                known.push(version(line).map_err(|error| {
                    Failure::usage(format!("{}, line {}: {error}", path.display(), number + 1))
                })?);
            }
        }
        Ok(known)
    }
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let known = args.known()?;
    let missing = operate::check_versions(pool, &known).await?;
    if output.is_json() {
        let missing = missing.iter().map(
            |(saga, version, open)| json!({"saga": saga, "version": version, "instances": open}),
        );
        output.json(&json!({"missing": missing.collect::<Vec<_>>()}))?;
    } else if missing.is_empty() {
        output.line("every saga that is not over has its version")?;
    } else {
        let rows = missing
            .iter()
            .map(|(saga, version, open)| [format!("{saga}@{version}"), open.to_string()]);
        output.table(["missing", "not over"], rows)?;
        output.note("no engine of this deployment would go on with them")?;
    }
    Ok(if missing.is_empty() { Outcome::Done } else { Outcome::Failing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_name_and_a_number() {
        assert_eq!(version("a@b@2"), Ok(("a@b".to_owned(), 2)));
        for bad in ["", "order", "@1", "order@", "order@x", "order@0", "order@-1", "order@1 "] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }
}
