//! The feed: serves pages of the log to readers that ask, and holds each reader's place against
//! the log first.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Pool;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};

use super::{
    Shared,
    position::{Verified, verify},
};
use crate::{
    Storage, Stream,
    message::{Batch, Envelope, Origin, Position},
    storage::{Checkpoint, PageLimit},
    transport::{Feed, FeedError, FeedPage, FeedRequest},
};

/// So many requests read the database at once; the relay has as many connections more.
pub(super) const READERS: usize = 4;

/// What a feed serves: a shard of a stream.
pub(super) struct Line {
    pub(super) stream: Stream,
    pub(super) origin: Arc<Origin>,
}

/// The [`Feed`] of a relay's log.
pub(super) struct LogFeed<DB: Storage> {
    shared: Arc<Shared<DB>>,
    lines: Vec<Line>,
    reading: Semaphore,
}

impl<DB: Storage> LogFeed<DB> {
    pub(super) fn new(shared: Arc<Shared<DB>>, lines: Vec<Line>) -> Self {
        Self { shared, lines, reading: Semaphore::new(READERS) }
    }

    /// Holds the reader's place against the log.
    async fn locate(&self, request: &FeedRequest) -> Result<Checkpoint, FeedError> {
        let _turn = self.reading.acquire().await;
        match verify(&self.shared.pool, request.after, request.last).await? {
            Verified::Here(place) => Ok(place),
            Verified::Diverged(problem) => Err(FeedError::Diverged(problem)),
        }
    }
}

#[async_trait]
impl<DB: Storage> Feed for LogFeed<DB> {
    async fn page(&self, request: FeedRequest) -> Result<FeedPage, FeedError> {
        let is = |line: &&Line| {
            line.stream.name() == request.stream && line.origin.shard == request.shard
        };
        let Some(line) = self.lines.iter().find(is) else {
            return Err(FeedError::Unknown { stream: request.stream, shard: request.shard });
        };
        let current = line.origin.incarnation;
        if request.incarnation.is_some_and(|known| known != current) {
            return Err(FeedError::Incarnation { current });
        }
        let until = Instant::now() + request.wait;
        let mut head = self.shared.head.subscribe();
        let most = self.shared.options.page();
        let limit = PageLimit {
            rows: most.rows.min(i64::from(request.most.messages.max(1))),
            bytes: most.bytes.min(request.most.bytes),
        };
        let mut page = Page::new(&request, line, limit, self.locate(&request).await?);
        loop {
            let upto = *head.borrow_and_update();
            if page.end.cursor.position < upto {
                let _turn = self.reading.acquire().await;
                page.fill(&self.shared.pool, upto).await?;
            }
            if page.full || page.shows {
                break;
            }
            let at = page.end.cursor.position;
            tokio::select! {
                moved = head.wait_for(|head| *head > at) => if moved.is_err() { break },
                () = sleep_until(until) => break,
                () = self.shared.stop.cancelled() => break,
            }
        }
        Ok(page.finish())
    }
}

/// A page as it is gathered. Where it ends depends only on the log and the limit, not on how
/// the log was read: a full page is the same at any later time.
struct Page<'a> {
    request: &'a FeedRequest,
    line: &'a Line,
    limit: PageLimit,
    end: Checkpoint,
    rows: i64,
    bytes: usize,
    messages: Vec<Envelope>,
    full: bool,
    /// Whether there is a message for the reader, and not only links.
    shows: bool,
}

impl<'a> Page<'a> {
    fn new(request: &'a FeedRequest, line: &'a Line, limit: PageLimit, from: Checkpoint) -> Self {
        let messages = Vec::new();
        let (rows, bytes, full, shows) = (0, 0, false, false);
        Self { request, line, limit, end: from, rows, bytes, messages, full, shows }
    }

    /// Reads on to `upto`, or until the page is full.
    async fn fill<DB: Storage>(
        &mut self,
        pool: &Pool<DB>,
        upto: Position,
    ) -> Result<(), FeedError> {
        while !self.full && self.end.cursor.position < upto {
            let at = self.end.cursor;
            let left = PageLimit {
                rows: self.limit.rows - self.rows,
                bytes: self.limit.bytes.saturating_sub(self.bytes),
            };
            let mut rows = DB::read(pool, at, left).await?;
            // Positions are dense: a hole is what is no longer kept.
            let next = rows.first().map(|row| row.cursor.position.0);
            if next != Some(at.position.0 + 1) {
                return Err(FeedError::Trimmed(format!(
                    "what follows position {} is no longer kept; this log goes on from {}",
                    at.position,
                    next.map_or("its end".to_owned(), |next| format!("position {next}")),
                )));
            }
            let fitting = rows.iter().take_while(|row| {
                self.bytes += row.message.data.len();
                self.rows += 1;
                self.rows == 1 || self.bytes <= self.limit.bytes
            });
            let fitting = fitting.count();
            self.full = fitting < rows.len() || self.rows >= self.limit.rows;
            rows.truncate(fitting);
            let Some(last) = rows.last() else { break };
            let cursor = last.cursor;
            let batch = self.line.stream.batch(&self.line.origin, &self.end, rows);
            self.end = Checkpoint { cursor, last: batch.last };
            for message in batch.messages {
                self.shows |= self.request.shows(&message.topic);
                self.request.add(&mut self.messages, message);
            }
        }
        Ok(())
    }

    fn finish(self) -> FeedPage {
        let batch = Batch {
            origin: Arc::clone(&self.line.origin),
            messages: self.messages,
            through: self.end.cursor.position,
            last: self.end.last,
        };
        FeedPage { batch, full: self.full }
    }
}
