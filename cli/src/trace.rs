//! `syncline trace`: everything that this database knows about one key.

mod taken;
mod waiting;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    message::{Position, decode_envelope},
    saga::operate,
    storage::{HeldMessage, LogRow, PageLimit, SagaLock, SagaSummary, UnsealedRow},
};
use uuid::Uuid;

use crate::{
    dead::summary,
    delivery::{Delivery, in_words, unsealed},
    failure::{Failure, Outcome},
    layout::{cut, spare, text as whole_text, whole},
    output::{Output, cut_off},
    schema::to_look,
    text,
};
use waiting::Waiting;

const PAGE: PageLimit = PageLimit { rows: 1_000, bytes: 4 << 20 };
/// Held messages that are read together; each may be as large as a message.
const HELD: i64 = 100;
/// The most sagas, and locks, that are looked at.
const SAGAS: u32 = 10_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ordering key of messages; the key with which sagas were started, or the id of one; an entity
    /// that they lock
    key: String,
    /// Look through the log from this position on, instead of all that is kept of it
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<i64>,
    /// Show so many of its messages in the log, the last ones
    #[arg(short = 'n', value_name = "MESSAGES", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    number: u32,
}

impl Args {
    /// The instance of a saga that is meant, also by the key of one of its commands.
    fn saga(&self) -> Option<Uuid> {
        self.key.split('/').next().and_then(|id| Uuid::try_parse(id).ok())
    }

    /// Whether messages of `key` are meant; a saga's are its commands and their answers.
    fn is_of(&self, key: &str) -> bool {
        let command =
            || key.strip_prefix(self.key.as_str()).is_some_and(|rest| rest.starts_with('/'));
        key == self.key || (Uuid::try_parse(&self.key).is_ok() && command())
    }
}

/// Everything that was found, and how far was looked.
#[derive(Default)]
struct Found {
    log: VecDeque<LogRow>,
    messages: u64,
    /// The log was looked through after the first, up to the second.
    looked: (Position, Position),
    head: Position,
    /// Messages without a position, and whether there are more than were looked through.
    unsealed: (Vec<UnsealedRow>, bool),
    delivery: Option<Delivery>,
    held: Vec<HeldMessage>,
    /// The last held message that was looked at, where there was no time for all.
    held_to: Option<i64>,
    waiting: Waiting,
    sagas: Vec<SagaSummary>,
    /// Whether there are more sagas, and locks, than were looked at.
    more: (bool, bool),
    locks: Vec<SagaLock>,
}

/// Exits with 1 when nothing is known of the key. The log, the held and the early messages are looked
/// through for `time`.
pub(crate) async fn run<DB: Storage>(
    args: &Args,
    time: Duration,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let began = Instant::now();
    to_look(pool, output).await?;
    let mut found = Found { head: DB::head(pool).await?, ..Found::default() };
    let wanted = |key: &str| args.is_of(key);
    found.sagas = DB::sagas_of_key(pool, &args.key, (SAGAS + 1).into()).await?;
    if let Some(id) = args.saga() {
        found.sagas.extend(DB::saga(pool, id).await?);
    }
    found.unsealed = unsealed(pool, wanted).await?;
    found.delivery = Some(Delivery::read(pool).await?);
    found.locks = operate::locks(pool, SAGAS + 1).await?;
    found.more =
        (cut_off(&mut found.sagas, SAGAS as usize), cut_off(&mut found.locks, SAGAS as usize));
    found.locks.retain(|lock| lock.entity == args.key);
    found.waiting = Waiting::look(&args.key, began + time / 4, pool).await?;
    held(&mut found, args, began + time / 2, pool).await?;
    log(&mut found, args, began + time, pool).await?;
    let Found { messages, held, waiting, sagas, locks, .. } = &found;
    let nothing = *messages == 0
        && found.unsealed.0.is_empty()
        && held.is_empty()
        && waiting.is_empty()
        && sagas.is_empty()
        && locks.is_empty();
    match output.is_json() {
        true => documents(&found, &args.key, output)?,
        false => page(&found, &args.key, nothing, output)?,
    }
    let (_, to) = found.looked;
    if to < found.head {
        output.note(&format!(
            "the time was up at position {to} of {}: go on with --from {}",
            found.head,
            to.0 + 1
        ))?;
    }
    if let Some(id) = found.held_to {
        output.note(&format!(
            "the time was up at held message {id}: `syncline held list --after {id}` has the rest"
        ))?;
    }
    if found.unsealed.1 {
        output.note("there are more messages without a position than were looked through")?;
    }
    found.waiting.notes(output)?;
    Ok(if nothing { Outcome::NotFound } else { Outcome::Done })
}

impl Found {
    /// State of a message of the log, in words.
    fn state(&self, row: &LogRow) -> String {
        self.delivery.as_ref().map_or_else(String::new, |delivery| delivery.of(row, &self.held))
    }
}

async fn held<DB: Storage>(
    found: &mut Found,
    args: &Args,
    until: Instant,
    pool: &Pool<DB>,
) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let page = DB::held(pool, true, after, HELD).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        found.held.extend(page.into_iter().filter(|held| is_of(held, &args.key)));
        if Instant::now() > until {
            found.held_to = Some(after);
            return Ok(());
        }
    }
}

/// Without an order a message is parked under a key of its own.
fn is_of(held: &HeldMessage, key: &str) -> bool {
    let own = || decode_envelope(&held.envelope).is_ok_and(|one| one.key.as_deref() == Some(key));
    held.key == key || own()
}

