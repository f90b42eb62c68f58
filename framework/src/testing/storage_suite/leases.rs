//! Leases and the checkpoints that they fence.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::Pool;
use uuid::Uuid;

use super::{
    support::{
        Behaviour, Direct, LEASE, commit, effects, eventually, message, open, save, sealer,
        whole_log,
    },
    way::{consumer, effect, relay_with},
};
use crate::{
    Error, Relay, Route, Storage, Stream, begin,
    message::{Batch, Link, Position},
    relay::RouteState,
    storage::{Checkpoint, Cursor, FoundProblem, Lease, NewShard, Save, ShardKey},
    transport::{Ack, PublishError, Publisher, in_process},
};

const SHORT: Duration = Duration::from_millis(150);
const HOUR: Duration = Duration::from_secs(3_600);

fn checkpoint(position: i64) -> Checkpoint {
    Checkpoint {
        cursor: Cursor { position: Position(position), seal: 3, seq: 4 },
        last: Link { position: Position(position), id: Uuid::max() },
    }
}

pub(super) async fn a_lease_has_one_holder_and_a_new_epoch_for_each<DB: Storage>(pool: Pool<DB>) {
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    let acquire = async |holder, ttl| DB::acquire(&pool, "l", holder, ttl).await.expect("acquire");
    let first = acquire(one, LEASE).await.expect("it is free");
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

pub(super) async fn a_lease_of_a_clock_that_was_set_back_is_not_waited_for<DB: Storage>(
    pool: Pool<DB>,
) {
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    let hour = Duration::from_secs(3_600);
    // As it stands there when the clock, an hour ahead, was set right.
    let ahead = DB::acquire(&pool, "l", one, hour).await.expect("acquire").expect("it is free");
    let renewed = DB::acquire(&pool, "l", one, hour).await.expect("acquire");
    assert_eq!(renewed.map(|lease| lease.epoch), Some(ahead.epoch), "its holder keeps it");
    let taken = DB::acquire(&pool, "l", two, LEASE).await.expect("acquire").expect("taken over");
    assert!(taken.epoch > ahead.epoch);
    assert_eq!(DB::acquire(&pool, "l", one, LEASE).await.expect("acquire"), None);
    let routes = ["r".to_owned()];
    DB::announce(&pool, one, &routes, hour).await.expect("announce");
    let members = DB::announce(&pool, two, &routes, LEASE).await.expect("announce");
    assert_eq!(members, [("r".to_owned(), two)], "the other one may be dead");
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

pub(super) async fn a_late_checkpoint_of_a_holder_that_has_it_again_is_refused<DB: Storage>(
    pool: Pool<DB>,
) {
    open(&pool).await;
    let key = ShardKey::new("r", 1, 0);
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    let acquire = async |holder| {
        let lease = DB::acquire(&pool, &key.lease_name(), holder, LEASE).await.expect("acquire");
        lease.expect("it is free")
    };
    let first = acquire(one).await;
    DB::release(&pool, &first).await.expect("release");
    let second = acquire(two).await;
    DB::release(&pool, &second).await.expect("release");
    let third = acquire(one).await;
    assert!(third.epoch > second.epoch && second.epoch > first.epoch);
    assert!(save(&pool, &third, checkpoint(9)).await);
    for late in [&first, &second] {
        assert!(!save(&pool, late, checkpoint(5)).await, "{late:?}");
        let row = DB::shard(&pool, &key).await.expect("read").expect("it is there");
        assert_eq!(row.checkpoint, checkpoint(9), "{late:?}");

        // Nor does it say why the shard stands, or give the lease away.
        let found = FoundProblem {
            kind: "backoff",
            text: "late",
            age: Duration::ZERO,
            known: false,
            tries: 1,
            next: None,
        };
        DB::note_problem(&pool, &key, late, Some(&found)).await.expect("nothing is noted");
        let row = DB::shard(&pool, &key).await.expect("read").expect("it is there");
        assert_eq!(row.problem, None, "{late:?}");
        DB::release(&pool, late).await.expect("nothing is released");
        let taken = DB::acquire(&pool, &key.lease_name(), two, LEASE).await.expect("acquire");
        assert_eq!(taken, None, "{late:?}");
    }
    assert!(save(&pool, &third, checkpoint(10)).await);
}

pub(super) async fn who_has_lost_the_lease_seals_nothing<DB: Storage>(pool: Pool<DB>) {
    if DB::LABEL == "SQLite" {
        // It has nothing to seal.
        return;
    }
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    let acquire = async |name: &str, holder| {
        let lease = DB::acquire(&pool, name, holder, LEASE).await.expect("acquire");
        lease.expect("it is free")
    };
    let seal = async |lease: &Lease| DB::seal(&pool, lease, 10).await.expect("seal").count;
    // Of the same holder and epoch, and for something else.
    acquire("sealed", one).await;
    let first = acquire("seal", one).await;
    DB::release(&pool, &first).await.expect("release");
    commit(&pool, &[message("in", "a", 1)]).await;
    assert_eq!(seal(&first).await, 0, "it was given back");
    let second = acquire("seal", two).await;
    let forged = Lease { holder: one, ..second.clone() };
    assert_eq!([seal(&first).await, seal(&forged).await], [0, 0], "it is another's");
    assert_eq!(DB::unsealed(&pool).await.expect("look"), 1);
    assert_eq!(seal(&second).await, 1);
    DB::release(&pool, &second).await.expect("release");
    let third = acquire("seal", one).await;
    commit(&pool, &[message("in", "a", 2)]).await;
    assert_eq!([seal(&first).await, seal(&second).await], [0, 0], "their epochs are over");
    assert_eq!(DB::unsealed(&pool).await.expect("look"), 1);
    assert_eq!(seal(&third).await, 1);
    assert_eq!(DB::head(&pool).await.expect("head"), Position(2));
}

pub(super) async fn a_relay_that_stops_leaves_no_lease_behind<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    commit(&pool, &[message("in", "a", 1)]).await;
    whole_log(&pool, &lease).await;
    DB::release(&pool, &lease).await.expect("release");
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let relay = relay_with(&pool, Direct(consumer), |options| {
        options.lease = LEASE;
        // It is looked once what can be trimmed, and the end of the log is noted meanwhile.
        options.retention.every = LEASE;
    })
    .await;
    eventually("it has sent the message, and looked what can be trimmed", async || {
        let noted = DB::aged(&pool, Duration::ZERO).await.ok()?;
        let sent = relay.status().first()?.position;
        (noted >= Position(1) && sent >= Position(1)).then_some(())
    })
    .await;
    let (other, route) = (Uuid::now_v7(), ShardKey::new("r", 1, 0).lease_name());
    let names = ["seal", "delayed", "retain", &route];
    for name in names {
        let taken = DB::acquire(&pool, name, other, SHORT).await.expect("acquire");
        assert_eq!(taken, None, "{name} is the relay's");
    }
    relay.stop().await;
    for name in names {
        let taken = DB::acquire(&pool, name, other, LEASE).await.expect("acquire");
        assert!(taken.is_some(), "{name} was not given back");
    }
    let members = DB::announce(&pool, other, &["r".to_owned()], LEASE).await.expect("announce");
    assert_eq!(members, [("r".to_owned(), other)], "nor is it one of those that share the work");
}

/// Counts what is published, also what only asks.
struct Counting<DB: Storage>(Direct<DB>, Arc<AtomicUsize>);

#[async_trait]
impl<DB: Storage> Publisher for Counting<DB> {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.publish(batch).await
    }
}

