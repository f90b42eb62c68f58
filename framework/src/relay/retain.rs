//! Retention: one process of a service trims the log, by a lease, and removes what is no longer
//! kept. It never waits for a lock, and works in small steps.

mod patience;
mod say;

use std::{cell::OnceCell, collections::HashSet, sync::Arc, time::Duration};

use sqlx::Pool;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use self::patience::{before, patience};
use super::{
    Shared,
    carried::Carried,
    pace::{Found, Pace, gap},
};
use crate::{
    Result, Storage,
    message::{Link, Position, key_hash},
    said::Said,
    storage::{Aged, Anchor, Current, Cursor, Lease, Own, PageLimit, RouteRow},
};

/// The lease of the process that trims.
const RETAIN: &str = "retain";
/// So much of the log is read at once to find the last messages of the shards.
const PAGE: PageLimit = PageLimit { rows: 2_000, bytes: 4 << 20 };
/// So many steps are taken before it is looked at the whole again, with a pause after each.
const STEPS: usize = 64;
const PAUSE: Duration = Duration::from_millis(5);
/// Limit on the database's answer to a step, where no relay sets one.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a lease may take to be given back when the relay stops.
const STOPPING: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the log is kept, after every route has sent it. The defaults suit most services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Whether the log is trimmed at all (yes).
    pub enabled: bool,
    /// How long messages are kept for readers that pull, for consumers whose database is restored,
    /// and to be sent again (7 days).
    pub keep_for: Duration,
    /// No more than so many are kept for that, even if they are younger (10,000,000).
    pub keep_messages: Option<u64>,
    /// A route that has not moved for so long although there was something to send is lost:
    /// retention goes on without it (7 days). Alarm is raised after half of it.
    pub lost_after: Duration,
    /// A route that is further behind than so many messages is lost (none: however far). Alarm is
    /// raised at half of it, and is a minute old before the route is lost.
    pub lost_behind: Option<u64>,
    /// How long is remembered that a rejection was compensated (365 days): another consumer that
    /// rejects the same message later than that leads to a second compensation.
    pub compensated_for: Duration,
    /// How long an idempotency key is remembered (14 days): a transaction that is tried again
    /// under it later makes another message.
    pub idempotency_for: Duration,
    /// How many messages a partition of the outbox holds, where there are partitions (500,000):
    /// space is given back in such portions.
    pub partition_messages: u32,
    /// How many rows are removed in one step, where rows are removed one by one (500).
    pub step_rows: u32,
    /// How often is looked what can be trimmed (5 s). While the log rests and every route has sent
    /// it, ever more rarely: down to a fiftieth of what it is kept for, or every ten minutes.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            enabled: true,
            keep_for: 7 * DAY,
            keep_messages: Some(10_000_000),
            lost_after: 7 * DAY,
            lost_behind: None,
            compensated_for: 365 * DAY,
            idempotency_for: 14 * DAY,
            partition_messages: 500_000,
            step_rows: 500,
            every: Duration::from_secs(5),
        }
    }
}

/// How far the log can be trimmed, and what keeps it from being trimmed further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The trim point: the log begins after it.
    pub trimmed: Position,
    /// The last position of the log.
    pub head: Position,
    /// What is to be kept by age and number begins after this position.
    pub keep: Position,
    /// The slowest route that is not lost; none when there is no route.
    pub slowest: Option<Position>,
    /// What stands at or below this position can go.
    pub goal: Position,
    /// Where the log begins after it is trimmed now: [`Plan::goal`], and on PostgreSQL the end of the
    /// last seal at or before it, for seals go as a whole.
    pub reach: Position,
}

/// Says how far the log in `pool`'s database can be trimmed under `retention` and, unless `dry`,
/// trims it and removes what is no longer kept, as the relay does all the time.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// use syncline::relay::{Retention, trim};
/// let plan = trim(&pool, &Retention::default(), true).await?;
/// println!("{} messages could go", plan.goal.0 - plan.trimmed.0);
/// # Ok(()) }
/// ```
pub async fn trim<DB: Storage>(pool: &Pool<DB>, retention: &Retention, dry: bool) -> Result<Plan> {
    trim_telling(pool, retention, dry, |_| ()).await
}

/// As [`trim`]; `removed` is told after each step how many rows it removed one by one.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
pub async fn trim_telling<DB: Storage>(
    pool: &Pool<DB>,
    retention: &Retention,
    dry: bool,
    mut removed: impl FnMut(u64) + Send,
) -> Result<Plan> {
    let pool = &Own::service("trimming the log", pool, ANSWER).now();
    let mut first = plan(pool, retention).await?;
    let mut at = pool.limit(DB::trimmed(pool)).await?;
    while at.position < first.goal {
        let Some(to) = pool.limit(DB::trim_to(pool, at, first.goal)).await? else { break };
        at = to;
    }
    first.reach = at.position;
    if !dry {
        while trim_step(pool, retention).await? {}
        loop {
            let swept = pool.limit(DB::sweep(pool, i64::from(retention.step_rows.max(1)))).await?;
            removed(swept.rows);
            if !swept.more {
                break;
            }
            sleep(PAUSE).await;
        }
    }
    Ok(first)
}

