//! Why routes do not move, for people and programs.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Error, Storage,
    storage::{HeldLease, RouteLag, RouteProblem, ShardKey},
};

use crate::text;

/// A shard that has not moved for so many seconds although something follows is asked about.
const STILL: i64 = 30;

/// One word for what is to be said of a route at once.
pub(crate) fn state(route: &RouteLag) -> &str {
    let kind = route.problem.as_ref().map(|problem| problem.kind.as_str());
    match (kind, route) {
        // An operator must do something, whatever else there is.
        (Some(kind @ ("trimmed" | "refused" | "diverged" | "outdated")), _) => kind,
        (_, RouteLag { lost: true, .. }) => "lost",
        (_, RouteLag { alarm_at: Some(_), .. }) => "alarm",
        (_, RouteLag { paused: true, .. }) => "paused",
        (Some(kind), _) => kind,
        _ => "on",
    }
}

/// Why a shard does not move, as JSON.
pub(crate) fn problem(route: &RouteLag) -> Value {
    let document = |RouteProblem { kind, text, since, tries, next_try }: &RouteProblem| json!({"kind": kind, "text": text, "since_at": crate::text::at(*since), "tries": tries, "next_try_at": crate::text::at(*next_try)});
    route.problem.as_ref().map_or(Value::Null, document)
}

/// By whom and why a route is paused, as JSON.
pub(crate) fn pause(route: &RouteLag) -> Value {
    let pause = route.pause.as_ref();
    pause.map_or(
        Value::Null,
        |of| json!({"by": of.by, "why": of.why, "since_at": text::at(of.since)}),
    )
}

/// The reason why a shard does not move.
pub(crate) struct Standing {
    /// For people, escaped.
    pub(crate) line: String,
    /// It does not move, and no reason is stored.
    pub(crate) still: bool,
}

/// Everything that keeps shards from moving; `waits` are those that wait for another stream.
fn standing(
    routes: &[RouteLag],
    leases: &[HeldLease],
    waits: &[(ShardKey, String)],
) -> Vec<Standing> {
    let of_shard = |route: &RouteLag| {
        let known = failing(route).or_else(|| paused(route));
        let (line, still) = match known {
            Some(line) => (line, false),
            None => {
                let older =
                    |other: &RouteLag| other.route == route.route && other.version < route.version;
                let waits = waits.iter().any(|(key, _)| *key == key_of(route));
                let may_move = !waits && !routes.iter().any(older);
                (may_move.then(|| still(route, leases)).flatten()?, true)
            }
        };
        let line = text::escape(&format!("{} shard {}: {line}", route.route, shard(route)));
        Some(Standing { line, still })
    };
    routes.iter().filter_map(of_shard).collect()
}

/// The reasons why `routes` of a database do not move.
pub(crate) async fn of<DB: Storage>(
    pool: &Pool<DB>,
    routes: &[RouteLag],
    waits: &[(ShardKey, String)],
) -> Result<Vec<Standing>, Error> {
    Ok(standing(routes, &DB::leases(pool).await?, waits))
}

fn failing(route: &RouteLag) -> Option<String> {
    let RouteProblem { kind, text, since, tries, next_try } = route.problem.as_ref()?;
    let (at, ago) = (text::time(*since), text::ago(Some(*since)));
    let tried = match (tries, next_try) {
        (0, _) | (_, None) => String::new(),
        (tries, Some(next)) => {
            format!(", {} failed, next try {}", text::count(*tries, "try"), text::until(*next))
        }
    };
    let pause = route.pause.as_ref().map_or(String::new(), |pause| format!("; {pause}"));
    Some(format!("{kind} since {at} ({ago}{tried}): {text}{pause}"))
}

fn paused(route: &RouteLag) -> Option<String> {
    let pause = route.pause.as_ref()?;
    Some(format!("{pause}; `syncline route resume {}` lets it go on", route.route))
}

/// Of a shard that has something to send and does not move: who has it.
fn still(route: &RouteLag, leases: &[HeldLease]) -> Option<String> {
    // While there was nothing to send it stood still for no reason.
    let now = text::now();
    // The time of a message is its writer's.
    let oldest = route.oldest.filter(|oldest| *oldest <= now);
    let since = oldest.map_or(route.updated_at, |oldest| oldest.max(route.updated_at));
    let still = (now - since).num_seconds();
    if route.behind == 0 || still < STILL {
        return None;
    }
    let name = key_of(route).lease_name();
    let held = leases.iter().find(|lease| lease.name == name);
    Some(match held {
        None => format!(
            "it has not moved for {still} s, and no relay has its lease: start the program that \
             declares stream {} and the route; what it has not sent waits in the log until then",
            route.stream
        ),
        Some(HeldLease { holder, left, .. }) => {
            let until = text::now() + *left;
            format!(
                "it has not moved for {still} s; relay process {holder} has its lease until {} ({}): \
                 one that lives renews it, and another takes over from one that died",
                text::time(until),
                text::until(until)
            )
        }
    })
}

