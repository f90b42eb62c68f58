//! `syncline doctor` names the process that is missing, and topics that nobody carries or handles, until
//! they are.

use crate::on_each;

on_each!(
    a_process_of_another_route_or_source_vouches_for_nobody,
    the_alarm_for_a_topic_ends_when_a_stream_carries_it,
    a_topic_without_a_handler_is_named,
    an_operator_is_named_without_being_asked
);

mod case {
    use std::time::Duration;

    use serde_json::{Value, json};
    use sqlx::Pool;
    use syncline::{
        Consumer, Message, Verdict, begin, enqueue_all, handler_fn,
        message::Position,
        saga::Sagas,
        storage::{Begins, NewShard, NewVersion, ProcessReport, ShardKey},
        transport::Receive,
    };
    use syncline_tests::{
        kit::Kit,
        letters::numbered,
        orders::{SAGA, SOURCE, definition},
        relays::eventually,
    };
    use uuid::Uuid;

    use crate::{Open, Run, command, syncline};

    /// The result of one check of doctor, what it found, and its advice.
    fn check(url: &str, name: &str) -> (String, String) {
        let report = syncline(url, "doctor --json").expect(0).json();
        let checks = report["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["check"] == name).expect(name);
        let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
        (text("result"), format!("{} - {}", text("found"), text("advice")))
    }

    /// Commits messages of `topic`, and gives them positions as a relay does.
    async fn write<DB: Open>(pool: &Pool<DB>, topic: &str, count: usize) {
        let message = || Message::json(topic, &1).unwrap().key("k");
        let messages: Vec<_> = (0..count).map(|_| message()).collect();
        let mut tx = begin(pool).await.unwrap();
        let _ = enqueue_all(&mut tx, &messages).await.unwrap();
        tx.commit().await.unwrap();
        let (holder, ttl) = (Uuid::from_u128(1), Duration::from_secs(60));
        let lease = DB::acquire(pool, "seal", holder, ttl).await.unwrap().expect("the lease");
        while DB::seal(pool, &lease, 1_000).await.unwrap().count > 0 {}
    }

    /// Tells of a process that runs.
    async fn runs<DB: Open>(
        pool: &Pool<DB>,
        id: u128,
        kind: &'static str,
        name: &str,
        defined: &Value,
    ) {
        let defined = defined.to_string();
        let report = ProcessReport {
            id: Uuid::from_u128(id),
            kind,
            name,
            host: "h",
            pid: 1,
            program: "p",
            defined: &defined,
            problems: "[]",
        };
        DB::report_process(pool, report).await.unwrap();
    }

    pub(super) async fn a_process_of_another_route_or_source_vouches_for_nobody<DB: Open + Kit>(
        url: &str,
    ) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        write(&pool, "user.registered", 2).await;
        let key = ShardKey::new("login", 1, 0);
        let new = NewShard { key, at: Position::START, closed: false };
        DB::create_shards(&pool, "users", &[new]).await.unwrap();
        let (result, found) = check(url, "processes");
        let first = found.starts_with("no relay runs here: start the service's relay");
        assert!(result == "warning" && first, "{found}");

        runs(&pool, 1, "relay", SOURCE, &json!({"routes": ["elsewhere"]})).await;
        let (result, found) = check(url, "processes");
        let told =
            "no relay that declares route login runs here: start the program that does; 2 messages";
        assert!(result == "warning" && found.contains(told), "{found}");
        syncline(url, "doctor --fail-if relay").expect(8);
        runs(&pool, 1, "relay", SOURCE, &json!({"routes": ["elsewhere", "login"]})).await;
        assert_eq!(check(url, "processes").0, "ok");

        let sagas = Sagas::builder(SOURCE, pool.clone()).saga(definition::<DB>().unwrap());
        let sagas = sagas.build().unwrap();
        let mut tx = begin(&pool).await.unwrap();
        let _ = sagas.start(&mut tx, SAGA, "first", &7_i64).await.unwrap();
        tx.commit().await.unwrap();
        let of = |saga: &str| json!({"sagas": [saga]});
        let told = format!("no engine that has {SAGA}@1 runs here");
        let engines = [(SOURCE, "other/1"), ("/another/source", "order/1")];
        for (source, saga) in engines {
            runs(&pool, 2, "engine", source, &of(saga)).await;
            // The row keeps the name that the process first reported.
            let (result, found) = check(url, "processes");
            assert!(result == "warning" && found.contains(&told), "{source}, {saga}: {found}");
            DB::remove_process(&pool, Uuid::from_u128(2)).await.unwrap();
        }
        syncline(url, "doctor --fail-if engine").expect(8);
        runs(&pool, 3, "engine", SOURCE, &of("order/1")).await;
        let (result, found) = check(url, "processes");
        assert_eq!(result, "ok", "{found}");
        assert!(found.contains("running: 1 relay, 0 consumers and 1 engine"), "{found}");
    }

