//! A rehearsal: things that keep messages from moving are made to happen, and each is named within a
//! minute by the operator's program, by one log event, and by what the handle says of itself. Run it with
//! `--no-capture` for the texts.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::{
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;
use sqlx::Pool;
use syncline::{RetryPolicy, Route, Stream};
use syncline_tests::{
    kit::Kit,
    logged::Logged,
    on_each,
    relays::{Direct, Process, eventually, noting, start, write},
    world::World,
};
use tracing_subscriber::filter::LevelFilter;

on_each!(
    a_wrong_secret,
    a_trigger_that_makes_every_handler_fail,
    a_lock_on_the_inbox,
    a_lease_of_a_dead_process,
    a_paused_route,
    an_older_definition_of_a_stream,
    rows_that_were_deleted,
    two_consumers_of_one_name,
    no_relay,
    a_stream_that_nobody_reads,
    a_pull_that_is_refused,
);

mod reaching;

/// The log of this program; of all its tests when they share a process.
fn log() -> &'static Logged {
    static LOG: OnceLock<Logged> = OnceLock::new();
    LOG.get_or_init(|| Logged::start(LevelFilter::INFO))
}

/// Waits until `probe` gives something, for two minutes at the most, however long each probe takes.
async fn soon<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(Duration::from_secs(120), eventually(what, probe)).await;
    found.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Runs `syncline` with `args`, separated by spaces: its exit code, and all that it says.
fn syncline(url: &str, args: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command
        .args(args.split_whitespace())
        .env("DATABASE_URL", url)
        .env_remove("RUST_LOG")
        .env_remove("COLUMNS");
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let said = text(output.stdout) + &text(output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().expect("an exit code"), said)
}

/// The document of what was said; that something is wrong is another one, of stderr.
fn document(said: &str) -> Value {
    let mut documents = serde_json::Deserializer::from_str(said).into_iter();
    documents.next().expect("a document").expect("JSON")
}

/// Waits until `args` says all of `words`, and returns it.
async fn says(url: &str, args: &str, words: &[&str]) -> String {
    let said = soon(&format!("`syncline {args}` says {words:?}"), async || {
        let (_, said) = syncline(url, args);
        words.iter().all(|word| said.contains(word)).then_some(said)
    })
    .await;
    for line in said.lines().filter(|line| words.iter().any(|word| line.contains(word))) {
        println!("{args}: {}", line.trim());
    }
    said
}

/// Waits until the log says all of `words` in one line.
async fn logs(words: &[&str]) {
    let line = soon(&format!("the log says {words:?}"), async || {
        let text = log().text();
        text.lines().find(|line| words.iter().all(|word| line.contains(word))).map(String::from)
    })
    .await;
    println!("log: {line}");
}

/// The result of one check of doctor, and what it found.
fn check(url: &str, name: &str) -> (String, String) {
    let (_, said) = syncline(url, "doctor --json");
    let report = document(&said);
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["check"] == name).expect(name);
    let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
    (text("result"), text("found"))
}

/// Waits until a check warns with all of `words`, and returns what it found.
async fn warns(url: &str, name: &str, words: &[&str]) -> String {
    let found = soon(&format!("the check {name} says {words:?}"), async || {
        let (result, found) = check(url, name);
        let all = result == "warning" && words.iter().all(|word| found.contains(word));
        all.then_some(found)
    })
    .await;
    println!("doctor, {name}: {found}");
    found
}

/// Fails on `causes`, and on nothing without.
fn fails_if(url: &str, causes: &str) {
    let (code, said) = syncline(url, &format!("doctor --fail-if {causes}"));
    assert_eq!(code, 8, "{said}");
    let (code, said) = syncline(url, "doctor");
    assert_eq!(code, 0, "a warning alone is none: {said}");
    let (code, said) = syncline(url, "status");
    assert_eq!(code, 8, "{said}");
    assert!(said.contains("wrong"), "{said}");
    println!("{said}");
}

fn stream() -> Stream {
    Stream::new("s").topic("counter.*")
}

