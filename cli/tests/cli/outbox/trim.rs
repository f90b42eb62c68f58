//! Messages that go: by trimming, and by erasing.

use serde_json::json;
use syncline::{
    Message,
    message::Position,
    storage::{NewShard, ShardKey},
};

use super::{commit, message, seal};
use crate::{Open, syncline};

pub(super) async fn what_is_erased_is_said_first_and_gone_then<DB: Open>(url: &str) {
    syncline(url, "migrate up").expect(0);
    let pool = DB::open(url).await;
    let other = Message::json("user.registered", &json!("kept")).unwrap().key("user-10");
    commit(&pool, &[message(&json!("hush")), other, message(&json!("hush"))]).await;
    seal(&pool).await;
    syncline(url, "erase --by ada --why left").expect(2);
    syncline(url, "erase user-1 --by ada").expect(2);

    let asked = syncline(url, "erase user-1 --by ada --why left").expect(5);
    assert!(asked.stdout.contains("2 messages of the log"), "{}", asked.stdout);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    syncline(url, "erase user-1 --by ada --why left --dry-run").expect(0);
    let log = || syncline(url, "outbox tail --data --json").expect(0).stdout;
    let before = log();
    assert_eq!(before.matches("hush").count(), 2, "nothing was changed: {before}");

    let done = syncline(url, "erase user-1 --by ada --why left --yes --json").expect(0).json();
    assert_eq!((&done["messages"], &done["erased"]), (&json!(2), &json!(true)), "{done}");
    let after = log();
    assert!(!after.contains("hush") && !after.contains("north"), "{after}");
    assert_eq!(after.matches("\"user-1\"").count(), 2, "their places stay: {after}");
    assert!(after.contains("kept"), "{after}");
    let again = syncline(url, "erase user-1 --by ada --why left --yes").expect(7).stdout;
    assert!(again.contains("nothing is there"), "{again}");
    syncline(url, &format!("erase --saga {} --by ada --why left", uuid::Uuid::nil())).expect(7);
    let kept = syncline(url, "operations --json").expect(0).stdout;
    assert!(kept.contains("key user-1") && kept.contains("left"), "{kept}");
}

pub(super) async fn trim_says_what_goes<DB: Open>(url: &str) {
    syncline(url, "migrate up").expect(0);
    let pool = DB::open(url).await;
    for n in 0..6 {
        commit(&pool, &[message(&json!({"n": n}))]).await;
        seal(&pool).await;
    }
    let dry = syncline(url, "outbox trim --dry-run --json").expect(7).json();
    assert_eq!((&dry["goal"], &dry["trimmed"]), (&json!(0), &json!(0)), "all of it is young");
    let dry = syncline(url, "outbox trim --dry-run --keep-messages 2").expect(0).stdout;
    assert!(dry.contains("4 messages would go"), "{dry}");
    assert_eq!(syncline(url, "outbox lag --json").expect(0).json()["trimmed"], json!(0));

    // A route that has sent nothing keeps it all.
    let key = ShardKey::new("login", 1, 0);
    let new = NewShard { key: key.clone(), at: Position::START, closed: false };
    DB::create_shards(&pool, "users", std::slice::from_ref(&new)).await.unwrap();
    syncline(url, "outbox trim --keep-messages 2 --yes").expect(7);
    assert_eq!(syncline(url, "outbox lag --json").expect(0).json()["trimmed"], json!(0));
    DB::rewind(&pool, &[NewShard { at: Position(5), ..new }]).await.unwrap();
    let went = syncline(url, "outbox trim --keep-hours 0 --yes --json").expect(0).json();
    assert_eq!((&went["trimmed"], &went["slowest"]), (&json!(5), &json!(5)), "{went}");
    let lag = syncline(url, "outbox lag").expect(0).stdout;
    assert!(lag.contains("kept: after position 5, 1 message,"), "{lag}");
    assert!(syncline(url, "outbox tail -n 5").expect(0).stdout.lines().count() == 1);
    syncline(url, "outbox tail --from 3").expect(1);
    let refused = syncline(url, "route rewind login --to 3").expect(1);
    assert!(refused.stderr.contains("begins after position 5"), "{}", refused.stderr);
    syncline(url, "route rewind login --to 5").expect(0);
    let doctor = syncline(url, "doctor").stdout;
    assert!(doctor.contains("retention"), "{doctor}");
}

pub(super) async fn trim_asks_and_removes_what_it_has_shown<DB: Open>(url: &str) {
    syncline(url, "migrate up").expect(0);
    let pool = DB::open(url).await;
    // Two seals of three: on PostgreSQL they go as a whole.
    for _ in 0..2 {
        commit(&pool, &(0..3).map(|n| message(&json!(n))).collect::<Vec<_>>()).await;
        seal(&pool).await;
    }
    let expected = if DB::LABEL == "PostgreSQL" { 3 } else { 4 };
    let asked = syncline(url, "outbox trim --keep-messages 2").expect(5);
    assert!(asked.stdout.contains(&format!("{expected} messages would go")), "{}", asked.stdout);
    let words = [&format!("remove {expected} messages") as &str, "--yes", "nothing was changed"];
    assert!(words.iter().all(|word| asked.stderr.contains(word)), "{}", asked.stderr);
    let asked = syncline(url, "outbox trim --keep-messages 2 --json").expect(5);
    assert_eq!((&asked.json()["reach"], &asked.json()["goal"]), (&json!(expected), &json!(4)));
    assert_eq!(asked.error()["code"], json!(5));
    syncline(url, "outbox trim --keep-hours 0").expect(5);
    let dry = syncline(url, "outbox trim --keep-messages 2 --dry-run").expect(0).stdout;
    assert!(dry.contains(&format!("{expected} messages would go")), "{dry}");
    let trimmed = || syncline(url, "outbox lag --json").expect(0).json()["trimmed"].clone();
    assert_eq!(trimmed(), json!(0), "nothing was changed");
    let went = syncline(url, "outbox trim --keep-messages 2 --yes").expect(0).stdout;
    assert!(went.contains(&format!("{expected} messages went")), "{went}");
    assert_eq!(trimmed(), json!(expected));
    // Messages that are gone do not go again.
    syncline(url, "outbox trim --keep-messages 2 --dry-run").expect(7);
    syncline(url, "outbox trim --keep-messages 2 --yes").expect(7);
}
