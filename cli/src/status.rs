//! `syncline status`: one page, what is wrong first.

use std::time::Duration;

use serde_json::json;
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

/// Exits with 1 when something is wrong.
pub(crate) async fn run<DB: Storage>(
    time: Duration,
    pool: &Pool<DB>,
    name: &str,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let clock = Clock::start(time);
    let mut checks = vec![locks(pool, &clock).await];
    let silent = || Failure::unreachable(format!("{name} has not answered in time"));
    match clock.limit(to_look(pool, output)).await {
        Some(fits) => fits?,
        // The lock's holder may be known all the same.
        None if checks[0].level == Level::Ok => return Err(silent()),
        None => checks.push(Check::unanswered("schema")),
    }
    if checks.len() == 1 {
        checks.extend(operating(pool, &clock).await);
    }
    checks.sort_by(Check::by_weight);
    let wrong = checks.iter().take_while(|check| check.level != Level::Ok).count();
    let there = clock.limit(there(pool)).await.and_then(Result::ok).unwrap_or_default();
    let ok = wrong == 0;
    if output.is_json() {
        let (problems, fine) = (documents(&checks[..wrong]), documents(&checks[wrong..]));
        let There { head, routes, processes, leases } = &there;
        let processes: Vec<_> =
            processes.iter().map(|one| process::document(one, leases)).collect();
        output.json(&json!({
            "database": name, "ok": ok, "problems": problems, "fine": fine, "head": head,
            "shards": routes, "processes": processes,
        }))?;
    } else {
        page(name, &checks, wrong, &there, output)?;
    }
    Ok(if ok { Outcome::Done } else { Outcome::Failing })
}

/// The lower half of the page.
#[derive(Default)]
struct There {
    head: i64,
    routes: usize,
    processes: Vec<processes::Process>,
    leases: Vec<syncline::storage::HeldLease>,
}

async fn there<DB: Storage>(pool: &Pool<DB>) -> syncline::Result<There> {
    let (head, routes) = (DB::head(pool).await?.0, DB::route_lags(pool).await?.len());
    let (processes, leases) = (processes::list(pool).await?, processes::leases(pool).await?);
    Ok(There { head, routes, processes, leases })
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
    output
        .line(format!("log: up to position {head}; {} of routes", text::count(*routes, "shard")))?;
    if processes.is_empty() {
        output.line("processes: none has told of itself for a day")?;
    }
    for process in processes {
        let (state, seen) = (state(process), process.unseen.as_secs());
        let holds = held_by(process, leases).join(", ");
        let holds = if holds.is_empty() { holds } else { format!(", holds {holds}") };
        output.line(text::escape(&format!("{process}: {state}, seen {seen} s ago{holds}")))?;
    }
    let fine: Vec<&str> = checks[wrong..].iter().map(|check| check.name).collect();
    output.line(format!("as it should be: {}", fine.join(", ")))
}
