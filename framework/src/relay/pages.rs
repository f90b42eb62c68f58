//! Pages of the log, read once for all senders that are at about the same place: sixteen shards
//! of many routes do not read the log sixteen times for each.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::Pool;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Result, Storage,
    message::{Position, SET_ASIDE, key_hash},
    storage::{Cursor, LogRow, Own, PageLimit, SetAside},
};

/// So many senders may read different places of the log at once.
const GATES: usize = 16;
/// A page that was read longer ago is read again: what was erased since is not sent.
const FRESH: Duration = Duration::from_secs(10);
/// What a row costs beside its payload, roughly.
const ROW: usize = 300;

/// Consecutive rows of the log.
pub(super) struct Page {
    pub(super) rows: Vec<LogRow>,
    /// The cursor of a reader that has read all of it.
    pub(super) end: Cursor,
    hashes: OnceLock<Vec<u64>>,
    read: Instant,
    /// Whether somebody has begun to read the one after it.
    followed: AtomicBool,
}

impl Page {
    /// `read` is when the database was asked for it.
    fn new(rows: Vec<LogRow>, end: Cursor, read: Instant) -> Self {
        Self { rows, end, read, hashes: OnceLock::new(), followed: AtomicBool::new(false) }
    }

    fn is_fresh(&self) -> bool {
        self.read.elapsed() < FRESH
    }

    /// The hash of each row's key; computed once, whatever the number of shards.
    pub(super) fn hashes(&self) -> &[u64] {
        self.hashes.get_or_init(|| self.rows.iter().map(|row| key_hash(&row.message)).collect())
    }

    fn cost(&self) -> usize {
        self.rows.iter().map(|row| row.message.data.len() + ROW).sum()
    }
}

/// The pages that were read last, within a limit of bytes.
pub(super) struct Pages {
    kept: Mutex<Kept>,
    /// One reader at a time for each place: those who wait find its page.
    gates: [tokio::sync::Mutex<()>; GATES],
    /// How many rows to ask for next.
    rows: AtomicI64,
    limit: PageLimit,
    most: usize,
    reads: AtomicU64,
}

#[derive(Default)]
struct Kept {
    /// The life of the server that they were read in.
    life: u64,
    /// By the position after which they begin.
    pages: BTreeMap<Position, Arc<Page>>,
    oldest: VecDeque<Position>,
    bytes: usize,
}

impl Pages {
    pub(super) fn new(limit: PageLimit, most: usize) -> Self {
        Self {
            kept: Mutex::default(),
            gates: Default::default(),
            rows: AtomicI64::new(limit.rows),
            limit,
            most,
            reads: AtomicU64::new(0),
        }
    }

    /// How many pages were read from the database.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// A page that holds what follows `after`, which is before `head`; it may begin earlier.
    /// `life` is the server's in which the two were read.
    pub(super) async fn read<DB: Storage>(
        &self,
        pool: &Own<DB>,
        life: u64,
        after: Cursor,
        head: Position,
    ) -> Result<Arc<Page>> {
        if let Some(page) = self.find(life, after.position) {
            return Ok(page);
        }
        let gate = after.position.0.unsigned_abs() as usize % GATES;
        let pool = pool.now();
        let _turn = pool.await_turn(self.gates[gate].lock()).await?;
        if let Some(page) = self.find(life, after.position) {
            return Ok(page);
        }
        let most = self.rows.load(Ordering::Relaxed);
        // What is known to be there; a database may read few rows otherwise than many.
        let limit = PageLimit { rows: most.min((head.0 - after.position.0).max(1)), ..self.limit };
        let read = Instant::now();
        let rows = pool.limit(DB::read(&pool, after, limit)).await?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        pool.limit(note_set_aside(&pool, &rows)).await?;
        self.rows.store(next_page(most, &rows, self.limit), Ordering::Relaxed);
        let end = match rows.last() {
            Some(last) => last.cursor,
            // No row stands between here and the head any more.
            None => pool.limit(DB::locate(&pool, head)).await?,
        };
        let page = Arc::new(Page::new(rows, end, read));
        self.keep(life, after.position, &page);
        Ok(page)
    }

