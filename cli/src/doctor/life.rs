//! Checks of the processes that run on the database, and of what waits for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlx::Pool;
use syncline::{
    Result, Storage,
    error::Trouble,
    processes::{self, Kind, Process},
    storage::{Ahead, Blocking, HeldCount, Unhandled, check_writes},
};

use super::check::{Cause, Check};
use crate::text;

/// A lock that is had for a moment is none of anybody's business.
const LONG: Duration = Duration::from_secs(5);

/// The most topics without a handler that are named.
const TOPICS: i64 = 10;

const LOCKS: &str = "blocking locks";

/// `holders` keep others waiting.
pub(super) fn blocked(holders: &[Blocking]) -> Check {
    let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
    let advice = "who waits stands still: let it commit, or end that session \
                  (`pg_terminate_backend(pid)` on PostgreSQL, `KILL` on MariaDB)";
    Check::warning(LOCKS, [Cause::Locks], holders.join("; "), Some(advice))
}

/// Whether the database takes a write.
pub(super) async fn writes<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "writes";
    let Err(error) = check_writes(pool).await else {
        return Check::ok(NAME, "a test row is committed and removed");
    };
    let standby = matches!(DB::is_standby(pool).await, Ok(true));
    let advice = match error.trouble() {
        Trouble::ReadOnly if standby => {
            let found = "this server is a standby: it takes no writes";
            return Check::failed(NAME, found, Some("connect to the primary"));
        }
        // Somebody writes, so the database does.
        Trouble::Locked => {
            let advice = "somebody holds a lock: see `blocking locks`";
            return Check::warning(NAME, [Cause::Locks], error.to_string(), Some(advice));
        }
        Trouble::ReadOnly => {
            "let it take writes again (default_transaction_read_only on PostgreSQL, read_only on \
             MariaDB, the rights of SQLite's file); nothing is lost meanwhile, and nothing is to be skipped"
        }
        Trouble::DiskFull | Trouble::Quota => {
            "make room; nothing is lost meanwhile, and nothing is to be skipped"
        }
        Trouble::Permission => {
            "grant the write to this user; SQLite writes beside the file, too, in its directory"
        }
        _ => "services that share this database cannot write either; see its own log",
    };
    Check::failed(NAME, format!("the database {}: {error}", error.trouble()), Some(advice))
}

/// Sessions that keep others waiting.
pub(super) async fn locks<DB: Storage>(pool: &Pool<DB>) -> Check {
    match DB::blocking(pool, LONG).await {
        Ok(found) if found.is_empty() => Check::ok(LOCKS, "none"),
        Ok(found) => blocked(&found),
        Err(error) => Check::error(LOCKS, &error),
    }
}

/// Whether somebody runs for all that waits, and what those who run do not get on with.
pub(super) async fn processes<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "processes";
    match look(pool).await {
        Ok((found, alive)) if found.is_empty() => Check::ok(NAME, alive),
        Ok((found, _)) => {
            let (causes, lines): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            Check::warning(NAME, causes, lines.join("; "), Some("see `syncline process list`"))
        }
        Err(error) => Check::error(NAME, &error),
    }
}

type Lines = Vec<(Cause, String)>;

