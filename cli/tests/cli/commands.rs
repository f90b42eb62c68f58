//! Every command against docs/commands.md: shapes, names, times and exit codes.

mod page;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Run, command, on_each, syncline};
use page::{codes, header, is_time, row, samples, times};

/// Fields whose content messages and sagas bring along: their names are not ours.
const CARRIED: [&str; 6] = ["data", "headers", "envelope", "input", "steps", "undelivered"];

/// Every command, as its row of the page has it, and arguments with which it ends soon. `{saga}` and
/// `{dead}` stand for what is there. What changes much comes last.
const CASES: &[(&str, &str)] = &[
    ("operations", ""),
    ("migrate status", ""),
    ("migrate plan", ""),
    ("migrate up", ""),
    ("status", ""),
    ("doctor", ""),
    ("trace", "bad-1"),
    ("outbox lag", ""),
    ("outbox tail", ""),
    ("outbox tail", "--data -n 1"),
    ("outbox tail", "--key user-1 --data"),
    ("outbox trim", "--dry-run"),
    ("route list", ""),
    ("relay", "--check --config /no/such/file"),
    ("relay list", ""),
    ("process list", ""),
    ("stream list", ""),
    ("stream show", "users"),
    ("stream rebase", ""),
    ("stream rebase", "--head"),
    ("dead list", ""),
    ("dead list", "--held -n 1"),
    ("dead show", "{dead}"),
    ("held list", ""),
    ("inbox list", ""),
    ("inbox reapply", "login --source /register --stream users --to 0"),
    ("inbox skip", "login --source /register --stream users --to 0"),
    ("saga list", ""),
    ("saga list --failing", ""),
    ("saga show", "{saga}"),
    ("saga show", "{saga} --data"),
    ("saga check", ""),
    ("lock list", ""),
    ("route pause", "login --by ada --why because"),
    ("route resume", "login"),
    ("route rewind", "login --to 0"),
    ("saga resend", "{saga} nothing --by ada --why because"),
    ("saga resolve", "{saga} --by ada --why because --force --dry-run"),
    ("erase", "user-1 --by ada --why because --dry-run"),
    ("dead drop", "{dead} --dry-run"),
    ("stream close", "users --dry-run"),
    ("migrate down", "--to 16 --force --dry-run"),
    ("saga skip", "{saga} nothing --by ada --why because --yes"),
    ("saga retry", "--failing --by ada --why because"),
    ("saga cancel", "{saga} --by ada --why because"),
    ("saga resolve", "{saga} --by ada --why because --yes --force"),
    ("lock release", "nothing --saga {saga} --by ada --why because --yes"),
    ("dead edit", "{dead} --data /dev/null --by ada"),
    ("held retry", "--all"),
    ("dead redrive", "--all"),
    ("dead drop", "{dead} --yes"),
    ("stream close", "users"),
    ("migrate down", "--to 1"),
];

/// The commands without commands of their own, as the program's help has them.
fn commands(path: &str) -> Vec<String> {
    let help = syncline("", &format!("{path} -h")).expect(0).stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.trim().is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    if names.is_empty() {
        return vec![path.to_owned()];
    }
    let own = names.iter().filter(|name| **name != "help");
    own.flat_map(|name| commands(format!("{path} {name}").trim())).collect()
}

#[test]
fn every_command_is_on_the_page_and_is_tried() {
    let tried: BTreeSet<&str> = CASES.iter().map(|(name, _)| *name).collect();
    let there: BTreeSet<String> = commands("").into_iter().collect();
    assert!(there.len() > 30, "{there:?}");
    for name in &there {
        row(name);
        assert!(tried.contains(name.as_str()), "give {name:?} a case in this test");
    }
    for name in tried.iter().filter(|name| !name.contains("--") && **name != "relay") {
        assert!(there.contains(*name), "there is no {name:?}: {there:?}");
    }
}

