//! `syncline outbox`.

use crate::{on_each, on_servers};

on_each!(
    lag_and_tail,
    lag_tells_of_delayed_messages,
    tail_goes_on,
    tail_shows_one_key_and_payloads_only_when_asked,
    a_reader_that_goes_away_is_no_failure,
    trim_says_what_goes,
    trim_asks_and_removes_what_it_has_shown,
    what_is_erased_is_said_first_and_gone_then,
    messages_without_a_position_are_behind_too,
    a_shard_that_stands_still_says_who_has_its_lease
);

on_servers!(
    an_open_transaction_holds_up_no_other_and_lag_names_it,
    a_command_that_waits_for_a_locked_table_ends_and_names_who_holds_it
);

/// On a server of the test's own: MariaDB does not tell of which database a prepared transaction is, so
/// `lag` names it on every database of its server, and so does that of other tests.
mod a_prepared_transaction_holds_up_no_other_and_lag_names_it {
    use syncline_tests::own_server::{OwnServer, Served};

    use crate::Open;

    async fn on_its_own_server<DB: Open + Served>() {
        let Some(server) = OwnServer::<DB>::start().await else { return };
        let url = server.database(None).await;
        super::case::a_prepared_transaction_holds_up_no_other_and_lag_names_it::<DB>(&url).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn mariadb() {
        on_its_own_server::<sqlx::MySql>().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres() {
        on_its_own_server::<sqlx::Postgres>().await;
    }
}

mod case {
    use std::{
        io::{BufRead, BufReader, Read},
        process::{Command, Stdio},
        time::Duration,
    };

    use serde_json::{Value, json};
    use sqlx::Pool;
    use syncline::{
        Message, begin, enqueue_all,
        message::Position,
        storage::{NewShard, ShardKey},
    };

    use crate::{Open, Run, command, syncline};

    /// Commits the messages, and gives them positions as a relay does.
    async fn commit<DB: Open>(pool: &Pool<DB>, messages: &[Message]) {
        let mut tx = begin(pool).await.unwrap();
        let receipts = enqueue_all(&mut tx, messages).await.unwrap();
        tx.commit().await.unwrap();
        receipts.into_iter().for_each(|receipt| receipt.committed());
    }

    async fn seal<DB: Open>(pool: &Pool<DB>) {
        let (holder, ttl) = (uuid::Uuid::from_u128(1), Duration::from_secs(60));
        let lease = DB::acquire(pool, "seal", holder, ttl).await.unwrap().expect("the lease");
        while DB::seal(pool, &lease, 1_000).await.unwrap().count > 0 {}
    }

    fn message(payload: &Value) -> Message {
        Message::json("user.registered", payload).unwrap().key("user-1").header("tenant", "north")
    }

    pub(super) async fn lag_tells_of_delayed_messages<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        assert!(!syncline(url, "outbox lag").expect(0).stdout.contains("delayed"));
        let none = syncline(url, "outbox lag --json").expect(0).json();
        assert_eq!(none["delayed"], json!({"waiting": 0, "next_at": null}));
        let late = [3_600, 60, 7_200]
            .map(|seconds| message(&json!(seconds)).delay(Duration::from_secs(seconds)));
        let before = chrono::Utc::now();
        commit(&pool, &late).await;
        let lag = syncline(url, "outbox lag --json").expect(0).json();
        assert_eq!(lag["delayed"]["waiting"], json!(3));
        let next: chrono::DateTime<chrono::Utc> =
            serde_json::from_value(lag["delayed"]["next_at"].clone()).unwrap();
        let wait = (next - before).num_seconds();
        assert!((58..=120).contains(&wait), "{lag}");
        let lag = syncline(url, "outbox lag").expect(0).stdout;
        let next = next.format("%Y-%m-%dT%H:%M").to_string();
        assert!(lag.contains("delayed: 3 wait") && lag.contains(&next), "{lag}");
    }

    pub(super) async fn lag_and_tail<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let none = json!({"items": [], "more": false});
        assert_eq!(syncline(url, "outbox tail --json").expect(0).json(), none);
        assert!(syncline(url, "outbox lag").expect(0).stdout.contains("no route yet"));

        commit(&pool, &[message(&json!({"name": "\u{1b}[2J漢字\u{202e}", "n": 1}))]).await;
        commit(&pool, &[Message::new("user.photo", "image/png", vec![0x89, b'P', 0, 0xff])]).await;
        if DB::LABEL == "PostgreSQL" {
            let lag = syncline(url, "outbox lag --json").expect(0).json();
            assert_eq!((&lag["head"], &lag["unsealed"]), (&json!(0), &json!(2)));
            let tail = syncline(url, "outbox tail").expect(0);
            assert!(tail.stderr.contains("2 more are committed"), "{}", tail.stderr);
        }
        seal(&pool).await;
        for args in ["outbox tail --data", "outbox tail --data --json"] {
            let shown = syncline(url, args).expect(0).stdout;
            let spoils = |c: &char| *c != '\n' && syncline::logs::is_hidden(*c);
            assert_eq!(shown.chars().find(spoils), None, "{args}: {shown:?}");
            assert!(shown.contains("202e"), "{args}: {shown:?}");
        }
        let text = Message::new("user.note", "text/plain", "two\nlines").key("k");
        commit(&pool, &[text, Message::new("user.raw", "application/json", "{ \"a\":\n1e400 }")])
            .await;
        seal(&pool).await;
        let key = ShardKey::new("login", 1, 0);
        let new = NewShard { key, at: Position::START, closed: false };
        DB::create_shards(&pool, "users", &[new]).await.unwrap();

        let lag = syncline(url, "outbox lag --json").expect(0).json();
        let route = &lag["routes"][0];
        assert_eq!((&lag["head"], &lag["unsealed"]), (&json!(4), &json!(0)));
        assert_eq!((&route["route"], &route["behind"]), (&json!("login"), &json!(4)));
        assert!(route["oldest_at"].is_string(), "{lag}");
        let lag = syncline(url, "outbox lag").expect(0).stdout;
        assert!(lag.contains("login") && lag.contains("users"), "{lag}");
        syncline(url, "outbox lag --max-behind 4").expect(0);
        syncline(url, "outbox lag --max-behind 3").expect(8);

        let tail = syncline(url, "outbox tail --data --json").expect(0);
        assert!(tail.stdout.contains("1e400"), "digits are kept: {}", tail.stdout);
        let tail = tail.stdout.replace("1e400", "1");
        let tail: Value = serde_json::from_str(&tail).unwrap();
        let positions: Vec<_> =
            tail["items"].as_array().unwrap().iter().map(|m| &m["position"]).collect();
        assert_eq!(positions, [1, 2, 3, 4]);
        assert_eq!(tail["more"], json!(false));
        let tail = &tail["items"];
        assert_eq!(tail[0]["data"]["name"], "\u{1b}[2J漢字\u{202e}");
        assert_eq!(tail[0]["headers"], json!({"tenant": "north"}));
        assert_eq!(tail[1]["data_base64"], "iVAA/w==");
        assert_eq!(tail[2]["data"], "two\nlines");

        let text = syncline(url, "outbox tail --data").expect(0).stdout;
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("\\u001b[2J漢字\\u{202e}") && text.contains("two\\nlines"), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert!(text.contains("<4 bytes> 89 50 00 ff"), "{text}");

        let some = |args: &str| syncline(url, args).expect(0).stdout.lines().count();
        assert_eq!(some("outbox tail -n 1"), 1);
        assert_eq!(some("outbox tail -n 0"), 0);
        assert_eq!(some("outbox tail --from 2"), 3);
        assert_eq!(some("outbox tail --from 2 -n 2"), 2);
        let beyond = syncline(url, "outbox tail --from 5").expect(6);
        assert!(beyond.stderr.contains("the last one is at 4"), "{}", beyond.stderr);
        syncline(url, "outbox tail --from 0").expect(2);
    }

