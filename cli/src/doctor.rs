//! `syncline doctor`: is this database fit to run on?

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Error, Storage,
    saga::operate,
    storage::{Finding, Level, check_schema},
    streams,
};

use crate::{
    failure::{Failure, Outcome},
    held::{START_IT, unattended},
    outbox::lag::{LONG, LOOK, lost, size, waiting},
    output::Output,
    standing,
};

struct Check {
    name: &'static str,
    level: Level,
    found: String,
    advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, found: found.into(), advice: None }
    }

    fn failed(name: &'static str, found: impl Into<String>, advice: Option<&str>) -> Self {
        let (found, advice) = (found.into(), advice.map(str::to_owned));
        Self { name, level: Level::Failure, found, advice }
    }

    fn word(&self) -> &'static str {
        match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Failure => "failed",
        }
    }
}

impl From<Finding> for Check {
    fn from(finding: Finding) -> Self {
        let Finding { check, level, found, advice } = finding;
        Self { name: check, level, found, advice: advice.map(str::to_owned) }
    }
}

/// Exits with 4 when the tables cannot be used, with 1 when another check failed.
pub(crate) async fn run<DB: Storage>(
    pool: &Pool<DB>,
    name: &str,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let mut checks = vec![Check::ok("connection", name)];
    let (durability, pooled) = durability(pool).await;
    if pooled {
        // Whatever else is asked may meet another's session, and fail for that.
        checks.push(durability);
        write(&checks, name, false, output)?;
        return Ok(Outcome::Not);
    }
    match DB::findings(pool).await {
        Ok(findings) => checks.extend(findings.into_iter().map(Check::from)),
        Err(error) => checks.push(Check::failed("server", error.to_string(), None)),
    }
    checks.push(durability);
    checks.push(fit("encoding", DB::check_encoding(pool).await, "text is UTF-8"));
    let schema = check_schema(pool).await;
    let usable = schema.is_ok();
    let migrated = !matches!(schema, Err(Error::NotMigrated));
    checks.push(match schema {
        Ok(()) => {
            let newest = DB::MIGRATIONS.last().map_or(0, |m| m.version);
            Check::ok("schema", format!("version {newest}"))
        }
        Err(error) => Check::failed("schema", error.to_string(), None),
    });
    // Hidden history looks as if there were none.
    checks.push(fit("row level security", DB::check_visible(pool).await, "hides nothing"));
    if migrated {
        checks.push(privileges(pool).await);
        checks.push(match DB::incarnation(pool).await {
            Ok(incarnation) => Check::ok("incarnation", incarnation.to_string()),
            Err(error) => Check::failed("incarnation", error.to_string(), None),
        });
        if usable {
            checks.push(fit("log", DB::check_sealable(pool).await, "it can be sealed"));
            checks.push(fit("numbers", DB::check_numbers(pool).await, "enough are left"));
            checks.push(retention(pool).await);
            checks.push(routes(pool).await);
            checks.push(set_aside(pool).await);
            checks.push(carried(pool).await);
            checks.push(consumers(pool).await);
            checks.push(sagas(pool).await);
        }
    }
    let failed = checks.iter().any(|check| check.level == Level::Failure);
    write(&checks, name, !failed, output)?;
    Ok(match (usable, failed) {
        (false, _) => Outcome::Schema,
        (true, true) => Outcome::Not,
        (true, false) => Outcome::Done,
    })
}

fn fit(name: &'static str, checked: syncline::Result<()>, good: &str) -> Check {
    match checked {
        Ok(()) => Check::ok(name, good),
        Err(Error::Unfit { setting, found, remedy }) => {
            Check::failed(name, format!("{setting} is {found}"), Some(remedy))
        }
        Err(error) => Check::failed(name, error.to_string(), None),
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
        Err(error) => (Check::failed(NAME, error.to_string(), None), false),
    }
}

/// What is kept of the log, and what keeps it from being less.
async fn retention<DB: Storage>(pool: &Pool<DB>) -> Check {
    let (kept, lags) = match (DB::kept(pool, LONG).await, DB::route_lags(pool).await) {
        (Ok(kept), Ok(lags)) => (kept, lags),
        (Err(error), _) | (_, Err(error)) => {
            return Check::failed("retention", error.to_string(), None);
        }
    };
    let found = size(&kept).join("; ");
    let alarm = lags.iter().any(|lag| lag.alarm_at.is_some());
    match alarm || !kept.held_back.is_empty() {
        false => Check::ok("retention", found),
        true => Check {
            name: "retention",
            level: Level::Warning,
            found,
            advice: Some(
                "see `syncline outbox lag`: what waits keeps the log from being trimmed".to_owned(),
            ),
        },
    }
}

