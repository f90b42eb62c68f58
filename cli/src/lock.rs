//! `syncline lock`: entities that sagas have locked.

use clap::Subcommand;
use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    saga::operate,
    storage::{SagaLock, check_schema},
};
use uuid::Uuid;

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    saga::Who,
    text,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Locked entities, with the saga that has locked each
    List {
        /// At most so many
        #[arg(short = 'n', value_name = "LOCKS", default_value_t = 1_000,
            value_parser = clap::value_parser!(u32).range(1..=100_000))]
        number: u32,
    },
    /// Release an entity although its saga goes on
    Release(Args),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The entity
    entity: String,
    /// The saga that has locked it
    #[arg(long, value_name = "ID")]
    saga: Uuid,
    #[command(flatten)]
    who: Who,
    /// Yes, another saga may change it while this one goes on
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    check_schema(pool).await?;
    match command {
        Command::List { number } => list(*number, pool, output).await,
        Command::Release(args) => release(args, pool, output).await,
    }
}

async fn list<DB: Storage>(
    number: u32,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let locks = operate::locks(pool, number).await?;
    if output.is_json() {
        let locks = locks
            .iter()
            .map(|lock| json!({"entity": lock.entity, "saga": lock.saga, "since": lock.since}));
        output.json(&locks.collect::<Vec<_>>())?;
        return Ok(Outcome::Done);
    }
    if locks.is_empty() {
        output.line("nothing is locked")?;
        return Ok(Outcome::Done);
    }
    let rows = locks
        .iter()
        .map(|lock| [lock.entity.clone(), lock.saga.to_string(), text::ago(Some(lock.since))]);
    output.table(["entity", "saga", "since"], rows)?;
    if locks.len() == number as usize {
        output.note("there may be more: -n")?;
    }
    Ok(Outcome::Done)
}

async fn release<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Args { entity, saga, .. } = args;
    if !args.yes {
        return Err(Failure::usage(
            "another saga may change a released entity while this one goes on: if that is right, \
             add --yes",
        ));
    }
    // What identifies a lock is the entity and who has it.
    let lock = SagaLock { entity: entity.clone(), saga: *saga, since: chrono::Utc::now() };
    if !operate::release(pool, &lock, &args.who.by()).await? {
        return Err(Failure::not_found(format!(
            "saga {saga} has not locked {entity:?}: see `syncline lock list`"
        )));
    }
    match output.is_json() {
        true => output.json(&json!({"released": entity, "saga": saga}))?,
        false => output.line(text::escape(&format!("released {entity}")))?,
    }
    Ok(Outcome::Done)
}