#[test]
fn the_page_has_the_exit_codes_of_the_help() {
    let help = syncline("", "--help").expect(0).stdout;
    let (_, listed) = help.split_once("Exit codes:").expect("exit codes");
    let of_help: Vec<i32> =
        listed.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    let of_page: Vec<i32> = codes().into_iter().map(|(code, _)| code).collect();
    assert_eq!(of_help, of_page);
    let operating = include_str!("../../../docs/operating.md");
    let (_, section) = operating.split_once("## Exit codes").expect("a section");
    let section = section.split("\n## ").next().expect("a section");
    for code in of_page {
        assert!(section.contains(&format!("\n| {code} |")), "docs/operating.md lacks {code}");
    }
}

/// Holds a document against the rules and the fields that the page names.
fn check(value: &Value, name: &str, fields: &str, of: &str) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| check(one, name, fields, of)),
        Value::String(text) => {
            for time in times(text) {
                assert!(is_time(time), "{of}: {name} has the time {time:?}: {text}");
            }
            let is_a_time = chrono::DateTime::parse_from_rfc3339(text).is_ok();
            assert_eq!(is_a_time, name.ends_with("_at"), "{of}: {name} is {text:?}");
        }
        Value::Object(object) => {
            let list = (object.get("items"), object.get("more"));
            let whole =
                matches!(list, (Some(Value::Array(_)), Some(Value::Bool(_))) | (None, None));
            assert!(whole, "{of}: {name} is half a list: {value}");
            for (name, value) in object {
                let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(name.chars().all(snake), "{of}: {name}");
                let listed = ["items", "more"].contains(&name.as_str());
                let ticked = fields.contains(&format!("`{name}`"));
                assert!(listed || ticked, "docs/commands.md does not name {name} of {of}: {value}");
                // Of a migration they are ours.
                let ours = name == "steps" && value.is_array();
                if ours || !CARRIED.contains(&name.as_str()) {
                    check(value, name, fields, of);
                }
            }
        }
        _ => assert!(!name.ends_with("_at") || value.is_null(), "{of}: {name} is {value}"),
    }
}

/// Runs one case with `--json`, and checks everything that it says.
fn try_one(url: &str, name: &str, args: &str) -> Run {
    let of = format!("{name} {args}");
    let run = syncline(url, &format!("{of} --json"));
    let (form, mut fields) = row(name);
    // Rows say "as `process list`" instead of repeating it.
    for other in ["process list", "dead list", "inbox list", "stream show"] {
        if fields.contains(&format!("`{other}`")) {
            fields.push_str(&row(other).1);
        }
    }
    let codes = codes();
    let kind = codes.iter().find(|(code, _)| *code == run.code).map(|(_, kind)| kind);
    let kind = kind.unwrap_or_else(|| panic!("{of}: exit code {}", run.code));
    if run.code == 0 {
        assert!(!run.stdout.is_empty(), "{of}: {}", run.stderr);
    } else {
        let last = run.stderr.lines().last().unwrap_or_default();
        let error: Value =
            serde_json::from_str(last).unwrap_or_else(|e| panic!("{of}: {e}: {last}"));
        assert_eq!(error["error"]["code"], run.code, "{of}: {error}");
        assert_eq!(error["error"]["kind"], kind.as_str(), "{of}: {error}");
        assert!(error["error"]["message"].is_string(), "{of}: {error}");
    }
    if run.stdout.is_empty() {
        return run;
    }
    let document = run.json();
    assert!(document.is_object(), "{of}: {document}");
    assert_eq!(document.get("items").is_some(), form == "list", "{of}: {document}");
    check(&document, "", &fields, &of);
    run
}

