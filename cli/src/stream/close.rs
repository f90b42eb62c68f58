//! `syncline stream close`.

use serde_json::json;
use sqlx::Pool;
use syncline::{Storage, streams};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The stream
    stream: String,
    /// Do not wait for what its routes have not sent: it is left to retention. Given again, its
    /// consumers are not told either that the stream has ended
    #[arg(long)]
    give_up: bool,
}

pub(super) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Args { stream, give_up } = args;
    let unknown =
        || Failure::not_found(format!("there is no stream {stream:?}: see `syncline stream list`"));
    let mut closed = streams::close(pool, stream).await?.ok_or_else(unknown)?;
    let mut given_up = 0;
    if *give_up {
        given_up = streams::give_up(pool, stream).await?;
        closed = streams::close(pool, stream).await?.ok_or_else(unknown)?;
    }
    if output.is_json() {
        let open = closed.open.iter().map(|row| {
            json!({
                "route": row.key.route, "version": row.key.version, "shard": row.key.shard,
                "position": row.checkpoint.cursor.position, "paused": row.paused,
            })
        });
        output.json(&json!({
            "stream": stream, "version": closed.version, "position": closed.position,
            "given_up": given_up, "open": open.collect::<Vec<_>>(),
        }))?;
        return Ok(Outcome::Done);
    }
    output.line(format!("stream {stream} is closed: it ends at position {}", closed.position))?;
    if *give_up {
        output.line(format!("given up: up to {given_up} messages that were not sent"))?;
    }
    for row in &closed.open {
        let (route, at) = (&row.key.route, row.checkpoint.cursor.position);
        let (version, shard) = (row.key.version, row.key.shard);
        output.line(match row.paused {
            true => format!(
                "route {route}, shard {shard} of version {version}: at position {at}, and paused: \
                 `syncline route resume {route}`"
            ),
            false => format!(
                "route {route}, shard {shard} of version {version}: at position {at}; keep the \
                 relay running that declares it"
            ),
        })?;
    }
    output.line(match closed.open.is_empty() {
        true => "all of it is sent: another stream may carry its topics, and takes over there",
        false => {
            "once all of it is sent another stream may carry its topics: look again by the same \
             command"
        }
    })?;
    Ok(Outcome::Done)
}
