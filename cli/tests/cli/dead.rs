//! `syncline dead`.

use crate::on_each;

on_each!(
    redriven_letters_are_applied_in_order,
    a_dropped_letter_lets_the_others_flow,
    an_edited_letter_is_applied_as_edited,
    letters_are_redriven_by_topic_and_consumer,
    what_is_not_there
);

mod case {
    use std::time::Duration;

    use serde_json::json;
    use syncline::Storage;
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

        let list = syncline(url, "dead list --json").expect(0).json();
        assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
        assert_eq!((&list[0]["key"], &list[0]["position"]), (&json!("bad-1"), &json!(1)));
        assert_eq!((&list[0]["consumer"], &list[0]["state"]), (&json!("login"), &json!("dead")));
        let all = syncline(url, "dead list --held --json").expect(0).json();
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
        assert!(syncline(url, "dead redrive --all").expect(0).stdout.contains("no dead letters"));
    }

    pub(super) async fn a_dropped_letter_lets_the_others_flow<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad-1", "bad-1", "bad-2"]).await;
        recipient.repair();
        let running = recipient.consumer.start().await.unwrap();
        let list = syncline(url, "dead list --json").expect(0).json();
        let (first, second) = (&list[0]["id"], &list[1]["id"]);

        let refused = syncline(url, &format!("dead drop {first}")).expect(2);
        assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
        assert_eq!(syncline(url, "dead list --json").json(), list);

        let dropped = syncline(url, &format!("dead drop {first} {second} --yes")).expect(0);
        assert_eq!(dropped.stdout, format!("dropped {first}\ndropped {second}\n"));
        // What waited behind the first one is applied; the second one's key is free.
        assert_eq!(applied(&recipient, 1).await, [2]);
        running.stop().await;
        assert_eq!(syncline(url, "dead list --held --json").expect(0).json(), json!([]));
        syncline(url, "migrate down").expect(0);
    }

    pub(super) async fn an_edited_letter_is_applied_as_edited<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        assert_eq!(syncline(url, "held list").expect(0).stdout, "nothing is held\n");
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad-1", "bad-1"]).await;
        let list = syncline(url, "held list --json").expect(0).json();
        let reasons = [&list["held"][0]["state"], &list["held"][1]["state"], &list["early"]];
        assert_eq!(reasons, [&json!("dead"), &json!("behind"), &json!([])]);
        let id = list["held"][0]["id"].as_i64().unwrap();
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
        syncline(url, "dead edit 99 --data /dev/null --by Ada").expect(1);
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
            let none = syncline(url, &format!("dead redrive {nobody} --json")).expect(0).json();
            assert_eq!(none["redriven"], json!([]));
        }
        let both = syncline(url, "dead redrive --topic user.* --consumer login --json").json();
        assert_eq!(both["redriven"].as_array().map(Vec::len), Some(2), "{both}");
        assert_eq!(syncline(url, "dead list").expect(0).stdout, "no dead letters\n");
    }

    pub(super) async fn what_is_not_there<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        assert_eq!(syncline(url, "dead list").expect(0).stdout, "no dead letters\n");
        let show = syncline(url, "dead show 7 --json").expect(1).error();
        assert_eq!((&show["code"], &show["kind"]), (&json!(1), &json!("failed")));
        let redrive = syncline(url, "dead redrive 7 8 --json").expect(1).json();
        assert_eq!(redrive, json!({"redriven": [], "not_found": [7, 8]}));
        assert!(syncline(url, "dead drop 7 --yes").expect(1).stdout.contains("no dead letter 7"));
        for usage in ["dead redrive", "dead redrive 1 --all", "dead drop --yes", "dead show x"] {
            syncline(url, usage).expect(2);
        }
        // Only dead letters: one that waits behind another is not for the operator.
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad", "bad"]).await;
        let held = syncline(url, "dead list --held --json").expect(0).json();
        let behind = held.as_array().unwrap().iter().find(|held| held["state"] == "behind");
        let behind = &behind.expect("one waits")["id"];
        syncline(url, &format!("dead drop {behind} --yes")).expect(1);
        syncline(url, &format!("dead redrive {behind}")).expect(1);
    }
}
