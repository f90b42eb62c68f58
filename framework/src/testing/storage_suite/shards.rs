//! The stores of routes and streams: a checkpoint for each shard of each version.

use sqlx::Pool;
use uuid::Uuid;

use super::support::{LEASE, commit, message, sealer, whole_log};
use crate::{
    Error, Storage,
    message::{Link, Position},
    storage::{Begins, Checkpoint, Cursor, Lease, NewShard, NewVersion, RouteRow, Save, ShardKey},
};

fn key(route: &str, version: i32, shard: i32) -> ShardKey {
    ShardKey::new(route, version, shard)
}

fn checkpoint(position: i64) -> Checkpoint {
    let id = Uuid::from_u128(position as u128);
    let position = Position(position);
    Checkpoint { cursor: Cursor { position, seal: 3, seq: 4 }, last: Link { position, id } }
}

/// Makes `shards` shards of a version of route `route`, which carries stream `s`.
async fn make<DB: Storage>(pool: &Pool<DB>, route: &str, version: i32, shards: i32) {
    let new =
        |shard| NewShard { key: key(route, version, shard), at: Position::START, closed: false };
    let all: Vec<_> = (0..shards).map(new).collect();
    DB::create_shards(pool, "s", &all).await.expect("create");
}

async fn row<DB: Storage>(pool: &Pool<DB>, key: &ShardKey) -> RouteRow {
    DB::shard(pool, key).await.expect("read").expect("it is there")
}

async fn lease<DB: Storage>(pool: &Pool<DB>, key: &ShardKey) -> Lease {
    let lease = DB::acquire(pool, &key.lease_name(), Uuid::now_v7(), LEASE).await;
    lease.expect("acquire").expect("it is free")
}

fn save(lease: &Lease, key: &ShardKey, position: i64) -> Save {
    Save { key: key.clone(), lease: lease.clone(), to: checkpoint(position), closed: false }
}

async fn saved<DB: Storage>(pool: &Pool<DB>, saves: &[Save]) -> Vec<bool> {
    DB::save_checkpoints(pool, saves, &|| true).await.expect("save")
}

pub(super) async fn shards_are_made_once_and_listed_in_order<DB: Storage>(pool: Pool<DB>) {
    let at = NewShard { key: key("r", 2, 1), at: Position(7), closed: true };
    DB::create_shards(&pool, "s", std::slice::from_ref(&at)).await.expect("create");
    make(&pool, "r", 2, 3).await;
    make(&pool, "r", 1, 12).await;
    make(&pool, "another", 1, 1).await;
    let rows = DB::shards(&pool).await.expect("list");
    let mut expected = vec![key("another", 1, 0)];
    expected.extend((0..12).map(|shard| key("r", 1, shard)));
    expected.extend((0..3).map(|shard| key("r", 2, shard)));
    assert_eq!(rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>(), expected);
    // What was there stays as it was made.
    let made = row(&pool, &at.key).await;
    let place = Cursor { position: Position(7), seal: 0, seq: 7 };
    let expected = Checkpoint { cursor: place, last: Link::anchor(Position(7)) };
    assert_eq!((made.checkpoint, made.closed, made.paused), (expected, true, false));
    assert_eq!(made.stream, "s");
    assert!(rows.contains(&made));
    assert_eq!(DB::shard(&pool, &key("r", 3, 0)).await.expect("read"), None);
}

