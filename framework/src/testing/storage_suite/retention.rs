//! Trimming: what a cursor needs is kept, what comes after names what went, and nobody skips
//! anything without being told.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::future::join_all;
use sqlx::Pool;

use super::support::{
    PAGE, commit, eventually, message, number, open, read_all, save, sealer, whole_log,
};
use crate::{
    Error, Relay, RelayHandle, Route, Storage, Stream,
    message::{Batch, Link, Position},
    relay::{Retention, RouteState, trim},
    routes,
    storage::{Checkpoint, Cursor, ShardKey},
    transport::{Ack, FeedError, FeedRequest, Outcome, PageSize, PublishError, Publisher},
};

/// Nothing is kept that every route has sent.
pub(super) fn nothing_more() -> Retention {
    Retention { keep_for: Duration::ZERO, ..Retention::default() }
}

/// Remembers what it is sent, as a consumer does: what does not follow is a gap.
#[derive(Clone, Default)]
struct Target(Arc<Inner>);

#[derive(Default)]
struct Inner {
    away: AtomicBool,
    state: Mutex<(Position, Link, Vec<i64>)>,
}

impl Target {
    fn numbers(&self) -> Vec<i64> {
        self.0.state.lock().expect("no panic").2.clone()
    }

    fn reached(&self) -> (Position, Link) {
        let state = self.0.state.lock().expect("no panic");
        (state.0, state.1)
    }

    fn begin_at(&self, position: Position) {
        let mut state = self.0.state.lock().expect("no panic");
        (state.0, state.1) = (position, Link::anchor(position));
    }

    fn away(&self, away: bool) {
        self.0.away.store(away, Ordering::Relaxed);
    }
}

#[async_trait]
impl Publisher for Target {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        if self.0.away.load(Ordering::Relaxed) {
            let (target, reason) = ("the suite's target".into(), "it is away".into());
            return Err(PublishError::Unavailable { target, reason, retry_after: None });
        }
        let mut state = self.0.state.lock().expect("no panic");
        let mut outcome = Outcome::Complete;
        for next in batch.messages.iter() {
            if next.position <= state.0 {
                continue;
            }
            let follows = next.prev == state.1
                || (state.1.is_anchor() && next.prev.position <= state.1.position);
            if !follows {
                outcome = Outcome::Gap;
                break;
            }
            (state.0, state.1) = (next.position, next.link());
            state.2.push(number(&next.message));
        }
        if outcome == Outcome::Complete && (batch.last == state.1 || batch.last.is_anchor()) {
            state.0 = state.0.max(batch.through);
        }
        Ok(Ack { watermark: state.0, last: state.1, outcome })
    }
}

/// A relay of streams `s` (topic `in`) and `q` (topic `quiet`), each with a route of its name.
async fn relay<DB: Storage>(
    pool: &Pool<DB>,
    targets: &[(&str, &Target)],
    retention: Retention,
) -> RelayHandle {
    let relay = Relay::builder("/suite", pool.clone())
        .stream(Stream::new("s").topic("in"))
        .stream(Stream::new("q").topic("quiet"))
        .options(|options| {
            options.lease = Duration::from_millis(600);
            options.max_backoff = Duration::from_millis(50);
            options.progress_every = Duration::from_millis(100);
            options.retention = retention;
        });
    let routes = targets.iter().map(|(name, target)| Route::new(*name, *name, (*target).clone()));
    routes.fold(relay, |relay, route| relay.route(route)).start().await.expect("the relay starts")
}

fn untouched() -> Retention {
    Retention { enabled: false, ..Retention::default() }
}

/// Waits until every route's checkpoint is at the head.
async fn all_sent<DB: Storage>(pool: &Pool<DB>) {
    let sent = async || {
        // In this order: what is sealed meanwhile is in the head.
        let unsealed = DB::unsealed(pool).await.ok()?;
        let head = DB::head(pool).await.ok()?;
        let lags = DB::route_lags(pool).await.ok()?;
        (unsealed == 0 && lags.iter().all(|lag| lag.position == head)).then_some(())
    };
    eventually("every checkpoint is at the head", sent).await;
}

