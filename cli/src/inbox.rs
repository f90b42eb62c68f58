//! `syncline inbox`: how far consumers are, and an operator's hand on their watermarks.

mod list;
mod reapply;
mod skip;

use clap::Subcommand;
use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage, inboxes,
    storage::{Inbox, check_schema},
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    schema::to_look,
    text,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The watermark of every consumer, stream and shard
    List(list::Args),
    /// Have a consumer apply AGAIN what follows a position: its effects happen once more
    Reapply(reapply::Args),
    /// Have a consumer NEVER apply what it has not applied up to a position: the way out when the
    /// source no longer keeps it
    Skip(skip::Args),
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        Command::List(_) => to_look(pool, output).await?,
        _ => check_schema(pool).await?,
    }
    match command {
        Command::List(args) => list::run(args, pool, output).await,
        Command::Reapply(args) => reapply::run(args, pool, output).await,
        Command::Skip(args) => skip::run(args, pool, output).await,
    }
}

/// Fails when the consumer has taken in nothing of the stream.
async fn is_known<DB: Storage>(
    pool: &Pool<DB>,
    consumer: &str,
    source: &str,
    stream: &str,
    shard: Option<i32>,
) -> Result<(), Failure> {
    let known = inboxes::list(pool, Some(consumer)).await?;
    let is = |inbox: &Inbox| {
        inbox.origin.source == source
            && inbox.origin.stream == stream
            && shard.is_none_or(|shard| shard == inbox.origin.shard)
    };
    match known.iter().any(is) {
        true => Ok(()),
        false => Err(Failure::not_found(format!(
            "consumer {consumer:?} has taken in nothing of {source} {stream} there: see `syncline inbox \
             list`"
        ))),
    }
}

/// Tells which watermarks would move to a position.
fn show(would: &[Inbox], to: i64, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let would: Vec<_> = would.iter().map(document).collect();
        return output.json(&json!({"to": to, "would_move": would}));
    }
    for inbox in would {
        let (origin, at) = (&inbox.origin, inbox.row.watermark);
        output.line(text::escape(&format!(
            "{} is at {at} in shard {} of {} {} (version {}); it would go to {to}",
            inbox.consumer, origin.shard, origin.source, origin.stream, origin.version
        )))?;
    }
    Ok(())
}

fn document(inbox: &Inbox) -> Value {
    json!({
        "consumer": inbox.consumer,
        "source": inbox.origin.source,
        "stream": inbox.origin.stream,
        "version": inbox.origin.version,
        "shard": inbox.origin.shard,
        "incarnation": inbox.row.incarnation,
        "watermark": inbox.row.watermark,
        "last": inbox.row.last.position,
        "ended": inbox.row.ended,
        "updated_at": crate::text::at(inbox.updated_at),
    })
}