/// Makes rows of the table of processes older.
async fn age<DB: Kit>(pool: &Pool<DB>, column: &str, seconds: u32) {
    let older = match DB::LABEL {
        "PostgreSQL" => format!("{column} - interval '{seconds} seconds'"),
        "SQLite" => format!("{column} - {seconds} * 1000"),
        _ => format!("{column} - INTERVAL {seconds} SECOND"),
    };
    let update = format!("UPDATE syncline_process SET {column} = {older}");
    DB::execute(pool, &update).await.expect("older");
}

mod case {
    use syncline::{consumer::ConsumerBuilder, relay::RouteState};

    pub(super) use super::reaching::*;
    use super::*;

    /// A relay of the world to a consumer `c` of its target.
    async fn relay<DB: Kit>(
        world: &World<DB>,
        change: impl FnOnce(ConsumerBuilder<DB>) -> ConsumerBuilder<DB>,
    ) -> (syncline::RelayHandle, syncline::Consumer<DB>) {
        let consumer = change(noting("c", world.target.clone())).build().expect("a consumer");
        let route = Route::new("c", "s", Direct::to(consumer.clone()));
        (start(&world.source, stream(), vec![route], |_| {}).await, consumer)
    }

    pub(super) fn state(relay: &syncline::RelayHandle) -> RouteState {
        let state = relay.status()[0].state.clone();
        println!("handle: {state:?}");
        state
    }

    pub(super) async fn a_trigger_that_makes_every_handler_fail<DB: Kit>(world: World<DB>) {
        log();
        let trigger = match DB::LABEL {
            "PostgreSQL" => {
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'the auditor says no'; END $$;
                 CREATE TRIGGER refuse BEFORE INSERT ON applied
                     FOR EACH ROW EXECUTE FUNCTION refuse()"
            }
            "SQLite" => {
                "CREATE TRIGGER refuse BEFORE INSERT ON applied
                     BEGIN SELECT RAISE(ABORT, 'the auditor says no'); END"
            }
            _ => {
                "CREATE TRIGGER refuse BEFORE INSERT ON applied FOR EACH ROW
                     SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the auditor says no'"
            }
        };
        DB::execute(&world.target, trigger).await.expect("a trigger");
        let once = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
        let (relay, consumer) = relay(&world, |consumer| consumer.retry(once)).await;
        let running = consumer.start().await.expect("start");
        write(&world.source, 3).await;

        let url = &world.target_url;
        warns(url, "dead letters", &["3 of c"]).await;
        fails_if(url, "dead");
        says(url, "dead list --json", &["the auditor says no"]).await;
        logs(&["ERROR", "the auditor says no"]).await;
        soon("the consumer's handle says it", async || {
            running
                .problems()
                .iter()
                .any(|problem| problem.contains("3 of them dead"))
                .then_some(())
        })
        .await;
        running.stop().await;
        relay.stop().await;
    }

    pub(super) async fn a_lock_on_the_inbox<DB: Kit>(world: World<DB>) {
        log();
        let (relay, consumer) = relay(&world, |consumer| consumer).await;
        // It tries again what stood for too long and was parked.
        let running = consumer.start().await.expect("start");
        write(&world.source, 3).await;
        soon("it works at first", async || {
            (DB::applied(&world.target).await.expect("applied").len() == 3).then_some(())
        })
        .await;
        // One connection, so that what is said is said in one session.
        let holder = DB::connect(&world.target_url, 1).await.expect("connect");
        let (lock, unlock, words): (_, _, &[&str]) = match DB::LABEL {
            "PostgreSQL" => (
                "BEGIN; LOCK TABLE syncline_inbox IN ACCESS EXCLUSIVE MODE",
                "ROLLBACK",
                &["blocking locks", "pid ", "syncline_inbox"],
            ),
            "SQLite" => {
                ("BEGIN IMMEDIATE", "ROLLBACK", &["blocking locks", "another process that writes"])
            }
            _ => (
                "LOCK TABLES syncline_inbox WRITE",
                "UNLOCK TABLES",
                &["blocking locks", "syncline_inbox"],
            ),
        };
        DB::execute(&holder, lock).await.expect("the lock");
        write(&world.source, 3).await;
        soon("somebody waits for long", async || {
            let found = DB::blocking(&world.target, Duration::from_secs(5)).await.expect("look");
            (!found.is_empty()).then_some(())
        })
        .await;
        let (code, said) = syncline(&world.target_url, "doctor --fail-if locks");
        assert_eq!(code, 8, "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");

        says(&world.source_url, "route list", &["c shard 0", "since"]).await;
        logs(&["batch was not delivered"]).await;
        soon("the relay's handle says it", async || {
            matches!(state(&relay), RouteState::Backoff { .. }).then_some(())
        })
        .await;
        DB::execute(&holder, unlock).await.expect("no lock");
        soon("it goes on", async || {
            (DB::applied(&world.target).await.expect("applied").len() == 6).then_some(())
        })
        .await;
        running.stop().await;
        relay.stop().await;
    }

