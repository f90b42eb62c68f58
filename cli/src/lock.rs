//! `syncline lock`: entities that sagas have locked.

use clap::Subcommand;
use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    saga::operate,
    storage::{SagaLock, check_schema},
};

use crate::{
    ask::Consent,
    failure::{Failure, Outcome},
    layout::{cut, whole},
    output::{Output, cut_off},
    saga::{Named, Who},
    schema::to_look,
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
    saga: Named,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    consent: Consent,
}

/// The most locks among which one is looked for.
const MOST: u32 = 100_000;

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::List { .. } => to_look(pool, output).await?,
        Command::Release(_) => check_schema(pool).await?,
    }
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
    let mut locks = operate::locks(pool, number + 1).await?;
    let more = cut_off(&mut locks, number as usize);
    if output.is_json() {
        let locks = locks
            .iter()
            .map(|lock| json!({"entity": lock.entity, "saga": lock.saga, "since_at": text::at(lock.since)}));
        output.list(locks, more)?;
        return Ok(Outcome::Done);
    }
    if locks.is_empty() {
        output.line("nothing is locked")?;
        return Ok(Outcome::Done);
    }
    let rows = locks
        .iter()
        .map(|lock| [lock.entity.clone(), lock.saga.to_string(), text::ago(Some(lock.since))]);
    output.table([cut("entity"), whole("saga"), whole("since_at")], rows)?;
    if more {
        output.note("there are more: -n")?;
    }
    Ok(Outcome::Done)
}

async fn release<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Args { entity, saga, .. } = args;
    let saga = saga.find(pool).await?;
    let unknown = || {
        Failure::not_found(format!(
            "saga {saga} has not locked {entity:?}: see `syncline lock list`"
        ))
    };
    if !args.consent.is_given() {
        let locks = operate::locks(pool, MOST).await?;
        let is = |lock: &&SagaLock| lock.entity == *entity && lock.saga == saga;
        let lock = locks.iter().find(is).ok_or_else(unknown)?;
        match output.is_json() {
            true => output.json(&json!({"would_release": entity, "saga": saga, "since_at": text::at(lock.since)}))?,
            false => output.line(text::escape(&format!(
                "{entity} is locked by saga {saga} since {}; another saga may change it while that one \
                 goes on",
                text::time(lock.since)
            )))?,
        }
        if !args.consent.obtain(output, &format!("release {entity}"))? {
            return Ok(Outcome::Done);
        }
    }
    // A lock is identified by the entity and who has it.
    let lock = SagaLock { entity: entity.clone(), saga, since: chrono::Utc::now() };
    let act = async {
        match operate::release(pool, &lock, &args.who.by()).await? {
            true => Ok((1, ())),
            false => Err(unknown()),
        }
    };
    let target = format!("{entity} of saga {saga}");
    args.who.operator().record(pool, "lock release", &target, act).await?;
    match output.is_json() {
        true => output.json(&json!({"released": entity, "saga": saga}))?,
        false => output.line(text::escape(&format!("released {entity}")))?,
    }
    Ok(Outcome::Done)
}
