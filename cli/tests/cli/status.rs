//! `syncline status`, `trace`, `process` and what `doctor` counts.

use crate::on_each;

on_each!(
    what_waits_is_counted_and_fails_on_request,
    trace_finds_everything_of_a_key,
    trace_finds_what_waits_of_a_key,
    who_runs_is_listed
);

mod case {
    use std::time::Duration;

    use serde_json::{Value, json};
    use syncline::{
        Consumer, Message, Verdict, begin, enqueue_all, handler_fn, saga::Sagas, transport::Receive,
    };
    use syncline_tests::{
        kit::Kit,
        letters::{Recipient, numbered},
        orders::{SAGA, SOURCE, definition},
        relays::eventually,
    };

    use crate::{Open, Run, command, syncline};

    /// The result of one check of doctor, and what it found.
    fn check(url: &str, name: &str) -> (String, String) {
        let report = syncline(url, "doctor --json").expect(0).json();
        let checks = report["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["check"] == name).expect(name);
        let text = |field: &str| check[field].as_str().expect(field).to_owned();
        (text("result"), text("found"))
    }

    pub(super) async fn what_waits_is_counted_and_fails_on_request<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let fine = ["dead letters", "held messages", "gaps", "processes", "blocking locks"];
        for name in fine {
            assert_eq!(check(url, name).0, "ok", "{name}");
        }
        syncline(url, "doctor --fail-if all").expect(0);
        let all_well = syncline(url, "status").expect(0).stdout;
        assert!(all_well.contains("all is well"), "{all_well}");
        syncline(url, "doctor --fail-if everything").expect(2);

        // One dead letter, and a message behind it.
        let recipient = Recipient::broken(DB::open(url).await);
        recipient.receive(&["bad-1", "bad-1", "good"]).await;
        let pool = DB::open(url).await;
        let nothing = handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) }));
        let early = Consumer::builder("early", pool).handler("*", nothing).hold_early(10, 1 << 20);
        let early = early.build().unwrap();
        let mut batch = numbered(3);
        batch.messages.drain(..2);
        early.receive(batch).await.unwrap();

        let (result, found) = check(url, "dead letters");
        assert!(result == "warning" && found.contains("1 of login"), "{result}: {found}");
        let (result, found) = check(url, "held messages");
        assert!(result == "warning" && found.contains("1 of login"), "{result}: {found}");
        let (result, found) = check(url, "gaps");
        assert!(result == "warning" && found.contains("1 message of /source s"), "{found}");
        // Both were built, and never started.
        let (result, found) = check(url, "processes");
        for consumer in [
            "no process of the consumer login runs here: start its service",
            "no process of the consumer early runs here",
            "1 message waits at it",
        ] {
            assert!(result == "warning" && found.contains(consumer), "{found}");
        }
        for named in ["dead", "held", "gaps", "consumer", "stuck,dead", "all"] {
            let run = syncline(url, &format!("doctor --fail-if {named}")).expect(8);
            assert!(run.stdout.contains("failed"), "{}", run.stdout);
        }
        syncline(url, "doctor --fail-if stuck,locks,lost,paused,stopped,failing,alarmed").expect(0);
        let page = syncline(url, "status").expect(8).stdout;
        let at = |word: &str| page.find(word).unwrap_or_else(|| panic!("no {word}: {page}"));
        assert!(page.contains("4 things are wrong"), "{page}");
        assert!(at("processes") < at("dead letters"), "the worst first: {page}");
        assert!(at("dead letters") < at("held messages"), "{page}");
        let status = syncline(url, "status --json").expect(8).json();
        assert_eq!(status["problems"].as_array().map(Vec::len), Some(4), "{status}");

        let running = recipient.consumer.start().await.unwrap();
        eventually("it runs now", async || {
            (!check(url, "processes").1.contains("consumer login")).then_some(())
        })
        .await;
        running.stop().await;
    }

    pub(super) async fn trace_finds_everything_of_a_key<DB: Open + Kit>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let none = syncline(url, "trace user-1").expect(6).stdout;
        assert!(none.contains("nothing is known of key user-1"), "{none}");

        let message = |topic: &str, key: &str| Message::json(topic, &1).unwrap().key(key);
        let messages = [
            message("a", "user-1"),
            message("b", "user-2"),
            message("c", "user-1"),
            message("d", "user-11"),
        ];
        let mut tx = begin(&pool).await.unwrap();
        let _ = enqueue_all(&mut tx, &messages).await.unwrap();
        tx.commit().await.unwrap();
        let holder = uuid::Uuid::from_u128(1);
        let ttl = std::time::Duration::from_secs(60);
        let lease = DB::acquire(&pool, "seal", holder, ttl).await.unwrap().expect("the lease");
        while DB::seal(&pool, &lease, 1_000).await.unwrap().count > 0 {}
        let recipient = Recipient::broken(pool.clone());
        recipient.receive(&["bad-1", "bad-2", "bad-1"]).await;
        let sagas = Sagas::builder(SOURCE, pool.clone()).saga(definition::<DB>().unwrap());
        let sagas = sagas.build().unwrap();
        let mut tx = begin(&pool).await.unwrap();
        let started = sagas.start(&mut tx, SAGA, "user-1", &7_i64).await.unwrap();
        tx.commit().await.unwrap();

        let found = syncline(url, "trace user-1 --json").expect(0).json();
        assert_eq!(found["log"]["more"], json!(false), "{found}");
        let places: Vec<_> = found["log"]["items"].as_array().unwrap().iter().collect();
        let place =
            |row: &Value| (row["position"].clone(), row["topic"].clone(), row["id"].clone());
        let expected = [
            (json!(1), json!("a"), json!(messages[0].id)),
            (json!(3), json!("c"), json!(messages[2].id)),
        ];
        assert_eq!(places.iter().map(|row| place(row)).collect::<Vec<_>>(), expected, "{found}");
        assert_eq!(found["sagas"]["items"][0]["id"], json!(started.id), "{found}");
        assert_eq!(
            (&found["held"], &found["messages"]),
            (&json!({"items": [], "more": false}), &json!(2)),
            "{found}"
        );
        let later = syncline(url, "trace user-1 --from 2 --json").expect(0).json();
        assert_eq!(later["messages"], json!(1), "{later}");
        let last = syncline(url, "trace user-1 -n 1 --json").expect(0).json();
        assert_eq!((&last["messages"], &last["log"]["more"]), (&json!(2), &json!(true)));
        assert_eq!(last["log"]["items"][0]["position"], json!(3));
        let page = syncline(url, "trace user-1").expect(0).stdout;
        let id = started.id.to_string();
        for word in [messages[0].id.to_string().as_str(), id.as_str(), "2 messages", "order@1"] {
            assert!(page.contains(word), "{word}: {page}");
        }

        let held = syncline(url, "trace bad-1 --json").expect(0).json();
        let states: Vec<_> = held["held"]["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["state"].clone())
            .collect();
        assert_eq!(states, ["dead", "behind"], "{held}");
        let page = syncline(url, "trace bad-1").expect(0).stdout;
        assert!(page.contains("address is not valid") && !page.contains('\u{1b}'), "{page}");

        // The order's saga locks its customer.
        let run: Run = command(url, "trace").arg("customer 7").output().unwrap().into();
        let page = run.expect(0).stdout;
        assert!(page.contains(&format!("saga {id} has locked the entity customer 7")), "{page}");
    }

    pub(super) async fn trace_finds_what_waits_of_a_key<DB: Open + Kit>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let later = Duration::from_secs(7_200);
        let delayed = |key: &str, delay| Message::json("d", &1).unwrap().key(key).delay(delay);
        let messages = [delayed("k3", later * 2), delayed("k3", later), delayed("k4", later)];
        let mut tx = begin(&pool).await.unwrap();
        let _ = enqueue_all(&mut tx, &messages).await.unwrap();
        tx.commit().await.unwrap();
        // Nothing is early without one that is missing.
        let nothing = handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) }));
        let early =
            Consumer::builder("early", pool.clone()).handler("*", nothing).hold_early(10, 1 << 20);
        let early = early.build().unwrap();
        let mut batch = numbered(4);
        batch.messages.drain(..2);
        let [third, fourth] = [0, 1].map(|n| batch.messages[n].id);
        early.receive(batch).await.unwrap();

        let found = syncline(url, "trace k3 --json").expect(0).json();
        let ids = |of: &str| {
            let rows = found[of]["items"].as_array().unwrap().iter();
            rows.map(|row| row["id"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids("delayed"), [json!(messages[1].id), json!(messages[0].id)], "{found}");
        let due = found["delayed"]["items"][0]["due_at"].as_str().unwrap();
        let due: chrono::DateTime<chrono::Utc> = due.parse().unwrap();
        // The database's clock, and ours.
        let off = (due - chrono::Utc::now()).num_seconds() - 7_200;
        assert!(off.abs() < 600, "{due}");
        assert_eq!(ids("early"), [json!(third)], "{found}");
        let row = &found["early"]["items"][0];
        assert_eq!((&row["consumer"], &row["source"]), (&json!("early"), &json!("/source")));
        assert_eq!((&row["position"], &row["waits_for"]), (&json!(3), &json!(2)), "{found}");
        let page = syncline(url, "trace k3").expect(0).stdout;
        let ids = [messages[0].id, messages[1].id, third].map(|id| id.to_string());
        assert!(ids.iter().all(|id| page.contains(id)), "{page}");
        assert!(!page.contains(&fourth.to_string()), "{page}");
        assert!(page.contains("delayed:") && page.contains("early:"), "{page}");
        let none = syncline(url, "trace k").expect(6).stdout;
        assert!(none.contains("nothing is known of key k"), "{none}");
    }

    pub(super) async fn who_runs_is_listed<DB: Open + Kit>(url: &str) {
        syncline(url, "migrate up").expect(0);
        assert!(syncline(url, "process list").expect(0).stdout.contains("none has told"));
        let none = json!({"items": [], "more": false});
        assert_eq!(syncline(url, "relay list --json").expect(0).json(), none);
        let pool = DB::open(url).await;
        let consumer = syncline_tests::relays::noting("login", pool.clone()).build().unwrap();
        let running = consumer.start().await.unwrap();
        let relay = syncline::Relay::builder("/shop/orders", pool)
            .stream(syncline::Stream::new("orders").topic("order.*"))
            .start()
            .await
            .unwrap();
        let relays = eventually("the relay is there with a lease", async || {
            let relays = syncline(url, "relay list --json").expect(0).json();
            let leases = relays["items"][0]["leases"].as_array().map(Vec::len).unwrap_or(0);
            (leases > 0).then_some(relays)
        })
        .await;
        let relays = &relays["items"];
        assert_eq!(
            (&relays[0]["name"], &relays[0]["state"]),
            (&json!("/shop/orders"), &json!("alive"))
        );
        assert_eq!(relays[0]["pid"], json!(std::process::id()));
        assert_eq!(relays[0]["defined"]["streams"][0]["topics"], json!(["order.*"]));
        assert_eq!(relays.as_array().map(Vec::len), Some(1), "{relays}");
        eventually("the consumer is there", async || {
            let all = syncline(url, "process list").expect(0).stdout;
            let words = ["/shop/orders", "login", "orders v1", "seal"];
            words.iter().all(|word| all.contains(word)).then_some(())
        })
        .await;
        let engines = syncline(url, "process list --kind engine --json").expect(0).json();
        assert_eq!(engines, none);
        running.stop().await;
        relay.stop().await;
        assert_eq!(syncline(url, "process list --json").expect(0).json(), none);
        // Without a configuration it still does not relay.
        syncline(url, "relay").expect(2);
    }
}
