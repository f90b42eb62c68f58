//! Readers that retention waits for, and steps of a trim, without a relay.

use std::time::Duration;

use sqlx::Pool;
use uuid::Uuid;

use super::{
    retention::nothing_more,
    support::{LEASE, PAGE, commit, message, open, read_all, save, sealer, whole_log},
};
use crate::{
    Storage, begin, enqueue,
    message::{Link, Position},
    relay::{Retention, trim},
    storage::{Aged, Checkpoint, Cursor, Lease, LogRow, Patience, Save, ShardKey},
};

const HOUR: Duration = Duration::from_secs(3_600);

fn key() -> ShardKey {
    ShardKey::new("r", 1, 0)
}

/// The lease of route `r`.
async fn lease<DB: Storage>(pool: &Pool<DB>) -> Lease {
    let lease = DB::acquire(pool, &key().lease_name(), Uuid::now_v7(), LEASE).await;
    lease.expect("acquire").expect("it is free")
}

/// Commits `count` messages, a seal for each, and reads the log.
async fn filled<DB: Storage>(pool: &Pool<DB>, sealer: &Lease, count: i64) -> Vec<LogRow> {
    for n in 0..count {
        commit(pool, &[message("in", "a", n)]).await;
        DB::seal(pool, sealer, 10).await.expect("seal");
    }
    let log = whole_log(pool, sealer).await;
    assert_eq!(log.len() as i64, count);
    log
}

async fn trimmed<DB: Storage>(pool: &Pool<DB>) -> Position {
    DB::trimmed(pool).await.expect("trimmed").position
}

pub(super) async fn a_paused_route_keeps_what_it_needs<DB: Storage>(pool: Pool<DB>) {
    let sealer = sealer(&pool).await;
    open(&pool).await;
    let log = filled(&pool, &sealer, 10).await;
    for paused in [true, false] {
        assert_eq!(DB::set_paused(&pool, "r", paused).await.expect("pause"), 1);
        let plan = trim(&pool, &nothing_more(), false).await.expect("trim");
        assert_eq!((plan.goal, plan.slowest), (Position::START, Some(Position::START)));
        // One that was paused since the trim was planned, too.
        let behind = DB::trim(&pool, Cursor::default(), log[4].cursor, &[]).await;
        assert!(!behind.expect("trim"), "paused: {paused}");
        assert_eq!(trimmed(&pool).await, Position::START, "paused: {paused}");
        assert_eq!(read_all(&pool, PAGE).await, log, "paused: {paused}");
    }
    // One that is closed has sent all it ever will.
    let to = Checkpoint { cursor: Cursor::default(), last: Link::START };
    let closed = Save { key: key(), lease: lease(&pool).await, to, closed: true };
    assert_eq!(DB::save_checkpoints(&pool, &[closed], &|| true).await.expect("save"), [true]);
    let plan = trim(&pool, &nothing_more(), false).await.expect("trim");
    assert_eq!((plan.goal, plan.slowest), (Position(10), None));
    assert_eq!(trimmed(&pool).await, Position(10));
}

/// A reader is never late.
const PATIENT: Patience = Patience {
    alarm_before: Position::START,
    alarm_age: HOUR,
    alarm_far: Position::START,
    lost_before: Position::START,
    lost_age: HOUR,
    heard: HOUR,
    lost_far: Position::START,
    heard_far: HOUR,
};

/// Says of how many shards it told something, and whether there is alarm about route `r` now, and it is
/// lost.
async fn judge<DB: Storage>(pool: &Pool<DB>, patience: Patience) -> (u64, bool, bool) {
    let judged = DB::judge(pool, patience).await.expect("judge");
    let row = DB::shard(pool, &key()).await.expect("read").expect("it is there");
    (judged, row.alarm_at.is_some(), row.lost)
}

pub(super) async fn an_alarm_by_size_is_heard_before_the_route_is_lost<DB: Storage>(
    pool: Pool<DB>,
) {
    open(&pool).await;
    assert_eq!(judge(&pool, PATIENT).await, (0, false, false));
    let far = Patience { alarm_far: Position(5), lost_far: Position(5), ..PATIENT };
    let heard = Patience { heard_far: Duration::ZERO, ..far };
    assert_eq!(judge(&pool, far).await, (1, true, false), "it is only told");
    assert_eq!(judge(&pool, far).await, (0, true, false), "it has not been heard");
    let near = Patience { lost_far: Position::START, ..heard };
    assert_eq!(judge(&pool, near).await, (0, true, false), "it is not so far behind");
    assert_eq!(DB::slowest(&pool).await.expect("look"), Some(Position::START));
    assert_eq!(judge(&pool, heard).await, (1, true, true));
    assert_eq!(DB::slowest(&pool).await.expect("look"), None, "nobody waits for it any more");
    assert_eq!(judge(&pool, heard).await, (0, true, true), "it is told once");

    // It moves: that is over.
    let position = Position(7);
    let cursor = Cursor { position, seal: 3, seq: 7 };
    let last = Link { position, id: Uuid::max() };
    assert!(save(&pool, &lease(&pool).await, Checkpoint { cursor, last }).await);
    assert_eq!(judge(&pool, heard).await, (0, false, false));
    assert_eq!(DB::slowest(&pool).await.expect("look"), Some(position));
}