async fn look<DB: Storage>(pool: &Pool<DB>) -> Result<(Lines, String)> {
    let all = processes::list(pool).await?;
    let alive: Vec<&Process> = all.iter().filter(|process| process.is_alive()).collect();
    let of = |kind: Kind| alive.iter().copied().filter(move |process| process.kind == kind);
    let mut found = Lines::new();
    let lags = DB::route_lags(pool).await?;
    if of(Kind::Relay).next().is_none() {
        let behind: i64 = lags.iter().map(|lag| lag.behind).sum();
        let unsealed = DB::unsealed(pool).await?;
        if behind + unsealed > 0 {
            found.push((
                Cause::Relay,
                format!(
                    "no relay runs here: start the service's relay (`Relay::start`, or `syncline relay`); \
                     {} {} no position, and routes are {behind} behind in all",
                    text::count(unsealed, "committed message"),
                    text::verb(unsealed, "has", "have")
                ),
            ));
        }
    } else {
        // A relay of other routes says nothing of these.
        let declared: BTreeSet<&str> =
            of(Kind::Relay).flat_map(|one| &one.defined.routes).map(String::as_str).collect();
        let mut behind: BTreeMap<&str, i64> = BTreeMap::new();
        for lag in lags.iter().filter(|lag| lag.behind > 0 && !lag.paused) {
            let most = behind.entry(lag.route.as_str()).or_default();
            *most = lag.behind.max(*most);
        }
        behind.retain(|route, _| !declared.contains(route));
        found.extend(behind.into_iter().map(|(route, behind)| {
            (
                Cause::Relay,
                format!(
                    "no relay that declares route {route} runs here: start the program that does; \
                     {} after its checkpoint {} for it",
                    text::count(behind, "message"),
                    text::verb(behind, "waits", "wait")
                ),
            )
        }));
    }
    for relay in of(Kind::Relay) {
        for stream in relay.defined.streams.iter().filter(|stream| stream.is_outdated()) {
            found.push((
                Cause::Outdated,
                format!(
                    "{relay} has version {} of stream {}, and version {} is in force: it carries \
                     nothing of it; start the newer program, or see `Stream::replaces`",
                    stream.version, stream.name, stream.in_force
                ),
            ));
        }
    }
    let silent = |holder| all.iter().find(|process| process.id == holder && !process.is_alive());
    for lease in processes::leases(pool).await? {
        if let Some(process) = silent(lease.holder) {
            found.push((
                Cause::Leases,
                format!(
                    "the lease {} is {process}'s, which has not been seen for {} s: another process \
                     takes it over in {} s",
                    lease.name,
                    process.unseen.as_secs(),
                    lease.left.as_secs()
                ),
            ));
        }
    }
    let running: BTreeSet<&str> = of(Kind::Consumer).map(|one| one.name.as_str()).collect();
    for (consumer, messages) in waiting(pool).await? {
        if !running.contains(consumer.as_str()) {
            found.push((
                Cause::Consumer,
                format!(
                    "no process of the consumer {consumer} runs here: start its service, which must call \
                     `Consumer::start`; {} {} at it, and none is tried again",
                    text::count(messages, "message"),
                    text::verb(messages, "waits", "wait")
                ),
            ));
        }
    }
    let relays: BTreeSet<&str> = of(Kind::Relay).map(|one| one.name.as_str()).collect();
    for (saga, version, instances) in DB::saga_versions(pool).await? {
        let owner = format!("{saga}/{version}");
        let has = |one: &&Process| one.defined.sagas.contains(&owner);
        let engines: Vec<&str> =
            of(Kind::Engine).filter(has).map(|one| one.name.as_str()).collect();
        if !engines.is_empty() {
            // Answers go to the source of the relay that sent the command.
            if !relays.is_empty() && engines.iter().all(|source| !relays.contains(source)) {
                found.push((
                    Cause::Engine,
                    format!(
                        "no engine that has {saga}@{version} runs here as {}, the source of the relay: start \
                         the service that does (`Sagas::run`); what runs as {} gets no answers",
                        relays.iter().copied().collect::<Vec<_>>().join(" or "),
                        engines.join(" and ")
                    ),
                ));
            }
        } else {
            found.push((
                Cause::Engine,
                format!(
                    "no engine that has {saga}@{version} runs here: start the service that does \
                     (`Sagas::run`); {} of it {} open",
                    text::count(instances, "instance"),
                    text::verb(instances, "is", "are")
                ),
            ));
        }
    }
    for process in &alive {
        for problem in &process.problems {
            found.push((Cause::Processes, format!("{process}: {problem}")));
        }
    }
    let count = |kind: Kind| text::count(of(kind).count(), kind.as_str());
    let alive = format!(
        "running: {}, {} and {}",
        count(Kind::Relay),
        count(Kind::Consumer),
        count(Kind::Engine)
    );
    Ok((found, alive))
}

/// Number of messages at each consumer that wait for something that it does by itself.
async fn waiting<DB: Storage>(pool: &Pool<DB>) -> Result<BTreeMap<String, i64>> {
    let mut waiting = BTreeMap::new();
    for HeldCount { consumer, held, dead, .. } in DB::held_counts(pool).await? {
        *waiting.entry(consumer).or_default() += held - dead;
    }
    for Ahead { consumer, waiting: early, .. } in DB::ahead(pool, None).await? {
        *waiting.entry(consumer).or_default() += early;
    }
    waiting.retain(|_, messages| *messages > 0);
    Ok(waiting)
}

/// Consumers of one name that take different topics.
pub(super) async fn handlers<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "handlers";
    let all = match processes::list(pool).await {
        Ok(all) => all,
        Err(error) => return Check::error(NAME, &error),
    };
    let found = processes::differing(&all);
    let texts = |lasting: bool| {
        let texts = found.iter().filter(|two| two.lasts() == lasting).map(ToString::to_string);
        texts.collect::<Vec<_>>()
    };
    let (lasting, passing) = (texts(true), texts(false));
    if !lasting.is_empty() {
        let advice = "or is a deployment stuck half way?";
        return Check::warning(NAME, [Cause::Handlers], lasting.join("; "), Some(advice));
    }
    match passing.is_empty() {
        true => Check::ok(NAME, "consumers of one name take the same topics"),
        // As during a deployment; so it is told, and no more.
        false => Check::ok(NAME, passing.join("; ")),
    }
}

