//! `syncline trace`: how far each message of a key is, in words.

use crate::on_each;

on_each!(how_far_messages_are_is_told_in_words, a_saga_is_traced_by_its_id);

mod case {
    use std::time::Duration;

    use serde_json::json;
    use sqlx::Pool;
    use syncline::{Message, Relay, Route, Stream, begin, enqueue_all, saga::Sagas};
    use syncline_tests::{
        kit::Kit,
        letters::Recipient,
        orders::{SAGA, SOURCE, definition},
        relays::{Direct, eventually, noting},
    };

    use crate::{Open, syncline};

    async fn write<DB: Open>(pool: &Pool<DB>, topic: &str, key: &str) {
        let mut tx = begin(pool).await.unwrap();
        let message = Message::json(topic, &1).unwrap().key(key);
        let _ = enqueue_all(&mut tx, &[message]).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn seal<DB: Open>(pool: &Pool<DB>) {
        let (holder, ttl) = (uuid::Uuid::from_u128(1), Duration::from_secs(60));
        let lease = DB::acquire(pool, "seal", holder, ttl).await.unwrap().expect("the lease");
        while DB::seal(pool, &lease, 1_000).await.unwrap().count > 0 {}
        DB::release(pool, &lease).await.unwrap();
    }

    pub(super) async fn how_far_messages_are_is_told_in_words<DB: Open + Kit>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        write(&pool, "counter.raised", "user-1").await;
        let page = || syncline(url, "trace user-1").expect(0).stdout;
        if DB::LABEL != "SQLite" {
            assert!(page().contains("committed, without a position"), "{}", page());
            let found = syncline(url, "trace user-1 --json").expect(0).json();
            assert_eq!(found["unsealed"]["items"][0]["topic"], "counter.raised", "{found}");
        }
        seal(&pool).await;
        let told = page();
        assert!(told.contains("sent nowhere: no stream carries its topic"), "{told}");
        assert!(!told.contains("committed, without"), "{told}");

        let direct = Direct::to(noting("c", pool.clone()).build().unwrap());
        let relay = Relay::builder(SOURCE, pool.clone())
            .stream(Stream::new("s").topic("counter.*"))
            .route(Route::new("r", "s", direct))
            .start()
            .await
            .unwrap();
        eventually("it is sent and applied", async || {
            let told = page();
            let words = ["sent by route r", "applied here by c"];
            words.iter().all(|word| told.contains(word)).then_some(())
        })
        .await;
        let found = syncline(url, "trace user-1 --json").expect(0).json();
        let route = &found["log"]["items"][0]["routes"][0];
        assert_eq!((&route["route"], &route["sent"]), (&json!("r"), &json!(true)), "{found}");
        assert_eq!(found["taken_in"]["items"][0]["consumer"], "c", "{found}");
        assert!(page().contains("consumers here:"), "{}", page());
        // At a consumer whose source is elsewhere it is all that is known.
        let none = syncline(url, "trace user-2").expect(6).stdout;
        assert!(none.contains("nothing is known") && none.contains("consumers here:"), "{none}");
        relay.stop().await;

        syncline(url, "route pause r --by ada --why because").expect(0);
        write(&pool, "counter.raised", "user-1").await;
        seal(&pool).await;
        let told = page();
        assert!(told.contains("waits: route r is paused, it has sent up to"), "{told}");
        syncline(url, "route resume r").expect(0);
        let told = page();
        assert!(told.contains("not sent yet: route r has sent up to"), "{told}");

        let recipient = Recipient::broken(pool.clone());
        recipient.receive(&["bad-1", "bad-1"]).await;
        let told = syncline(url, "trace bad-1").expect(0).stdout;
        for word in
            ["dead at login: it waits for an operator", "held at login: behind an earlier one"]
        {
            assert!(told.contains(word), "{told}");
        }
    }

    pub(super) async fn a_saga_is_traced_by_its_id<DB: Open + Kit>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let sagas = Sagas::builder(SOURCE, pool.clone()).saga(definition::<DB>().unwrap());
        let sagas = sagas.build().unwrap();
        let mut tx = begin(&pool).await.unwrap();
        let id = sagas.start(&mut tx, SAGA, "request-1", &7_i64).await.unwrap().id;
        tx.commit().await.unwrap();
        // A command of it, as its key has it, and a message of another one.
        write(&pool, "order.open", &format!("{id}/open/apply/1")).await;
        write(&pool, "order.open", &format!("{}/open/apply/1", uuid::Uuid::nil())).await;
        seal(&pool).await;
        for key in [id.to_string(), format!("{id}/open/apply/1")] {
            let found = syncline(url, &format!("trace {key} --json")).expect(0).json();
            assert_eq!(found["messages"], json!(1), "{key}: {found}");
            assert_eq!(found["sagas"]["items"][0]["id"], json!(id), "{key}: {found}");
        }
        let page = syncline(url, "trace request-1").expect(0).stdout;
        assert!(page.contains("syncline saga show ID") && page.contains(&id.to_string()), "{page}");
        syncline(url, &format!("saga show {id}")).expect(0);
    }
}
