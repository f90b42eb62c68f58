//! `syncline doctor`: is this database fit to run on, and does everything move on it?

mod check;
mod life;
mod silent;

use std::{pin::pin, time::Duration};

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Error, Storage,
    saga::operate,
    storage::{Level, check_schema},
    streams,
};
use tokio::time::{sleep, timeout};

use crate::{
    database::about_files,
    failure::{Failure, Outcome},
    held::{START_IT, unattended},
    layout::{self, cut, whole},
    outbox::lag::{LONG, LOOK, lost, size, waiting},
    output::Output,
    schema::tell_time,
    standing, text,
};
pub(crate) use check::{Cause, Check, Clock};
pub(crate) use life::refusing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail on these, which else are warnings: a list with commas
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    fail_if: Vec<Cause>,
}

/// Exits with 4 when the tables cannot be used, with 8 when another check failed.
pub(crate) async fn run<DB: Storage>(
    args: &Args,
    time: Duration,
    pool: &Pool<DB>,
    name: &str,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let clock = Clock::start(time);
    let mut checks = vec![Check::ok("connection", name)];
    let (durability, pooled) = clock
        .limit(durability(pool))
        .await
        .unwrap_or_else(|| (Check::unanswered("durability"), false));
    if pooled {
        // Whatever else is asked may meet another's session, and fail for that.
        checks.push(durability);
        write(&checks, name, false, output)?;
        return Ok(Outcome::Failing);
    }
    // None of these needs another's answer.
    let encoding = async { fit("encoding", DB::check_encoding(pool).await, "text is UTF-8") };
    // Hidden history looks as if there were none.
    let visible =
        async { fit("row level security", DB::check_visible(pool).await, "hides nothing") };
    let (mut locks, findings, encoding, schema, visible) = tokio::join!(
        locks(pool, &clock),
        clock.limit(DB::findings(pool)),
        clock.check("encoding", encoding),
        clock.limit(check_schema(pool)),
        clock.check("row level security", visible)
    );
    let usable = matches!(schema, Some(Ok(())));
    // The history may be locked, and all else well.
    let silent = is_silent(schema.as_ref());
    let locked = silent && locks.level == Level::Warning;
    let migrated = locked || !silent && !matches!(schema, Some(Err(Error::NotMigrated)));
    // Whether things move can be read of newer tables, too.
    let readable = usable || locked || matches!(schema, Some(Err(Error::SchemaNewer { .. })));
    let schema = match schema {
        Some(Ok(())) => {
            let newest = DB::MIGRATIONS.last().map_or(0, |m| m.version);
            Check::ok("schema", format!("version {newest}"))
        }
        Some(Err(error)) => {
            let advice = about_files(&error).map(|(advice, _)| advice);
            let check = Check::error("schema", &error);
            Check { advice: advice.map(str::to_owned).or(check.advice), ..check }
        }
        None => Check::unanswered("schema"),
    };
    let mut rest = Vec::new();
    if migrated {
        let tested = async {
            match usable {
                true => Some(clock.check("writes", life::writes(pool)).await),
                false => None,
            }
        };
        let (writes, privileges, incarnation) = tokio::join!(
            tested,
            clock.check("privileges", privileges(pool)),
            clock.check("incarnation", incarnation(pool))
        );
        rest.extend(writes);
        rest.extend([privileges, incarnation]);
    }
    if readable {
        rest.extend(operating(pool, &clock, &mut locks).await);
    }
    // It reads no table of ours, and says why others may get no answer.
    checks.push(locks);
    match findings {
        Some(Ok(findings)) => checks.extend(findings.into_iter().map(Check::from)),
        Some(Err(error)) => checks.push(Check::error("server", &error)),
        None => checks.push(Check::unanswered("server")),
    }
    checks.extend([durability, encoding, schema, visible]);
    checks.extend(rest);
    for check in &mut checks {
        check.fail_if(&args.fail_if);
    }
    let failed = checks.iter().any(|check| check.level == Level::Failure);
    write(&checks, name, !failed, output)?;
    Ok(match (usable || silent, failed) {
        (false, _) => Outcome::Schema,
        (true, true) => Outcome::Failing,
        (true, false) => Outcome::Done,
    })
}

/// Whether somebody keeps others waiting.
pub(crate) async fn locks<DB: Storage>(pool: &Pool<DB>, clock: &Clock) -> Check {
    clock.check("blocking locks", life::locks(pool)).await
}

/// Whether what tells if the tables can be used got no answer.
fn is_silent<T>(schema: Option<&syncline::Result<T>>) -> bool {
    schema.is_none_or(|schema| schema.as_ref().is_err_and(Error::is_transient))
}

