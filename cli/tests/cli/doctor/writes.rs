//! Whether the database takes writes, and who could not write for a while.

use syncline::{Consumer, Verdict, handler_fn, storage::ProcessReport, transport::Receive};
use syncline_tests::{
    letters::numbered,
    servers::{postgres_database, sqlite_database},
};
use uuid::Uuid;

use super::{check, postgres};
use crate::{Open, on_each, syncline};

on_each!(
    a_write_is_tried_and_leaves_nothing,
    a_process_that_is_silent_is_named,
    a_gap_behind_what_is_refused_is_not_to_be_skipped
);

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_fails_on_postgres() {
    let Some(url) = postgres_database().await else { return };
    syncline(&url, "migrate up").expect(0);
    let set =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',
               current_database()); END $$";
    postgres(&url, set).await;
    let (result, text) = check(&syncline(&url, "doctor --json").expect(8), "writes");
    assert_eq!(result, "failed", "{text}");
    assert!(text.contains("is read-only") && text.contains("nothing is to be skipped"), "{text}");
}

#[test]
fn a_file_that_is_read_only_fails_on_sqlite() {
    let (_directory, url) = sqlite_database();
    syncline(&url, "migrate up").expect(0);
    let path = url.split('?').next().expect("a path");
    let run = syncline(&format!("{path}?mode=ro"), "doctor --json").expect(8);
    let (result, text) = check(&run, "writes");
    assert_eq!(result, "failed", "{text}");
    assert!(text.contains("is read-only"), "{text}");
}

mod case {
    use super::*;

    pub(super) async fn a_write_is_tried_and_leaves_nothing<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let (result, text) = check(&syncline(url, "doctor --json").expect(0), "writes");
        assert_eq!(result, "ok", "{text}");
        let rows = DB::processes(&DB::open(url).await).await.expect("rows");
        assert!(rows.is_empty(), "{rows:?}");
    }

    fn report<'a>(name: &'a str, problems: &'a str) -> ProcessReport<'a> {
        ProcessReport {
            id: Uuid::now_v7(),
            kind: "consumer",
            name,
            host: "h7",
            pid: 4711,
            program: "p",
            defined: "{}",
            problems,
        }
    }

    pub(super) async fn a_process_that_is_silent_is_named<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        DB::report_process(&pool, report("login", "[]")).await.expect("a row");
        let silent = || check(&syncline(url, "doctor --json").expect(0), "silent processes");
        assert_eq!(silent().0, "ok");
        let ages = async |seconds: i64| {
            let earlier = match DB::LABEL {
                "PostgreSQL" => format!("- interval '{seconds} s'"),
                "SQLite" => format!("- {}", seconds * 1_000),
                _ => format!("- INTERVAL {seconds} SECOND"),
            };
            let update = format!(
                "UPDATE syncline_process SET seen_at = seen_at {earlier}, \
                 started_at = started_at {earlier}"
            );
            DB::run(&pool, &update).await;
        };
        ages(60).await;
        let (result, text) = silent();
        let words = ["consumer login (h7, pid 4711) has not written since", "takes no writes"];
        assert!(result == "warning" && words.iter().all(|word| text.contains(word)), "{text}");
        syncline(url, "doctor --fail-if silent").expect(8);
        // Another one has followed it, or it is long ago.
        let another = report("login", "[]");
        let id = another.id;
        DB::report_process(&pool, another).await.expect("a row");
        assert_eq!(silent().0, "ok");
        DB::remove_process(&pool, id).await.expect("it stops");
        assert_eq!(silent().0, "warning");
        ages(3_600).await;
        assert_eq!(silent().0, "ok");
    }

    pub(super) async fn a_gap_behind_what_is_refused_is_not_to_be_skipped<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let nothing = handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) }));
        let early = Consumer::builder("early", pool.clone()).handler("*", nothing);
        let early = early.hold_early(10, 1 << 20).build().unwrap();
        let mut batch = numbered(3);
        batch.messages.drain(..2);
        early.receive(batch).await.unwrap();
        let gaps = || check(&syncline(url, "doctor --json").expect(0), "gaps");
        let (result, text) = gaps();
        assert!(result == "warning" && text.contains("route rewind"), "{text}");
        let refusal = "this consumer itself refuses messages of /source s: its disk is full";
        let problems = format!("[{refusal:?}]");
        DB::report_process(&pool, report("early", &problems)).await.expect("a row");
        let (result, text) = gaps();
        assert!(result == "warning" && text.contains(refusal), "{text}");
        assert!(text.contains("skip nothing") && !text.contains("rewind"), "{text}");
        // An operator who looks for something to skip is told, too.
        let list = syncline(url, "inbox list").expect(0).stdout;
        assert!(list.contains(refusal), "{list}");
    }
}
