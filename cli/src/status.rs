//! `syncline status`: one page, what is wrong first.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{Storage, processes, storage::Level};

use crate::{
    doctor::{Check, Clock, documents, locks, operating},
    failure::{Failure, Outcome},
    output::Output,
    process::{self, held_by, state},
    schema::to_look,
    text,
};

/// In place of what the database did not tell in time.
const UNKNOWN: &str = "not known: no answer in time";

/// Exits with 8 when something is wrong.
pub(crate) async fn run<DB: Storage>(
    time: Duration,
    pool: &Pool<DB>,
    name: &str,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let clock = Clock::start(time);
    let (mut locks, fits) = tokio::join!(locks(pool, &clock), clock.limit(to_look(pool, output)));
    let silent = match fits {
        Some(Ok(())) => None,
        Some(Err(failure)) => Some(failure),
        None => Some(Failure::unreachable(format!("{name} has not answered in time"))),
    };
    let silent = match silent {
        Some(failure) if !failure.is_unreachable() || locks.level == Level::Ok => {
            return Err(failure);
        }
        silent => silent.is_some(),
    };
    let (mut checks, mut there) = (Vec::new(), There::default());
    if silent {
        checks.push(Check::unanswered("schema"));
    }
    // Where the lock's holder is known, the history may be locked, and all else be well.
    if !silent || locks.level == Level::Warning {
        let found = tokio::join!(operating(pool, &clock, &mut locks), self::there(pool, &clock));
        checks.extend(found.0);
        there = found.1;
    }
    checks.insert(0, locks);
    checks.sort_by(Check::by_weight);
    let wrong = checks.iter().take_while(|check| check.level != Level::Ok).count();
    let ok = wrong == 0;
    if output.is_json() {
        let (problems, fine) = (documents(&checks[..wrong]), documents(&checks[wrong..]));
        let There { head, routes, processes, leases } = &there;
        let document = |one| {
            let mut document = process::document(one, leases.as_deref().unwrap_or_default());
            if leases.is_none() {
                document["leases"] = Value::Null;
            }
            document
        };
        let processes: Option<Vec<_>> =
            processes.as_ref().map(|all| all.iter().map(document).collect());
        output.json(&json!({
            "database": name, "ok": ok, "problems": problems, "fine": fine, "head": head,
            "shards": routes, "processes": processes,
        }))?;
    } else {
        page(name, &checks, wrong, &there, output)?;
    }
    Ok(if ok { Outcome::Done } else { Outcome::Failing })
}

/// The lower half of the page; none of what got no answer.
#[derive(Default)]
struct There {
    head: Option<i64>,
    routes: Option<usize>,
    processes: Option<Vec<processes::Process>>,
    leases: Option<Vec<syncline::storage::HeldLease>>,
}

async fn there<DB: Storage>(pool: &Pool<DB>, clock: &Clock) -> There {
    let (head, routes, processes, leases) = tokio::join!(
        clock.limit(DB::head(pool)),
        clock.limit(DB::route_lags(pool)),
        clock.limit(processes::list(pool)),
        clock.limit(processes::leases(pool))
    );
    There {
        head: read(head).map(|head| head.0),
        routes: read(routes).map(|routes| routes.len()),
        processes: read(processes),
        leases: read(leases),
    }
}

fn read<T>(answer: Option<syncline::Result<T>>) -> Option<T> {
    answer.and_then(Result::ok)
}

fn page(
    name: &str,
    checks: &[Check],
    wrong: usize,
    there: &There,
    output: &mut Output,
) -> Result<(), Failure> {
    match wrong {
        0 => output.line(format!("{name}: all is well"))?,
        _ => {
            let is = text::verb(wrong, "is", "are");
            output.line(format!("{name}: {} {is} wrong", text::count(wrong, "thing")))?;
        }
    }
    for check in &checks[..wrong] {
        output.line(text::escape(&format!("{} {}: {}", check.word(), check.name, check.text())))?;
    }
    output.line("")?;
    let There { head, routes, processes, leases } = there;
    let head = head.map_or(UNKNOWN.to_owned(), |head| format!("up to position {head}"));
    let routes = routes.map_or(format!("shards of routes: {UNKNOWN}"), |shards| {
        format!("{} of routes", text::count(shards, "shard"))
    });
    output.line(format!("log: {head}; {routes}"))?;
    match processes.as_deref() {
        None => output.line(format!("processes: {UNKNOWN}"))?,
        Some([]) => output.line("processes: none has told of itself for a day")?,
        Some(_) => {}
    }
    for process in processes.iter().flatten() {
        let (state, seen) = (state(process), process.unseen.as_secs());
        let holds = leases.as_ref().map(|leases| held_by(process, leases).join(", "));
        let holds = match holds {
            None => format!(", holds: {UNKNOWN}"),
            Some(holds) if holds.is_empty() => holds,
            Some(holds) => format!(", holds {holds}"),
        };
        output.line(text::escape(&format!("{process}: {state}, seen {seen} s ago{holds}")))?;
    }
    let fine: Vec<&str> = checks[wrong..].iter().map(|check| check.name).collect();
    output.line(format!("as it should be: {}", fine.join(", ")))
}