fn key_of(route: &RouteLag) -> ShardKey {
    ShardKey::new(route.route.as_str(), route.version, route.shard)
}

/// The shard, with the version of its stream where that is not the first.
pub(crate) fn shard(route: &RouteLag) -> String {
    match route.version {
        1 => route.shard.to_string(),
        version => format!("{} of v{version}", route.shard),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{TimeDelta, Utc};
    use syncline::{message::Position, storage::RoutePause};
    use uuid::Uuid;

    use super::*;

    fn lines(
        routes: &[RouteLag],
        leases: &[HeldLease],
        waits: &[(ShardKey, String)],
    ) -> Vec<String> {
        standing(routes, leases, waits).into_iter().map(|one| one.line).collect()
    }

    fn route() -> RouteLag {
        RouteLag {
            route: "login".to_owned(),
            stream: "users".to_owned(),
            version: 1,
            shard: 0,
            paused: false,
            position: Position(3),
            behind: 2,
            oldest: None,
            updated_at: Utc::now() - TimeDelta::seconds(90),
            alarm_at: None,
            lost: false,
            problem: None,
            pause: None,
        }
    }

    #[test]
    fn a_shard_that_stands_still_says_who_has_its_lease() {
        let (routes, none) = ([route()], [].as_slice());
        let told = lines(&routes, &[], none).remove(0);
        assert!(told.contains("90 s") && told.contains("no relay has its lease"), "{told}");
        let (holder, left) = (Uuid::from_u128(7), Duration::from_secs(400));
        let lease = HeldLease { name: "route/login".to_owned(), holder, epoch: 1, left };
        let told = lines(&routes, std::slice::from_ref(&lease), none).remove(0);
        let words = [holder.to_string(), "lease until".to_owned(), "in 399 s".to_owned()];
        let shown = words[..2].iter().all(|word| told.contains(word.as_str()));
        assert!(shown && (told.contains(&words[2]) || told.contains("in 400 s")), "{told}");
        // It has just moved, has all, is behind another version, or waits for another stream.
        let moved = RouteLag { updated_at: Utc::now(), ..route() };
        let rests = RouteLag { behind: 0, ..route() };
        for shard in [moved, rests] {
            assert!(lines(&[shard], &[], none).is_empty());
        }
        // There was nothing to send until a moment ago, or until 50 seconds ago; or a clock is ahead.
        let idle = |age| RouteLag { oldest: Some(Utc::now() - TimeDelta::seconds(age)), ..route() };
        assert!(lines(&[idle(5)], &[], none).is_empty());
        let told = lines(&[idle(50)], &[], none).remove(0);
        assert!(told.contains("moved for 50 s") || told.contains("moved for 51 s"), "{told}");
        let ahead = lines(&[idle(-600)], &[], none).remove(0);
        assert!(ahead.contains("moved for 90 s") || ahead.contains("moved for 91 s"), "{ahead}");
        let next = RouteLag { version: 2, ..route() };
        assert_eq!(lines(&[route(), next], &[], none).len(), 1);
        let waits = [(ShardKey::new("login", 1, 0), "for another".to_owned())];
        assert!(lines(&routes, &[], &waits).is_empty());
    }

    #[test]
    fn a_failing_shard_tells_its_tries_and_a_paused_one_who_and_why() {
        let next = Utc::now() + TimeDelta::seconds(20);
        let problem = RouteProblem {
            kind: "backoff".to_owned(),
            text: "nobody\nis there".to_owned(),
            since: Utc::now() - TimeDelta::seconds(87),
            tries: 9,
            next_try: Some(next),
        };
        let once =
            RouteLag { problem: Some(RouteProblem { tries: 1, ..problem.clone() }), ..route() };
        let told = lines(&[once], &[], &[]).remove(0);
        assert!(told.contains(", 1 try failed, next try in"), "{told}");
        let failing = RouteLag { problem: Some(problem), ..route() };
        let told = lines(&[failing], &[], &[]).remove(0);
        let words = ["backoff since", "9 tries failed, next try in", "nobody\\nis there"];
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
        let pause = RoutePause {
            by: Some("ada".to_owned()),
            why: Some("it is moved".to_owned()),
            since: Some(Utc::now()),
        };
        let paused = RouteLag { paused: true, pause: Some(pause), ..route() };
        let told = lines(&[paused], &[], &[]).remove(0);
        assert!(told.contains("paused by ada since") && told.contains("it is moved"), "{told}");
    }
}