async fn plan<DB: Storage>(pool: &Current<DB>, retention: &Retention) -> Result<Plan> {
    let trimmed = pool.limit(DB::trimmed(pool)).await?.position;
    let head = pool.limit(DB::head(pool)).await?;
    let aged = match retention.keep_for.is_zero() {
        true => head,
        false => pool.limit(DB::aged(pool, retention.keep_for)).await?,
    };
    let keep = aged.max(before(head, retention.keep_messages)).min(head);
    let slowest = pool.limit(DB::slowest(pool)).await?;
    let goal = slowest.map_or(keep, |slowest| slowest.min(keep)).max(trimmed);
    Ok(Plan { trimmed, head, keep, slowest, goal, reach: trimmed })
}

/// Moves the trim point by one step; true when there may be another.
async fn trim_step<DB: Storage>(pool: &Current<DB>, retention: &Retention) -> Result<bool> {
    let goal = plan(pool, retention).await?.goal;
    let from = pool.limit(DB::trimmed(pool)).await?;
    let Some(to) = pool.limit(DB::trim_to(pool, from, goal)).await? else { return Ok(false) };
    let anchors = anchors(pool, from, to.position).await?;
    let moved = pool.limit(DB::trim(pool, from, to, &anchors)).await?;
    if moved {
        tracing::debug!(from = %from.position, to = %to.position, "the log was trimmed");
    }
    Ok(moved)
}

/// The last messages of every shard at or below `to`, from those at or below `from` on.
async fn anchors<DB: Storage>(
    pool: &Current<DB>,
    from: Cursor,
    to: Position,
) -> Result<Vec<Anchor>> {
    let streams = pool.limit(DB::streams(pool)).await?;
    let known = pool.limit(DB::anchors(pool)).await?;
    let mut lines = Vec::new();
    for versions in streams.chunk_by(|a, b| a.name == b.name) {
        for (index, version) in versions.iter().enumerate() {
            for shard in 0..version.shards {
                let carried = Carried::new("", Uuid::nil(), versions, index, shard);
                let of_shard = |anchor: &&Anchor| {
                    anchor.stream == version.name
                        && (anchor.version, anchor.shard) == (version.version, shard)
                };
                let stored = known.iter().find(of_shard).map(|anchor| anchor.last);
                let last = stored.unwrap_or_else(|| carried.unknown(from.position));
                lines.push((carried, last));
            }
        }
    }
    let mut at = from;
    while at.position < to && !lines.is_empty() {
        let rows = pool.limit(DB::read(pool, at, PAGE)).await?;
        let Some(end) = rows.last() else { break };
        at = end.cursor;
        for row in rows.iter().take_while(|row| row.cursor.position <= to) {
            let hash = OnceCell::new();
            let hash = || *hash.get_or_init(|| key_hash(&row.message));
            let position = row.cursor.position;
            for (carried, last) in &mut lines {
                if carried.spans(position) && carried.carries(&row.message, hash) {
                    *last = Link { position, id: row.message.id };
                }
            }
        }
    }
    let anchor = |(carried, last): (Carried, Link)| {
        let origin = &carried.origin;
        let (stream, version, shard) = (origin.stream.clone(), origin.version, origin.shard);
        Anchor { stream, version, shard, last }
    };
    Ok(lines.into_iter().map(anchor).collect())
}

/// Why somebody should look at a shard of a route, and what becomes of it.
pub(super) fn alarm(row: &RouteRow) -> Option<String> {
    let since = row.alarm_at?;
    let at = row.checkpoint.cursor.position;
    Some(match row.lost {
        true => format!(
            "it has been standing at position {at} for so long that retention goes on without it; \
             once what it has not sent is gone, it must be rewound to what is kept"
        ),
        false => format!(
            "it stands at position {at} for too long, or is too far behind (alarm since {since}); \
             what it has not sent is kept until it is declared lost"
        ),
    })
}