/// Dead letters.
pub(super) async fn dead<DB: Storage>(pool: &Pool<DB>) -> Check {
    let dead = |count: &HeldCount| count.dead;
    let advice = "see `syncline dead list`: they wait for you, and block their keys";
    counted(pool, "dead letters", Cause::Dead, dead, advice).await
}

/// Messages that are held and not dead.
pub(super) async fn held<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "held messages";
    let unhandled = match DB::unhandled(pool, TOPICS).await {
        Ok(unhandled) => unhandled,
        Err(error) => return Check::error(NAME, &error),
    };
    let held = |count: &HeldCount| count.held - count.dead;
    let advice = match unhandled.is_empty() {
        true => "see `syncline held list`",
        false => {
            "start the version of the service that has a handler for the topic, add one, or `ignore` \
                  the topic: what is held is applied then, in order; see `syncline held list`"
        }
    };
    let mut check = counted(pool, NAME, Cause::Held, held, advice).await;
    for Unhandled { consumer, topic, messages, since } in unhandled {
        let (messages, since) = (text::count(messages, "message"), text::time(since));
        check.found.push_str(&format!(
            "; no handler of {consumer} takes {topic:?}: {messages} held since {since}"
        ));
        check.causes.push(Cause::Unhandled);
    }
    check.causes.dedup();
    check
}

async fn counted<DB: Storage>(
    pool: &Pool<DB>,
    name: &'static str,
    cause: Cause,
    of: impl Fn(&HeldCount) -> i64,
    advice: &str,
) -> Check {
    let counts = match DB::held_counts(pool).await {
        Ok(counts) => counts,
        Err(error) => return Check::error(name, &error),
    };
    let line = |count: &HeldCount| {
        let number = of(count);
        let since = text::time(count.since);
        let unknown = match count.unknown {
            0 => String::new(),
            unknown => format!(", {unknown} of them without a handler"),
        };
        (number > 0).then(|| {
            format!("{number} of {} (it has held messages since {since}{unknown})", count.consumer)
        })
    };
    let lines: Vec<String> = counts.iter().filter_map(line).collect();
    match lines.is_empty() {
        true => Check::ok(name, "none"),
        false => Check::warning(name, [cause], lines.join("; "), Some(advice)),
    }
}

/// Messages that wait for a missing one.
pub(super) async fn gaps<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "gaps";
    let early = match DB::ahead(pool, None).await {
        Ok(early) => early,
        Err(error) => return Check::error(NAME, &error),
    };
    let line = |early: &Ahead| {
        format!(
            "{} of {} {} shard {} {} at {} for what is missing after position {}, since {}",
            text::count(early.waiting, "message"),
            early.origin.source,
            early.origin.stream,
            early.origin.shard,
            text::verb(early.waiting, "waits", "wait"),
            early.consumer,
            early.row.last.position,
            text::time(early.since)
        )
    };
    let waiting: Vec<&Ahead> = early.iter().filter(|early| early.waiting > 0).collect();
    let lines: Vec<String> = waiting.iter().map(|early| line(early)).collect();
    if lines.is_empty() {
        return Check::ok(NAME, "nothing waits for a missing message");
    }
    let all = match processes::list(pool).await {
        Ok(all) => all,
        Err(error) => return Check::error(NAME, &error),
    };
    let causes: Vec<String> = waiting
        .iter()
        .map(|early| &early.consumer)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .flat_map(|consumer| refusing(&all, consumer))
        .collect();
    let advice = match causes.is_empty() {
        true => "`syncline route rewind` at the source sends what is missing again".to_owned(),
        false => format!("skip nothing: {}", causes.join("; ")),
    };
    Check::warning(NAME, [Cause::Gaps], lines.join("; "), Some(&advice))
}

/// Why messages that `consumer` lacks are with their sender and not missing.
pub(crate) fn refusing(all: &[Process], consumer: &str) -> Vec<String> {
    let of = all.iter().filter(|one| one.kind == Kind::Consumer && one.name == consumer);
    of.filter(|one| one.is_alive())
        .flat_map(|one| one.refusals().map(move |refusal| format!("{one}: {refusal}")))
        .collect()
}
