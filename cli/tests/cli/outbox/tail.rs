//! Messages of the log, as they are shown.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use syncline::Message;

use super::{commit, message, seal};
use crate::{Open, Run, command, syncline};

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
        Message::json("user.changed", &json!({"secret": "open-sesame", "n": n})).unwrap().key(key)
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
