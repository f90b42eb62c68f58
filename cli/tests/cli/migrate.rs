//! `syncline migrate` and `syncline doctor`.

use crate::on_each;

on_each!(
    the_whole_way_up_and_down,
    two_processes_at_once,
    edited_and_newer_tables_are_refused,
    down_does_not_lose_messages,
);

mod case {
    use serde_json::json;
    use syncline_tests::letters::Recipient;

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

        let down = syncline(url, "migrate down").expect(0).stdout;
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
        let down = syncline(url, "migrate down --to 0 --json").expect(0).json();
        assert_eq!(down, json!({"taken_back": (1..=before.0).rev().collect::<Vec<_>>()}));
        assert_eq!(syncline(url, "migrate down").expect(0).stdout, "nothing to take back\n");
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
        for args in ["migrate up", "migrate down --force", "migrate status", "outbox lag", "doctor"]
        {
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

    pub(super) async fn down_does_not_lose_messages<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        Recipient::broken(DB::open(url).await).receive(&["bad"]).await;
        let refused = syncline(url, "migrate down --to 0").expect(1);
        assert!(refused.stderr.contains("would lose 1 messages"), "{}", refused.stderr);
        syncline(url, "migrate status").expect(0);
        syncline(url, "migrate down --to 0 --force").expect(0);
    }
}