pub(super) async fn a_sender_whose_lease_cannot_be_renewed_stops<DB: Storage>(pool: Pool<DB>) {
    let lease = Duration::from_millis(600);
    let published = Arc::new(AtomicUsize::new(0));
    let consumer = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    let counting = Counting(Direct(consumer), Arc::clone(&published));
    let relay = relay_with(&pool, counting, |options| {
        options.lease = lease;
        // Only a sender that begins has something to say.
        (options.ask_every, options.progress_every) = (HOUR, HOUR);
        options.retention.enabled = false;
    })
    .await;
    commit(&pool, &[message("in", "a", 1)]).await;
    let sent = async || {
        let head = DB::head(&pool).await.ok()?;
        let lags = DB::route_lags(&pool).await.ok()?;
        // The effect is in the log, too.
        let idle = relay.status().first()?.state == RouteState::Idle;
        (idle && head >= Position(2) && lags.first()?.position == head).then_some(())
    };
    eventually("all is sent", sent).await;
    // It locks every lease, unless it meets a renewal half way.
    let tx = eventually("the leases are locked", async || {
        let mut tx = begin(&pool).await.ok()?;
        DB::begin_incarnation(&mut tx, Position(2), &[]).await.ok()?;
        Some(tx)
    })
    .await;
    let before = published.load(Ordering::Relaxed);
    let locked = Instant::now();
    eventually("its leases are not renewed until they have run out", async || {
        let problems = relay.problems();
        let told = problems.iter().any(|problem| problem.starts_with("leases are not renewed"));
        (told && locked.elapsed() > 2 * lease).then_some(())
    })
    .await;
    // A server that ends what rests has done so already.
    drop(tx.rollback().await);
    eventually("another sender begins", async || {
        (published.load(Ordering::Relaxed) > before).then_some(())
    })
    .await;
    commit(&pool, &[message("in", "a", 2)]).await;
    eventually("it goes on", async || {
        let head = DB::head(&pool).await.ok()?;
        (head >= Position(4)).then_some(())
    })
    .await;
    relay.stop().await;
    // A renewal that the database was asked for meanwhile may have come after that.
    let lease = eventually("the lease to seal is free", async || {
        DB::acquire(&pool, "seal", Uuid::nil(), LEASE).await.ok()?
    })
    .await;
    assert_eq!(effects(&pool, &lease).await, [effect("a", 1), effect("a", 2)]);
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

/// Lets `step` go on until it has waited `waits` times, and no further, as a process does that is
/// frozen there; true when it came to its end before.
async fn freeze<F: Future + ?Sized>(mut step: Pin<&mut F>, mut waits: u32) -> bool {
    poll_fn(|context| match step.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending if waits == 0 => Poll::Ready(false),
        Poll::Pending => {
            waits -= 1;
            Poll::Pending
        }
    })
    .await
}

