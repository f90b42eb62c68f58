//! `syncline inbox list`.

use std::collections::BTreeSet;

use sqlx::Pool;
use syncline::{Storage, inboxes, processes};

use super::document;
use crate::{
    doctor::refusing,
    failure::{Failure, Outcome},
    layout::{cut, spare, whole},
    output::Output,
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only those of this consumer
    #[arg(long)]
    consumer: Option<String>,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let inboxes = inboxes::list(pool, args.consumer.as_deref()).await?;
    if output.is_json() {
        output.list(inboxes.iter().map(document), false)?;
        return Ok(Outcome::Done);
    }
    if inboxes.is_empty() {
        output.line("nothing was taken in yet")?;
        return Ok(Outcome::Done);
    }
    let rows = inboxes.iter().map(|inbox| {
        [
            inbox.consumer.clone(),
            inbox.origin.source.clone(),
            inbox.origin.stream.clone(),
            inbox.origin.version.to_string(),
            inbox.origin.shard.to_string(),
            inbox.row.watermark.to_string(),
            inbox.row.last.position.to_string(),
            text::ago(Some(inbox.updated_at)),
        ]
    });
    let columns = [
        cut("consumer"),
        cut("source"),
        cut("stream"),
        whole("version"),
        whole("shard"),
        whole("watermark"),
        whole("last"),
        spare("updated_at"),
    ];
    output.table(columns, rows)?;
    // An operator who looks here for missing messages is to know that they are not.
    let all = processes::list(pool).await?;
    let consumers: BTreeSet<&str> = inboxes.iter().map(|inbox| inbox.consumer.as_str()).collect();
    for refusal in consumers.into_iter().flat_map(|consumer| refusing(&all, consumer)) {
        output.line(text::escape(&refusal))?;
    }
    Ok(Outcome::Done)
}
