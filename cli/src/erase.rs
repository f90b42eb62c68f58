//! `syncline erase`.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Error, Storage, begin,
    erasure::{Erase, Erased},
    storage::check_schema,
};
use uuid::Uuid;

use crate::{
    ask::Consent,
    failure::{Failure, Outcome},
    output::Output,
    saga::Who,
    text,
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
    #[command(flatten)]
    consent: Consent,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    check_schema(pool).await?;
    let erase = args.keys.iter().fold(Erase::new().by(args.who.by()), Erase::key);
    let erase = args.sagas.iter().fold(erase, |erase, saga| erase.saga(*saga));
    if !args.consent.is_given() {
        let would = erased(&erase, pool, false).await?;
        show(&would, false, output)?;
        if would.is_nothing() {
            return Ok(outcome(&would));
        }
        if !args.consent.obtain(output, "erase these payloads for good")? {
            return Ok(outcome(&would));
        }
    }
    let act = async {
        let erased = erased(&erase, pool, true).await?;
        let Erased { messages, delayed, held, ahead, answers, sagas, .. } = &erased;
        Ok((messages + delayed + held + ahead + answers + sagas.len() as u64, erased))
    };
    let sagas = args.sagas.iter().map(|saga| format!("saga {saga}"));
    let targets: Vec<_> = args.keys.iter().map(|key| format!("key {key}")).chain(sagas).collect();
    let erased = args.who.operator().record(pool, "erase", &targets.join(", "), act).await?;
    show(&erased, true, output)?;
    Ok(outcome(&erased))
}

/// Erases, or looks at what would be.
async fn erased<DB: Storage>(
    erase: &Erase,
    pool: &Pool<DB>,
    keep: bool,
) -> Result<Erased, Failure> {
    let mut tx = begin(pool).await?;
    let erased = erase.run(&mut tx).await?;
    let ended = match keep {
        true => tx.commit().await,
        false => tx.rollback().await,
    };
    ended.map_err(|source| Error::Database { action: "erase payloads", source })?;
    Ok(erased)
}

fn outcome(erased: &Erased) -> Outcome {
    match (erased.open.is_empty(), erased.is_nothing()) {
        (false, _) => Outcome::Refused,
        (true, true) => Outcome::Unchanged,
        (true, false) => Outcome::Done,
    }
}

fn show(erased: &Erased, done: bool, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&document(erased, done));
    }
    let Erased { messages, delayed, held, ahead, answers, sagas, open, .. } = erased;
    let what = [
        (*messages, "message", " of the log, from now on a bare link"),
        (*delayed, "delayed message", ""),
        (*held, "held message", " (dead letters among them), gone"),
        (*ahead, "early message", ", held for want of the one before"),
        (*answers, "answer", " to other services' sagas"),
        (sagas.len() as u64, "instance", " of sagas"),
    ];
    output.line(match (erased.is_nothing(), done) {
        (true, _) => "nothing is there to erase",
        (_, true) => "erased:",
        (_, false) => "would be erased:",
    })?;
    for (count, noun, rest) in what.into_iter().filter(|(count, ..)| *count > 0) {
        output.line(format!("  {}{rest}", text::count(count, noun)))?;
    }
    for id in open {
        output.line(format!(
            "saga {id} is not over and needs what it has: cancel or resolve it, then erase again"
        ))?;
    }
    Ok(())
}

fn document(erased: &Erased, done: bool) -> Value {
    let Erased { messages, delayed, held, ahead, answers, sagas, open, .. } = erased;
    json!({
        "erased": done, "messages": messages, "delayed": delayed, "held": held, "ahead": ahead,
        "answers": answers, "sagas": sagas, "open": open,
    })
}