    pub(super) async fn a_lease_of_a_dead_process<DB: Kit>(world: World<DB>) {
        log();
        let target = world.target_url.clone();
        let routes = async move {
            let target = DB::connect(&target, 4).await.expect("connect");
            let consumer = noting("c", target).build().expect("a consumer");
            vec![Route::new("c", "s", Direct::to(consumer))]
        };
        let long = |options: &mut syncline::relay::RelayOptions| {
            options.lease = Duration::from_secs(300);
        };
        let dead = Process::start_with::<DB, _>(&world.source_url, stream(), routes, long);
        soon("it has the lease and tells of itself", async || {
            let leases = syncline::processes::leases(&world.source).await.expect("the leases");
            let processes = syncline::processes::list(&world.source).await.expect("list");
            let holds = leases.iter().any(|lease| {
                lease.name == "route/c" && processes.iter().any(|one| one.id == lease.holder)
            });
            holds.then_some(())
        })
        .await;
        dead.kill();
        // It would be taken for dead after 45 seconds.
        age(&world.source, "seen_at", 60).await;
        let (relay, _) = relay(&world, |consumer| consumer).await;

        let words = ["the lease route/c", "has not been seen for"];
        warns(&world.source_url, "processes", &words).await;
        fails_if(&world.source_url, "leases");
        says(&world.source_url, "relay list", &["silent", "alive", "route/c"]).await;
        logs(&["route c shard 0 waits for the lease of", "has died"]).await;
        let said = relay.problems();
        assert!(said.iter().any(|problem| problem.contains("waits for the lease")), "{said:?}");
        relay.stop().await;
    }

    pub(super) async fn a_paused_route<DB: Kit>(world: World<DB>) {
        log();
        let (relay, _) = relay(&world, |consumer| consumer).await;
        write(&world.source, 1).await;
        let url = &world.source_url;
        let pause = "route pause c --by ada --why moved-in-the-rehearsal";
        assert_eq!(syncline(url, pause).0, 0);
        let words = ["paused by ada since", "moved-in-the-rehearsal", "syncline route resume c"];
        warns(url, "routes", &words).await;
        fails_if(url, "paused");
        says(url, "route list", &words).await;
        logs(&words).await;
        soon("the relay's handle says it", async || {
            (state(&relay) == RouteState::Paused).then_some(())
        })
        .await;
        let paused = async || {
            let said = relay.problems();
            said.iter().any(|problem| problem.contains("route c is paused by ada")).then_some(())
        };
        soon("and among its problems", paused).await;
        assert_eq!(syncline(url, "route resume c").0, 0);
        soon("it goes on", async || {
            (DB::applied(&world.target).await.expect("applied").len() == 1).then_some(())
        })
        .await;
        relay.stop().await;
    }

    pub(super) async fn an_older_definition_of_a_stream<DB: Kit>(world: World<DB>) {
        log();
        let (old, consumer) = relay(&world, |consumer| consumer).await;
        let route = Route::new("c", "s", Direct::to(consumer));
        let newer = stream().topic("user.*");
        start(&world.source, newer, vec![route], |_| {}).await.stop().await;

        let url = &world.source_url;
        let words = ["has version 1 of stream s, and version 2 is in force"];
        warns(url, "processes", &words).await;
        fails_if(url, "outdated");
        says(url, "relay list", &["outdated", "s v1 (in force: v2)"]).await;
        logs(&["the route is not carried here", "version 2"]).await;
        soon("the relay's handle says it", async || {
            matches!(state(&old), RouteState::Outdated { .. }).then_some(())
        })
        .await;
        old.stop().await;
    }