fn trimmed_at(error: &Error) -> Option<i64> {
    if let Error::Trimmed { kept, .. } = error { Some(*kept) } else { None }
}

pub(super) async fn what_a_cursor_needs_is_kept<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    open(&pool).await;
    let route = ShardKey::new("r", 1, 0).lease_name();
    let route = DB::acquire(&pool, &route, uuid::Uuid::now_v7(), Duration::from_secs(60)).await;
    let route = route.expect("acquire").expect("it is free");
    for n in 0..40 {
        commit(&pool, &[message("in", "a", n)]).await;
        if n % 5 == 4 {
            DB::seal(&pool, &lease, 100).await.expect("seal");
        }
    }
    let log = whole_log(&pool, &lease).await;
    trim(&pool, &nothing_more(), false).await.expect("trim");
    assert_eq!(read_all(&pool, PAGE).await, log, "the route has sent nothing yet");

    let at = log[16].cursor;
    let last = Link { position: at.position, id: log[16].message.id };
    assert!(save(&pool, &route, Checkpoint { cursor: at, last }).await);
    let plan = trim(&pool, &nothing_more(), true).await.expect("a plan");
    assert_eq!((plan.goal, plan.slowest), (at.position, Some(at.position)));
    assert_eq!(read_all(&pool, PAGE).await, log, "a plan changes nothing");
    trim(&pool, &nothing_more(), false).await.expect("trim");
    let kept = DB::trimmed(&pool).await.expect("trimmed");
    assert!((Position(15)..=at.position).contains(&kept.position), "{kept:?}");

    // All that is kept is what it was, from the trim point and from every place after it.
    let (_, rest) = log.split_at(kept.position.0 as usize);
    for after in [kept, DB::locate(&pool, kept.position).await.expect("the trim point"), at] {
        let rows = DB::read(&pool, after, PAGE).await.expect("read");
        let expected: Vec<_> =
            rest.iter().filter(|row| row.cursor.position > after.position).cloned().collect();
        assert_eq!(rows[0], expected[0], "after {after:?}");
    }
    for row in rest {
        let found = DB::locate(&pool, row.cursor.position).await.expect("a kept position");
        assert_eq!(found, row.cursor);
    }
    let lag = &DB::route_lags(&pool).await.expect("lags")[0];
    assert_eq!((lag.behind, lag.oldest), (23, Some(log[17].message.time)));

    // What is gone is told, and nothing is skipped.
    for gone in [Cursor::default(), log[3].cursor] {
        let error = DB::read(&pool, gone, PAGE).await.expect_err("it is gone");
        assert_eq!(trimmed_at(&error), Some(kept.position.0), "{error}");
        let error = DB::locate(&pool, gone.position).await.expect_err("it is gone");
        assert_eq!(trimmed_at(&error), Some(kept.position.0), "{error}");
        let error = routes::rewind(&pool, "r", gone.position).await.expect_err("it is gone");
        assert_eq!(trimmed_at(&error), Some(kept.position.0), "{error}");
    }
    assert!(routes::rewind(&pool, "r", kept.position).await.expect("rewind"));
    // A cursor that went back holds the log from there on.
    trim(&pool, &nothing_more(), false).await.expect("trim");
    assert_eq!(DB::trimmed(&pool).await.expect("trimmed"), kept);
    // One that was moved since the trim was planned, too.
    let to = log[29].cursor;
    assert!(!DB::trim(&pool, kept, to, &[]).await.expect("trim"), "the route is before it");
    assert_eq!(DB::trimmed(&pool).await.expect("trimmed"), kept);
}

