//! `syncline migrate down`.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage, processes,
    storage::{MigrationState, Steps, check_down, dropped, migrate_down, plan, status},
};

use crate::{
    ask::{Consent, Who},
    failure::{Failure, Outcome},
    output::Output,
    text,
};

/// The migration with which processes are known.
const PROCESSES: i64 = 16;
/// The migration with which operations are recorded.
const OPERATIONS: i64 = 18;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The version that stays; 0 takes everything back
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
    /// Also when messages are lost that were not sent, or are held, and when processes run that need
    /// the tables
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    who: Who,
}

/// A step and what goes with it.
struct Goes {
    version: i64,
    name: &'static str,
    /// Tables, with their rows where they can be counted.
    tables: Vec<(&'static str, Option<i64>)>,
    /// Columns, as `table.column`.
    columns: Vec<String>,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let steps = super::down_to(pool, args.to, args.force).await?;
    let Steps::Down { to, force } = steps else { return Ok(Outcome::Unchanged) };
    let goes = plan(pool, steps).await?;
    let interrupted = DB::interrupted_migration(pool).await?.is_some();
    if goes.is_empty() && !interrupted {
        match output.is_json() {
            true => output.json(&json!({ "taken_back": [] }))?,
            false => output.line("nothing to take back")?,
        }
        return Ok(Outcome::Unchanged);
    }
    // One that was cut off was asked before, and its tables may be half gone.
    if !force && !interrupted {
        nobody_runs(pool).await?;
        check_down(pool, to).await?;
    }
    if !args.consent.is_given() {
        let mut shown = Vec::new();
        for step in &goes {
            shown.push(look(pool, step.version, step.name, step.down).await);
        }
        show(&shown, output)?;
        let act = format!(
            "take back {} with all that is in these tables",
            text::count(goes.len(), "migration")
        );
        if !args.consent.obtain(output, &act)? {
            return Ok(Outcome::Done);
        }
        // Somebody may have started meanwhile.
        if !force && !interrupted {
            nobody_runs(pool).await?;
        }
    }
    let act = async {
        let undone = migrate_down(pool, to, force).await?;
        Ok((undone.len() as u64, undone))
    };
    let undone = match to >= OPERATIONS {
        true => args.who.record(pool, "migrate down", &format!("to {to}"), act).await?,
        // The record of operations goes, too: the log of this program has it.
        false => {
            let (by, why) = (&args.who.by, &args.who.why);
            tracing::warn!(operator = by, why, to, "an operator takes migrations back");
            act.await?.1
        }
    };
    if output.is_json() {
        output.json(&json!({ "taken_back": undone }))?;
        return Ok(Outcome::Done);
    }
    for version in undone {
        output.line(format!("took back {}", super::label::<DB>(version)))?;
    }
    Ok(Outcome::Done)
}

/// Refuses while processes run that need the tables: they would fail in the middle of their work.
async fn nobody_runs<DB: Storage>(pool: &Pool<DB>) -> Result<(), Failure> {
    let known = status(pool).await?;
    let has = |m: &syncline::storage::MigrationStatus| {
        m.version == PROCESSES && m.state == MigrationState::Applied
    };
    if !known.iter().any(has) {
        return Ok(());
    }
    let alive: Vec<_> =
        processes::list(pool).await?.into_iter().filter(|one| one.is_alive()).collect();
    let mut found: Vec<String> = alive.iter().map(ToString::to_string).collect();
    let leases = processes::leases(pool).await?;
    let unknown = leases.iter().filter(|lease| alive.iter().all(|one| one.id != lease.holder));
    found.extend(unknown.map(|lease| {
        let left = lease.left.as_secs() + 1;
        format!("the holder of lease {} ({}, for {left} s more)", lease.name, lease.holder)
    }));
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "nothing was changed: these still run here and need the tables: {}: stop them first, see `syncline \
         process list`; one that was killed is forgotten {} s after it was seen last; --force does it all \
         the same",
        found.join(", "),
        processes::SILENT.as_secs(),
    )))
}

/// Tables and columns that `sql` drops, with the tables' rows.
async fn look<DB: Storage>(
    pool: &Pool<DB>,
    version: i64,
    name: &'static str,
    sql: &'static str,
) -> Goes {
    let (names, columns) = dropped(sql);
    let mut tables = Vec::new();
    for table in names {
        // One that is not there any more has no rows to tell of.
        tables.push((table, DB::rows_of(pool, table).await.ok()));
    }
    Goes { version, name, tables, columns }
}

/// Tells what would go.
fn show(goes: &[Goes], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let steps = goes.iter().map(|step| {
            let tables =
                step.tables.iter().map(|(table, rows)| json!({"table": table, "rows": rows}));
            json!({
                "version": step.version, "name": step.name,
                "tables": tables.collect::<Vec<Value>>(), "columns": step.columns,
            })
        });
        return output.json(&json!({ "would_take_back": steps.collect::<Vec<_>>() }));
    }
    for step in goes {
        let table = |(table, rows): &(&str, Option<i64>)| match rows {
            Some(rows) => format!("table {table} ({})", text::count(*rows, "row")),
            None => format!("table {table}"),
        };
        let columns = step.columns.iter().map(|column| format!("column {column}"));
        let all: Vec<_> = step.tables.iter().map(table).chain(columns).collect();
        let all = if all.is_empty() { "rules only".to_owned() } else { all.join(", ") };
        output.line(text::escape(&format!("{} {} goes: {all}", step.version, step.name)))?;
    }
    Ok(())
}
