//! `syncline stream`: the definitions of streams, as the source keeps them, and a new incarnation of
//! their source.

mod close;
mod rebase;

use clap::Subcommand;
use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    storage::{StreamVersion, check_schema},
};

use crate::{
    failure::{Failure, Outcome},
    layout::{cut, spare, whole},
    output::Output,
    schema::to_look,
    text,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Every stream, in the version that is in force
    List,
    /// All versions of one stream, and where each took over
    Show {
        /// The stream
        stream: String,
    },
    /// End a stream at the head of the log, so that another one may carry its topics
    Close(close::Args),
    /// Let all streams of this source begin a new life, after its database was restored from a
    /// backup or lost commits in a failover
    Rebase(rebase::Args),
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::List | Command::Show { .. } => to_look(pool, output).await?,
        _ => check_schema(pool).await?,
    }
    let mut versions = DB::streams(pool).await?;
    match command {
        Command::Close(args) => return close::run(args, pool, output).await,
        Command::Rebase(args) => return rebase::run(args, pool, output).await,
        Command::List => {
            let all = versions.clone();
            versions
                .retain(|one| !all.iter().any(|o| o.name == one.name && o.version > one.version));
        }
        Command::Show { stream } => {
            versions.retain(|version| version.name == *stream);
            if versions.is_empty() {
                return Err(Failure::not_found(format!(
                    "there is no stream {stream:?}: see `syncline stream list`"
                )));
            }
        }
    }
    if output.is_json() {
        output.list(versions.iter().map(document), false)?;
        return Ok(Outcome::Done);
    }
    if versions.is_empty() {
        output.line("no stream yet: a relay stores its streams when it starts")?;
        return Ok(Outcome::Done);
    }
    let rows = versions.iter().map(|version| {
        [
            version.name.clone(),
            version.version.to_string(),
            topics(version),
            version.shards.to_string(),
            version.after.to_string(),
            text::time(version.created_at),
        ]
    });
    let columns = [
        cut("stream"),
        whole("version"),
        cut("topics"),
        whole("shards"),
        whole("after"),
        spare("created_at"),
    ];
    output.table(columns, rows)?;
    Ok(Outcome::Done)
}

/// Its topics, or that it carries nothing.
fn topics(version: &StreamVersion) -> String {
    if version.rests() { "(none)".to_owned() } else { version.topics.join(" ") }
}

fn document(version: &StreamVersion) -> Value {
    let topics: &[String] = if version.rests() { &[] } else { &version.topics };
    json!({
        "stream": version.name,
        "version": version.version,
        "topics": topics,
        "closed": version.rests(),
        "shards": version.shards,
        "after": version.after,
        "created_at": text::at(version.created_at),
    })
}
