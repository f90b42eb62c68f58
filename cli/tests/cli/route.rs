//! `syncline route` and `syncline stream`.

use crate::on_each;

on_each!(routes_are_listed_paused_and_sent_again);

mod case {
    use std::time::Duration;

    use serde_json::json;
    use syncline::{Message, Relay, Route, Stream, begin, enqueue, relay::RouteState};
    use syncline_tests::relays::{Direct, eventually, noting};

    use crate::{Open, syncline};

    pub(super) async fn routes_are_listed_paused_and_sent_again<
        DB: Open + syncline_tests::kit::Kit,
    >(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        assert!(syncline(url, "route list").expect(0).stdout.contains("no route yet"));
        assert!(syncline(url, "stream list").expect(0).stdout.contains("no stream yet"));
        syncline(url, "stream show users").expect(1);
        syncline(url, "route pause login").expect(1);

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

        let list = syncline(url, "route list --json").expect(0).json();
        assert_eq!((list[1]["route"].as_str(), &list[1]["shard"]), (Some("login"), &json!(1)));
        assert!(syncline(url, "route list").expect(0).stdout.contains("login"));
        let shown = syncline(url, "stream show users --json").expect(0).json();
        assert_eq!((&shown[0]["topics"], &shown[0]["shards"]), (&json!(["user.*"]), &json!(2)));
        assert!(syncline(url, "stream list").expect(0).stdout.contains("user.*"));

        syncline(url, "route pause login").expect(0);
        eventually("it pauses", async || all(RouteState::Paused).then_some(())).await;
        assert!(syncline(url, "route list").expect(0).stdout.contains("paused"));
        write(2).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(DB::applied(&pool).await.unwrap().len(), 1);
        syncline(url, "route resume login").expect(0);
        applied(2).await;

        let before = sent.load(std::sync::atomic::Ordering::Relaxed);
        syncline(url, "route rewind login --to 3000").expect(1);
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
        let shown = syncline(url, "stream rebase --json").expect(0).json();
        assert_eq!(shown["head"], json!(3));
        // On SQLite the first message may have been there when the relay took its lease.
        assert!(shown["terms"][0]["head"].as_i64().is_some_and(|head| head <= 1), "{shown}");
        assert!(syncline(url, "stream rebase").expect(0).stdout.contains("nothing was changed"));
        syncline(url, "stream rebase --head").expect(2);
        syncline(url, "stream rebase --head --to 1 --yes").expect(2);
        assert!(syncline(url, "stream rebase --to 4 --yes").expect(1).stderr.contains("ends at"));
        syncline(url, "stream rebase --restored-at 2999-01-01T00:00:00Z --yes").expect(1);
        // Until its route has noted that all of it was delivered, it asks.
        eventually("all of it is delivered", async || {
            let lag = syncline(url, "outbox lag --json").expect(0).json();
            (lag["routes"][0]["behind"] == json!(0)).then_some(())
        })
        .await;
        let preview = syncline(url, "stream rebase --head").expect(2);
        assert!(preview.stdout.contains("agreed: the log up to position 3"), "{}", preview.stdout);
        let begun = syncline(url, "stream rebase --head --yes --json").expect(0).json();
        assert_eq!(begun["agreed"], json!(3));
        let after = syncline(url, "stream rebase --json").expect(0).json();
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