pub(super) async fn an_alarm_by_age_is_heard_before_the_route_is_lost<DB: Storage>(pool: Pool<DB>) {
    open(&pool).await;
    let there = Patience { alarm_before: Position(5), lost_before: Position(5), ..PATIENT };
    assert_eq!(judge(&pool, there).await, (0, false, false), "it has moved within the hour");
    let late = Patience { alarm_age: Duration::ZERO, lost_age: Duration::ZERO, ..there };
    let heard = Patience { heard: Duration::ZERO, ..late };
    assert_eq!(judge(&pool, late).await, (1, true, false), "it is only told");
    assert_eq!(judge(&pool, late).await, (0, true, false), "it has not been heard");
    let young = Patience { lost_age: HOUR, ..heard };
    assert_eq!(judge(&pool, young).await, (0, true, false), "it has moved within the hour");
    let nothing = Patience { lost_before: Position::START, ..heard };
    assert_eq!(
        judge(&pool, nothing).await,
        (0, true, false),
        "there was nothing for it so long ago"
    );
    assert_eq!(judge(&pool, heard).await, (1, true, true));
}

pub(super) async fn what_is_young_is_kept<DB: Storage>(pool: Pool<DB>) {
    let sealer = sealer(&pool).await;
    let log = filled(&pool, &sealer, 6).await;
    DB::mark(&pool, Position(5)).await.expect("mark");
    let aged = async |age| DB::aged(&pool, age).await.expect("look");
    assert_eq!((aged(HOUR).await, aged(Duration::ZERO).await), (Position::START, Position(5)));
    let young = Retention { keep_for: HOUR, ..Retention::default() };
    trim(&pool, &young, false).await.expect("trim");
    assert_eq!(trimmed(&pool).await, Position::START);
    // However young, no more than so many.
    let few = Retention { keep_messages: Some(2), ..young };
    let plan = trim(&pool, &few, false).await.expect("trim");
    assert_eq!((plan.keep, plan.goal), (Position(4), Position(4)));
    let kept = DB::trimmed(&pool).await.expect("trimmed");
    assert_eq!(kept.position, Position(4));
    assert_eq!(DB::read(&pool, kept, PAGE).await.expect("read"), log[4..]);
    assert_eq!(aged(Duration::ZERO).await, Position(5), "what is noted of the rest stays");
}

pub(super) async fn a_trim_goes_on_until_nothing_is_left_to_remove<DB: Storage>(pool: Pool<DB>) {
    let sealer = sealer(&pool).await;
    let log = filled(&pool, &sealer, 30).await;
    let small = Retention { step_rows: 7, ..nothing_more() };
    trim(&pool, &small, false).await.expect("trim");
    assert_eq!(trimmed(&pool).await, Position(30));
    // Partitions are emptied as a whole, when others let go of them.
    assert_eq!(DB::sweep(&pool, 1_000).await.expect("sweep").rows, 0);
    // A step that was planned from an older trim point goes nowhere.
    let late = DB::trim(&pool, Cursor::default(), log[9].cursor, &[]).await;
    assert!(!late.expect("trim"), "the log does not begin there any more");
    assert_eq!(trimmed(&pool).await, Position(30));
}

pub(super) async fn keys_and_compensations_are_forgotten_in_time<DB: Storage>(pool: Pool<DB>) {
    // Says of each whether it was new.
    let remember = async || {
        let (mut tx, mut new) = (begin(&pool).await.expect("begin"), Vec::new());
        for n in 1..=3 {
            let message = message("in", "a", n).idempotency_key(format!("key {n}"));
            new.push(!enqueue(&mut tx, &message).await.expect("enqueue").repeated);
            let rejected = Uuid::from_u128(n as u128);
            let marked = DB::mark_compensated(&mut tx, rejected, "c", "it was rejected").await;
            new.push(marked.expect("mark"));
        }
        tx.commit().await.expect("commit");
        new
    };
    let purge = async |what, age| DB::purge(&pool, what, age, 2).await.expect("purge");
    assert_eq!(remember().await, [true; 6]);
    for what in [Aged::IdempotencyKeys, Aged::Compensations] {
        assert_eq!(purge(what, HOUR).await, 0, "they are young: {what:?}");
    }
    assert_eq!(remember().await, [false; 6]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let old = Duration::from_millis(5);
    for what in [Aged::IdempotencyKeys, Aged::Compensations] {
        let gone = [purge(what, old).await, purge(what, old).await, purge(what, old).await];
        assert_eq!(gone, [2, 1, 0], "{what:?}");
    }
    assert_eq!(remember().await, [true; 6]);
}
