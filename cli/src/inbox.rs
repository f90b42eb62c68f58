//! `syncline inbox`: how far consumers are, and an operator's hand on their watermarks.

mod list;
mod reapply;
mod skip;

use clap::Subcommand;
use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    storage::{Inbox, check_schema},
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    schema::to_look,
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