pub(super) async fn a_quiet_shard_goes_on_where_its_last_message_is_gone<DB: Storage>(
    pool: Pool<DB>,
) {
    let (busy, quiet) = (Target::default(), Target::default());
    let targets = [("s", &busy), ("q", &quiet)];
    let first = relay(&pool, &targets, untouched()).await;
    commit(&pool, &[message("quiet", "k", 1)]).await;
    for n in 0..30 {
        commit(&pool, &[message("in", "a", n)]).await;
    }
    all_sent(&pool).await;
    let (_, last) = quiet.reached();
    assert!(last.position > Position::START);
    first.stop().await;
    trim(&pool, &nothing_more(), false).await.expect("trim");
    let before = DB::trimmed(&pool).await.expect("trimmed").position;
    assert!(before > last.position, "{before} {last:?}");

    // Trimmed again while it is quiet, what is known of its last message stays.
    let second = relay(&pool, &targets, untouched()).await;
    for n in 30..40 {
        commit(&pool, &[message("in", "a", n)]).await;
    }
    all_sent(&pool).await;
    second.stop().await;
    trim(&pool, &nothing_more(), false).await.expect("trim");
    let kept = DB::trimmed(&pool).await.expect("trimmed").position;
    assert_eq!((kept, kept > before), (DB::head(&pool).await.expect("head"), true));
    let anchors = DB::anchors(&pool).await.expect("anchors");
    let of = |stream: &str| anchors.iter().find(|anchor| anchor.stream == stream);
    assert_eq!(of("q").map(|anchor| anchor.last), Some(last));
    assert_eq!(of("s").map(|anchor| anchor.last), Some(busy.reached().1));

    let again = relay(&pool, &targets, untouched()).await;
    commit(&pool, &[message("quiet", "k", 2)]).await;
    eventually("the quiet shard goes on", async || (quiet.numbers() == [1, 2]).then_some(())).await;

    // The same for a reader that pulls: one that has the last message, and others.
    let request = |after: Position, last: Link| FeedRequest {
        stream: "q".into(),
        version: 1,
        shard: 0,
        incarnation: None,
        after,
        last,
        allowed: vec!["*".into()],
        wanted: Vec::new(),
        most: PageSize { messages: 100, bytes: 1 << 20 },
        wait: Duration::ZERO,
    };
    let feed = again.feed();
    let page = feed.page(request(last.position, last)).await.expect("a page").batch;
    assert_eq!((page.messages.len(), page.messages[0].prev), (1, last));
    let page = feed.page(request(kept, Link::anchor(kept))).await.expect("a page").batch;
    assert_eq!((page.messages.len(), page.messages[0].prev), (1, last), "one that begins there");
    let other = Link { id: uuid::Uuid::now_v7(), ..last };
    let error = feed.page(request(last.position, other)).await.expect_err("another log");
    assert!(matches!(error, FeedError::Diverged(_)), "{error}");
    let error = feed.page(request(Position::START, Link::START)).await.expect_err("too late");
    assert!(matches!(error, FeedError::Trimmed(_)), "{error}");
    // A stream of which nothing was trimmed begins at its beginning.
    let nothing = FeedRequest { stream: "s".into(), ..request(kept, busy.reached().1) };
    feed.page(nothing).await.expect("a busy one is past it");
    again.stop().await;
}

