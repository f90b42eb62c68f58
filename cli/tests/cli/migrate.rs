//! `syncline migrate` and `syncline doctor`.

use crate::{on_each, on_servers};

// SQLite has one writer: whoever has begun to migrate waits for nobody.
on_servers!(a_migration_that_waits_for_a_lock_says_that_the_database_is_busy);

on_each!(
    the_whole_way_up_and_down,
    two_processes_at_once,
    edited_and_newer_tables_are_refused,
    newer_tables_can_be_read_and_routes_on_them_paused,
    down_does_not_lose_messages,
    down_shows_what_goes_and_changes_nothing_without_a_yes,
    down_is_refused_while_processes_run,
);

mod case {
    use std::time::Duration;

    use serde_json::json;
    use syncline::{
        Relay,
        message::Position,
        operations, processes,
        storage::{NewShard, ShardKey, migrate_down},
    };
    use syncline_tests::{letters::Recipient, relays::eventually};

    use crate::{Open, Run, command, syncline};

    pub(super) async fn the_whole_way_up_and_down<DB: Open>(url: &str) {
        if DB::LABEL == "SQLite" {
            // Only `migrate up` makes the file.
            syncline(url, "migrate status").expect(3);
        } else {
            let status = syncline(url, "migrate status").expect(4);
            assert!(status.stdout.contains("pending") && status.stdout.contains("migrate up"));
            syncline(url, "doctor").expect(4);
        }
        let up = syncline(url, "migrate up").expect(0);
        let all = DB::MIGRATIONS;
        let (newest, before) = (&all[all.len() - 1], &all[all.len() - 2]);
        let applied: Vec<_> =
            all.iter().map(|m| format!("applied {} {}\n", m.version, m.name)).collect();
        assert_eq!(up.stdout, applied.concat());
        if DB::LABEL == "SQLite" {
            use std::os::unix::fs::PermissionsExt;
            let path = url.trim_start_matches("sqlite://").split('?').next().unwrap();
            let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "only its owner may read {path}");
        }
        assert!(syncline(url, "migrate up").expect(0).stdout.contains("nothing to do"));
        assert_eq!(syncline(url, "--json migrate up").expect(0).json(), json!({"applied": []}));
        assert_eq!(syncline(url, "migrate plan").expect(0).stdout, "-- nothing to do\n");

        let status = syncline(url, "migrate status --json").expect(0).json();
        assert_eq!(status["usable"], true);
        assert_eq!(status["migrations"][2]["name"], "inbox");
        assert_eq!(status["migrations"][2]["state"], "applied");
        let doctor = syncline(url, "doctor --json").expect(0).json();
        assert_eq!(doctor["ok"], true);

        let plan = syncline(url, "migrate plan --down").expect(0).stdout;
        let (newest, before) = ((newest.version, newest.name), (before.version, before.name));
        let step = |(version, name): (i64, &str)| format!("-- {version} {name}");
        assert!(plan.contains(&format!("{}, down\n", step(newest))), "{plan}");
        assert!(!plan.contains(&step(before)), "{plan}");
        let plan = syncline(url, "migrate plan --down --to 0 --json").expect(0).json();
        assert_eq!(plan["steps"][all.len() - 1]["name"], "log");

