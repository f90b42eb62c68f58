//! `syncline stream close`, and what `syncline relay --check` says of definitions.

use crate::on_each;

on_each!(a_stream_is_closed_and_its_topics_move, relay_check_tells_what_a_definition_would_lose);

mod case {
    use std::{path::Path, time::Duration};

    use serde_json::json;
    use syncline::{Message, Relay, Route, Storage, Stream, begin, enqueue};
    use syncline_tests::{
        kit::Kit,
        relays::{Direct, eventually, noting},
    };

    use crate::{Open, Run, command, relay::SECRET, syncline};

    const CONFIG: &str = "\
source = '/tests'

[[stream]]
name = 'users'
topics = ['user.*', 'account.*']

[[route]]
name = 'login'
stream = 'users'
url = 'http://127.0.0.1:9/'
secret_env = 'SECRET'
";

    /// The text of `relay --check` about a configuration.
    fn check(url: &str, path: &Path, text: &str) -> Run {
        std::fs::write(path, text).unwrap();
        let mut check = command(url, "relay --check --config");
        check.arg(path).env("SECRET", SECRET).output().expect("it starts").into()
    }

    async fn write<DB: Storage>(pool: &sqlx::Pool<DB>, n: i64) {
        let mut tx = begin(pool).await.unwrap();
        let message = Message::json("user.changed", &n).unwrap().key("key 0");
        let receipt = enqueue(&mut tx, &message).await.unwrap();
        tx.commit().await.unwrap();
        receipt.committed();
    }

    pub(super) async fn a_stream_is_closed_and_its_topics_move<DB: Open + Kit>(url: &str) {
        syncline(url, "migrate up").expect(0);
        syncline(url, "stream close users").expect(6);
        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let consumer = noting("c", pool.clone()).build().unwrap();
        let start = async |stream: &str, route: &str| {
            Relay::builder("/tests", pool.clone())
                .stream(Stream::new(stream).topic("user.*"))
                .route(Route::new(route, stream, Direct::to(consumer.clone())))
                .options(|options| options.lease = Duration::from_millis(600))
                .start()
                .await
        };
        let applied = async |n: usize| {
            let all = async || (DB::applied(&pool).await.unwrap().len() == n).then_some(());
            eventually("it is applied", all).await;
        };
        let old = start("users", "login").await.unwrap();
        write(&pool, 1).await;
        applied(1).await;
        let refused = start("people", "new").await.err().expect("refused").to_string();
        assert!(refused.contains("`syncline stream close users`"), "{refused}");

        syncline(url, "route pause login").expect(0);
        tokio::time::sleep(Duration::from_millis(600)).await;
        write(&pool, 2).await;
        eventually("it is sealed", async || (DB::head(&pool).await.unwrap().0 == 2).then_some(()))
            .await;
        for args in ["stream close users", "stream close users --give-up"] {
            let asked = syncline(url, args).expect(5);
            assert!(asked.stdout.contains("would end where the log ends now"), "{}", asked.stdout);
            assert!(asked.stdout.contains("up to 1 message"), "{}", asked.stdout);
            assert!(!asked.stdout.contains("1 messages"), "{}", asked.stdout);
            assert!(asked.stderr.contains("add --yes"), "{}", asked.stderr);
        }
        let shown = syncline(url, "stream show users --json").expect(0).json();
        assert_eq!(
            shown["items"].as_array().map(Vec::len),
            Some(1),
            "nothing was changed: {shown}"
        );
        let said = syncline(url, "stream close users --yes").expect(0).stdout;
        for part in ["position 2", "route login, shard 0", "syncline route resume login"] {
            assert!(said.contains(part), "{part:?}: {said}");
        }
        syncline(url, "route resume login").expect(0);
        eventually("all of it is sent", async || {
            let closed = syncline(url, "stream close users --json").expect(7).json();
            assert_eq!((&closed["position"], &closed["version"]), (&json!(2), &json!(2)));
            (closed["open"] == json!([])).then_some(())
        })
        .await;
        assert!(syncline(url, "stream close users").expect(7).stdout.contains("another stream"));
        let shown = syncline(url, "stream show users --json").expect(0).json()["items"].clone();
        assert_eq!((&shown[1]["topics"], &shown[1]["closed"]), (&json!([]), &json!(true)));
        assert!(syncline(url, "stream list").expect(0).stdout.contains("(none)"));

        // Nobody carries this one yet.
        write(&pool, 3).await;
        eventually("it is told", async || {
            let lag = syncline(url, "outbox lag").expect(0).stdout;
            lag.contains("no stream carries user.changed: 1 ").then_some(())
        })
        .await;
        assert!(syncline(url, "doctor").stdout.contains("no stream carries user.changed"));
        let new = start("people", "new").await.unwrap();
        applied(3).await;
        old.stop().await;
        new.stop().await;
    }

    pub(super) async fn relay_check_tells_what_a_definition_would_lose<DB: Open + Kit>(url: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.toml");
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        check(url, &path, CONFIG).expect(0);
        let consumer = noting("c", pool.clone()).build().unwrap();
        let relay = Relay::builder("/tests", pool.clone())
            .stream(Stream::new("users").topic("user.*").topic("account.*"))
            .route(Route::new("login", "users", Direct::to(consumer)))
            .start()
            .await
            .unwrap();
        relay.stop().await;
        write(&pool, 1).await;
        check(url, &path, CONFIG).expect(0);

        let fewer = CONFIG.replace("'user.*', 'account.*'", "'account.*'");
        let said = check(url, &path, &fewer).expect(2).stderr;
        for part in ["line 3", "\"user.*\"", "drops = [\\\"user.*\\\"]", "nowhere"] {
            let plain = said.replace("\\\"", "\"");
            assert!(plain.contains(&part.replace("\\\"", "\"")), "{part:?}: {said}");
        }
        let dropped = fewer.replace("topics =", "drops = ['user.*']\ntopics =");
        check(url, &path, &dropped).expect(0);
        let shared = format!("{CONFIG}\n[[stream]]\nname = 'audit'\ntopics = ['*']\n");
        let said = check(url, &path, &shared).expect(2).stderr;
        assert!(said.contains("shares_topics"), "{said}");
        let (_, route) = CONFIG.split_once("[[route]]").unwrap();
        let route = route.replace("'login'", "'audit'").replace("'users'", "'audit'");
        check(url, &path, &format!("{shared}shares_topics = true\n[[route]]{route}")).expect(0);

        // A route with messages that is left out.
        let sealing = Relay::builder("/tests", pool.clone()).start().await.unwrap();
        eventually("it is sealed", async || (DB::head(&pool).await.unwrap().0 == 1).then_some(()))
            .await;
        sealing.stop().await;
        let renamed = CONFIG.replace("'login'", "'logins'");
        let said = check(url, &path, &renamed).expect(2).stderr;
        assert!(said.contains("login") && said.contains("leaves"), "{said}");
        check(url, &path, &format!("leaves = ['login']\n{renamed}")).expect(0);
    }
}
