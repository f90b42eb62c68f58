//! `syncline dead`.

use crate::on_each;

on_each!(
    redriven_letters_are_applied_in_order,
    a_dropped_letter_lets_the_others_flow,
    an_edited_letter_is_applied_as_edited,
    letters_are_redriven_by_topic_and_consumer,
    what_is_not_there,
    what_fails_and_is_not_dead_is_told_apart_and_hurried,
    a_key_that_a_dead_letter_blocks_is_not_hurried_and_says_so,
    keys_that_nobody_tries_are_seen_from_outside,
);

mod case {
    use std::time::Duration;

    use serde_json::json;
    use syncline::{RetryPolicy, Storage};
    use syncline_tests::letters::Recipient;

    use crate::{Open, syncline};

    /// Waits until so many messages were applied.
    async fn applied<DB: Storage>(recipient: &Recipient<DB>, count: usize) -> Vec<i64> {
        for _ in 0..200 {
            if recipient.applied().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        recipient.applied()
    }

    pub(super) async fn redriven_letters_are_applied_in_order<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad-1", "good", "bad-1", "bad-2", "bad-1"]).await;
        assert_eq!(recipient.applied(), [2]);

        let list = syncline(url, "dead list --json").expect(0).json()["items"].clone();
        assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
        assert_eq!((&list[0]["key"], &list[0]["position"]), (&json!("bad-1"), &json!(1)));
        assert_eq!((&list[0]["consumer"], &list[0]["state"]), (&json!("login"), &json!("dead")));
        let all = syncline(url, "dead list --held --json").expect(0).json()["items"].clone();
        assert_eq!(all.as_array().map(Vec::len), Some(4), "{all}");
        let text = syncline(url, "dead list").expect(0).stdout;
        assert!(text.contains("bad-2") && text.contains("address is not valid"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");

        let id = list[0]["id"].as_i64().unwrap();
        let show = syncline(url, &format!("dead show {id}")).expect(0).stdout;
        assert!(show.contains("\"user bad-1\"") && show.contains("/register"), "{show}");
        let show = syncline(url, &format!("dead show {id} --json")).expect(0).json();
        assert_eq!(show["envelope"]["data"], "user bad-1");
        assert_eq!(show["envelope"]["subject"], "bad-1");

        let running = recipient.consumer.start().await.unwrap();
        // Nothing moves by itself, even with the consumer at work.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(recipient.applied(), [2]);
        recipient.repair();
        let redriven = syncline(url, &format!("dead redrive {id} --json")).expect(0).json();
        assert_eq!(redriven, json!({"redriven": [id], "not_found": []}));
        assert_eq!(applied(&recipient, 4).await, [2, 1, 3, 5]);
        syncline(url, "dead redrive --all").expect(0);
        assert_eq!(applied(&recipient, 5).await, [2, 1, 3, 5, 4]);
        running.stop().await;
        assert_eq!(syncline(url, "dead list --held").expect(0).stdout, "nothing is held\n");
        assert_eq!(syncline(url, "dead redrive --all").expect(7).stdout, "no dead letters\n");
    }

    pub(super) async fn a_dropped_letter_lets_the_others_flow<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad-1", "bad-1", "bad-2"]).await;
        recipient.repair();
        let running = recipient.consumer.start().await.unwrap();
        let list = syncline(url, "dead list --json").expect(0).json()["items"].clone();
        let (first, second) = (&list[0]["id"], &list[1]["id"]);

        let refused = syncline(url, &format!("dead drop {first} 99")).expect(5);
        assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
        let shown = [&format!("{first} of login goes") as &str, "bad-1", "no dead letter 99"];
        assert!(shown.iter().all(|part| refused.stdout.contains(part)), "{}", refused.stdout);
        syncline(url, "dead drop 99").expect(6);
        assert_eq!(syncline(url, "dead list --json").json()["items"], list);

        let dropped = syncline(url, &format!("dead drop {first} {second} --yes")).expect(0);
        assert_eq!(dropped.stdout, format!("dropped {first}\ndropped {second}\n"));
        // What waited behind the first one is applied; the second one's key is free.
        assert_eq!(applied(&recipient, 1).await, [2]);
        running.stop().await;
        let none = json!({"items": [], "more": false});
        assert_eq!(syncline(url, "dead list --held --json").expect(0).json(), none);
        syncline(url, "migrate down --yes").expect(0);
    }

    pub(super) async fn an_edited_letter_is_applied_as_edited<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        assert_eq!(syncline(url, "held list").expect(0).stdout, "nothing is held\n");
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad-1", "bad-1"]).await;
        let list = syncline(url, "held list --json").expect(0).json();
        let reasons = [&list["items"][0]["state"], &list["items"][1]["state"], &list["early"]];
        assert_eq!(reasons, [&json!("dead"), &json!("behind"), &json!([])]);
        let id = list["items"][0]["id"].as_i64().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        std::fs::write(file.path(), "{").unwrap();
        let refused = syncline(url, &format!("dead edit {id} --data {path} --by Ada")).expect(1);
        assert!(refused.stderr.contains("not JSON"), "{}", refused.stderr);
        // Every editor ends a file with a line end.
        std::fs::write(file.path(), "{\"of\": \"good-1\"}\n").unwrap();
        syncline(url, &format!("dead edit {id} --data {path} --by Ada")).expect(0);
        let show = syncline(url, &format!("dead show {id} --json")).expect(0).json();
        assert_eq!(show["envelope"]["data"], json!({"of": "good-1"}));
        std::fs::write(file.path(), "\"user good-1\"").unwrap();
        let edited = syncline(url, &format!("dead edit {id} --data {path} --by Ada")).expect(0);
        assert_eq!(edited.stdout, format!("edited {id}\n"));
        let show = syncline(url, &format!("dead show {id}")).expect(0).stdout;
        assert!(show.contains("user good-1") && show.contains("by Ada"), "{show}");
        syncline(url, "dead edit 99 --data /dev/null --by Ada").expect(6);
        syncline(url, &format!("dead edit {id} --data /no/such/file --by Ada")).expect(2);
        recipient.repair();
        let running = recipient.consumer.start().await.unwrap();
        let command = format!("dead edit {id} --data {path} --by Bob --redrive --json");
        let done = syncline(url, &command).expect(0).json();
        assert_eq!(done, json!({"id": id, "edited": true, "redriven": true}));
        assert_eq!(applied(&recipient, 2).await, [1, 2]);
        running.stop().await;
    }

