//! `syncline stream rebase`.

use chrono::{DateTime, Utc};
use clap::ArgGroup;
use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    incarnation::{Agreed, Lives, Preview, Rebase, Unsealed, lives},
    message::Position,
};
use uuid::Uuid;

use crate::{
    ask::{Consent, Who},
    failure::{Failure, Outcome},
    output::Output,
    text,
};

#[derive(clap::Args)]
#[command(group(ArgGroup::new("agreed").args(["head", "to", "restored_at"])))]
pub(crate) struct Args {
    /// Nothing was written since the backup was restored: all of the log is what consumers know
    #[arg(long)]
    head: bool,
    /// The last position that is what consumers know; what follows was written since the restore
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
    /// When the backup was restored (RFC 3339): where the log ended when a relay first sealed it
    /// after that
    #[arg(long, value_name = "TIME")]
    restored_at: Option<DateTime<Utc>>,
    /// An incarnation that consumers follow and this database lost, as their routes say
    #[arg(long, value_name = "INCARNATION")]
    lost: Vec<Uuid>,
    /// The fate of committed messages without a position, which may have been sent after the
    /// backup was taken
    #[arg(long, value_name = "FATE")]
    unsealed: Option<Fate>,
    /// Begin although consumers may never get messages at or below the position that no route has
    /// delivered
    #[arg(long)]
    skip_undelivered: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    who: Who,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Fate {
    /// Send them, perhaps for a second time
    Send,
    /// Remove them: who did not get one never will
    Discard,
}

pub(super) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let agreed = match (args.head, args.to, args.restored_at) {
        (true, ..) => Agreed::Head,
        (_, Some(position), _) => Agreed::At(Position(position)),
        (.., Some(time)) => Agreed::RestoredAt(time),
        _ => return show(args, &lives(pool).await?, output),
    };
    let mut new = Rebase::new(agreed).lost(args.lost.iter().copied());
    if let Some(fate) = args.unsealed {
        new = new.unsealed(match fate {
            Fate::Send => Unsealed::Send,
            Fate::Discard => Unsealed::Discard,
        });
    }
    if args.skip_undelivered {
        new = new.skip_undelivered();
    }
    if !args.consent.is_given() {
        let would = new.preview(pool).await?;
        preview(&would, output)?;
        output.finish()?;
        new.check(&would)?;
        output.note(
            "consumers keep what they applied after the position, and apply what follows it here; a wrong \
             position lets them apply messages twice or not at all",
        )?;
        let act = format!("begin a new incarnation that agrees up to position {}", would.agreed);
        if !args.consent.obtain(output, &act)? {
            return Ok(Outcome::Done);
        }
    }
    let target = format!("a new incarnation {}", new.agreed());
    let act = async {
        let new = new.run(pool).await?;
        Ok((1, new))
    };
    let new = args.who.record(pool, "stream rebase", &target, act).await?;
    if output.is_json() {
        output.json(&json!({
            "incarnation": new.incarnation, "agreed": new.agreed, "rewritten": new.rewritten,
            "discarded": new.discarded,
        }))?;
        return Ok(Outcome::Done);
    }
    output.line(format!(
        "incarnation {} begins; up to position {} it is what consumers know",
        new.incarnation, new.agreed
    ))?;
    if new.rewritten > 0 {
        output.line(format!("written anew: {}", text::count(new.rewritten, "message")))?;
    }
    if new.discarded > 0 {
        output.line(format!(
            "removed: {} without a position",
            text::count(new.discarded, "message")
        ))?;
    }
    output.line("relays notice within a third of their lease")?;
    Ok(Outcome::Done)
}

/// Tells what would happen.
fn preview(preview: &Preview, output: &mut Output) -> Result<(), Failure> {
    let Preview { agreed, head, undelivered, unsealed, first_unsealed, .. } = preview;
    if output.is_json() {
        let undelivered: serde_json::Map<String, Value> =
            undelivered.iter().map(|(route, most)| (route.clone(), json!(most))).collect();
        let first = first_unsealed
            .iter()
            .map(|row| json!({"id": row.id, "topic": row.topic, "key": row.key}));
        return output.json(&json!({
            "agreed": agreed, "sent": head.0 - agreed.0, "undelivered": undelivered,
            "unsealed": unsealed, "first_unsealed": first.collect::<Vec<_>>(),
        }));
    }
    output.line(format!("agreed: the log up to position {agreed}"))?;
    output.line(format!("sent: {} after it", text::count(head.0 - agreed.0, "message")))?;
    for (route, most) in undelivered {
        output.line(format!(
            "skipped, if the consumer had applied others there: up to {} of route {route}",
            text::count(*most, "message")
        ))?;
    }
    if *unsealed > 0 {
        let unsealed = text::count(*unsealed, "message");
        output.line(format!("to be decided (--unsealed): {unsealed} without a position"))?;
        for row in first_unsealed {
            output.line(crate::text::escape(&format!("  {row}")))?;
        }
    }
    Ok(())
}

/// What there is to choose from.
fn show(args: &Args, lives: &Lives, output: &mut Output) -> Result<Outcome, Failure> {
    let lacks = !args.lost.is_empty() || args.unsealed.is_some() || args.skip_undelivered;
    if output.is_json() {
        output.json(&document(lives))?;
        return Ok(Outcome::Unchanged);
    }
    output.line(format!("incarnation {}, its log ends at {}", lives.incarnation, lives.head))?;
    for former in &lives.former {
        let (was, agreed, ended) = (former.incarnation, former.agreed, text::time(former.ended_at));
        output.line(format!("before: {was} until {ended}, the same up to {agreed}"))?;
    }
    let rows = lives.terms.iter().map(|term| [text::time(term.began_at), term.head.to_string()]);
    output.line("relays that began to seal, and where the log ended then:")?;
    output.table(["began_at", "head"], rows)?;
    output.line(match lacks {
        true => {
            "nothing was changed, for it is not said up to where the log is what consumers know: add \
             --head when nothing was written since the restore, else --restored-at TIME, or --to POSITION"
        }
        false => {
            "nothing was changed. After a restore: --head when nothing was written since, else \
             --restored-at TIME, or --to POSITION"
        }
    })?;
    Ok(Outcome::Unchanged)
}

fn document(lives: &Lives) -> Value {
    let former = lives.former.iter().map(|former| {
        json!({
            "incarnation": former.incarnation, "agreed": former.agreed, "ended_at": text::at(former.ended_at),
        })
    });
    let terms = lives
        .terms
        .iter()
        .map(|term| json!({"began_at": text::at(term.began_at), "head": term.head}));
    json!({
        "incarnation": lives.incarnation,
        "head": lives.head,
        "former": former.collect::<Vec<_>>(),
        "terms": terms.collect::<Vec<_>>(),
    })
}