pub(super) async fn a_relay_that_is_frozen_in_the_middle_of_a_step_holds_up_no_other<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    let keys: Vec<_> = (0..3).map(|shard| ShardKey::new("r", 1, shard)).collect();
    let new = |key: &ShardKey| NewShard { key: key.clone(), at: Position::START, closed: false };
    let shards: Vec<_> = keys.iter().map(new).collect();
    DB::create_shards(&pool, "s", &shards).await.expect("create");
    let (names, backwards): (Vec<_>, Vec<_>) =
        (0..3).map(|n| (keys[n].lease_name(), keys[2 - n].lease_name())).unzip();
    let routes = vec!["r".to_owned()];
    // Connections as those of a relay: what is frozen keeps one of them.
    let relay = DB::relay_pool(&pool, 4, Arc::new(|_| ()));
    let mut slowest = Duration::ZERO;
    for kind in ["leases", "checkpoints", "members"] {
        for waits in 0.. {
            assert!(waits < 100, "{kind}: it comes to its end");
            let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
            let held = DB::acquire_all(&pool, &names, one, SHORT).await.expect("acquire");
            let held: Vec<Lease> = held.into_iter().map(|lease| lease.expect("free")).collect();
            let save = |position: u32, (key, lease): (&ShardKey, &Lease)| {
                let (key, lease) = (key.clone(), lease.clone());
                Save { key, lease, to: checkpoint(position.into()), closed: false }
            };
            let late = keys.iter().zip(&held).map(|held| save(1_000, held));
            let late: Vec<_> = late.collect();
            let mut step: Pin<Box<dyn Future<Output = ()> + Send>> = match kind {
                "leases" => Box::pin(async {
                    DB::acquire_all(&relay, &names, one, SHORT).await.expect("acquire");
                }),
                "checkpoints" => Box::pin(async {
                    DB::save_checkpoints(&relay, &late, &|| true).await.expect("save");
                }),
                _ => Box::pin(async {
                    DB::announce(&relay, one, &routes, SHORT).await.expect("announce");
                }),
            };
            let ended = freeze(step.as_mut(), waits).await;
            // Past the lease, another process takes all over, saves, and tidies up.
            tokio::time::sleep(SHORT * 2).await;
            let began = Instant::now();
            let taken = DB::acquire_all(&pool, &backwards, two, SHORT).await.expect("acquire");
            let taken: Vec<Lease> = taken.into_iter().map(|l| l.expect("it ran out")).collect();
            let saves = keys.iter().zip(taken.iter().rev()).map(|taken| save(waits, taken));
            let saves: Vec<_> = saves.collect();
            let saved = DB::save_checkpoints(&pool, &saves, &|| true).await.expect("save");
            assert_eq!(saved, [true; 3], "{kind}, {waits}");
            DB::announce(&pool, two, &routes, SHORT).await.expect("announce");
            DB::withdraw(&pool, two).await.expect("withdraw");
            slowest = slowest.max(began.elapsed());
            for lease in &taken {
                DB::release(&pool, lease).await.expect("release");
            }
            // The one that was frozen goes on, and changes nothing that is another's by now.
            if !ended {
                step.as_mut().await;
            }
            let shard = DB::shard(&pool, &keys[0]).await.expect("read").expect("it is there");
            assert_eq!(shard.checkpoint, checkpoint(waits.into()), "{kind}, {waits}");
            if ended {
                println!("{}: {kind} waits {waits} times; slowest {slowest:?}", DB::LABEL);
                break;
            }
            drop(step);
            tokio::time::sleep(SHORT).await;
        }
    }
    assert!(slowest < Duration::from_secs(2), "others waited {slowest:?}");
}