    pub(super) async fn letters_are_redriven_by_topic_and_consumer<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad-1", "bad-2"]).await;
        for nobody in ["--topic user.renamed", "--consumer other", "--topic * --consumer other"] {
            let none = syncline(url, &format!("dead redrive {nobody} --json")).expect(7);
            assert_eq!(none.json()["redriven"], json!([]));
            assert!(none.error()["message"].as_str().unwrap().contains("no dead letters"));
        }
        let both = syncline(url, "dead redrive --topic user.* --consumer login --json").json();
        assert_eq!(both["redriven"].as_array().map(Vec::len), Some(2), "{both}");
        assert_eq!(syncline(url, "dead list").expect(0).stdout, "no dead letters\n");
    }

    pub(super) async fn what_is_not_there<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        assert_eq!(syncline(url, "dead list").expect(0).stdout, "no dead letters\n");
        let show = syncline(url, "dead show 7 --json").expect(6).error();
        assert_eq!((&show["code"], &show["kind"]), (&json!(6), &json!("not_found")));
        let redrive = syncline(url, "dead redrive 7 8 --json").expect(6);
        assert_eq!(redrive.json(), json!({"redriven": [], "not_found": [7, 8]}));
        let error = redrive.error();
        assert_eq!((&error["code"], &error["kind"]), (&json!(6), &json!("not_found")));
        let said = error["message"].as_str().unwrap();
        assert!(said.contains("no dead letter 7") && said.contains("no dead letter 8"), "{said}");
        for command in ["dead drop 7 --yes", "dead edit 7 --data /dev/null --by Ada"] {
            let error = syncline(url, &format!("{command} --json")).expect(6).error();
            assert!(error["message"].as_str().unwrap().contains('7'), "{error}");
        }
        assert!(syncline(url, "dead drop 7 --yes").expect(6).stdout.contains("no dead letter 7"));
        for usage in ["dead redrive", "dead redrive 1 --all", "dead drop --yes", "dead show x"] {
            syncline(url, usage).expect(2);
        }
        // Only dead letters: one that waits behind another is not for the operator.
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad", "bad"]).await;
        let held = syncline(url, "dead list --held --json").expect(0).json();
        let behind =
            held["items"].as_array().unwrap().iter().find(|held| held["state"] == "behind");
        let behind = &behind.expect("one waits")["id"];
        syncline(url, &format!("dead drop {behind} --yes")).expect(1);
        let said = syncline(url, &format!("dead redrive {behind}")).expect(1).stdout;
        assert!(said.contains("waits behind an earlier one"), "{said}");
    }

    /// Patient: it tries again in an hour.
    fn patient<DB: Storage>(pool: sqlx::Pool<DB>) -> Recipient<DB> {
        let hour = Duration::from_secs(3_600);
        Recipient::failing(pool, RetryPolicy { max_attempts: 100, base: hour, max: hour })
    }

    pub(super) async fn what_fails_and_is_not_dead_is_told_apart_and_hurried<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let recipient = patient(DB::open(url).await);
        recipient.receive(&["bad-1", "bad-2", "bad-1", "bad-3"]).await;
        let held = syncline(url, "held list --json").expect(0).json();
        let id = |key: &str| {
            let all = held["items"].as_array().unwrap();
            all.iter().find(|held| held["key"] == key).unwrap()["id"].as_i64().unwrap()
        };
        let first = id("bad-1");
        let words = ["is not dead", "failed 1 time and", "held retry \"bad-1\"", "--failing"];
        for command in ["dead redrive", "dead drop --yes"] {
            let said = syncline(url, &format!("{command} {first}")).expect(1).stdout;
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
            let error = syncline(url, &format!("{command} {first} --json")).expect(1).error();
            assert!(error["message"].as_str().unwrap().contains("is not dead"), "{error}");
        }
        let said = syncline(url, "dead redrive --all").expect(7).stdout;
        assert!(said.contains("no dead letters") && said.contains("held retry --all"), "{said}");
        let second = id("bad-2");
        let dropped = syncline(url, &format!("dead drop {second} --failing --yes")).expect(0);
        assert_eq!(dropped.stdout, format!("dropped {second}\n"));

        recipient.repair();
        let running = recipient.consumer.start().await.unwrap();
        let retried = syncline(url, "held retry bad-1 --consumer login --json").expect(0).json();
        assert_eq!(
            (&retried["retried"][0]["id"], &retried["blocked"]),
            (&json!(first), &json!([]))
        );
        assert_eq!(applied(&recipient, 2).await, [1, 3], "the key's own, in order");
        let said = syncline(url, "held retry --all").expect(0).stdout;
        assert_eq!(said, format!("bad-3 of login: message {} is tried now\n", id("bad-3")));
        assert_eq!(applied(&recipient, 3).await, [1, 3, 4]);
        running.stop().await;
        assert_eq!(syncline(url, "held retry --all").expect(7).stdout, "no key is parked\n");
        assert!(syncline(url, "held retry nobody").expect(6).stdout.contains("no key \"nobody\""));
        let none = syncline(url, "held retry --all --json").expect(7);
        assert_eq!(none.json(), json!({"retried": [], "blocked": []}));
        assert_eq!(none.error()["message"], json!("no key is parked"));
        for usage in ["held retry", "held retry bad-1 --all"] {
            syncline(url, usage).expect(2);
        }
    }

    pub(super) async fn a_key_that_a_dead_letter_blocks_is_not_hurried_and_says_so<DB: Open>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad-1", "bad-1"]).await;
        let dead = syncline(url, "dead list --json").expect(0).json();
        let redrive = format!("dead redrive {}", dead["items"][0]["id"]);
        for command in ["held retry --all", "held retry bad-1"] {
            let said = syncline(url, command).expect(1).stdout;
            assert!(said.contains(&redrive), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            let error = syncline(url, &format!("{command} --json")).expect(1).error();
            assert!(error["message"].as_str().unwrap().contains(&redrive), "{error}");
        }
        // An edited message is tried, dead or not.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\"user good\"").unwrap();
        let behind =
            syncline(url, "dead list --held --json").expect(0).json()["items"][1]["id"].clone();
        let edit =
            format!("dead edit {behind} --data {} --by Ada --redrive", file.path().display());
        let said = syncline(url, &edit).expect(1).stdout;
        assert!(said.contains("edited") && said.contains("waits behind"), "{said}");
    }

    pub(super) async fn keys_that_nobody_tries_are_seen_from_outside<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let consumers = || {
            let report = syncline(url, "doctor --json").expect(0).json();
            let checks = report["checks"].as_array().unwrap().clone();
            checks.into_iter().find(|check| check["check"] == "consumers").unwrap()
        };
        let recipient = patient(pool.clone());
        recipient.receive(&["bad-1", "bad-2"]).await;
        assert_eq!(consumers()["result"], json!("ok"), "their time has not come");
        assert_eq!(syncline(url, "held list --json").expect(0).json()["overdue"], json!([]));
        // As after two hours in which nothing has run.
        let earlier = match DB::LABEL {
            "PostgreSQL" => "due_at - interval '2 hours'",
            "SQLite" => "due_at - 7200000",
            _ => "due_at - INTERVAL 2 HOUR",
        };
        DB::run(&pool, &format!("UPDATE syncline_timer SET due_at = {earlier}")).await;
        let check = consumers();
        assert_eq!(check["result"], json!("warning"));
        let found = check["found"].as_str().unwrap();
        assert!(found.contains("login: 2 parked keys") && found.contains("nobody has"), "{found}");
        assert!(check["advice"].as_str().unwrap().contains("Consumer::start"), "{check}");
        let overdue = &syncline(url, "held list --json").expect(0).json()["overdue"];
        assert_eq!((&overdue[0]["consumer"], &overdue[0]["keys"]), (&json!("login"), &json!(2)));
        let list = syncline(url, "held list").expect(0).stdout;
        assert!(list.contains("nobody has") && list.contains("Consumer::start"), "{list}");
        // To hurry them alone is of no use, and it says why.
        let retried = syncline(url, "held retry --all").expect(0);
        assert!(retried.stderr.contains("nobody has"), "{}", retried.stderr);
    }
}