    pub(super) async fn rows_that_were_deleted<DB: Kit>(world: World<DB>) {
        log();
        if DB::LABEL == "SQLite" {
            // A position is the row's own number there: that one is gone cannot be told.
            return;
        }
        let url = &world.source_url;
        let (first, _) = relay(&world, |consumer| consumer).await;
        assert_eq!(syncline(url, "route pause c").0, 0);
        soon("it is paused", async || (state(&first) == RouteState::Paused).then_some(())).await;
        write(&world.source, 4).await;
        soon("all is sealed", async || {
            (DB::head(&world.source).await.expect("the head").0 == 4).then_some(())
        })
        .await;
        first.stop().await;
        let delete = match DB::LABEL {
            "PostgreSQL" => {
                "DELETE FROM syncline_outbox WHERE seq = (SELECT min(seq) + 1 FROM syncline_outbox)"
            }
            _ => "DELETE FROM syncline_outbox WHERE position = 2",
        };
        DB::execute(&world.source, delete).await.expect("delete");
        // Nothing of the log is in the memory of this one.
        let (relay, _) = relay(&world, |consumer| consumer).await;
        assert_eq!(syncline(url, "route resume c").0, 0);

        says(url, "route list", &["c shard 0: backoff since", "position"]).await;
        warns(url, "routes", &["c shard 0"]).await;
        let (code, said) = syncline(url, "doctor");
        assert_eq!(code, 8, "a log that cannot be read is a failure: {said}");
        logs(&["route failed; trying again", "position"]).await;
        soon("the relay's handle says it", async || {
            matches!(state(&relay), RouteState::Backoff { .. }).then_some(())
        })
        .await;
        relay.stop().await;
    }

    pub(super) async fn two_consumers_of_one_name<DB: Kit>(world: World<DB>) {
        log();
        let build = |topic: &str| {
            let nothing =
                syncline::handler_fn(|_, _| Box::pin(async { Ok(syncline::Verdict::Done) }));
            let consumer = syncline::Consumer::builder("twice", world.target.clone());
            consumer.handler(topic, nothing).build().expect("a consumer")
        };
        let url = &world.target_url;
        let one = build("order.placed").start().await.expect("start");
        let other = build("order.paid").start().await.expect("start");
        // At once as information, as during a deployment.
        let (result, _) = soon("both are seen", async || {
            let (result, found) = check(url, "handlers");
            let words = ["twice", "order.placed", "order.paid"];
            words.iter().all(|word| found.contains(word)).then_some((result, found))
        })
        .await;
        assert_eq!(result, "ok");
        assert_eq!(syncline(url, "doctor --fail-if all").0, 0);
        assert_eq!(syncline(url, "status").0, 0);
        says(url, "process list --kind consumer", &["order.placed", "order.paid", "twice"]).await;

        age(&world.target, "started_at", 600).await;
        let found = warns(url, "handlers", &["twice", "order.placed", "order.paid"]).await;
        let pid = format!("pid {}", std::process::id());
        assert_eq!(found.matches(&pid).count(), 2, "it names both: {found}");
        fails_if(url, "handlers");
        logs(&["WARN", "two consumers named twice take different topics"]).await;
        for handle in [&one, &other] {
            soon("the handle says it", async || {
                let said = handle.problems();
                said.iter()
                    .any(|problem| problem.contains("two consumers named twice"))
                    .then_some(())
            })
            .await;
        }
        one.stop().await;
        other.stop().await;
        assert_eq!(syncline(url, "status").0, 0, "who has stopped differs from nobody");
    }

    /// Without a log event and a status: there is no process that could tell.
    pub(super) async fn no_relay<DB: Kit>(world: World<DB>) {
        let (relay, _) = relay(&world, |consumer| consumer).await;
        let url = &world.source_url;
        relay.stop().await;
        assert_eq!(syncline(url, "status").0, 0, "there is nothing to send");
        write(&world.source, 3).await;
        warns(url, "processes", &["no relay runs here"]).await;
        fails_if(url, "relay");
        let (code, said) = syncline(url, "status --json");
        let status = document(&said);
        assert_eq!((code, &status["ok"]), (8, &Value::Bool(false)), "{said}");
        assert_eq!(status["problems"][0]["check"], "processes", "{said}");
    }
}
