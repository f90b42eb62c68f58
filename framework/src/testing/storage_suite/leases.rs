//! Leases and the checkpoints that they fence.

use std::time::Duration;

use sqlx::Pool;
use uuid::Uuid;

use super::support::{LEASE, open, save};
use crate::{
    Error, Relay, Route, Storage, Stream,
    message::{Link, Position},
    storage::{Checkpoint, Cursor},
    transport::in_process,
};

const SHORT: Duration = Duration::from_millis(150);

fn checkpoint(position: i64) -> Checkpoint {
    Checkpoint {
        cursor: Cursor { position: Position(position), seal: 3, seq: 4 },
        last: Link { position: Position(position), id: Uuid::max() },
    }
}

pub(super) async fn a_lease_has_one_holder_and_a_new_epoch_for_each<DB: Storage>(pool: Pool<DB>) {
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    let acquire = async |holder, ttl| DB::acquire(&pool, "l", holder, ttl).await.expect("acquire");
    let first = acquire(one, SHORT).await.expect("it is free");
    assert_eq!(acquire(two, LEASE).await, None, "it is taken");
    assert_eq!(acquire(one, SHORT).await.expect("renewed").epoch, first.epoch);
    tokio::time::sleep(SHORT * 2).await;
    let second = acquire(two, LEASE).await.expect("it ran out");
    assert!(second.epoch > first.epoch);
    assert_eq!(acquire(one, LEASE).await, None);
    DB::release(&pool, &first).await.expect("a release of the older epoch changes nothing");
    assert_eq!(acquire(one, LEASE).await, None);
    DB::release(&pool, &second).await.expect("release");
    assert!(acquire(one, LEASE).await.expect("it was given back").epoch > second.epoch);
    assert!(DB::acquire(&pool, "another", two, LEASE).await.expect("acquire").is_some());
}

pub(super) async fn a_checkpoint_of_an_older_epoch_is_refused<DB: Storage>(pool: Pool<DB>) {
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    let open = async || open(&pool).await;
    assert_eq!(open().await, Checkpoint::default());
    let first = DB::acquire(&pool, "route/r", one, SHORT).await.expect("acquire").expect("free");
    let save = async |lease, position| save(&pool, lease, checkpoint(position)).await;
    assert!(save(&first, 5).await);
    assert_eq!(open().await, checkpoint(5));
    tokio::time::sleep(SHORT * 2).await;
    assert!(save(&first, 6).await, "nobody took it over");
    let second = DB::acquire(&pool, "route/r", two, LEASE).await.expect("acquire").expect("free");
    assert!(!save(&first, 9).await, "the epoch is over");
    assert_eq!(open().await, checkpoint(6));
    assert!(save(&second, 7).await);
    assert_eq!(open().await, checkpoint(7));
}

pub(super) async fn a_route_keeps_its_stream<DB: Storage>(pool: Pool<DB>) {
    let relay = async |stream: &str| {
        let (publisher, _) = in_process::channel(1);
        let relay = Relay::builder("/suite", pool.clone()).stream(Stream::new(stream).topic("in"));
        relay.route(Route::new("r", stream, publisher)).start().await
    };
    relay("s").await.expect("a new route").stop().await;
    let other = relay("t").await.err();
    assert!(matches!(other, Some(Error::Definition { what: "route", .. })), "{other:?}");
    relay("s").await.expect("its own stream").stop().await;
}