    /// Begins to read the page after `page`, where a full one waits there: the database works on it
    /// while this one is sent. One page for one reader, and only where the cache has room for both.
    pub(super) fn read_ahead<DB: Storage>(
        self: &Arc<Self>,
        pool: &Own<DB>,
        life: u64,
        page: &Page,
        head: Position,
    ) -> Option<AbortOnDropHandle<()>> {
        let after = page.end;
        let most = self.limit.bytes + ROW * usize::try_from(self.limit.rows).unwrap_or(usize::MAX);
        let waits = head.0 - after.position.0 >= self.limit.rows;
        if !waits || self.most / 2 < most || page.followed.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (pages, pool) = (Arc::clone(self), pool.clone());
        Some(AbortOnDropHandle::new(tokio::spawn(async move {
            // Who comes for the page reads it again, and tells what is wrong.
            drop(pages.read(&pool, life, after, head).await);
        })))
    }

    /// Keeps the rows that came with their seal, so that nobody reads them; `life` is the server's
    /// in which they were sealed.
    pub(super) fn keep_sealed(&self, life: u64, rows: Vec<LogRow>) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
        let (after, end) = (Position(first.cursor.position.0 - 1), last.cursor);
        self.keep(life, after, &Arc::new(Page::new(rows, end, Instant::now())));
    }

    fn find(&self, life: u64, after: Position) -> Option<Arc<Page>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.life != life {
            return None;
        }
        let (_, page) = kept.pages.range(..=after).next_back()?;
        (page.end.position > after && page.is_fresh()).then(|| Arc::clone(page))
    }

    fn keep(&self, life: u64, after: Position, page: &Arc<Page>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.life < life {
            *kept = Kept { life, ..Kept::default() };
        } else if kept.life > life {
            return;
        }
        kept.bytes += page.cost();
        if let Some(before) = kept.pages.insert(after, Arc::clone(page)) {
            kept.bytes -= before.cost();
        } else {
            kept.oldest.push_back(after);
        }
        while let Some(oldest) = kept.oldest.front().copied() {
            let stale = kept.pages.get(&oldest).is_none_or(|page| !page.is_fresh());
            if kept.bytes <= self.most && !stale {
                break;
            }
            kept.oldest.pop_front();
            if let Some(page) = kept.pages.remove(&oldest) {
                kept.bytes -= page.cost();
            }
        }
    }
}

/// Records the rows that cannot be sent, before anybody passes over them.
pub(super) async fn note_set_aside<DB: Storage>(pool: &Pool<DB>, rows: &[LogRow]) -> Result<()> {
    for LogRow { cursor, message } in rows.iter().filter(|row| row.message.topic == SET_ASIDE) {
        let problem = String::from_utf8_lossy(&message.data).into_owned();
        let (position, seq) = (cursor.position, cursor.seq);
        tracing::error!(
            %position, seq, problem,
            "a row of the outbox cannot be sent and is passed over: another program has written it \
             past the table's rules; `syncline doctor` lists it, enqueue it again if it is needed"
        );
        DB::set_aside(pool, &SetAside { position, seq, problem }).await?;
    }
    Ok(())
}

/// How many rows to ask for next: what fitted when the page's bytes were nearly full, else
/// twice as many.
fn next_page(asked: i64, rows: &[LogRow], most: PageLimit) -> i64 {
    let bytes: usize = rows.iter().map(|row| row.message.data.len()).sum();
    match bytes.saturating_mul(2) > most.bytes {
        true => rows.len().max(1) as i64,
        false => (asked * 2).min(most.rows),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::Message;

    #[test]
    fn a_page_that_was_read_long_ago_is_read_again() {
        let limit = PageLimit { rows: 10, bytes: 1_000 };
        let pages = Pages::new(limit, 1 << 20);
        let cursor = Cursor { position: Position(1), ..Cursor::default() };
        let message = Arc::new(Message::new("t", "text/plain", "x"));
        let page = |read| {
            Arc::new(Page::new(vec![LogRow { cursor, message: message.clone() }], cursor, read))
        };
        pages.keep(0, Position(0), &page(Instant::now()));
        assert!(pages.find(0, Position(0)).is_some());
        // The clock of a machine that has just started may not go back so far.
        let Some(before) = Instant::now().checked_sub(FRESH) else { return };
        pages.keep(0, Position(0), &page(before));
        assert!(pages.find(0, Position(0)).is_none(), "it may hold what was erased since");
    }
}