pub(super) async fn of_many_checkpoints_only_the_fenced_one_is_refused<DB: Storage>(
    pool: Pool<DB>,
) {
    make(&pool, "r", 1, 4).await;
    let keys: Vec<_> = (0..4).map(|shard| key("r", 1, shard)).collect();
    let mut leases = Vec::new();
    for key in &keys {
        leases.push(lease(&pool, key).await);
    }
    DB::release(&pool, &leases[2]).await.expect("release");
    let newer = lease(&pool, &keys[2]).await;
    // Not in the order in which they are locked.
    let saves: Vec<_> =
        [3, 2, 0, 1].iter().map(|n| save(&leases[*n], &keys[*n], *n as i64 + 10)).collect();
    let lost = DB::save_checkpoints(&pool, &saves, &|| false).await;
    assert!(matches!(lost, Err(Error::ServerChanged)), "{lost:?}");
    for key in &keys {
        assert_eq!(row(&pool, key).await.checkpoint, Checkpoint::default(), "nothing is saved");
    }
    assert_eq!(saved(&pool, &saves).await, [true, false, true, true]);
    for (n, expected) in [10, 11, 0, 13].into_iter().enumerate() {
        let found = row(&pool, &keys[n]).await.checkpoint;
        assert_eq!(found.cursor.position, Position(expected), "shard {n}");
    }
    assert_eq!(row(&pool, &keys[3]).await.checkpoint, checkpoint(13));
    assert_eq!(saved(&pool, &[save(&newer, &keys[2], 20)]).await, [true]);
    // A lease is good for its own shard only by its name.
    let foreign = Lease { name: keys[0].lease_name(), ..newer };
    assert_eq!(saved(&pool, &[save(&foreign, &keys[0], 30)]).await, [false]);
    assert_eq!(saved(&pool, &[]).await, [false; 0]);
}

pub(super) async fn a_closed_shard_is_opened_again_with_its_version<DB: Storage>(pool: Pool<DB>) {
    make(&pool, "r", 1, 3).await;
    make(&pool, "r", 2, 1).await;
    make(&pool, "another", 1, 1).await;
    for key in [key("r", 1, 0), key("r", 1, 2), key("r", 2, 0), key("another", 1, 0)] {
        let lease = lease(&pool, &key).await;
        let closed = Save { closed: true, ..save(&lease, &key, 5) };
        assert_eq!(saved(&pool, &[closed]).await, [true]);
    }
    let closed = async || -> Vec<ShardKey> {
        let rows = DB::shards(&pool).await.expect("list");
        rows.into_iter().filter(|row| row.closed).map(|row| row.key).collect()
    };
    assert_eq!(closed().await.len(), 4);
    assert_eq!(DB::reopen(&pool, "r", 1).await.expect("reopen"), 2);
    assert_eq!(closed().await, [key("another", 1, 0), key("r", 2, 0)]);
    let opened = row(&pool, &key("r", 1, 2)).await;
    assert_eq!(opened.checkpoint, checkpoint(5), "it stands where it stood");
    assert_eq!(DB::reopen(&pool, "r", 1).await.expect("reopen"), 0);
    assert_eq!(DB::reopen(&pool, "nobody", 1).await.expect("reopen"), 0);
}

pub(super) async fn a_route_is_paused_in_every_shard<DB: Storage>(pool: Pool<DB>) {
    make(&pool, "r", 1, 2).await;
    make(&pool, "r", 2, 3).await;
    make(&pool, "another", 1, 1).await;
    let paused =
        async || DB::shards(&pool).await.expect("list").iter().filter(|row| row.paused).count();
    for again in 0..2 {
        let count = DB::set_paused(&pool, "r", true).await.expect("pause");
        assert_eq!((count, paused().await), (5, 5), "time {again}");
    }
    assert!(!row(&pool, &key("another", 1, 0)).await.paused);
    assert_eq!(DB::set_paused(&pool, "nobody", true).await.expect("pause"), 0);
    assert_eq!(DB::set_paused(&pool, "r", false).await.expect("resume"), 5);
    assert_eq!(paused().await, 0);
}