/// Whether things move, on tables that can be used; `syncline status` tells the same. Where checks wait
/// for a lock, `locks` tells who has it.
pub(crate) async fn operating<DB: Storage>(
    pool: &Pool<DB>,
    clock: &Clock,
    locks: &mut Check,
) -> Vec<Check> {
    clock.limit(tell_time(pool)).await;
    let (mut checks, mut holders) = (pin!(all(pool, clock)), None);
    let mut asked = pin!(async {
        loop {
            sleep(clock.soon()).await;
            let found = timeout(clock.soon(), DB::blocking(pool, Duration::ZERO)).await;
            match found {
                Ok(Ok(found)) if !found.is_empty() => break found,
                _ => {}
            }
        }
    });
    let checks = loop {
        tokio::select! {
            biased;
            checks = &mut checks => break checks,
            found = &mut asked, if holders.is_none() => holders = Some(found),
        }
    };
    let waited = checks.iter().any(|check| !check.known);
    if let Some(holders) = holders.filter(|_| waited && locks.level == Level::Ok) {
        *locks = life::blocked(&holders);
    }
    checks
}

async fn all<DB: Storage>(pool: &Pool<DB>, clock: &Clock) -> Vec<Check> {
    let sealable = async { fit("log", DB::check_sealable(pool).await, "it can be sealed") };
    let numbers = async { fit("numbers", DB::check_numbers(pool).await, "enough are left") };
    let (one, other) = tokio::join!(
        async {
            <[Check; 8]>::from(tokio::join!(
                clock.check("log", sealable),
                clock.check("numbers", numbers),
                clock.check("processes", life::processes(pool)),
                clock.check("silent processes", silent::check(pool)),
                clock.check("handlers", life::handlers(pool)),
                clock.check("routes", routes(pool)),
                clock.check("streams", carried(pool)),
                clock.check("unread", unread(pool))
            ))
        },
        async {
            <[Check; 7]>::from(tokio::join!(
                clock.check("dead letters", life::dead(pool)),
                clock.check("held messages", life::held(pool)),
                clock.check("gaps", life::gaps(pool)),
                clock.check("consumers", consumers(pool)),
                clock.check("sagas", sagas(pool)),
                clock.check("rows set aside", set_aside(pool)),
                clock.check("retention", retention(pool))
            ))
        }
    );
    one.into_iter().chain(other).collect()
}

async fn incarnation<DB: Storage>(pool: &Pool<DB>) -> Check {
    match DB::incarnation(pool).await {
        Ok(incarnation) => Check::ok("incarnation", incarnation.to_string()),
        Err(error) => Check::error("incarnation", &error),
    }
}

fn fit(name: &'static str, checked: syncline::Result<()>, good: &str) -> Check {
    match checked {
        Ok(()) => Check::ok(name, good),
        Err(Error::Unfit { setting, found, remedy }) => {
            Check::failed(name, format!("{setting} is {found}"), Some(remedy))
        }
        Err(error) => Check::error(name, &error),
    }
}

/// And whether sessions are shared with others.
async fn durability<DB: Storage>(pool: &Pool<DB>) -> (Check, bool) {
    const NAME: &str = "durability";
    match DB::check_durable(pool).await {
        Ok(()) => (Check::ok(NAME, "a confirmed commit survives a power cut"), false),
        Err(
            Error::NotDurable { setting, found, remedy } | Error::Unfit { setting, found, remedy },
        ) => {
            let check = Check::failed(NAME, format!("{setting} is {found}"), Some(remedy));
            (check, setting == "the connection")
        }
        Err(error) => (Check::error(NAME, &error), false),
    }
}

/// What is kept of the log, and what keeps it from being less.
async fn retention<DB: Storage>(pool: &Pool<DB>) -> Check {
    let (kept, lags) = match (DB::kept(pool, LONG).await, DB::route_lags(pool).await) {
        (Ok(kept), Ok(lags)) => (kept, lags),
        (Err(error), _) | (_, Err(error)) => {
            return Check::error("retention", &error);
        }
    };
    let found = size(&kept).join("; ");
    let alarm = lags.iter().any(|lag| lag.alarm_at.is_some());
    match alarm || !kept.held_back.is_empty() {
        false => Check::ok("retention", found),
        true => Check::warning(
            "retention",
            [Cause::Retention],
            found,
            Some("see `syncline outbox lag`: what waits keeps the log from being trimmed"),
        ),
    }
}

/// Shards of routes that do not move.
async fn routes<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "routes";
    let lags = match DB::route_lags(pool).await {
        Ok(lags) => lags,
        Err(error) => return Check::error(NAME, &error),
    };
    let standing = match streams::waiting(pool).await {
        Ok(waits) => standing::of(pool, &lags, &waits).await,
        Err(error) => Err(error),
    };
    let standing = match standing {
        Ok(standing) => standing,
        Err(error) => return Check::error(NAME, &error),
    };
    let mut causes = check::causes(&lags);
    causes.extend(standing.iter().filter(|one| one.still).map(|_| Cause::Still));
    let mut found: Vec<String> = standing.into_iter().map(|one| one.line).collect();
    found.extend(check::alarmed(&lags));
    match causes.is_empty() {
        true => Check::ok(
            NAME,
            format!("{}, no reason known why one would wait", text::count(lags.len(), "shard")),
        ),
        false => {
            let advice = "what these shards carry waits: `syncline route list`";
            Check::warning(NAME, causes, found.join("; "), Some(advice))
        }
    }
}

