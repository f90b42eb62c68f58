//! The feed: serves pages of the log to readers that ask, and holds each reader's place against
//! the log first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};

use super::{
    Shared,
    carried::Carried,
    pages::note_set_aside,
    position::{Continuation, Verified, continuation, resume, verify},
    status,
};
use crate::{
    Error, Storage,
    message::{Envelope, Link, Message, Origin, Position, key_hash},
    storage::{Checkpoint, Cursor, LogRow, PageLimit},
    streams::takeover,
    transport::{Feed, FeedError, FeedPage, FeedRequest},
};

/// So many requests read the database at once; the relay has as many connections more.
pub(super) const READERS: u32 = 4;
/// So many shards' empty stretches are remembered.
const EMPTY: usize = 1_024;

/// The server's life, a stream, its version and its shard.
type Shard = (u64, String, i32, i32);

/// The [`Feed`] of a relay's log.
pub(super) struct LogFeed<DB: Storage> {
    shared: Arc<Shared<DB>>,
    source: String,
    streams: Vec<String>,
    reading: Semaphore,
    /// Where a shard holds nothing: after the first position, up to the second.
    empty: Mutex<HashMap<Shard, (Position, Position)>>,
}

impl<DB: Storage> LogFeed<DB> {
    pub(super) fn new(shared: Arc<Shared<DB>>, source: String, streams: Vec<String>) -> Arc<Self> {
        let reading = Semaphore::new(READERS as usize);
        Arc::new(Self { shared, source, streams, reading, empty: Mutex::default() })
    }

    /// What the reader asks for, as it is defined now; any process may have changed it.
    async fn carried(&self, request: &FeedRequest) -> Result<Carried, FeedError> {
        let FeedRequest { stream, version, shard, .. } = request;
        let pool = self.shared.pool.now();
        let all = match self.streams.contains(stream) {
            true => pool.limit(DB::streams(&pool)).await?,
            false => Vec::new(),
        };
        let mut versions = all.clone();
        versions.retain(|version| version.name == *stream);
        let found = versions.iter().position(|known| known.version == *version);
        match found.filter(|index| (0..versions[*index].shards).contains(shard)) {
            Some(index) => {
                let incarnation = pool.limit(DB::incarnation(&pool)).await?;
                let carried = Carried::new(&self.source, incarnation, &versions, index, *shard);
                Ok(carried.from(takeover::told(&all, &versions[index])))
            }
            // Only a later version has such a shard.
            None if found.is_some_and(|index| index + 1 < versions.len()) && *shard >= 0 => {
                Err(FeedError::Closed { next: version + 1 })
            }
            None => {
                let (stream, version, shard) = (stream.clone(), *version, *shard);
                Err(FeedError::Unknown { stream, version, shard })
            }
        }
    }

    /// The place of a reader that knows no message up to it.
    async fn anchored(
        &self,
        request: &FeedRequest,
        carried: &Carried,
    ) -> Result<Checkpoint, FeedError> {
        let pool = self.shared.pool.now();
        let (at, head) = (request.after.max(carried.after), pool.limit(DB::head(&pool)).await?);
        if at > head {
            return Err(FeedError::Diverged(format!(
                "you begin after position {at}, and this log ends at {head}"
            )));
        }
        let place = pool.limit(resume(&pool, carried, at, request.last)).await;
        place.map_err(|error| told(error, &carried.origin))
    }

    /// Holds the reader's place against the log.
    async fn locate(
        &self,
        request: &FeedRequest,
        carried: &Carried,
    ) -> Result<Checkpoint, FeedError> {
        let (after, last, pool) = (request.after, request.last, self.shared.pool.now());
        let _turn = pool.await_turn(self.reading.acquire()).await?;
        // Only its last message says where it is: the watermark it was told.
        let known = Checkpoint { cursor: Cursor { position: after, ..Cursor::default() }, last };
        let found = pool.limit(verify(&pool, carried, after, last, &known)).await;
        let mut place = match found.map_err(|error| told(error, &carried.origin))? {
            Verified::Here(place) => place,
            Verified::Diverged(problem) => return Err(FeedError::Diverged(problem)),
        };
        // Of what is no longer kept it lacks nothing: only the rest is to be looked at.
        let looked = last.position.max(pool.limit(DB::trimmed(&pool)).await?.position);
        self.check_empty(carried, looked, after).await?;
        // A version begins where the one before it ends.
        if after < carried.after && place.cursor.position < carried.after {
            let cursor = pool.limit(DB::locate(&pool, carried.after)).await?;
            place = Checkpoint { cursor, last: Link::anchor(carried.after) };
        }
        Ok(place)
    }
}