    pub(super) async fn what_is_erased_is_said_first_and_gone_then<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let other = Message::json("user.registered", &json!("kept")).unwrap().key("user-10");
        commit(&pool, &[message(&json!("hush")), other, message(&json!("hush"))]).await;
        seal(&pool).await;
        syncline(url, "erase --by ada --why left").expect(2);
        syncline(url, "erase user-1 --by ada").expect(2);

        let asked = syncline(url, "erase user-1 --by ada --why left").expect(5);
        assert!(asked.stdout.contains("2 messages of the log"), "{}", asked.stdout);
        assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
        syncline(url, "erase user-1 --by ada --why left --dry-run").expect(0);
        let log = || syncline(url, "outbox tail --data --json").expect(0).stdout;
        let before = log();
        assert_eq!(before.matches("hush").count(), 2, "nothing was changed: {before}");

        let done = syncline(url, "erase user-1 --by ada --why left --yes --json").expect(0).json();
        assert_eq!((&done["messages"], &done["erased"]), (&json!(2), &json!(true)), "{done}");
        let after = log();
        assert!(!after.contains("hush") && !after.contains("north"), "{after}");
        assert_eq!(after.matches("\"user-1\"").count(), 2, "their places stay: {after}");
        assert!(after.contains("kept"), "{after}");
        let again = syncline(url, "erase user-1 --by ada --why left --yes").expect(7).stdout;
        assert!(again.contains("nothing is there"), "{again}");
        syncline(url, &format!("erase --saga {} --by ada --why left", uuid::Uuid::nil())).expect(7);
        let kept = syncline(url, "operations --json").expect(0).stdout;
        assert!(kept.contains("key user-1") && kept.contains("left"), "{kept}");
    }

    pub(super) async fn tail_goes_on<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let args = "outbox tail --follow --from 1 -n 3 --data --json";
        let mut tail =
            command(url, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
        for n in 1..=3 {
            commit(&pool, &[message(&json!({"n": n}))]).await;
            seal(&pool).await;
            let line = lines.next().expect("a line").unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&line["position"], &line["data"]["n"]), (&json!(n), &json!(n)));
        }
        assert!(lines.next().is_none());
        Run::from(tail.wait_with_output().unwrap()).expect(0);

        // Ended by hand, as one does.
        let mut tail = command(url, "outbox tail --follow -n 1");
        let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(tail.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("user.registered"), "{first}");
        let pid = tail.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        Run::from(tail.wait_with_output().unwrap()).expect(0);
    }

    pub(super) async fn tail_shows_one_key_and_payloads_only_when_asked<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let of = |key: &str, n: i64| {
            Message::json("user.changed", &json!({"secret": "open-sesame", "n": n}))
                .unwrap()
                .key(key)
        };
        for n in 1..=3 {
            // So that positions are in this order.
            for key in ["user-1", "user-11"] {
                commit(&pool, &[of(key, n)]).await;
                seal(&pool).await;
            }
        }
        commit(&pool, &[Message::new("user.photo", "image/png", vec![0x89, b'P', 0, 0xff])]).await;
        seal(&pool).await;

        for args in ["", "--json", "--from 1", "--from 1 --json", "--key user-1 --json"] {
            let shown = syncline(url, &format!("outbox tail {args}")).expect(0).stdout;
            assert!(!shown.contains("sesame") && !shown.contains("iVAA"), "{args}: {shown}");
            assert!(shown.contains("user-1") && shown.contains("bytes"), "{args}: {shown}");
        }
        let document = syncline(url, "outbox tail -n 1 --json").expect(0).json();
        let last = &document["items"][0];
        assert_eq!((&last["bytes"], &last["data_base64"]), (&json!(4), &json!(null)), "{last}");
        assert_eq!(document["more"], json!(true), "older ones are kept");
        let text = syncline(url, "outbox tail -n 1").expect(0).stdout;
        assert!(text.contains("4 bytes") && !text.contains("89 50"), "{text}");

        let tail = |args: &str| -> (Vec<i64>, bool) {
            let tail = syncline(url, &format!("outbox tail --key user-1 --data --json {args}"));
            let tail = tail.expect(0).json();
            let items = tail["items"].as_array().unwrap().iter();
            let places = items.map(|item| {
                assert_eq!(
                    (&item["key"], &item["data"]["secret"]),
                    (&json!("user-1"), &json!("open-sesame"))
                );
                item["position"].as_i64().unwrap()
            });
            (places.collect(), tail["more"].as_bool().unwrap())
        };
        assert_eq!(tail(""), (vec![1, 3, 5], false));
        assert_eq!(tail("-n 2"), (vec![3, 5], true), "the last ones");
        assert_eq!(tail("-n 3"), (vec![1, 3, 5], false));
        assert_eq!(tail("--from 2"), (vec![3, 5], false));
        assert_eq!(tail("--from 1 -n 1"), (vec![1], true));
        assert_eq!(tail("--from 5 -n 1"), (vec![5], false), "the others are another key's");
        let all = |args: &str| {
            let tail = syncline(url, &format!("outbox tail --json {args}")).expect(0).json();
            (tail["items"].as_array().map(Vec::len), tail["more"].as_bool())
        };
        assert_eq!(all("--from 6 -n 1"), (Some(1), Some(true)));
        assert_eq!(all("--from 6 -n 2"), (Some(2), Some(false)));
        assert_eq!(all("-n 7"), (Some(7), Some(false)));
        let none = syncline(url, "outbox tail --key user --json").expect(0).json();
        assert_eq!(none, json!({"items": [], "more": false}));
        let follow = "outbox tail --follow --from 1 -n 2 --key user-11";
        let followed = syncline(url, follow).expect(0).stdout;
        assert_eq!(followed.matches("user-11").count(), 2, "{followed}");
        assert!(!followed.contains("sesame"), "{followed}");
    }

    pub(super) async fn a_reader_that_goes_away_is_no_failure<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let big = message(&json!("x".repeat(300)));
        let many: Vec<_> = (0..2_000)
            .map(|_| Message::new(big.topic.as_str(), "application/json", big.data.clone()))
            .collect();
        commit(&pool, &many).await;
        seal(&pool).await;
        for args in ["outbox tail --from 1", "outbox tail --from 1 --json"] {
            let mut tail = command(url, args);
            let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut start = [0; 10];
            tail.stdout.take().unwrap().read_exact(&mut start).unwrap();
            // The pipe is closed here.
            let run = Run::from(tail.wait_with_output().unwrap()).expect(0);
            assert_eq!(run.stderr, "");
        }
    }

    pub(super) async fn messages_without_a_position_are_behind_too<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let key = ShardKey::new("login", 1, 0);
        let new = NewShard { key, at: Position::START, closed: false };
        DB::create_shards(&pool, "users", &[new]).await.unwrap();
        // No relay runs: only on SQLite they have their positions.
        commit(&pool, &(0..5).map(|n| message(&json!(n))).collect::<Vec<_>>()).await;
        syncline(url, "outbox lag --max-behind 5").expect(0);
        syncline(url, "outbox lag --max-behind 4").expect(8);
    }

    pub(super) async fn a_shard_that_stands_still_says_who_has_its_lease<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let key = ShardKey::new("login", 1, 0);
        let new = NewShard { key: key.clone(), at: Position::START, closed: false };
        DB::create_shards(&pool, "users", &[new]).await.unwrap();
        commit(&pool, &[message(&json!(1))]).await;
        seal(&pool).await;
        let still = "not moved for";
        assert!(!syncline(url, "route list").expect(0).stdout.contains(still), "it is new");
        let ago = match DB::LABEL {
            "PostgreSQL" => "now() - interval '90 seconds'",
            "SQLite" => "CAST(unixepoch('subsec') * 1000 AS INTEGER) - 90000",
            _ => "UTC_TIMESTAMP(6) - INTERVAL 90 SECOND",
        };
        DB::run(&pool, &format!("UPDATE syncline_route SET updated_at = {ago}")).await;
        let says = |parts: &[&str]| {
            for args in ["route list", "outbox lag", "doctor"] {
                let said = syncline(url, args).expect(0).stdout;
                assert!(parts.iter().all(|part| said.contains(part)), "{said}");
            }
        };
        says(&[still, "no relay has its lease", "stream close users"]);
        syncline(url, "doctor --fail-if still").expect(8);
        syncline(url, "doctor --fail-if stopped,failing,paused,alarmed,lost").expect(0);
        // Its process died when it had a long lease.
        let (dead, ttl) = (uuid::Uuid::from_u128(7), Duration::from_secs(500));
        let lease = DB::acquire(&pool, &key.lease_name(), dead, ttl).await.unwrap();
        assert!(lease.is_some());
        says(&[still, &dead.to_string(), "has its lease until"]);
    }

    pub(super) async fn a_command_that_waits_for_a_locked_table_ends_and_names_who_holds_it<
        DB: Open,
    >(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let locker = DB::open(url).await;
        let (lock, who, does) = match DB::LABEL {
            "PostgreSQL" => (
                "BEGIN; LOCK TABLE syncline_route IN ACCESS EXCLUSIVE MODE",
                "pid ",
                "its last statement: ",
            ),
            _ => ("LOCK TABLES syncline_route WRITE", "connection ", "at rest for "),
        };
        DB::run(&locker, lock).await;
        // On a slow machine it may not have come to the table when its time is up.
        let mut said = String::new();
        for _ in 0..5 {
            said = syncline(url, "outbox lag --timeout 3").expect(3).stderr;
            if said.contains(who) {
                break;
            }
        }
        let words = ["not done within 3 s", who, does, "has a lock on", "syncline_route"];
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        locker.close().await;
        syncline(url, "outbox lag --timeout 30").expect(0);
    }

    /// Others flow past the messages of a transaction that `who` names, and lag does; after its
    /// end they are there.
    async fn flows_past<DB: Open>(url: &str, pool: &Pool<DB>, who: impl Fn(&str) -> bool) {
        commit(pool, &[message(&json!({"n": 2}))]).await;
        seal(pool).await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let lag = syncline(url, "outbox lag --json").expect(0).json();
        assert_eq!(lag["head"], json!(1), "{lag}");
        let writer = &lag["oldest_writer"];
        assert!(who(writer["who"].as_str().unwrap_or_default()), "{lag}");
        assert!((1..60).contains(&writer["age_seconds"].as_i64().unwrap_or_default()), "{lag}");
        let text = syncline(url, "outbox lag").expect(0).stdout;
        assert!(text.lines().any(|line| line.starts_with("held back: ") && who(line)), "{text}");
    }

    async fn is_over<DB: Open>(url: &str, pool: &Pool<DB>) {
        seal(pool).await;
        // MariaDB and MySQL look for transactions ten times in a second at most.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let lag = syncline(url, "outbox lag --json").expect(0).json();
        assert_eq!((&lag["head"], &lag["oldest_writer"]), (&json!(2), &json!(null)));
    }

    pub(super) async fn an_open_transaction_holds_up_no_other_and_lag_names_it<DB: Open>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        assert_eq!(
            syncline(url, "outbox lag --json").expect(0).json()["oldest_writer"],
            json!(null)
        );
        let mut open = begin(&pool).await.unwrap();
        let receipts = enqueue_all(&mut open, &[message(&json!({"n": 1}))]).await.unwrap();
        let word = if DB::LABEL == "PostgreSQL" { "pid " } else { "connection " };
        flows_past(url, &pool, |text| text.contains(word)).await;
        open.commit().await.unwrap();
        receipts.into_iter().for_each(|receipt| receipt.committed());
        is_over(url, &pool).await;
    }

    pub(super) async fn a_prepared_transaction_holds_up_no_other_and_lag_names_it<DB: Open>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        // The name is the whole server's.
        let name = format!("g{}", uuid::Uuid::now_v7().simple());
        let insert = "INSERT INTO syncline_outbox (topic, data) VALUES ('user.prepared', '{}')";
        let (prepare, end) = if DB::LABEL == "PostgreSQL" {
            (format!("BEGIN; {insert}; PREPARE TRANSACTION '{name}'"), "COMMIT PREPARED")
        } else {
            (
                format!("XA START '{name}'; {insert}; XA END '{name}'; XA PREPARE '{name}'"),
                "XA COMMIT",
            )
        };
        // A pool of its own, which is closed: its process dies, and the transaction lives on.
        let dead = DB::open(url).await;
        DB::run(&dead, &prepare).await;
        dead.close().await;
        flows_past(url, &pool, |text| {
            text.contains("prepared transaction") && text.contains(&name)
        })
        .await;
        DB::run(&pool, &format!("{end} '{name}'")).await;
        is_over(url, &pool).await;
    }

    pub(super) async fn trim_says_what_goes<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        for n in 0..6 {
            commit(&pool, &[message(&json!({"n": n}))]).await;
            seal(&pool).await;
        }
        let dry = syncline(url, "outbox trim --dry-run --json").expect(7).json();
        assert_eq!((&dry["goal"], &dry["trimmed"]), (&json!(0), &json!(0)), "all of it is young");
        let dry = syncline(url, "outbox trim --dry-run --keep-messages 2").expect(0).stdout;
        assert!(dry.contains("4 messages would go"), "{dry}");
        assert_eq!(syncline(url, "outbox lag --json").expect(0).json()["trimmed"], json!(0));

        // A route that has sent nothing keeps it all.
        let key = ShardKey::new("login", 1, 0);
        let new = NewShard { key: key.clone(), at: Position::START, closed: false };
        DB::create_shards(&pool, "users", std::slice::from_ref(&new)).await.unwrap();
        syncline(url, "outbox trim --keep-messages 2 --yes").expect(7);
        assert_eq!(syncline(url, "outbox lag --json").expect(0).json()["trimmed"], json!(0));
        DB::rewind(&pool, &[NewShard { at: Position(5), ..new }]).await.unwrap();
        let went = syncline(url, "outbox trim --keep-hours 0 --yes --json").expect(0).json();
        assert_eq!((&went["trimmed"], &went["slowest"]), (&json!(5), &json!(5)), "{went}");
        let lag = syncline(url, "outbox lag").expect(0).stdout;
        assert!(lag.contains("kept: after position 5, 1 messages"), "{lag}");
        assert!(syncline(url, "outbox tail -n 5").expect(0).stdout.lines().count() == 1);
        syncline(url, "outbox tail --from 3").expect(1);
        let refused = syncline(url, "route rewind login --to 3").expect(1);
        assert!(refused.stderr.contains("begins after position 5"), "{}", refused.stderr);
        syncline(url, "route rewind login --to 5").expect(0);
        let doctor = syncline(url, "doctor").stdout;
        assert!(doctor.contains("retention"), "{doctor}");
    }
    pub(super) async fn trim_asks_and_removes_what_it_has_shown<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        // Two seals of three: on PostgreSQL they go as a whole.
        for _ in 0..2 {
            commit(&pool, &(0..3).map(|n| message(&json!(n))).collect::<Vec<_>>()).await;
            seal(&pool).await;
        }
        let expected = if DB::LABEL == "PostgreSQL" { 3 } else { 4 };
        let asked = syncline(url, "outbox trim --keep-messages 2").expect(5);
        assert!(
            asked.stdout.contains(&format!("{expected} messages would go")),
            "{}",
            asked.stdout
        );
        let words =
            [&format!("remove {expected} messages") as &str, "--yes", "nothing was changed"];
        assert!(words.iter().all(|word| asked.stderr.contains(word)), "{}", asked.stderr);
        let asked = syncline(url, "outbox trim --keep-messages 2 --json").expect(5);
        assert_eq!((&asked.json()["reach"], &asked.json()["goal"]), (&json!(expected), &json!(4)));
        assert_eq!(asked.error()["code"], json!(5));
        syncline(url, "outbox trim --keep-hours 0").expect(5);
        let dry = syncline(url, "outbox trim --keep-messages 2 --dry-run").expect(0).stdout;
        assert!(dry.contains(&format!("{expected} messages would go")), "{dry}");
        let trimmed = || syncline(url, "outbox lag --json").expect(0).json()["trimmed"].clone();
        assert_eq!(trimmed(), json!(0), "nothing was changed");
        let went = syncline(url, "outbox trim --keep-messages 2 --yes").expect(0).stdout;
        assert!(went.contains(&format!("{expected} messages went")), "{went}");
        assert_eq!(trimmed(), json!(expected));
        // Messages that are gone do not go again.
        syncline(url, "outbox trim --keep-messages 2 --dry-run").expect(7);
        syncline(url, "outbox trim --keep-messages 2 --yes").expect(7);
    }
}
