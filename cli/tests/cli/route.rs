//! `syncline route` and `syncline stream`.

use crate::on_each;

on_each!(routes_are_listed_paused_and_sent_again, why_a_route_does_not_move_is_shown);

mod case {
    use std::time::Duration;

    use async_trait::async_trait;
    use serde_json::json;
    use syncline::{
        Message, Relay, Route, Stream, begin, enqueue,
        message::Batch,
        relay::RouteState,
        transport::{Ack, PublishError, Publisher},
    };
    use syncline_tests::relays::{Direct, eventually, noting};

    use crate::{Open, syncline};

    /// A target that takes no message of topic `user.large`.
    struct Narrow(Direct);

    #[async_trait]
    impl Publisher for Narrow {
        async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
            if batch.messages.iter().any(|message| message.topic == "user.large") {
                let (target, reason) = ("the proxy".to_owned(), "it answered 413".to_owned());
                return Err(PublishError::Refused { target, reason });
            }
            self.0.publish(batch).await
        }
    }

    pub(super) async fn why_a_route_does_not_move_is_shown<DB: Open + syncline_tests::kit::Kit>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let direct = Direct::to(noting("c", pool.clone()).build().unwrap());
        let relay = Relay::builder("/tests", pool.clone())
            .stream(Stream::new("users").topic("user.*"))
            .route(Route::new("login", "users", Narrow(direct)))
            .options(|options| options.max_backoff = Duration::from_millis(200))
            .start()
            .await
            .unwrap();
        let mut tx = begin(&pool).await.unwrap();
        for (n, topic) in [(1, "user.small"), (2, "user.large"), (3, "user.small")] {
            let message = Message::json(topic, &n).unwrap().key("key 0");
            let _ = enqueue(&mut tx, &message).await.unwrap();
        }
        tx.commit().await.unwrap();
        let words = [
            "refused since",
            " failed, next try",
            "position 2",
            "user.large",
            "\"key 0\"",
            "1 byte)",
            "413",
        ];
        let lag = eventually("it is shown", async || {
            let now = syncline(url, "outbox lag --json").expect(0).json();
            let lag = syncline(url, "outbox lag").expect(0).stdout;
            let saved = now["routes"][0]["position"] == json!(1);
            (lag.contains("refused since") && saved).then_some(lag)
        })
        .await;
        assert!(words.iter().all(|word| lag.contains(word)), "{lag}");
        let tried = ["1 try failed", "tries failed"].map(|tried| lag.contains(tried));
        assert!(tried[0] != tried[1], "one of them, and not 1 tries: {lag}");
        let list = syncline(url, "route list").expect(0).stdout;
        assert!(words.iter().all(|word| list.contains(word)), "{list}");
        let lag = syncline(url, "outbox lag --json").expect(0).json();
        for route in
            [&lag["routes"][0], &syncline(url, "route list --json").expect(0).json()["items"][0]]
        {
            assert_eq!((&route["state"], &route["position"]), (&json!("refused"), &json!(1)));
            let problem = &route["problem"];
            assert_eq!(problem["kind"], json!("refused"));
            let text = problem["text"].as_str().unwrap();
            assert!(text.contains("position 2") && problem["since_at"].is_string(), "{problem}");
            assert!(problem["tries"].as_u64() > Some(0), "{problem}");
            assert!(problem["next_try_at"].is_string(), "{problem}");
        }
        let report = syncline(url, "doctor --json").expect(0).json();
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["check"] == json!("routes")).unwrap();
        assert_eq!(check["result"], json!("warning"));
        assert!(check["found"].as_str().unwrap().contains("position 2"), "{check}");

        // Nothing is skipped by a rewind, and it says so.
        let said = syncline(url, "route rewind login --to 2").expect(1).stderr;
        let words =
            ["up to position 1 only", "inbox skip CONSUMER", "--shard 0 --to 2 --log-ends 2"];
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        let skip =
            "inbox skip c --source /tests --stream users --shard 0 --to 2 --log-ends 2 --yes";
        syncline(url, skip).expect(0);
        eventually("it goes on", async || {
            let lag = syncline(url, "outbox lag --json").expect(0).json();
            let route = &lag["routes"][0];
            (route["behind"] == json!(0) && route["problem"].is_null()).then_some(())
        })
        .await;
        assert!(syncline(url, "doctor").expect(0).stdout.contains("no reason known"));
        relay.stop().await;
    }

    pub(super) async fn routes_are_listed_paused_and_sent_again<
        DB: Open + syncline_tests::kit::Kit,
    >(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        assert!(syncline(url, "route list").expect(0).stdout.contains("no route yet"));
        assert!(syncline(url, "stream list").expect(0).stdout.contains("no stream yet"));
        syncline(url, "stream show users").expect(6);
        syncline(url, "route pause login").expect(6);

        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let direct = Direct::to(noting("c", pool.clone()).build().unwrap());
        let sent = direct.sent.clone();
        let relay = Relay::builder("/tests", pool.clone())
            .stream(Stream::new("users").topic("user.*").shards(2))
            .route(Route::new("login", "users", direct))
            .options(|options| options.lease = Duration::from_millis(600))
            .start()
            .await
            .unwrap();
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
        let all = |wanted: RouteState| relay.status().iter().all(|shard| shard.state == wanted);
        write(1).await;
        applied(1).await;

        let list = syncline(url, "route list --json").expect(0).json()["items"].clone();
        assert_eq!((list[1]["route"].as_str(), &list[1]["shard"]), (Some("login"), &json!(1)));
        assert!(syncline(url, "route list").expect(0).stdout.contains("login"));
        let shown = syncline(url, "stream show users --json").expect(0).json()["items"].clone();
        assert_eq!((&shown[0]["topics"], &shown[0]["shards"]), (&json!(["user.*"]), &json!(2)));
        assert!(syncline(url, "stream list").expect(0).stdout.contains("user.*"));

        syncline(url, "route pause login --by ada --why moved").expect(0);
        eventually("it pauses", async || all(RouteState::Paused).then_some(())).await;
        for args in ["route list", "outbox lag", "doctor"] {
            let said = syncline(url, args).expect(0).stdout;
            assert!(said.contains("paused by ada since") && said.contains(": moved"), "{said}");
        }
        let pause = &syncline(url, "route list --json").expect(0).json()["items"][0]["pause"];
        assert_eq!((&pause["by"], &pause["why"]), (&json!("ada"), &json!("moved")));
        write(2).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(DB::applied(&pool).await.unwrap().len(), 1);
        syncline(url, "route resume login").expect(0);
        applied(2).await;

        let before = sent.load(std::sync::atomic::Ordering::Relaxed);
        let beyond = syncline(url, "route rewind login --to 3000").expect(1).stderr;
        assert!(beyond.contains("ends at position 2"), "{beyond}");
        let unknown = syncline(url, "route rewind nobody --to 0").expect(6).stderr;
        assert!(unknown.contains("there is no route \"nobody\""), "{unknown}");
        syncline(url, "route resume login").expect(7);
        assert_eq!(
            syncline(url, "route rewind login --to 0 --json").expect(0).json(),
            json!({"rewound": "login"})
        );
        let again = || sent.load(std::sync::atomic::Ordering::Relaxed) > before;
        eventually("it is sent again", async || again().then_some(())).await;
        write(3).await;
        applied(3).await;
        let applied = DB::applied(&pool).await.unwrap();
        assert_eq!(applied.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1, 2, 3]);

        // The log is what the consumer knows: a new incarnation changes nothing for it.
        let shown = syncline(url, "stream rebase --json").expect(7).json();
        assert_eq!(shown["head"], json!(3));
        // On SQLite the first message may have been there when the relay took its lease.
        assert!(shown["terms"][0]["head"].as_i64().is_some_and(|head| head <= 1), "{shown}");
        assert!(syncline(url, "stream rebase").expect(7).stdout.contains("nothing was changed"));
        let lost = "stream rebase --lost 01920bf1-5c8a-7e31-9d3f-1c1f5d0a7c11";
        let said = syncline(url, lost).expect(7).stdout;
        assert!(said.contains("nothing was changed, for it is not said"), "{said}");
        syncline(url, "stream rebase --head --to 1 --yes").expect(2);
        let beyond = syncline(url, "stream rebase --to 4 --yes").expect(1).stderr;
        assert!(beyond.contains("ends at") && beyond.contains("up to position 4"), "{beyond}");
        assert!(!beyond.contains("Position("), "{beyond}");
        syncline(url, "stream rebase --to 4").expect(1);
        syncline(url, "stream rebase --restored-at 2999-01-01T00:00:00Z --yes").expect(1);
        // Until its route has noted that all of it was delivered, it asks.
        eventually("all of it is delivered", async || {
            let lag = syncline(url, "outbox lag --json").expect(0).json();
            (lag["routes"][0]["behind"] == json!(0)).then_some(())
        })
        .await;
        syncline(url, "stream rebase --head --dry-run").expect(0);
        let preview = syncline(url, "stream rebase --head").expect(5);
        assert!(preview.stdout.contains("agreed: the log up to position 3"), "{}", preview.stdout);
        let begun = syncline(url, "stream rebase --head --yes --json").expect(0).json();
        assert_eq!(begun["agreed"], json!(3));
        let after = syncline(url, "stream rebase --json").expect(7).json();
        assert_eq!(after["incarnation"], begun["incarnation"]);
        assert_eq!(after["former"][0]["incarnation"], shown["incarnation"]);
        write(4).await;
        eventually("it is applied", async || {
            (DB::applied(&pool).await.unwrap().len() == 4).then_some(())
        })
        .await;
        relay.stop().await;
    }
}
