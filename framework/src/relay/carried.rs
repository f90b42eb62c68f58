//! One shard of one version of a stream, as a sender carries it: which rows of the log are its
//! own, and how they are linked.

use std::sync::Arc;

use super::pages::Page;
use crate::{
    message::{
        Batch, Envelope, HandOver, Link, Message, Origin, Position, SET_ASIDE, TakenOver,
        TopicPattern, place,
    },
    storage::{Checkpoint, Cursor, PageLimit, StreamVersion},
};

/// The most pages that are looked at for one batch.
const MAX_PAGES: i32 = 16;

/// What a sender carries.
#[derive(Debug, Clone)]
pub(super) struct Carried {
    pub(super) origin: Arc<Origin>,
    topics: Arc<[TopicPattern]>,
    shards: i32,
    handover: Option<Arc<HandOver>>,
    /// It carries the positions after this one.
    pub(super) after: Position,
    /// The last position that it carries; none for the version in force.
    pub(super) until: Option<Position>,
}

impl Carried {
    /// Shard `shard` of the version at `index` of all `versions` of a stream.
    pub(super) fn new(
        source: &str,
        incarnation: uuid::Uuid,
        versions: &[StreamVersion],
        index: usize,
        shard: i32,
    ) -> Self {
        let version = &versions[index];
        let topics =
            |version: &StreamVersion| version.topics.iter().map(TopicPattern::from).collect();
        let handover = index.checked_sub(1).map(|before| {
            let (shards, topics) = match versions[before].rests() {
                true => (0, Vec::new()),
                false => (versions[before].shards, topics(&versions[before])),
            };
            Arc::new(HandOver { shards, topics, through: version.after, from: Vec::new() })
        });
        let origin = Origin {
            source: source.to_owned(),
            incarnation,
            stream: version.name.clone(),
            version: version.version,
            shard,
        };
        Self {
            origin: Arc::new(origin),
            topics: topics(version).into(),
            shards: version.shards,
            handover,
            after: version.after,
            // One that carries nothing is at its end at once, if there is a next one.
            until: versions.get(index + 1).map(|next| match version.rests() {
                true => version.after,
                false => next.after,
            }),
        }
    }

    /// Takes topics over from other streams.
    pub(super) fn from(mut self, from: Vec<TakenOver>) -> Self {
        if !from.is_empty() {
            self.handover = self.handover.map(|own| Arc::new(HandOver { from, ..(*own).clone() }));
        }
        self
    }

    /// As a route sends it, which has no more to do with a stream that was closed.
    pub(super) fn sent(mut self, version: &StreamVersion) -> Self {
        self.until = self.until.or(version.rests().then_some(version.after));
        self
    }

    /// How far a consumer need not be told the log was looked at when a sender begins at `at`. A later
    /// version is told of in any case: that the one before it has ended, other streams wait for.
    pub(super) fn told_at(&self, at: Position) -> Position {
        if self.handover.is_some() { Position::START } else { at }
    }

    /// Whether a position belongs to this version of the stream.
    pub(super) fn spans(&self, position: Position) -> bool {
        position > self.after && self.until.is_none_or(|until| position <= until)
    }

    /// Where a reader of this version goes on that lacks nothing up to the trim point; behind the
    /// version's end there is nothing to be read.
    pub(super) fn beginning(&self, trimmed: Cursor) -> Cursor {
        let position = self.until.map_or(trimmed.position, |until| until.min(trimmed.position));
        Cursor { position, ..trimmed }
    }

    /// What is known of the shard's messages up to the trim point when no anchor was stored: there
    /// were none, or the log was trimmed before the stream was defined.
    pub(super) fn unknown(&self, trimmed: Position) -> Link {
        if self.after >= trimmed { Link::START } else { Link::anchor(trimmed) }
    }

    pub(super) fn carries(&self, message: &Message, hash: impl FnOnce() -> u64) -> bool {
        message.topic != SET_ASIDE
            && self.topics.iter().any(|pattern| pattern.matches(&message.topic))
            && (self.shards == 1 || place(hash(), self.shards) == self.origin.shard)
    }

    /// How many pages to look at for one batch.
    pub(super) fn pages(&self) -> i32 {
        self.shards.min(MAX_PAGES)
    }

    /// A batch of `messages` that ends at `end`.
    pub(super) fn batch(&self, messages: Vec<Envelope>, end: &Checkpoint) -> Batch {
        Batch {
            origin: Arc::clone(&self.origin),
            messages,
            through: end.cursor.position,
            last: end.last,
            handover: self.handover.clone(),
            continues: None,
        }
    }
}

/// Messages on their way into a batch.
pub(super) struct Gather<'a> {
    carried: &'a Carried,
    limit: PageLimit,
    bytes: usize,
    pub(super) messages: Vec<Envelope>,
    pub(super) end: Checkpoint,
}

impl<'a> Gather<'a> {
    pub(super) fn new(carried: &'a Carried, from: Checkpoint, limit: PageLimit) -> Self {
        Self { carried, limit, bytes: 0, messages: Vec::new(), end: from }
    }

    /// Takes in what follows of `page`; false when the batch is full.
    pub(super) fn take(&mut self, page: &Page) -> bool {
        let at = self.end.cursor.position;
        let from = page.rows.partition_point(|row| row.cursor.position <= at);
        let last = self.carried.until.unwrap_or(Position(i64::MAX));
        for (index, row) in page.rows.iter().enumerate().skip(from) {
            if row.cursor.position > last {
                return false;
            }
            let message = &row.message;
            if self.carried.carries(message, || page.hashes()[index]) {
                let bytes = self.bytes + message.data.len();
                let full =
                    self.messages.len() as i64 >= self.limit.rows || bytes > self.limit.bytes;
                if full && !self.messages.is_empty() {
                    return false;
                }
                self.bytes = bytes;
                let link = Link { position: row.cursor.position, id: message.id };
                self.messages.push(Envelope {
                    origin: Arc::clone(&self.carried.origin),
                    position: row.cursor.position,
                    prev: std::mem::replace(&mut self.end.last, link),
                    message: Message::sent(Arc::clone(message)),
                });
            }
            self.end.cursor = row.cursor;
        }
        if page.end.position <= last {
            self.end.cursor = page.end;
        }
        true
    }
}