pub(super) async fn a_rewound_shard_is_no_longer_its_holders<DB: Storage>(pool: Pool<DB>) {
    make(&pool, "r", 1, 3).await;
    let keys: Vec<_> = (0..3).map(|shard| key("r", 1, shard)).collect();
    let mut leases = Vec::new();
    for key in &keys[..2] {
        leases.push(lease(&pool, key).await);
        assert_eq!(saved(&pool, &[save(&leases[leases.len() - 1], key, 50)]).await, [true]);
    }
    // One that is held, and one that never was.
    let to = [
        NewShard { key: keys[2].clone(), at: Position(30), closed: true },
        NewShard { key: keys[0].clone(), at: Position(20), closed: false },
    ];
    DB::rewind(&pool, &to).await.expect("rewind");
    assert_eq!(saved(&pool, &[save(&leases[0], &keys[0], 60)]).await, [false], "it is fenced");
    let first = row(&pool, &keys[0]).await;
    let place = Cursor { position: Position(20), seal: 0, seq: 20 };
    assert_eq!(first.checkpoint, Checkpoint { cursor: place, last: Link::anchor(Position(20)) });
    let never = row(&pool, &keys[2]).await;
    assert_eq!((never.checkpoint.cursor.position, never.closed), (Position(30), true));
    assert_eq!(row(&pool, &keys[1]).await.checkpoint, checkpoint(50), "another one is left alone");
    assert_eq!(saved(&pool, &[save(&leases[1], &keys[1], 60)]).await, [true]);
    let next = lease(&pool, &keys[0]).await;
    assert!(next.epoch > leases[0].epoch);
    assert_eq!(saved(&pool, &[save(&next, &keys[0], 21)]).await, [true]);
}

pub(super) async fn a_new_version_begins_at_the_head_and_fences_the_old_one<DB: Storage>(
    pool: Pool<DB>,
) {
    let define = async |stream: &str, version, topics: &[&str], shards| {
        let topics: Vec<_> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let begins = if version == 1 { Begins::After(Position::START) } else { Begins::Head };
        let new = NewVersion { name: stream.to_owned(), version, topics, shards, begins };
        DB::define_streams(&pool, &[new]).await.expect("define")
    };
    assert!(define("s", 1, &["in", "more.*"], 1).await);
    assert!(!define("s", 1, &["other"], 9).await, "the first one stays");
    assert!(define("t", 1, &["in"], 1).await);
    make(&pool, "r", 1, 1).await;
    make(&pool, "second", 1, 1).await;
    let elsewhere = NewShard { key: key("other", 1, 0), at: Position::START, closed: false };
    DB::create_shards(&pool, "t", std::slice::from_ref(&elsewhere)).await.expect("create");
    let (old, other) = (lease(&pool, &key("r", 1, 0)).await, lease(&pool, &elsewhere.key).await);
    commit(&pool, &[message("in", "a", 1), message("in", "a", 2)]).await;
    whole_log(&pool, &sealer(&pool).await).await;
    let head = DB::head(&pool).await.expect("head");
    assert!(head >= Position(2));

    assert!(define("s", 2, &["in"], 2).await);
    let after: Vec<_> = DB::streams(&pool).await.expect("streams");
    let told: Vec<_> = after
        .iter()
        .map(|one| (one.name.as_str(), one.version, one.topics.join(" "), one.shards, one.after))
        .collect();
    let expected = [
        ("s", 1, "in more.*".to_owned(), 1, Position::START),
        ("s", 2, "in".to_owned(), 2, head),
        ("t", 1, "in".to_owned(), 1, Position::START),
    ];
    assert_eq!(told, expected);
    for route in ["r", "second"] {
        for shard in 0..2 {
            let new = row(&pool, &key(route, 2, shard)).await;
            assert_eq!((new.checkpoint.cursor.position, new.closed), (head, false));
            assert_eq!((new.checkpoint.last, new.stream.as_str()), (Link::anchor(head), "s"));
        }
    }
    assert_eq!(DB::shards(&pool).await.expect("list").len(), 7, "of its own routes only");
    assert_eq!(saved(&pool, &[save(&old, &key("r", 1, 0), 1)]).await, [false], "it is fenced");
    assert_eq!(saved(&pool, &[save(&other, &elsewhere.key, 1)]).await, [true]);
    assert!(!define("s", 2, &["x"], 3).await);
    assert_eq!(DB::streams(&pool).await.expect("streams"), after, "nothing has changed");

    // Topics are told once, where they were not kept.
    assert!(define("u", 1, &[], 1).await);
    for topic in ["first", "later"] {
        DB::tell_topics(&pool, "u", 1, &[topic.to_owned()]).await.expect("tell");
    }
    let streams = DB::streams(&pool).await.expect("streams");
    assert_eq!(streams.last().map(|last| last.topics.clone()), Some(vec!["first".to_owned()]));
}