    pub(super) async fn the_alarm_for_a_topic_ends_when_a_stream_carries_it<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let version = |version, topics: &[&str], begins| NewVersion {
            name: "users".to_owned(),
            version,
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            shards: 1,
            begins,
        };
        let first = version(1, &["user.*"], Begins::After(Position::START));
        assert!(DB::define_streams(&pool, &[first]).await.unwrap());
        write(&pool, "order.placed", 3).await;
        let (result, found) = check(url, "streams");
        let told = "no stream carries order.placed: 3 messages of the log's last";
        assert!(result == "warning" && found.contains(told), "{found}");
        syncline(url, "doctor --fail-if uncarried").expect(8);
        let lag = syncline(url, "outbox lag --json").expect(0).json();
        assert_eq!(lag["uncarried"][0]["carried_after"], json!(null), "{lag}");

        let second = version(2, &["user.*", "order.*"], Begins::Head);
        assert!(DB::define_streams(&pool, &[second]).await.unwrap());
        write(&pool, "order.placed", 1).await;
        let (result, found) = check(url, "streams");
        let told =
            "3 messages of order.placed before position 4, the last one at 3, were sent to nobody";
        assert!(result == "ok" && found.contains(told), "{result}: {found}");
        assert!(found.contains("Enqueue again what is needed"), "{found}");
        syncline(url, "doctor --fail-if uncarried").expect(0);
        let lag = syncline(url, "outbox lag --json").expect(0).json();
        assert_eq!(lag["uncarried"][0]["carried_after"], json!(3), "{lag}");
        assert_eq!(lag["uncarried"][0]["messages"], json!(3), "{lag}");
        // Once another definition leaves it out it is an alarm again.
        let third = version(3, &["user.*"], Begins::Head);
        assert!(DB::define_streams(&pool, &[third]).await.unwrap());
        write(&pool, "order.placed", 1).await;
        assert_eq!(check(url, "streams").0, "warning");
    }

    pub(super) async fn a_topic_without_a_handler_is_named<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let nothing = handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) }));
        let consumer = Consumer::builder("picky", pool.clone()).handler("user.renamed", nothing);
        let consumer = consumer.build().unwrap();
        let running = consumer.start().await.unwrap();
        let batch = numbered(1);
        let topic = batch.messages[0].topic.clone();
        consumer.receive(batch).await.unwrap();
        let (result, found) = check(url, "held messages");
        let told = format!("no handler of picky takes {topic:?}: 1 message held since");
        assert!(result == "warning" && found.contains(&told), "{found}");
        assert!(found.contains("`ignore` the topic"), "{found}");
        syncline(url, "doctor --fail-if unhandled").expect(8);
        syncline(url, "doctor --fail-if dead,consumer").expect(0);
        let told = format!("no handler takes topic {topic:?}: 1 message held since");
        eventually("the handle says it", async || {
            running.problems().iter().any(|problem| problem.contains(&told)).then_some(())
        })
        .await;
        running.stop().await;
    }

    pub(super) async fn an_operator_is_named_without_being_asked<DB: Open>(url: &str) {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        let key = ShardKey::new("login", 1, 0);
        let new = NewShard { key, at: Position::START, closed: false };
        DB::create_shards(&pool, "users", &[new]).await.unwrap();
        for (args, user) in [("route pause login", Some("ada")), ("route resume login", None)] {
            let mut program = command(url, args);
            for name in ["USER", "LOGNAME", "USERNAME"] {
                program.env(name, "");
            }
            if let Some(user) = user {
                program.env("USER", user);
            }
            let run: Run = program.output().unwrap().into();
            run.expect(0);
            let last = syncline(url, "operations -n 1 --json").expect(0).json();
            let by = last["items"][0]["operator"].as_str().unwrap().to_owned();
            let (who, host) = by.split_once('@').unwrap_or_else(|| panic!("{by}"));
            assert!(!who.is_empty() && !host.is_empty(), "{by}");
            assert!(user.is_none_or(|user| user == who), "{by}");
        }
        let run: Run = command(url, "route pause login --by").arg("").output().unwrap().into();
        run.expect(2);
    }
}
