//! How a relay works.

use std::time::Duration;

use super::Retention;
use crate::{pulse, storage::PageLimit};

/// How a relay works; the defaults suit most services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayOptions {
    /// The most messages in one batch (2,000).
    pub batch_messages: u32,
    /// The most payload in one batch, in bytes (4 MiB); a single larger message still goes.
    pub batch_bytes: usize,
    /// How many batches of a shard may be under way at once (4); ones that are not full, two.
    pub window: usize,
    /// The most messages that one seal closes (10,000).
    pub seal_messages: u32,
    /// How long a lease lasts (10 s; 100 ms to 10 minutes): so long a dead process's work rests.
    pub lease: Duration,
    /// Limit on an answer of the database (20 s; at least 100 ms). A connection that has not
    /// answered by then is dead: it is closed, and all is asked again on a new one. A lease is given
    /// up to another process when its work gets no answer. Sealing a whole seal, reading a page or
    /// saving all checkpoints must take less.
    pub answer_within: Duration,
    /// Limit on a publisher's answer to a batch (45 s; at least 100 ms), for publishers that have none,
    /// or a longer one: the batch is then sent again. A relay that stops waits for no answer for longer.
    pub publish_within: Duration,
    /// The longest pause between two looks at an idle log (1.2 s).
    pub idle: Duration,
    /// The longest pause between two tries of a target that fails (30 s).
    pub max_backoff: Duration,
    /// How long a checkpoint may lag behind what was acknowledged (100 ms): after a crash so
    /// much is sent again. The checkpoints of all routes are saved together.
    pub checkpoint_every: Duration,
    /// How long after the log moved a shard that has nothing to send tells its consumer so (5 s).
    pub progress_every: Duration,
    /// How long a shard may hear nothing of its consumer before it asks where that is (30 s, give or
    /// take a quarter; at least 100 ms), which it also does when it starts. So it learns that the
    /// consumer's database was restored from a backup, when it has nothing to send.
    pub ask_every: Duration,
    /// How long a stream with messages, which no route carries, may go unread before it is named in the
    /// log, in [`RelayHandle::problems`](super::RelayHandle::problems) and by
    /// [`streams::unread`](fn@crate::streams::unread) (45 s, and 20 s more where another relay served
    /// the reader last). A reader that waits for news is reading, and so is one that was given
    /// messages, for 100 ms each; one that comes now and then needs a longer time than its pauses.
    pub unread_after: Duration,
    /// How much of the log is kept in memory for other shards and routes that are at about the
    /// same place, in bytes (16 MiB).
    pub cache_bytes: usize,
    /// How long the log is kept.
    pub retention: Retention,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            batch_messages: 2_000,
            batch_bytes: 4 << 20,
            window: 4,
            seal_messages: 10_000,
            lease: Duration::from_secs(10),
            answer_within: Duration::from_secs(20),
            publish_within: Duration::from_secs(45),
            idle: pulse::EVERY,
            max_backoff: Duration::from_secs(30),
            checkpoint_every: Duration::from_millis(100),
            progress_every: Duration::from_secs(5),
            ask_every: Duration::from_secs(30),
            unread_after: Duration::from_secs(45),
            cache_bytes: 16 << 20,
            retention: Retention::default(),
        }
    }
}

impl RelayOptions {
    pub(super) fn page(&self) -> PageLimit {
        PageLimit { rows: i64::from(self.batch_messages), bytes: self.batch_bytes }
    }
}
