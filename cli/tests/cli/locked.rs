//! `syncline status` and `doctor` while another session has locked a table.

use crate::on_servers;

on_servers!(
    a_locked_table_hides_no_other_check_and_costs_no_more_than_the_time,
    commands_that_give_up_leave_no_session_that_waits,
    a_command_that_is_killed_leaves_no_session_for_long,
);

mod case {
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};
    use sqlx::Pool;
    use syncline_tests::{kit::Kit, relays::eventually};

    use crate::{Open, Run, command, syncline};

    /// Beyond `--timeout`; a test's machine may be slow to start programs.
    const OVER: Duration = Duration::from_millis(1_500);

    /// Locks `table` as long as it is there.
    async fn lock<DB: Open>(url: &str, table: &str) -> Pool<DB> {
        let holder = DB::open(url).await;
        let lock = match DB::LABEL {
            "PostgreSQL" => format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
            _ => format!("LOCK TABLES {table} WRITE"),
        };
        DB::run(&holder, &lock).await;
        holder
    }

    /// Number of sessions that wait for a lock.
    async fn waiting<DB: Kit>(pool: &Pool<DB>) -> i64 {
        let statement = match DB::LABEL {
            "PostgreSQL" => {
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'"
            }
            _ => {
                "SELECT COUNT(*) FROM information_schema.processlist
                 WHERE db = DATABASE() AND state LIKE 'Waiting for %'"
            }
        };
        DB::count(pool, statement).await.expect("count")
    }

    fn timed(url: &str, args: &str) -> (Run, Duration) {
        let began = Instant::now();
        let run = syncline(url, args);
        (run, began.elapsed())
    }

    /// The result of each check, by its name.
    fn check<'a>(checks: &'a [Value], name: &str) -> &'a Value {
        checks.iter().find(|check| check["check"] == name).expect(name)
    }

    pub(super) async fn a_locked_table_hides_no_other_check_and_costs_no_more_than_the_time<
        DB: Open + Kit,
    >(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let fine: Vec<Value> =
            syncline(url, "doctor --json").expect(0).json()["checks"].as_array().unwrap().clone();
        let names = |checks: &[Value]| -> Vec<Value> {
            checks.iter().map(|check| check["check"].clone()).collect()
        };
        let status = syncline(url, "status --json").expect(0).json();
        assert_eq!((&status["head"], &status["shards"]), (&json!(0), &json!(0)), "{status}");

        let holder = lock::<DB>(url, "syncline_held").await;
        let (run, took) = timed(url, "doctor --json --timeout 6");
        assert!(took < Duration::from_secs(6) + OVER, "{took:?}");
        let report = run.expect(8).json();
        let checks = report["checks"].as_array().unwrap();
        assert_eq!(names(checks), names(&fine), "all of them, in the same order");
        for name in ["dead letters", "held messages"] {
            let check = check(checks, name);
            let found = check["found"].as_str().unwrap();
            assert!(check["result"] == "failed" && found.starts_with("not known: "), "{check}");
        }
        for name in ["durability", "schema", "log", "numbers", "handlers", "routes", "gaps"] {
            assert_ne!(check(checks, name)["result"], "failed", "{name}: {report}");
        }
        let locks = check(checks, "blocking locks");
        assert!(locks["result"] == "warning", "who has the lock is told: {report}");

        let (run, took) = timed(url, "status --json --timeout 6");
        assert!(took < Duration::from_secs(6) + OVER, "{took:?}");
        let status = run.expect(8).json();
        assert_eq!((&status["head"], &status["shards"]), (&json!(0), &json!(0)), "{status}");
        let fine = status["fine"].as_array().unwrap();
        for name in ["log", "handlers", "routes", "gaps", "retention"] {
            check(fine, name);
        }
        holder.close().await;

        let holder = lock::<DB>(url, "syncline_route").await;
        let (run, took) = timed(url, "status --json --timeout 6");
        assert!(took < Duration::from_secs(6) + OVER, "{took:?}");
        let status = run.expect(8).json();
        assert_eq!(status["shards"], Value::Null, "not known is not nought: {status}");
        assert!(status.as_object().unwrap().contains_key("shards"), "{status}");
        assert_eq!((&status["head"], &status["processes"]), (&json!(0), &json!([])), "{status}");
        let page = syncline(url, "status --timeout 6").expect(8).stdout;
        assert!(page.contains("shards of routes: not known: "), "{page}");
        holder.close().await;
        syncline(url, "doctor").expect(0);
    }

    pub(super) async fn commands_that_give_up_leave_no_session_that_waits<DB: Open + Kit>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let watcher = DB::open(url).await;
        let holder = lock::<DB>(url, "syncline_held").await;
        let mut most = 0;
        for _ in 0..6 {
            for args in ["status --timeout 2", "doctor --timeout 2", "dead list --timeout 2"] {
                syncline(url, args);
                most = most.max(waiting(&watcher).await);
            }
        }
        assert!(most <= 6, "{most} sessions wait at one time, after the commands have ended");
        let still = async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            (waiting(&watcher).await == 0).then_some(())
        };
        tokio::time::timeout(Duration::from_secs(5), eventually("none waits", still))
            .await
            .expect("within five seconds");
        holder.close().await;
        syncline(url, "status").expect(0);
    }

    /// The server's own limit ends it.
    pub(super) async fn a_command_that_is_killed_leaves_no_session_for_long<DB: Open + Kit>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let watcher = DB::open(url).await;
        let holder = lock::<DB>(url, "syncline_held").await;
        let mut child = command(url, "dead list --timeout 4").spawn().expect("it starts");
        eventually("it waits", async || (waiting(&watcher).await > 0).then_some(())).await;
        child.kill().expect("kill");
        child.wait().expect("it has ended");
        let still = async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            (waiting(&watcher).await == 0).then_some(())
        };
        tokio::time::timeout(Duration::from_secs(8), eventually("none waits", still))
            .await
            .expect("soon after its time");
        holder.close().await;
    }
}