/// Shards of routes that do not move.
async fn routes<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "routes";
    let lags = match DB::route_lags(pool).await {
        Ok(lags) => lags,
        Err(error) => return Check::failed(NAME, error.to_string(), None),
    };
    let found = match streams::waiting(pool).await {
        Ok(waits) => standing::of(pool, &lags, &waits).await,
        Err(error) => Err(error),
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => return Check::failed(NAME, error.to_string(), None),
    };
    match found.is_empty() {
        true => {
            Check::ok(NAME, format!("{} shards, no reason known why one would wait", lags.len()))
        }
        false => Check {
            name: NAME,
            level: Level::Warning,
            found: found.join("; "),
            advice: Some("what these shards carry waits: `syncline route list`".to_owned()),
        },
    }
}

/// Rows of the log that were passed over.
async fn set_aside<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "rows set aside";
    const SHOWN: i64 = 5;
    let rows = match DB::all_set_aside(pool, SHOWN).await {
        Ok(rows) if rows.is_empty() => return Check::ok(NAME, "none"),
        Ok(rows) => rows,
        Err(error) => return Check::failed(NAME, error.to_string(), None),
    };
    let rows = rows.iter().map(|row| {
        format!("position {} (seq {} of syncline_outbox): {}", row.position, row.seq, row.problem)
    });
    let advice = "another program has written them past the table's rules, and they are not sent: \
                  enqueue again what is needed; they go when the log is trimmed";
    Check {
        name: NAME,
        level: Level::Warning,
        found: rows.collect::<Vec<_>>().join("; "),
        advice: Some(advice.to_owned()),
    }
}

/// Messages that no stream carries, and routes that wait for another stream.
async fn carried<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "streams";
    let found = (streams::uncarried(pool, LOOK).await, streams::waiting(pool).await);
    let (uncarried, waits) = match found {
        (Ok(uncarried), Ok(waits)) => (uncarried, waits),
        (Err(error), _) | (_, Err(error)) => {
            return Check::failed(NAME, error.to_string(), None);
        }
    };
    let mut found = waiting(&waits);
    found.extend(lost(&uncarried));
    if found.is_empty() {
        return Check::ok(NAME, "every topic of the last messages is carried");
    }
    let advice = (!uncarried.is_empty()).then_some(
        "let a stream carry the topic: what stands in the log by then is not sent, unless the \
         stream is new",
    );
    Check {
        name: NAME,
        level: Level::Warning,
        found: found.join("; "),
        advice: advice.map(str::to_owned),
    }
}

/// Parked keys that nobody tries again.
async fn consumers<DB: Storage>(pool: &Pool<DB>) -> Check {
    const NAME: &str = "consumers";
    match unattended(pool).await {
        Ok(waits) if waits.is_empty() => Check::ok(NAME, "no parked key waits for one in vain"),
        Ok(waits) => Check {
            name: NAME,
            level: Level::Warning,
            found: waits.join("; "),
            advice: Some(START_IT.to_owned()),
        },
        Err(error) => Check::failed(NAME, error.to_string(), None),
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
        Err(error) => return Check::failed("sagas", error.to_string(), None),
    };
    match stuck + overdue + failing {
        0 => Check::ok("sagas", "none is stuck, overdue or failing"),
        _ => Check {
            name: "sagas",
            level: Level::Warning,
            found: format!("{stuck} stuck, {overdue} overdue, {failing} failing steps"),
            advice: Some(
                "see `syncline saga list --stuck`, `--overdue` and `--failing`".to_owned(),
            ),
        },
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
        Err(error) => Check::failed("privileges", error.to_string(), None),
    }
}

fn write(checks: &[Check], name: &str, ok: bool, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let checks: Vec<Value> = checks
            .iter()
            .map(|c| {
                json!({"check": c.name, "result": c.word(), "found": c.found, "advice": c.advice})
            })
            .collect();
        return output.json(&json!({"database": name, "ok": ok, "checks": checks}));
    }
    let rows = checks.iter().map(|check| {
        let found = match &check.advice {
            Some(advice) => format!("{} - {advice}", check.found),
            None => check.found.clone(),
        };
        [check.word().to_owned(), check.name.to_owned(), found]
    });
    output.table(["result", "check", "found"], rows)
}
