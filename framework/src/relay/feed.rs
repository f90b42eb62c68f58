//! The feed: serves pages of the log to readers that ask, and holds each reader's place against
//! the log first.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{
    Shared,
    carried::Carried,
    position::{Verified, verify},
};
use crate::{
    Storage,
    message::{Envelope, Link, Position, key_hash},
    storage::{Checkpoint, LogRow, PageLimit},
    transport::{Feed, FeedError, FeedPage, FeedRequest},
};

/// So many requests read the database at once; the relay has as many connections more.
pub(super) const READERS: u32 = 4;

/// The [`Feed`] of a relay's log.
pub(super) struct LogFeed<DB: Storage> {
    shared: Arc<Shared<DB>>,
    source: String,
    incarnation: Uuid,
    streams: Vec<String>,
    reading: Semaphore,
}

impl<DB: Storage> LogFeed<DB> {
    pub(super) fn new(
        shared: Arc<Shared<DB>>,
        source: String,
        incarnation: Uuid,
        streams: Vec<String>,
    ) -> Arc<Self> {
        let reading = Semaphore::new(READERS as usize);
        Arc::new(Self { shared, source, incarnation, streams, reading })
    }

    /// What the reader asks for, as it is defined now; any process may have changed it.
    async fn carried(&self, request: &FeedRequest) -> Result<Carried, FeedError> {
        let FeedRequest { stream, version, shard, .. } = request;
        let mut versions = match self.streams.contains(stream) {
            true => DB::streams(&self.shared.pool).await?,
            false => Vec::new(),
        };
        versions.retain(|version| version.name == *stream);
        let found = versions.iter().position(|known| known.version == *version);
        match found.filter(|index| (0..versions[*index].shards).contains(shard)) {
            Some(index) => {
                Ok(Carried::new(&self.source, self.incarnation, &versions, index, *shard))
            }
            None => {
                let (stream, version, shard) = (stream.clone(), *version, *shard);
                Err(FeedError::Unknown { stream, version, shard })
            }
        }
    }

    /// Holds the reader's place against the log.
    async fn locate(
        &self,
        request: &FeedRequest,
        carried: &Carried,
    ) -> Result<Checkpoint, FeedError> {
        let _turn = self.reading.acquire().await;
        let (after, pool) = (request.after, &self.shared.pool);
        let mut place = match verify(pool, after, request.last).await? {
            Verified::Here(place) => place,
            Verified::Diverged(problem) => return Err(FeedError::Diverged(problem)),
        };
        // A version begins where the one before it ends.
        if after < carried.after {
            let cursor = DB::locate(pool, carried.after).await?;
            place = Checkpoint { cursor, last: Link::anchor(carried.after) };
        }
        Ok(place)
    }
}

#[async_trait]
impl<DB: Storage> Feed for LogFeed<DB> {
    async fn page(&self, request: FeedRequest) -> Result<FeedPage, FeedError> {
        let carried = self.carried(&request).await?;
        let current = self.incarnation;
        if request.incarnation.is_some_and(|known| known != current) {
            return Err(FeedError::Incarnation { current });
        }
        let place = self.locate(&request, &carried).await?;
        if carried.until.is_some_and(|until| place.cursor.position >= until) {
            // Progress to the end of a version that has nothing is told once.
            if request.after >= place.cursor.position {
                return Err(FeedError::Closed { next: request.version + 1 });
            }
        }
        let until = Instant::now() + request.wait;
        let mut head = self.shared.head.subscribe();
        let most = self.shared.options.page();
        let limit = PageLimit {
            rows: most.rows.min(i64::from(request.most.messages.max(1))),
            bytes: most.bytes.min(request.most.bytes),
        };
        let mut page = Page::new(self, &request, carried, limit, place);
        loop {
            let upto = *head.borrow_and_update();
            if page.end.cursor.position < upto {
                let _turn = self.reading.acquire().await;
                page.fill(upto).await?;
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
struct Page<'a, DB: Storage> {
    feed: &'a LogFeed<DB>,
    request: &'a FeedRequest,
    carried: Carried,
    limit: PageLimit,
    end: Checkpoint,
    rows: i64,
    bytes: usize,
    messages: Vec<Envelope>,
    full: bool,
    /// Whether there is a message for the reader, and not only links.
    shows: bool,
}

impl<'a, DB: Storage> Page<'a, DB> {
    fn new(
        feed: &'a LogFeed<DB>,
        request: &'a FeedRequest,
        carried: Carried,
        limit: PageLimit,
        end: Checkpoint,
    ) -> Self {
        let messages = Vec::new();
        let (rows, bytes, full, shows) = (0, 0, false, false);
        Self { feed, request, carried, limit, end, rows, bytes, messages, full, shows }
    }

    /// Reads on to `upto`, or until the page is full.
    async fn fill(&mut self, upto: Position) -> Result<(), FeedError> {
        while !self.full && self.end.cursor.position < upto {
            let at = self.end.cursor;
            let left = PageLimit {
                rows: self.limit.rows - self.rows,
                bytes: self.limit.bytes.saturating_sub(self.bytes),
            };
            let rows = DB::read(&self.feed.shared.pool, at, left).await?;
            // Positions are dense: a hole is what is no longer kept.
            let next = rows.first().map(|row| row.cursor.position.0);
            if next != Some(at.position.0 + 1) {
                return Err(FeedError::Trimmed(format!(
                    "what follows position {} is no longer kept; this log goes on from {}",
                    at.position,
                    next.map_or("its end".to_owned(), |next| format!("position {next}")),
                )));
            }
            // Looked at after the read: a definition that comes later takes over behind it.
            self.carried = self.feed.carried(self.request).await?;
            for row in rows {
                self.take(row);
            }
            self.full |= self.rows >= self.limit.rows;
            self.full |= self.carried.until.is_some_and(|until| self.end.cursor.position >= until);
        }
        Ok(())
    }

    fn take(&mut self, row: LogRow) {
        let LogRow { cursor, message } = row;
        let bytes = self.bytes + message.data.len();
        let past = self.carried.until.is_some_and(|until| cursor.position > until);
        self.full |= past || (self.rows > 0 && bytes > self.limit.bytes);
        if self.full {
            return;
        }
        (self.bytes, self.end.cursor) = (bytes, cursor);
        self.rows += 1;
        if self.carried.carries(&message, || key_hash(&message)) {
            let position = cursor.position;
            let link = Link { position, id: message.id };
            let prev = std::mem::replace(&mut self.end.last, link);
            self.shows |= self.request.shows(&message.topic);
            let origin = Arc::clone(&self.carried.origin);
            let next = Envelope { origin, position, prev, message };
            self.request.add(&mut self.messages, next);
        }
    }

    fn finish(self) -> FeedPage {
        FeedPage { batch: self.carried.batch(self.messages, &self.end), full: self.full }
    }
}