/// Trims and removes until the relay stops.
pub(super) async fn run<DB: Storage>(shared: Arc<Shared<DB>>) {
    let (marked, said, looked, unsent, uncarried) = Default::default();
    let mut task = Task { lease: None, marked, said, looked, unsent, uncarried, shared };
    if !task.shared.options.retention.enabled {
        return task.only_say().await;
    }
    let shared = Arc::clone(&task.shared);
    let (stop, work) = (task.shared.stop.clone(), &shared.works);
    let mut pace = Pace::new(&task.shared.options.retention, PAUSE);
    let (mut head, mut before) = (task.shared.head.subscribe(), None);
    let mut failed = Said::default();
    while !stop.is_cancelled() {
        let at = *head.borrow_and_update();
        let moved = before.replace(at) != Some(at);
        // Safe to drop: every step is a transaction of its own.
        let pause = match stop.run_until_cancelled(work.retention.step(task.tick())).await {
            Some(Ok(Found::More)) => PAUSE,
            Some(Ok(found)) => pace.after(found, moved),
            Some(Err(error)) => {
                if let Some(left_out) = failed.admit(&error.to_string()) {
                    tracing::warn!(%error, left_out, "the log could not be trimmed; trying again");
                }
                pace.every().max(Duration::from_secs(1))
            }
            None => break,
        };
        // However long the pause: once the log moves, it is looked at as if it had always moved.
        let moving = async {
            let _ = head.wait_for(|head| *head != at).await;
            sleep(pace.every()).await;
        };
        let next = async {
            tokio::select! {
                () = sleep(pause) => {}
                () = moving => {}
            }
        };
        stop.run_until_cancelled(next).await;
    }
    if let Some(lease) = task.lease.take() {
        let pool = task.shared.pool.now();
        drop(pool.limit_to(STOPPING, DB::release(&pool, &lease)).await);
    }
}

struct Task<DB: Storage> {
    shared: Arc<Shared<DB>>,
    lease: Option<Lease>,
    /// When it was noted last where the log ends.
    marked: Option<Instant>,
    /// When it was said last what holds retention back.
    said: Option<Instant>,
    /// How far the log was looked through for messages that no stream carries.
    looked: Option<Position>,
    /// Routes that no running process sent when it was looked last.
    unsent: HashSet<String>,
    /// Topics of which it was said that no stream carries them.
    uncarried: HashSet<String>,
}

impl<DB: Storage> Task<DB> {
    /// One look at everything.
    async fn tick(&mut self) -> Result<Found> {
        let shared = Arc::clone(&self.shared);
        let (pool, retention) = (&shared.pool.now(), &shared.options.retention);
        let ttl = shared.options.lease.max(retention.every * 3);
        self.lease = pool.limit(DB::acquire(pool, RETAIN, shared.holder, ttl)).await?;
        if self.lease.is_none() {
            return Ok(Found::Open);
        }
        pool.limit(DB::extend(pool, i64::from(retention.partition_messages.max(1)))).await?;
        self.mark().await?;
        self.judge().await?;
        let (rows, mut more) = (i64::from(retention.step_rows.max(1)), false);
        for _ in 0..STEPS {
            more = trim_step(pool, retention).await?;
            if !more {
                break;
            }
        }
        for _ in 0..STEPS {
            let swept = pool.limit(DB::sweep(pool, rows)).await?;
            if !swept.more {
                break;
            }
            more = true;
            sleep(PAUSE).await;
        }
        // One `purge_*.sql` each.
        for (what, age) in [
            (Aged::Compensations, retention.compensated_for),
            (Aged::IdempotencyKeys, retention.idempotency_for),
        ] {
            more |= pool.limit(DB::purge(pool, what, age, rows)).await? >= rows.unsigned_abs();
        }
        self.say().await?;
        if more {
            return Ok(Found::More);
        }
        // A route that is behind holds the log, or alarms: it is looked at again soon.
        let slowest = pool.limit(DB::slowest(pool)).await?;
        let rests = slowest.is_none_or(|slowest| slowest >= *shared.head.borrow());
        Ok(if rests { Found::Rest } else { Found::Open })
    }

    /// Notes where the log ends, often enough for the ages that are asked for.
    async fn mark(&mut self) -> Result<()> {
        let gap = gap(&self.shared.options.retention);
        if self.marked.is_some_and(|marked| marked.elapsed() < gap) {
            return Ok(());
        }
        let pool = &self.shared.pool.now();
        let head = pool.limit(DB::head(pool)).await?;
        pool.limit(DB::mark(pool, head)).await?;
        self.marked = Some(Instant::now());
        Ok(())
    }

    /// Raises alarm about readers that stand still, and goes on without those that are lost.
    async fn judge(&self) -> Result<()> {
        let (pool, retention) = (&self.shared.pool.now(), &self.shared.options.retention);
        let head = pool.limit(DB::head(pool)).await?;
        let half_ago = pool.limit(DB::aged(pool, retention.lost_after / 2)).await?;
        let all_ago = pool.limit(DB::aged(pool, retention.lost_after)).await?;
        let patience = patience(retention, head, half_ago, all_ago);
        if pool.limit(DB::judge(pool, patience)).await? == 0 {
            return Ok(());
        }
        for row in pool.limit(DB::shards(pool)).await? {
            let (route, shard) = (&row.key.route, row.key.shard);
            match alarm(&row) {
                Some(alarm) if row.lost => {
                    tracing::error!(route, shard, alarm, "a route is lost to retention");
                }
                Some(alarm) => tracing::warn!(route, shard, alarm, "a route holds the log back"),
                None => {}
            }
        }
        Ok(())
    }
}