        let down = syncline(url, "migrate down --yes").expect(0).stdout;
        assert_eq!(down, format!("took back {} {}\n", newest.0, newest.1));
        let status = syncline(url, "migrate status").expect(4);
        assert!(
            status
                .stdout
                .contains(&format!("version {}, this program needs {}", before.0, newest.0)),
            "{}",
            status.stdout
        );
        let plan = syncline(url, "migrate plan").expect(0).stdout;
        assert!(plan.contains(&format!("{}, up", step(newest))), "{plan}");
        let down = syncline(url, "migrate down --to 0 --yes --json").expect(0).json();
        assert_eq!(down, json!({"taken_back": (1..=before.0).rev().collect::<Vec<_>>()}));
        assert_eq!(syncline(url, "migrate down").expect(7).stdout, "nothing to take back\n");
        syncline(url, "doctor").expect(4);
    }

    pub(super) async fn two_processes_at_once<DB: Open>(url: &str) {
        let start = || command(url, "migrate up --json");
        let runs: Vec<_> = (0..4)
            .map(|_| {
                let pipe = std::process::Stdio::piped;
                start().stdout(pipe()).stderr(pipe()).spawn().expect("the program starts")
            })
            .collect();
        let mut applied = 0;
        for run in runs {
            let run = Run::from(run.wait_with_output().expect("it ends")).expect(0);
            applied += run.json()["applied"].as_array().map_or(0, Vec::len);
        }
        assert_eq!(applied, DB::MIGRATIONS.len());
        syncline(url, "migrate status").expect(0);
    }

    pub(super) async fn edited_and_newer_tables_are_refused<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let newer = "INSERT INTO syncline_migrations \
                     (version, description, success, checksum, execution_time) \
                     SELECT 999, 'later', success, checksum, 0 FROM syncline_migrations \
                     WHERE version = 3";
        DB::run(&pool, newer).await;
        for args in [
            "migrate up",
            "migrate down --force",
            "migrate status",
            "doctor",
            "outbox trim",
            "route resume login",
            "route rewind login --to 0",
            "stream close users",
            "dead redrive --all",
            "dead drop 1 --yes",
            "held retry --all",
            "inbox reapply c --source /s --stream t --to 0 --yes",
            "saga retry --failing --by ada --why so",
            "saga cancel request-1 --by ada --why so",
        ] {
            let run = syncline(url, args).expect(4);
            let said = run.stdout + &run.stderr;
            assert!(said.contains("run a newer program"), "{args}: {said}");
        }
        let status = syncline(url, "migrate status").stdout;
        assert!(status.contains("later") && status.contains("unknown"), "{status}");
        DB::run(&pool, "DELETE FROM syncline_migrations WHERE version = 999").await;
        syncline(url, "migrate status").expect(0);

        let edit = "UPDATE syncline_migrations SET checksum = \
                    (SELECT checksum FROM (SELECT checksum FROM syncline_migrations WHERE version = 1) AS one) WHERE version = 2";
        DB::run(&pool, edit).await;
        for args in ["migrate up", "migrate down --force", "migrate plan", "dead list"] {
            let error = syncline(url, &format!("{args} --json")).expect(4).error();
            assert_eq!((&error["code"], &error["kind"]), (&json!(4), &json!("schema")));
            let said = error["message"].as_str().unwrap();
            assert!(said.contains("the history must not be edited"), "{args}: {said}");
        }
        assert!(syncline(url, "migrate status").expect(4).stdout.contains("edited"));
    }

    pub(super) async fn newer_tables_can_be_read_and_routes_on_them_paused<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let key = ShardKey::new("login", 1, 0);
        let new = NewShard { key, at: Position::START, closed: false };
        DB::create_shards(&pool, "users", &[new]).await.unwrap();
        let newer = "INSERT INTO syncline_migrations \
                     (version, description, success, checksum, execution_time) \
                     SELECT 999, 'later', success, checksum, 0 FROM syncline_migrations \
                     WHERE version = 3";
        DB::run(&pool, newer).await;
        for args in [
            "outbox lag",
            "outbox tail",
            "route pause login --by ada --why back",
            "route list",
            "process list",
            "relay list",
            "stream list",
            "dead list",
            "held list",
            "inbox list",
            "saga list",
            "saga list --failing",
            "saga check",
            "lock list",
            "operations",
        ] {
            let run = syncline(url, args).expect(0);
            let told = run.stderr.lines().next().unwrap_or_default();
            let words = ["warning: ", "version 999", "run a newer program"];
            assert!(words.iter().all(|word| told.contains(word)), "{args}: {}", run.stderr);
            let run = syncline(url, &format!("{args} --json")).expect(0);
            assert!(run.json().is_object(), "{args}: {}", run.stdout);
            let warning: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
            assert_eq!(warning["warning"]["kind"], "schema", "{args}: {warning}");
        }
        let shown = syncline(url, "route list --json").json();
        assert_eq!(shown["items"][0]["paused"], json!(true), "{shown}");
        assert_eq!(shown["items"][0]["pause"]["by"], json!("ada"), "{shown}");
        // It goes by what it finds, and not by the tables.
        let status = syncline(url, "status");
        assert!(![3, 4].contains(&status.code), "{}{}", status.stdout, status.stderr);
        assert!(status.stdout.contains("paused by ada"), "{}", status.stdout);
        assert!(status.stderr.contains("warning: "), "{}", status.stderr);
        let trace = syncline(url, "trace nobody");
        assert!(trace.stdout.contains("nothing is known"), "{}{}", trace.stdout, trace.stderr);
        // Doctor is asked whether it is fit to run on, and tells how things move all the same.
        let doctor = syncline(url, "doctor").expect(4).stdout;
        assert!(doctor.contains("newer program") && doctor.contains("paused by ada"), "{doctor}");
    }

    pub(super) async fn down_does_not_lose_messages<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        Recipient::broken(DB::open(url).await).receive(&["bad"]).await;
        let refused = syncline(url, "migrate down --to 0").expect(1);
        assert!(refused.stderr.contains("would lose 1 message,"), "{}", refused.stderr);
        syncline(url, "migrate status").expect(0);
        syncline(url, "migrate down --to 0 --force --yes").expect(0);
    }

    pub(super) async fn down_shows_what_goes_and_changes_nothing_without_a_yes<DB: Open>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let begun = operations::begin(&pool, "ada", "route pause", "login", "it is moved");
        begun.await.unwrap().end(&pool, Ok(1)).await.unwrap();
        let asked = syncline(url, "migrate down --to 15").expect(5);
        for part in
            ["18 operations goes", "table syncline_operation (1 row)", "syncline_saga.trouble"]
        {
            assert!(asked.stdout.contains(part), "{part:?}: {}", asked.stdout);
        }
        assert!(asked.stderr.contains("add --yes"), "{}", asked.stderr);
        let shown = syncline(url, "migrate down --to 17 --json").expect(5);
        let document = shown.json();
        let steps = document["would_take_back"].as_array().unwrap().iter();
        let step = steps.clone().find(|step| step["name"] == "operations").expect("the step");
        assert_eq!(step["tables"], json!([{"table": "syncline_operation", "rows": 1}]));
        assert_eq!(shown.error()["kind"], "unconfirmed");
        assert_eq!(syncline(url, "migrate down --dry-run").expect(0).stderr, "");
        syncline(url, "migrate status").expect(0);
        assert_eq!(operations::list(&pool, 10).await.unwrap().len(), 1);
    }

    pub(super) async fn down_is_refused_while_processes_run<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let running = Recipient::broken(pool.clone()).consumer.start().await.unwrap();
        let relay = Relay::builder("/tests", pool.clone()).start().await.unwrap();
        eventually("both have told of themselves", async || {
            let all = processes::list(&pool).await.unwrap();
            (all.len() == 2).then_some(())
        })
        .await;
        for args in ["migrate down --yes", "migrate down --dry-run", "migrate down"] {
            let said = syncline(url, args).expect(1).stderr;
            for part in ["consumer login", "relay /tests", "pid ", "stop them first", "--force"] {
                assert!(said.contains(part), "{args}, {part:?}: {said}");
            }
        }
        syncline(url, "migrate status").expect(0);
        relay.stop().await;
        let said = syncline(url, "migrate down --yes").expect(1).stderr;
        assert!(said.contains("consumer login") && !said.contains("relay /tests"), "{said}");
        running.stop().await;
        syncline(url, "migrate down --yes").expect(0);
        // As a relay that was killed leaves it: it may come back.
        syncline(url, "migrate up").expect(0);
        let dead = uuid::Uuid::from_u128(7);
        let ttl = Duration::from_secs(500);
        DB::acquire(&pool, "seal", dead, ttl).await.unwrap().expect("the lease");
        let said = syncline(url, "migrate down --yes").expect(1).stderr;
        assert!(said.contains("lease seal") && said.contains(&dead.to_string()), "{said}");
        syncline(url, "migrate down --force --yes").expect(0);
    }

    pub(super) async fn a_migration_that_waits_for_a_lock_says_that_the_database_is_busy<
        DB: Open,
    >(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        // The next step up is one that alters a table that is there.
        let pool = DB::open(url).await;
        migrate_down(&pool, 16, true).await.unwrap();
        let locker = DB::open(url).await;
        let lock = match DB::LABEL {
            "PostgreSQL" => "BEGIN; LOCK TABLE syncline_saga IN ACCESS EXCLUSIVE MODE",
            _ => "LOCK TABLES syncline_saga WRITE",
        };
        DB::run(&locker, lock).await;
        let run = syncline(url, "migrate up --json").expect(3);
        let error = run.error();
        assert_eq!(error["kind"], "unreachable", "{error}");
        let said = error["message"].as_str().unwrap();
        assert!(said.contains("migration 17 failed"), "{said}");
        assert!(!said.contains(" at line "), "a line of the server's own source: {said}");
        locker.close().await;
        syncline(url, "migrate up").expect(0);
    }
}
