//! Processes that have not written for a while and may live all the same.

use std::time::Duration;

use sqlx::Pool;
use syncline::{
    Storage,
    processes::{self, Process},
    storage::HeldLease,
};

use super::check::{Cause, Check};
use crate::{process::held_by, text};

/// One that has been silent for longer is taken for dead, unless it holds a lease.
const LATELY: Duration = Duration::from_secs(15 * 60);

pub(super) async fn check<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "silent processes";
    let asked = async {
        Ok::<_, syncline::Error>((processes::list(pool).await?, processes::leases(pool).await?))
    };
    let (all, leases) = match asked.await {
        Ok(asked) => asked,
        Err(error) => return Check::error(NAME, &error),
    };
    let lines: Vec<String> = silent(&all, &leases).map(line).collect();
    match lines.is_empty() {
        true => Check::ok(NAME, "none"),
        false => {
            let advice = "if it lives, its log says why it cannot write: see the check `writes`, and run \
                          doctor as its user and from its machine; one that was killed is forgotten here";
            Check::warning(NAME, [Cause::Silent], lines.join("; "), Some(advice))
        }
    }
}

/// Silent processes for which no other one of their kind and name has begun since.
fn silent<'a>(all: &'a [Process], leases: &'a [HeldLease]) -> impl Iterator<Item = &'a Process> {
    all.iter().filter(move |one| {
        let follows = |other: &&Process| {
            (other.kind, &other.name) == (one.kind, &one.name)
                && other.is_alive()
                && other.started_at > one.seen_at
        };
        let holds = !held_by(one, leases).is_empty();
        let lately = one.unseen <= LATELY && !all.iter().any(|other| follows(&other));
        !one.is_alive() && (holds || lately)
    })
}

fn line(process: &Process) -> String {
    let Process { kind, name, host, pid, seen_at, .. } = process;
    format!(
        "{kind} {name} ({host}, pid {pid}) has not written since {}: it may have died, or its database \
         takes no writes",
        text::time(*seen_at)
    )
}