impl<DB: Storage> LogFeed<DB> {
    /// Looks whether the log holds nothing of what is carried between a reader's last message
    /// and its watermark. A part of the log that was looked at for a shard is not read again.
    async fn check_empty(
        &self,
        carried: &Carried,
        last: Position,
        after: Position,
    ) -> Result<(), FeedError> {
        let life = self.shared.life.now();
        let key =
            (life, carried.origin.stream.clone(), carried.origin.version, carried.origin.shard);
        let seen = self.empty.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        let (from, mut at) = match seen {
            Some((from, to)) if from <= last && to >= last => (from, to),
            _ => (last, last),
        };
        at = at.max(carried.after);
        let (pool, limit) = (self.shared.pool.now(), self.shared.options.page());
        while at < after {
            let cursor = pool.limit(DB::locate(&pool, at)).await?;
            let rows = pool.limit(DB::read(&pool, cursor, limit)).await?;
            let Some(end) = rows.last() else { break };
            let between = |row: &&LogRow| row.cursor.position <= after;
            for row in rows.iter().take_while(between) {
                if carried.carries(&row.message, || key_hash(&row.message)) {
                    return Err(FeedError::Diverged(format!(
                        "your last message is at position {last}, your watermark at {after}, and \
                         this log holds a message of the stream at {}: this database was restored \
                         from a backup, or it is not the one you know",
                        row.cursor.position
                    )));
                }
            }
            at = end.cursor.position.min(after);
        }
        let mut empty = self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        if empty.len() >= EMPTY && !empty.contains_key(&key) {
            empty.clear();
        }
        empty.insert(key, (from, at));
        Ok(())
    }
}

#[async_trait]
impl<DB: Storage> Feed for LogFeed<DB> {
    async fn page(&self, request: FeedRequest) -> Result<FeedPage, FeedError> {
        let carried = self.carried(&request).await?;
        let mut request = request;
        let mut continues = None;
        if let Some(former) =
            request.incarnation.filter(|known| *known != carried.origin.incarnation)
        {
            let (after, last) = (request.after, request.last);
            let pool = self.shared.pool.now();
            let told = continuation(&pool, &carried, former, after, last);
            let told = match pool.limit(told).await? {
                Continuation::At(told) => told,
                Continuation::Unknown(problem) => return Err(FeedError::Diverged(problem)),
            };
            (request.after, request.last) = (after.min(told.agreed), told.last);
            continues = Some(Arc::new(told));
        }
        let request = request;
        let place = match request.last.is_anchor() && request.last != Link::START {
            true => self.anchored(&request, &carried).await?,
            false => self.locate(&request, &carried).await?,
        };
        if carried.until.is_some_and(|until| place.cursor.position >= until) {
            // Progress to the end of a version that has nothing is told once.
            if request.after >= place.cursor.position {
                return Err(FeedError::Closed { next: request.version + 1 });
            }
        }
        let mut served = self.shared.readings.serve(&request.stream, request.shard, request.after);
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
                let _turn = self.shared.pool.now().await_turn(self.reading.acquire()).await?;
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
        let mut page = page.finish();
        // Only this reader may be told, and only now.
        page.full &= continues.is_none();
        page.batch.continues = continues;
        served.given(page.batch.messages.len());
        Ok(page)
    }
}

/// A reader that came too late is told of which stream, and with which command to go on.
fn told(error: Error, origin: &Origin) -> FeedError {
    match error {
        Error::Trimmed { position, kept } => {
            FeedError::Trimmed(status::came_too_late(position, kept, origin))
        }
        error => error.into(),
    }
}

/// A page as it is gathered. Where it ends depends only on the log and the limit, not on how
/// the log was read: a full page is the same at any later time, unless something in it was erased.
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
            if self.carried.until.is_some_and(|until| self.end.cursor.position >= until) {
                self.full = true;
                break;
            }
            let at = self.end.cursor;
            let left = PageLimit {
                rows: self.limit.rows - self.rows,
                bytes: self.limit.bytes.saturating_sub(self.bytes),
            };
            let pool = self.feed.shared.pool.now();
            let rows = pool.limit(DB::read(&pool, at, left)).await;
            let rows = rows.map_err(|error| told(error, &self.carried.origin))?;
            pool.limit(note_set_aside(&pool, &rows)).await?;
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
            let message = Message::sent(message);
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