async fn log<DB: Storage>(
    found: &mut Found,
    args: &Args,
    until: Instant,
    pool: &Pool<DB>,
) -> Result<(), Failure> {
    let trimmed = DB::trimmed(pool).await?;
    let mut at = match args.from.map(|from| Position(from - 1)) {
        Some(from) if from >= found.head => {
            found.looked = (found.head, found.head);
            return Ok(());
        }
        Some(from) if from > trimmed.position => DB::locate(pool, from).await?,
        _ => trimmed,
    };
    found.looked = (at.position, at.position);
    while at.position < found.head && Instant::now() < until {
        let rows = DB::read(pool, at, PAGE).await?;
        let Some(last) = rows.last() else { break };
        at = last.cursor;
        found.looked.1 = at.position;
        for row in rows
            .into_iter()
            .filter(|row| row.message.key.as_deref().is_some_and(|key| args.is_of(key)))
        {
            found.messages += 1;
            found.log.push_back(row);
            if found.log.len() > args.number as usize {
                found.log.pop_front();
            }
        }
    }
    Ok(())
}

fn documents(found: &Found, key: &str, output: &mut Output) -> Result<(), Failure> {
    let log = found.log.iter().map(|row| {
        let message = &row.message;
        json!({
            "position": row.cursor.position, "id": message.id, "topic": message.topic,
            "occurred_at": text::at(message.time), "bytes": message.data.len(),
            "state": found.state(row),
            "routes": found.delivery.as_ref().map(|delivery| delivery.routes(row)),
        })
    });
    let unsealed = found.unsealed.0.iter().map(|row| json!({"id": row.id, "topic": row.topic}));
    let sagas = found.sagas.iter().map(|saga| {
        json!({
            "id": saga.id, "saga": saga.saga, "version": saga.version, "status": saga.status,
            "problem": saga.problem, "started_at": text::at(saga.started_at),
            "updated_at": text::at(saga.updated_at), "ended_at": text::at(saga.ended_at),
        })
    });
    let locks =
        found.locks.iter().map(|lock| json!({"saga": lock.saga, "since_at": text::at(lock.since)}));
    let ((after, to), (more_sagas, more_locks)) = (found.looked, found.more);
    let more = found.messages > found.log.len() as u64;
    let [delayed, early] = found.waiting.documents();
    output.json(&json!({
        "key": key,
        "messages": found.messages,
        "log": {"items": log.collect::<Vec<_>>(), "more": more || to < found.head},
        "looked": {"after": after, "to": to, "head": found.head},
        "held": {
            "items": found.held.iter().map(summary).collect::<Vec<_>>(),
            "more": found.held_to.is_some(),
        },
        "unsealed": {"items": unsealed.collect::<Vec<_>>(), "more": found.unsealed.1},
        "taken_in": {"items": taken::documents(found.delivery.as_ref()), "more": false},
        "delayed": delayed,
        "early": early,
        "sagas": {"items": sagas.collect::<Vec<_>>(), "more": more_sagas},
        "locks": {"items": locks.collect::<Vec<_>>(), "more": more_locks},
    }))
}

fn page(found: &Found, key: &str, nothing: bool, output: &mut Output) -> Result<(), Failure> {
    let Found { log, messages, looked: (after, to), held, waiting, sagas, locks, .. } = found;
    let shown = text::escape(key);
    if nothing {
        output.line(format!(
            "nothing is known of key {shown}: not in the log after position {after} up to {to}, not \
             among what is held, delayed or early, and no saga has it"
        ))?;
        return taken::page(found.delivery.as_ref(), output);
    }
    output.line(format!(
        "log: {} of key {shown} after position {after}, up to {to}",
        text::count(*messages, "message")
    ))?;
    if !log.is_empty() {
        let rows = log.iter().map(|row| {
            [
                row.cursor.position.to_string(),
                text::time(row.message.time),
                row.message.topic.clone(),
                row.message.id.to_string(),
                found.state(row),
            ]
        });
        let columns = [
            whole("position"),
            spare("occurred_at"),
            cut("topic"),
            whole("id"),
            whole_text("state"),
        ];
        output.table(columns, rows)?;
    }
    if !found.unsealed.0.is_empty() {
        output.line("")?;
        output.line(
            "committed, without a position: a running relay gives it, and sends them then:",
        )?;
        let rows = found.unsealed.0.iter().map(|row| [row.topic.clone(), row.id.to_string()]);
        output.table([cut("topic"), whole("id")], rows)?;
    }
    if !held.is_empty() {
        output.line("")?;
        output.line("held here, or dead:")?;
        let rows = held.iter().map(|held| {
            [
                held.id.to_string(),
                in_words(held),
                held.source.clone(),
                held.topic.clone(),
                held.position.to_string(),
                held.message_id.to_string(),
                held.attempts.to_string(),
                held.error.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        let columns = [
            whole("id"),
            cut("state"),
            cut("source"),
            cut("topic"),
            whole("position"),
            spare("message_id"),
            whole("tries"),
            whole_text("error"),
        ];
        output.table(columns, rows)?;
    }
    waiting.page(output)?;
    taken::page(found.delivery.as_ref(), output)?;
    if !sagas.is_empty() {
        output.line("")?;
        output.line("sagas of it, which `syncline saga show ID` shows step by step:")?;
        let rows = sagas.iter().map(|saga| {
            [
                saga.id.to_string(),
                format!("{}@{}", saga.saga, saga.version),
                saga.status.clone(),
                text::time(saga.started_at),
                text::time(saga.updated_at),
                saga.problem.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        let columns = [
            whole("id"),
            cut("saga"),
            whole("status"),
            spare("started_at"),
            spare("updated_at"),
            whole_text("problem"),
        ];
        output.table(columns, rows)?;
    }
    for lock in locks {
        let since = text::time(lock.since);
        output.line(format!("saga {} has locked the entity {shown} since {since}", lock.saga))?;
    }
    Ok(())
}