/// Rows of the log that were passed over.
async fn set_aside<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "rows set aside";
    const SHOWN: i64 = 5;
    let rows = match DB::all_set_aside(pool, SHOWN).await {
        Ok(rows) if rows.is_empty() => return Check::ok(NAME, "none"),
        Ok(rows) => rows,
        Err(error) => return Check::error(NAME, &error),
    };
    let rows = rows.iter().map(|row| {
        format!("position {} (seq {} of syncline_outbox): {}", row.position, row.seq, row.problem)
    });
    let advice = "another program has written them past the table's rules, and they are not sent: \
                  enqueue again what is needed; they go when the log is trimmed";
    let found = rows.collect::<Vec<_>>().join("; ");
    Check::warning(NAME, [Cause::SetAside], found, Some(advice))
}

/// Messages that no stream carries, and routes that wait for another stream.
async fn carried<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "streams";
    let found = (streams::uncarried(pool, LOOK).await, streams::waiting(pool).await);
    let (uncarried, waits) = match found {
        (Ok(uncarried), Ok(waits)) => (uncarried, waits),
        (Err(error), _) | (_, Err(error)) => {
            return Check::error(NAME, &error);
        }
    };
    let mut causes = Vec::new();
    let (now, before): (Vec<_>, Vec<_>) =
        uncarried.into_iter().partition(|topic| topic.carried_after.is_none());
    causes.extend((!waits.is_empty()).then_some(Cause::Waits));
    causes.extend((!now.is_empty()).then_some(Cause::Uncarried));
    let mut found = waiting(&waits);
    found.extend(lost(&now).chain(lost(&before)));
    if causes.is_empty() {
        let carried = format!("every topic of the log's last {LOOK} messages is carried");
        found.insert(0, carried);
        return Check::ok(NAME, found.join("; "));
    }
    let advice = (!now.is_empty()).then_some(
        "let a stream carry the topic: what stands in the log by then is not sent, unless the \
         stream is new",
    );
    Check::warning(NAME, causes, found.join("; "), advice)
}

/// Streams that reach nobody.
async fn unread<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "unread";
    match streams::unread(pool).await {
        Ok(found) if found.is_empty() => Check::ok(NAME, "no stream waits for a reader in vain"),
        Ok(found) => {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            let advice = "`syncline process list --json` has the readings of each shard";
            Check::warning(NAME, [Cause::Unread], found.join("; "), Some(advice))
        }
        Err(error) => Check::error(NAME, &error),
    }
}

/// Parked keys that nobody tries again.
async fn consumers<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "consumers";
    match unattended(pool).await {
        Ok(waits) if waits.is_empty() => Check::ok(NAME, "no parked key waits for one in vain"),
        Ok(waits) => Check::warning(NAME, [Cause::Consumer], waits.join("; "), Some(START_IT)),
        Err(error) => Check::error(NAME, &error),
    }
}

/// Sagas that wait for an operator, or for an answer that does not come.
async fn sagas<DB: Storage>(pool: &Pool<DB>) -> Check {
    let most = 1_000;
    let found = async {
        let stuck = operate::stuck(pool, most).await?.len();
        let overdue = operate::overdue(pool, most).await?.len();
        Ok::<_, Error>((stuck, overdue, operate::failing(pool, most).await?.len()))
    };
    let (stuck, overdue, failing) = match found.await {
        Ok(found) => found,
        Err(error) => return Check::error("sagas", &error),
    };
    let counts = [(stuck, Cause::Stuck), (overdue, Cause::Overdue), (failing, Cause::FailingSagas)];
    match counts.iter().any(|(count, _)| *count > 0) {
        false => Check::ok("sagas", "none is stuck, overdue or failing"),
        true => Check::warning(
            "sagas",
            counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, cause)| cause),
            format!("{stuck} stuck, {overdue} overdue, {}", text::count(failing, "failing step")),
            Some("see `syncline saga list --stuck`, `--overdue` and `--failing`"),
        ),
    }
}

async fn privileges<DB: Storage>(pool: &Pool<DB>) -> Check {
    match DB::missing_privileges(pool).await {
        Ok(missing) if missing.is_empty() => Check::ok("privileges", "all that are needed"),
        Ok(missing) => Check::failed(
            "privileges",
            format!("missing: {}", missing.join(", ")),
            Some("grant them to the connected role"),
        ),
        Err(error) => Check::error("privileges", &error),
    }
}

/// Checks as JSON.
pub(crate) fn documents(checks: &[Check]) -> Vec<Value> {
    let document = |check: &Check| {
        let (name, result, Check { found, advice, .. }) = (check.name, check.word(), check);
        json!({"check": name, "result": result, "found": found, "advice": advice})
    };
    checks.iter().map(document).collect()
}

fn write(checks: &[Check], name: &str, ok: bool, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let checks = documents(checks);
        return output.json(&json!({"database": name, "ok": ok, "checks": checks}));
    }
    let rows =
        checks.iter().map(|check| [check.word().to_owned(), check.name.to_owned(), check.text()]);
    output.table([whole("result"), cut("check"), layout::text("found")], rows)
}
