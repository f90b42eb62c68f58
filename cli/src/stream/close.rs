//! `syncline stream close`.

use serde_json::json;
use sqlx::Pool;
use syncline::{
    Storage,
    streams::{self, Closed},
};

use crate::{
    ask::{Consent, Who},
    failure::{Failure, Outcome},
    output::Output,
    text::count,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The stream
    stream: String,
    /// Do not wait for what its routes have not sent: it is left to retention. Given again, its
    /// consumers are not told either that the stream has ended
    #[arg(long)]
    give_up: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    who: Who,
}

pub(super) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Args { stream, give_up, .. } = args;
    let unknown =
        || Failure::not_found(format!("there is no stream {stream:?}: see `syncline stream list`"));
    let versions = DB::streams(pool).await?;
    let last = versions.iter().rfind(|version| version.name == *stream).ok_or_else(unknown)?;
    let is_closed = last.rests();
    let not_sent = streams::not_sent(pool, stream).await?.ok_or_else(unknown)?;
    let open = DB::shards(pool).await?;
    let open = open.iter().filter(|row| row.stream == *stream && !row.closed).count();
    if is_closed && (!give_up || open == 0) {
        // It is looked at again, and that is all.
        let closed = streams::close(pool, stream).await?.ok_or_else(unknown)?;
        report(args, &closed, 0, output)?;
        return Ok(Outcome::Unchanged);
    }
    if !args.consent.is_given() {
        show(args, is_closed, not_sent, output)?;
        let act = match give_up {
            true => {
                format!("close stream {stream} for good, and give up what its routes have not sent")
            }
            false => format!("close stream {stream} for good"),
        };
        if !args.consent.obtain(output, &act)? {
            return Ok(Outcome::Done);
        }
    }
    let command = if *give_up { "stream close --give-up" } else { "stream close" };
    let act = async {
        let mut closed = streams::close(pool, stream).await?.ok_or_else(unknown)?;
        let mut given_up = 0;
        if *give_up {
            given_up = streams::give_up(pool, stream).await?;
            closed = streams::close(pool, stream).await?.ok_or_else(unknown)?;
        }
        Ok((if *give_up { given_up } else { 1 }, (closed, given_up)))
    };
    let (closed, given_up) = args.who.record(pool, command, stream, act).await?;
    report(args, &closed, given_up, output)?;
    Ok(Outcome::Done)
}

/// Tells what would happen.
fn show(args: &Args, is_closed: bool, not_sent: u64, output: &mut Output) -> Result<(), Failure> {
    let Args { stream, give_up, .. } = args;
    if output.is_json() {
        return output.json(&json!({
            "stream": stream, "closed": is_closed, "not_sent": not_sent, "give_up": give_up,
        }));
    }
    if !is_closed {
        output.line(format!(
            "stream {stream} would end where the log ends now; what comes later is carried by another \
             stream, or by none"
        ))?;
    }
    output.line(match give_up {
        true => format!("given up would be up to {}, not sent yet", count(not_sent, "message")),
        false => format!("its routes still send up to {}", count(not_sent, "message")),
    })
}

/// Tells where the stream ended, and what is still to be sent.
fn report(args: &Args, closed: &Closed, given_up: u64, output: &mut Output) -> Result<(), Failure> {
    let Args { stream, give_up, .. } = args;
    if output.is_json() {
        let open = closed.open.iter().map(|row| {
            json!({
                "route": row.key.route, "version": row.key.version, "shard": row.key.shard,
                "position": row.checkpoint.cursor.position, "paused": row.paused,
            })
        });
        return output.json(&json!({
            "stream": stream, "version": closed.version, "position": closed.position,
            "given_up": given_up, "open": open.collect::<Vec<_>>(),
        }));
    }
    output.line(format!("stream {stream} is closed: it ends at position {}", closed.position))?;
    if *give_up {
        output.line(format!("given up: up to {}, not sent", count(given_up, "message")))?;
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
    })
}
