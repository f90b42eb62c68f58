//! `syncline process`: who runs a relay, a consumer or an engine of sagas on this database.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    processes::{self, Defined, Kind, Process},
    storage::HeldLease,
};

use crate::{
    failure::{Failure, Outcome},
    layout::{cut, spare, text as whole_text, whole},
    output::Output,
    schema::to_look,
    text,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Alive or silent, when seen last, the leases that each holds and what it was built with
    List(Args),
}

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only these
    #[arg(long, value_enum)]
    kind: Option<Of>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Of {
    Relay,
    Consumer,
    Engine,
}

pub(crate) async fn run<DB: Storage>(
    command: &Command,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let Command::List(args) = command;
    let kind = args.kind.map(|kind| match kind {
        Of::Relay => Kind::Relay,
        Of::Consumer => Kind::Consumer,
        Of::Engine => Kind::Engine,
    });
    list(kind, pool, output).await
}

pub(crate) async fn list<DB: Storage>(
    kind: Option<Kind>,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    to_look(pool, output).await?;
    let mut all = processes::list(pool).await?;
    let differing = processes::differing(&all);
    all.retain(|process| kind.is_none_or(|kind| process.kind == kind));
    let leases = processes::leases(pool).await?;
    if output.is_json() {
        output.list(all.iter().map(|one| document(one, &leases)), false)?;
        return Ok(Outcome::Done);
    }
    if all.is_empty() {
        output.line("none has told of itself for a day")?;
        return Ok(Outcome::Done);
    }
    let rows = all.iter().map(|process| {
        [
            process.kind.to_string(),
            process.name.clone(),
            state(process).to_owned(),
            format!("{} s ago", process.unseen.as_secs()),
            text::time(process.started_at),
            format!("{} on {}", process.pid, process.host),
            process.program.clone(),
            held_by(process, &leases).join(", "),
            built_with(&process.defined),
        ]
    });
    let columns = [
        whole("kind"),
        cut("name"),
        whole("state"),
        whole("seen_at"),
        spare("started_at"),
        cut("pid"),
        spare("program"),
        cut("leases"),
        whole_text("defined"),
    ];
    output.table(columns, rows)?;
    let problems = all.iter().filter(|process| process.is_alive());
    for (process, problem) in problems.flat_map(|one| one.problems.iter().map(move |p| (one, p))) {
        output.line(text::escape(&format!("{process}: {problem}")))?;
    }
    if kind.is_none_or(|kind| kind == Kind::Consumer) {
        for two in differing {
            output.line(text::escape(&two.to_string()))?;
        }
    }
    Ok(Outcome::Done)
}

/// `outdated` when a relay carries nothing of a stream for its definition is an older one.
pub(crate) fn state(process: &Process) -> &'static str {
    let outdated = process.defined.streams.iter().any(|stream| stream.is_outdated());
    match (process.is_alive(), outdated) {
        (false, _) => "silent",
        (true, true) => "outdated",
        (true, false) => "alive",
    }
}

/// The names of the leases that `process` holds.
pub(crate) fn held_by(process: &Process, leases: &[HeldLease]) -> Vec<String> {
    let ours = leases.iter().filter(|lease| lease.holder == process.id);
    ours.map(|lease| lease.name.clone()).collect()
}

fn built_with(defined: &Defined) -> String {
    let Defined { streams, topics, sagas, .. } = defined;
    let streams = streams.iter().map(|stream| {
        let (name, version, in_force) = (&stream.name, stream.version, stream.in_force);
        match stream.is_outdated() {
            true => format!("{name} v{version} (in force: v{in_force})"),
            false => format!("{name} v{version}"),
        }
    });
    streams.chain(topics.iter().chain(sagas).cloned()).collect::<Vec<_>>().join(", ")
}

pub(crate) fn document(process: &Process, leases: &[HeldLease]) -> Value {
    json!({
        "id": process.id,
        "kind": process.kind,
        "name": process.name,
        "state": state(process),
        "host": process.host,
        "pid": process.pid,
        "program": process.program,
        "started_at": text::at(process.started_at),
        "seen_at": text::at(process.seen_at),
        "unseen_seconds": process.unseen.as_secs(),
        "leases": held_by(process, leases),
        "defined": process.defined,
        "problems": process.problems,
    })
}