pub(super) async fn a_reader_that_never_comes_back_is_lost_and_told<DB: Storage>(pool: Pool<DB>) {
    let (alive, dead) = (Target::default(), Target::default());
    dead.away(true);
    let mut retention = nothing_more();
    retention.lost_after = Duration::from_secs(2);
    retention.every = Duration::from_millis(50);
    let targets = [("s", &alive), ("q", &dead)];
    let first = relay(&pool, &targets, retention).await;
    let state = |relay: &RelayHandle| {
        relay.status().into_iter().find(|status| status.route == "q").expect("a status")
    };
    let (mut n, mut alarmed) = (0, false);
    loop {
        n += 1;
        assert!(n < 2_000, "the dead route is never lost");
        commit(&pool, &[message("in", "a", n), message("quiet", "k", n)]).await;
        let lags = DB::route_lags(&pool).await.expect("lags");
        let lag = lags.iter().find(|lag| lag.route == "q").expect("a lag");
        if lag.lost {
            break;
        }
        let trimmed = DB::trimmed(&pool).await.expect("trimmed").position;
        alarmed |= lag.alarm_at.is_some();
        let lost = DB::shards(&pool).await.expect("shards").iter().any(|row| row.lost);
        assert!(lost || trimmed <= lag.position, "what it needs is kept until it is lost");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(alarmed, "nobody was warned");
    eventually("the log is trimmed without it", async || {
        (DB::trimmed(&pool).await.ok()?.position > Position(4)).then_some(())
    })
    .await;
    eventually("the status says so", async || state(&first).alarm.map(drop)).await;
    first.stop().await;

    // It comes back, and is told: nothing is skipped.
    dead.away(false);
    let again = relay(&pool, &targets, untouched()).await;
    eventually("it is told", async || {
        matches!(state(&again).state, RouteState::Trimmed { .. }).then_some(())
    })
    .await;
    assert_eq!(dead.numbers(), [0_i64; 0], "nothing came before that");
    let kept = DB::trimmed(&pool).await.expect("trimmed").position;
    let problem = async || {
        let lags = DB::route_lags(&pool).await.expect("lags");
        lags.into_iter().find(|lag| lag.route == "q").and_then(|lag| lag.problem)
    };
    let trimmed = async || problem().await.filter(|problem| problem.kind == "trimmed");
    let stored = eventually("it is stored", trimmed).await;
    let cure = format!("`syncline route rewind q --to {kept}`");
    assert!(stored.text.contains(&cure), "{stored:?}");
    dead.begin_at(kept);
    for _ in 0..3 {
        n += 1;
        commit(&pool, &[message("quiet", "k", n)]).await;
    }
    assert!(routes::rewind(&pool, "q", kept).await.expect("rewind"));
    all_sent(&pool).await;
    let numbers = dead.numbers();
    assert!(numbers.len() >= 3 && numbers.iter().copied().eq(numbers[0]..=n), "{numbers:?}");
    eventually("the alarm is over", async || state(&again).alarm.is_none().then_some(())).await;
    eventually("and why it stood still", async || problem().await.is_none().then_some(())).await;
    assert!(DB::route_lags(&pool).await.expect("lags").iter().all(|lag| !lag.lost));
    again.stop().await;
}

pub(super) async fn writers_go_on_while_the_log_is_trimmed<DB: Storage>(pool: Pool<DB>) {
    const WRITERS: i64 = 4;
    const EACH: i64 = 120;
    let (busy, quiet) = (Target::default(), Target::default());
    let mut retention = nothing_more();
    retention.every = Duration::from_millis(10);
    retention.partition_messages = 50;
    retention.step_rows = 20;
    let relay = relay(&pool, &[("s", &busy), ("q", &quiet)], retention).await;
    join_all((0..WRITERS).map(|writer| {
        let pool = pool.clone();
        async move {
            for n in 0..EACH {
                let key = format!("key {writer}");
                commit(&pool, &[message("in", &key, writer * EACH + n)]).await;
            }
        }
    }))
    .await;
    all_sent(&pool).await;
    let numbers = busy.numbers();
    assert_eq!(numbers.len() as i64, WRITERS * EACH, "each once");
    for writer in 0..WRITERS {
        let range = writer * EACH..(writer + 1) * EACH;
        let of_writer: Vec<i64> =
            numbers.iter().filter(|number| range.contains(number)).copied().collect();
        assert!(of_writer.iter().copied().eq(range), "in order: {of_writer:?}");
    }
    eventually("the log is trimmed to where the routes are", async || {
        let trimmed = DB::trimmed(&pool).await.ok()?.position;
        (trimmed == DB::head(&pool).await.ok()?).then_some(())
    })
    .await;
    relay.stop().await;
    assert!(!DB::sweep(&pool, 1_000).await.expect("sweep").more, "and removed");
}
