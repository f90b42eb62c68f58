//! `syncline erase`.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Error, Storage, begin,
    erasure::{Erase, Erased},
    storage::check_schema,
};
use uuid::Uuid;

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    saga::Who,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ordering key of messages, or the key under which sagas were started
    #[arg(value_name = "KEY", required_unless_present = "sagas")]
    keys: Vec<String>,
    /// An instance of a saga, of this service or another one: its commands, replies and answers
    #[arg(long = "saga", value_name = "ID")]
    sagas: Vec<Uuid>,
    #[command(flatten)]
    who: Who,
    /// Yes, these payloads are to be lost; without it is said what would go
    #[arg(long)]
    yes: bool,
}

/// Exits with 1 when there is nothing to erase, or an instance is not over.
pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    check_schema(pool).await?;
    let erase = args.keys.iter().fold(Erase::new().by(args.who.by()), Erase::key);
    let erase = args.sagas.iter().fold(erase, |erase, saga| erase.saga(*saga));
    let mut tx = begin(pool).await?;
    let erased = erase.run(&mut tx).await?;
    match args.yes {
        true => tx.commit().await,
        false => tx.rollback().await,
    }
    .map_err(|source| Error::Database { action: "erase payloads", source })?;
    let Erased { messages, delayed, held, ahead, answers, sagas, open, .. } = &erased;
    if output.is_json() {
        output.json(&json!({
            "erased": args.yes, "messages": messages, "delayed": delayed, "held": held,
            "ahead": ahead, "answers": answers, "sagas": sagas, "open": open,
        }))?;
    } else {
        let what = [
            (*messages, "messages of the log, which travel as bare links"),
            (*delayed, "delayed messages"),
            (*held, "held messages and dead letters, which are gone"),
            (*ahead, "messages that wait for earlier ones"),
            (*answers, "answers to other services' sagas"),
            (sagas.len() as u64, "instances of sagas"),
        ];
        output.line(match (erased.is_nothing(), args.yes) {
            (true, _) => "nothing is there to erase",
            (_, true) => "erased:",
            (_, false) => "would be erased:",
        })?;
        for (count, what) in what.into_iter().filter(|(count, _)| *count > 0) {
            output.line(format!("  {count} {what}"))?;
        }
        for id in open {
            output.line(format!(
                "saga {id} is not over and needs what it has: cancel or resolve it, then erase again"
            ))?;
        }
    }
    if !erased.is_nothing() && !args.yes {
        return Err(Failure::usage(
            "what is erased is lost for good, and is not delivered any more: add --yes",
        ));
    }
    match erased.is_nothing() || !erased.open.is_empty() {
        true => Ok(Outcome::Not),
        false => Ok(Outcome::Done),
    }
}
