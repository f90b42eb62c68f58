//! Lag of routes and of the log, and the sessions that hold it back.

use std::time::Duration;

use serde_json::{Value, json};
use syncline::{
    Message,
    message::Position,
    storage::{NewShard, ShardKey},
};

use super::{commit, message, seal};
use crate::{Open, syncline};

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
    commit(&pool, &[text, Message::new("user.raw", "application/json", "{ \"a\":\n1e400 }")]).await;
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
    let mut old = message(&json!(1));
    old.time -= chrono::TimeDelta::seconds(90);
    commit(&pool, &[old]).await;
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
    says(&[still, "no relay has its lease", "start the program that declares stream users"]);
    // The start of a process mends it: nothing is to be given up.
    for args in ["route list", "outbox lag", "doctor", "status"] {
        let said = syncline(url, args).stdout;
        for gives_up in ["stream close", "inbox skip", "dead drop"] {
            assert!(!said.contains(gives_up), "{args}: {said}");
        }
    }
    syncline(url, "doctor --fail-if still").expect(8);
    syncline(url, "doctor --fail-if stopped,failing,paused,alarmed,lost").expect(0);
    // Its process died when it had a long lease.
    let (dead, ttl) = (uuid::Uuid::from_u128(7), Duration::from_secs(500));
    let lease = DB::acquire(&pool, &key.lease_name(), dead, ttl).await.unwrap();
    assert!(lease.is_some());
    says(&[still, &dead.to_string(), "has its lease until"]);
}
