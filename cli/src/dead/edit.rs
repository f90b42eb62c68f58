//! `syncline dead edit`.

use std::{io::Read, path::PathBuf};

use serde_json::json;
use sqlx::Pool;
use syncline::{Storage, held};

use crate::{
    ask::Who,
    failure::{Failure, Outcome},
    output::Output,
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The id that `dead list` or `held list` shows
    id: i64,
    /// The new payload; `-` reads it from stdin
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    who: Who,
    /// Have it tried again, now
    #[arg(long)]
    redrive: bool,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let payload = match args.data.as_os_str() == "-" {
        true => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        false => std::fs::read(&args.data),
    };
    let payload = payload.map_err(|error| {
        Failure::usage(format!("the payload {} cannot be read: {error}", args.data.display()))
    })?;
    let act = async {
        let edited = held::edit(pool, args.id, payload, &args.who.by).await?;
        let redriven = edited && args.redrive && redriven(pool, args.id).await?;
        Ok((u64::from(edited), (edited, redriven)))
    };
    let target = format!("message {}", args.id);
    let (edited, redriven) = args.who.record(pool, "dead edit", &target, act).await?;
    if output.is_json() {
        output.json(&json!({"id": args.id, "edited": edited, "redriven": redriven}))?;
    } else if edited {
        output.line(format!("edited {}", args.id))?;
        if redriven {
            output.line(format!("redriven {}", args.id))?;
        } else if args.redrive {
            output.line(text::escape(&super::why_not(pool, args.id).await?.why))?;
        }
    }
    if !edited {
        let id = args.id;
        let problem = format!("no message is held under id {id}: see `syncline held list`");
        if output.is_json() {
            return Err(Failure::not_found(problem));
        }
        output.line(problem)?;
        return Ok(Outcome::NotFound);
    }
    Ok(if redriven == args.redrive { Outcome::Done } else { Outcome::Refused })
}

/// Has the message tried now, dead or not; one that waits behind another is not.
async fn redriven<DB: Storage>(pool: &Pool<DB>, id: i64) -> Result<bool, Failure> {
    if held::redrive(pool, id).await? {
        return Ok(true);
    }
    let Some(held) = super::held(pool, id).await? else { return Ok(false) };
    let keys = held::retry_now(pool, Some(&held.consumer), Some(&held.key)).await?;
    Ok(keys.iter().any(|key| key.id == id && !key.blocked))
}
