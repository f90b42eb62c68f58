//! `syncline operations`, and how a person is asked.

use std::process::Command;

use syncline_tests::servers::{python, sqlite_database};

use crate::{Run, on_each, syncline};

on_each!(
    what_operators_do_is_kept_with_who_and_why,
    a_lost_incarnation_is_named_by_a_command_that_works
);

/// Runs `syncline` with `args` on a terminal on which `answer` is typed.
fn at_a_terminal(python: &str, url: &str, args: &str, answer: &str) -> Run {
    let typed = "import os, subprocess, sys\n\
                 master, slave = os.openpty()\n\
                 os.write(master, sys.argv[1].encode())\n\
                 sys.exit(subprocess.call(sys.argv[2:], stdin=slave, stderr=slave))";
    let mut command = Command::new(python);
    command.args(["-c", typed, answer, env!("CARGO_BIN_EXE_syncline")]);
    command
        .args(args.split_whitespace())
        .env("DATABASE_URL", url)
        .env_remove("RUST_LOG")
        .env_remove("COLUMNS");
    command.output().expect("it starts").into()
}

#[test]
fn a_person_at_a_terminal_is_asked_and_only_a_yes_is_one() {
    let Some(python) = python() else { return };
    let (_directory, url) = sqlite_database();
    syncline(&url, "migrate up").expect(0);
    for answer in ["n\n", "\n", "yesterday\n", "\u{4}"] {
        at_a_terminal(&python, &url, "migrate down", answer).expect(5);
        syncline(&url, "migrate status").expect(0);
    }
    let ran = at_a_terminal(&python, &url, "migrate down", "y\n").expect(0);
    assert!(ran.stdout.contains("goes:") && ran.stdout.contains("took back"), "{}", ran.stdout);
    syncline(&url, "migrate status").expect(4);
    // A program is not asked.
    at_a_terminal(&python, &url, "migrate down --json", "y\n").expect(5);
}

mod case {
    use std::time::Duration;

    use serde_json::{Value, json};
    use syncline::{
        Message, Relay, Route, Stream, begin, enqueue,
        message::Position,
        operations,
        storage::{NewShard, ShardKey},
    };
    use syncline_tests::{
        kit::Kit,
        relays::{Direct, eventually, noting},
    };

    use crate::{Open, syncline};

    pub(super) async fn what_operators_do_is_kept_with_who_and_why<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let none = syncline(url, "operations").expect(0).stdout;
        assert!(none.contains("no operator has changed anything"), "{none}");
        let pool = DB::open(url).await;
        let key = ShardKey::new("login", 1, 0);
        let new = NewShard { key, at: Position::START, closed: false };
        DB::create_shards(&pool, "users", &[new]).await.unwrap();
        syncline(url, "route pause login --by ada --why moved").expect(0);
        syncline(url, "route rewind login --to 3 --by bob --why late").expect(1);
        // A look, or an act that was not confirmed, is none.
        syncline(url, "route list").expect(0);
        syncline(url, "stream rebase --head").expect(5);
        syncline(url, "stream rebase --head --yes --by eve --why restored").expect(0);

        let all = syncline(url, "operations --json").expect(0).json();
        let items = all["items"].as_array().unwrap();
        let of = |at: usize, field: &str| items[at][field].clone();
        assert_eq!((items.len(), &all["more"]), (3, &json!(false)), "{all:#}");
        let found: Vec<Value> =
            (0..3).flat_map(|at| [of(at, "operator"), of(at, "command"), of(at, "why")]).collect();
        let expected = [
            "eve",
            "stream rebase",
            "restored",
            "bob",
            "route rewind",
            "late",
            "ada",
            "route pause",
            "moved",
        ];
        assert_eq!(found, expected);
        assert_eq!((of(2, "target"), of(2, "affected")), (json!("login"), json!(1)));
        assert!(of(2, "began_at").is_string() && of(2, "ended_at").is_string(), "{all:#}");
        let refused = of(1, "problem");
        assert!(refused.as_str().unwrap().contains("ends at position 0"), "{refused}");
        assert_eq!((of(1, "affected"), of(0, "problem")), (json!(null), json!(null)));
        let page = syncline(url, "operations --json -n 1").expect(0).json();
        assert_eq!((&page["items"][0]["operator"], &page["more"]), (&json!("eve"), &json!(true)));
        let text = syncline(url, "operations").expect(0).stdout;
        assert!(text.contains("ada") && text.contains("not done: nothing was changed"), "{text}");

        // One that was cut off says so, and the old ones go when the next one begins.
        let long_ago = match DB::LABEL {
            "PostgreSQL" => "now() - interval '400 days'",
            "SQLite" => "1",
            _ => "UTC_TIMESTAMP(6) - INTERVAL 400 DAY",
        };
        DB::run(&pool, &format!("UPDATE syncline_operation SET began_at = {long_ago}")).await;
        let _cut_off = operations::begin(&pool, "ada", "outbox trim", "all", "room").await.unwrap();
        let left = operations::list(&pool, 10).await.unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        let text = syncline(url, "operations").expect(0).stdout;
        assert!(text.contains("under way, or cut off"), "{text}");
    }

    /// The consumer follows an incarnation that its source has lost; the command that the route names
    /// mends it.
    pub(super) async fn a_lost_incarnation_is_named_by_a_command_that_works<DB: Open + Kit>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let start = async || {
            let consumer = noting("c", pool.clone()).build().unwrap();
            Relay::builder("/tests", pool.clone())
                .stream(Stream::new("users").topic("user.*"))
                .route(Route::new("login", "users", Direct::to(consumer)))
                .options(|options| {
                    options.lease = Duration::from_millis(600);
                    options.max_backoff = Duration::from_millis(200);
                })
                .start()
                .await
                .unwrap()
        };
        let write = async |n: i64| {
            let mut tx = begin(&pool).await.unwrap();
            let message = Message::json("user.changed", &n).unwrap().key("key 0");
            let receipt = enqueue(&mut tx, &message).await.unwrap();
            tx.commit().await.unwrap();
            receipt.committed();
        };
        let applied = async |n: usize| {
            let all = async || (DB::applied(&pool).await.unwrap().len() == n).then_some(());
            eventually("it is applied", all).await;
        };
        let relay = start().await;
        write(1).await;
        applied(1).await;
        eventually("all of it is delivered", async || {
            let lag = syncline(url, "outbox lag --json").expect(0).json();
            (lag["routes"][0]["behind"] == json!(0)).then_some(())
        })
        .await;
        relay.stop().await;
        let id = "01920bf15c8a7e319d3f1c1f5d0a7c11";
        let lost = match DB::LABEL {
            "PostgreSQL" => format!("'{id}'"),
            _ => format!("X'{id}'"),
        };
        DB::run(&pool, &format!("UPDATE syncline_inbox SET incarnation = {lost}")).await;
        let relay = start().await;
        write(2).await;
        let told = eventually("the route says what to do", async || {
            let list = syncline(url, "route list --json").expect(0).json().to_string();
            list.contains("syncline stream rebase --head --lost ").then_some(list)
        })
        .await;
        let command = told.split('`').find(|part| part.starts_with("syncline stream rebase"));
        let command = command.expect("a command").strip_prefix("syncline ").unwrap();
        // The one that it has not sent is in its own log only.
        let run = format!("{command} --skip-undelivered --yes");
        eventually("all of it has its position", async || {
            let lag = syncline(url, "outbox lag --json").expect(0).json();
            (lag["head"] == json!(2)).then_some(())
        })
        .await;
        syncline(url, &run).expect(0);
        applied(2).await;
        relay.stop().await;
    }
}