/// Every string under the name `id` or `saga` that is a UUID.
fn ids(value: &Value) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().flat_map(ids).collect(),
        Value::Object(object) => {
            let own = object.iter().filter(|(name, _)| ["id", "saga"].contains(&name.as_str()));
            let own = own.filter_map(|(_, value)| value.as_str());
            own.filter(|text| uuid::Uuid::try_parse(text).is_ok()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// Looks at what people see in a terminal of so many columns.
fn look(url: &str, of: &str, document: &Value, columns: usize) {
    let mut program = command(url, of);
    let run: Run = program.env("COLUMNS", columns.to_string()).output().expect("it starts").into();
    let shown = run.stdout;
    // A process is shown by its pid.
    let of_processes = ["process list", "relay list"].contains(&of);
    for id in ids(&document["items"]).iter().filter(|_| !of_processes) {
        assert!(shown.contains(id), "{of} at {columns}: no {id}: {shown}");
    }
    // Letters one under the other, as a table breaks its cells that has no room.
    let short = |line: &&str| (1..=3).contains(&line.trim().chars().count());
    assert!(!shown.lines().any(|line| short(&line)), "{of} at {columns}: {shown}");
    for time in times(&shown) {
        assert!(is_time(time), "{of}: {time:?}: {shown}");
    }
}

on_each!(every_command_prints_what_the_page_says);

mod case {
    use serde_json::json;
    use syncline::{
        Consumer, Message, Relay, Route, Stream, Verdict, begin, enqueue, handler_fn, saga::Sagas,
        transport::Receive,
    };
    use syncline_tests::{
        kit::Kit,
        letters::{Recipient, numbered},
        orders::{SAGA, SOURCE, definition},
        relays::{Direct, eventually, noting},
    };

    use super::*;
    use crate::Open;

    pub(super) async fn every_command_prints_what_the_page_says<DB: Open + Kit>(url: &str) {
        // With nothing there: a list is empty, and no command fails for that.
        syncline(url, "migrate up").expect(0);
        for (name, args) in CASES.iter().filter(|(name, _)| *name != "migrate down") {
            let args = args.replace("{saga}", "request-1").replace("{dead}", "1");
            let run = try_one(url, name, &args);
            if row(name).0 == "list" && args.is_empty() {
                let document = run.expect(0).json();
                assert_eq!(document["items"], json!([]), "{name}: {document}");
                assert_eq!(document["more"], json!(false), "{name}: {document}");
            }
        }

        // With something of everything.
        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let recipient = Recipient::broken(pool.clone());
        recipient.receive(&["bad-1", "bad-1", "good"]).await;
        let nothing = handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) }));
        let early = Consumer::builder("early", pool.clone()).handler("*", nothing);
        let early = early.hold_early(10, 1 << 20).build().unwrap();
        let mut batch = numbered(3);
        batch.messages.drain(..2);
        early.receive(batch).await.unwrap();
        let sagas = Sagas::builder(SOURCE, pool.clone()).saga(definition::<DB>().unwrap());
        let sagas = sagas.build().unwrap();
        let mut tx = begin(&pool).await.unwrap();
        for key in ["request-1", "request-2"] {
            let started = sagas.start(&mut tx, SAGA, key, &i64::from(key.ends_with('2'))).await;
            drop(started.unwrap());
        }
        for n in 0..3 {
            let message = Message::json("user.changed", &n).unwrap().key("user-1");
            let _ = enqueue(&mut tx, &message.header("tenant", "north")).await.unwrap();
        }
        let late =
            Message::json("user.changed", &4).unwrap().delay(std::time::Duration::from_secs(900));
        let _ = enqueue(&mut tx, &late).await.unwrap();
        tx.commit().await.unwrap();
        let failing = "UPDATE syncline_saga SET problem = 'its state does not fit', \
                       failing_at = started_at, stuck_at = started_at";
        Open::run(&pool, failing).await;
        let direct = Direct::to(noting("c", pool.clone()).build().unwrap());
        let relay = Relay::builder(SOURCE, pool.clone())
            .stream(Stream::new("users").topic("user.*"))
            .route(Route::new("login", "users", direct))
            .start()
            .await
            .unwrap();
        let running = early.start().await.unwrap();
        eventually("all of it is there", async || {
            let tail = syncline(url, "outbox tail --key user-1 --json").json();
            let all = syncline(url, "process list --json").json();
            let sent = syncline(url, "route list --json").json();
            let there = [(&tail, 3), (&all, 2), (&sent, 1)]
                .iter()
                .all(|(list, count)| list["items"].as_array().map(Vec::len) == Some(*count));
            there.then_some(())
        })
        .await;

        // It is on record, and no more stands still than before.
        syncline(url, "route pause login --by ada --why because").expect(0);
        for of in ["route list", "outbox lag", "doctor"] {
            let shown = syncline(url, of).stdout;
            let told = shown.split_once("paused by ada since ");
            let (_, since) = told.unwrap_or_else(|| panic!("{of}: {shown}"));
            assert!(is_time(since.split(": ").next().unwrap_or_default()), "{of}: {since}");
        }
        syncline(url, "route resume login").expect(0);
        for list in ["dead list --held", "held list", "saga list", "saga list --stuck", "lock list"]
        {
            for (number, more) in [(1, true), (2, false), (3, false)] {
                let shown = syncline(url, &format!("{list} -n {number} --json")).expect(0).json();
                let count = shown["items"].as_array().map(Vec::len);
                assert_eq!((count, &shown["more"]), (Some(number.min(2)), &json!(more)), "{shown}");
                let told = syncline(url, &format!("{list} -n {number}")).expect(0).stderr;
                assert_eq!(told.contains("there are more"), more, "{list}: {told}");
            }
        }
        let failing = |number: usize| {
            let all = syncline(url, &format!("saga list --failing -n {number} --json")).json();
            let count = all["items"][0]["instances"].as_array().map(Vec::len);
            (count, all["more"].as_bool())
        };
        assert_eq!(failing(1), (Some(1), Some(true)));
        assert_eq!(failing(2), (Some(2), Some(false)));

        let saga = syncline(url, "saga list --json").expect(0).json()["items"][0]["id"].clone();
        let dead = syncline(url, "dead list --json").expect(0).json()["items"][0]["id"].clone();
        let saga = saga.as_str().expect("an id");
        for of in [
            "route list",
            "relay list",
            "outbox lag",
            "held list",
            "dead list --held",
            "inbox list",
            "saga list --stuck",
            "saga list --failing",
            "lock list",
            "migrate status",
            "doctor",
        ] {
            let shown = syncline(url, of).stdout;
            let samples = samples(of);
            assert!(!samples.is_empty(), "docs/operating.md has no output of {of}");
            for sample in samples {
                assert_eq!(header(sample, "    "), header(&shown, ""), "{of}: {shown}");
            }
        }
        if DB::LABEL == "PostgreSQL" {
            let names = |text: &str, indent: &str| -> Vec<String> {
                let begins =
                    ["ok", "warning", "failed"].map(|result| format!("{indent} {result} "));
                let lines = text.lines().filter_map(|line| {
                    let rest =
                        begins.iter().find_map(|begins| line.strip_prefix(begins.as_str()))?;
                    rest.trim_start().split("  ").next().map(str::to_owned)
                });
                lines.collect()
            };
            let shown = names(&syncline(url, "doctor").stdout, "");
            assert_eq!(names(samples("doctor")[0], "    "), shown, "docs/operating.md");
        }

        for (name, args) in CASES {
            let args = args.replace("{saga}", saga).replace("{dead}", &dead.to_string());
            let run = try_one(url, name, &args);
            if row(name).0 != "list" || !args.is_empty() {
                continue;
            }
            let document = run.expect(0).json();
            assert_ne!(document["items"], json!([]), "{name}: {document}");
            for columns in [80, 20] {
                look(url, name, &document, columns);
            }
        }
        running.stop().await;
        relay.stop().await;
    }
}
