//! A receiver that behaves like a consumer, in memory, and a source of linked batches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    Error,
    message::{Batch, Envelope, Link, Message, Origin, Position},
    transport::{Ack, Outcome, Reached, Receive, ReceiveError},
};

/// How a [`ReferenceReceiver`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// Applies what fits.
    Willing,
    /// Takes batches and does not go on until the temper changes.
    Stuck,
    /// Refuses every batch.
    Refusing,
    /// Its database is away.
    Broken,
    /// Panics.
    Panicking,
    /// Is paused for so many milliseconds.
    Paused(u64),
}

/// Receives as a consumer does, in memory: keeps a watermark and the chain of links for each
/// origin, and remembers everything that arrived.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use syncline::{Message, testing::{ReferenceReceiver, SampleSource}};
/// use syncline::transport::{Outcome, Receive};
/// let receiver = ReferenceReceiver::new();
/// let mut source = SampleSource::new("/shop", "orders");
/// let batch = source.batch([Message::new("order.placed", "text/plain", "1")]);
/// let ack = receiver.receive(batch.clone()).await?;
/// assert_eq!((ack.watermark, ack.outcome), (batch.through, Outcome::Complete));
/// assert_eq!(receiver.applied(), batch.messages);
/// # Ok::<(), syncline::transport::ReceiveError>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReferenceReceiver {
    temper: watch::Sender<Temper>,
    state: Mutex<State>,
    arrived: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    reached: HashMap<Origin, (Position, Link)>,
    arrived: Vec<Batch>,
    applied: Vec<Envelope>,
}

impl ReferenceReceiver {
    /// One that is willing.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            temper: watch::Sender::new(Temper::Willing),
            state: Mutex::default(),
            arrived: watch::Sender::new(0),
        })
    }

    /// Changes how it behaves, for batches that it has taken and not answered as well.
    pub fn set(&self, temper: Temper) {
        self.temper.send_replace(temper);
    }

    /// Every batch that was handed over, in order of arrival, with repeated ones.
    pub fn arrived(&self) -> Vec<Batch> {
        self.state().arrived.clone()
    }

    /// Every message that was applied, in order, each once.
    pub fn applied(&self) -> Vec<Envelope> {
        self.state().applied.clone()
    }

    /// Returns when at least `batches` have been handed over.
    pub async fn wait_for(&self, batches: usize) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.arrived.subscribe().wait_for(|arrived| *arrived >= batches).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, batch: Batch) -> Ack {
        let mut state = self.state();
        let State { reached, applied, .. } = &mut *state;
        let (watermark, last) =
            reached.entry((*batch.origin).clone()).or_insert((Position::START, Link::START));
        let done = last.position;
        let fresh = batch.messages.into_iter().filter(|message| message.position > done);
        for message in fresh {
            if message.prev != *last {
                return Ack { watermark: *watermark, last: *last, outcome: Outcome::Gap };
            }
            *last = message.link();
            *watermark = message.position.max(*watermark);
            applied.push(message);
        }
        // Progress holds only where its last message is the one applied.
        let outcome = match batch.last.position > last.position {
            true => Outcome::Gap,
            false => Outcome::Complete,
        };
        if batch.last == *last {
            *watermark = batch.through.max(*watermark);
        }
        Ack { watermark: *watermark, last: *last, outcome }
    }

    fn reached(&self, origin: &Origin) -> (Position, Link) {
        self.state().reached.get(origin).copied().unwrap_or((Position::START, Link::START))
    }
}

#[async_trait]
impl Receive for ReferenceReceiver {
    async fn reached(&self, origin: &Origin) -> Result<Option<Reached>, ReceiveError> {
        let state = self.state();
        let is = |of: &Origin| Origin { incarnation: origin.incarnation, ..of.clone() } == *origin;
        let found = state.reached.iter().find(|(of, _)| is(of));
        Ok(found.map(|(origin, (watermark, last))| Reached {
            incarnation: origin.incarnation,
            watermark: *watermark,
            last: *last,
        }))
    }

    async fn receive(&self, batch: Batch) -> Result<Ack, ReceiveError> {
        self.state().arrived.push(batch.clone());
        self.arrived.send_modify(|arrived| *arrived += 1);
        let temper = match self.temper.subscribe().wait_for(|t| *t != Temper::Stuck).await {
            Ok(temper) => *temper,
            Err(_) => Temper::Broken,
        };
        match temper {
            Temper::Willing | Temper::Stuck => Ok(self.apply(batch)),
            Temper::Refusing => Err(ReceiveError::Refused("this receiver wants nothing".into())),
            Temper::Broken => Err(ReceiveError::from(Error::NotMigrated)),
            Temper::Panicking => panic!("a receiver that panics"),
            Temper::Paused(retry_after_ms) => {
                let (watermark, last) = self.reached(&batch.origin);
                Ok(Ack {
                    watermark,
                    last,
                    outcome: Outcome::Paused { retry_after_ms, trouble: None },
                })
            }
        }
    }
}

/// Makes batches as a relay does: linked to each other, in one origin.
#[derive(Debug)]
pub struct SampleSource {
    origin: Arc<Origin>,
    through: Position,
    last: Link,
}

impl SampleSource {
    /// A log that begins.
    pub fn new(source: impl Into<String>, stream: impl Into<String>) -> Self {
        let origin = Origin {
            source: source.into(),
            incarnation: Uuid::now_v7(),
            stream: stream.into(),
            version: 1,
            shard: 0,
        };
        Self { origin: Arc::new(origin), through: Position::START, last: Link::START }
    }

    /// The next batch: `messages` at the next positions. Without messages it carries only
    /// progress, past one message of another stream.
    pub fn batch(&mut self, messages: impl IntoIterator<Item = Message>) -> Batch {
        let link = |message: Message| {
            let position = Position(self.through.0 + 1);
            let origin = Arc::clone(&self.origin);
            let envelope = Envelope { origin, position, prev: self.last, message: message.into() };
            (self.through, self.last) = (position, envelope.link());
            envelope
        };
        let messages: Vec<_> = messages.into_iter().map(link).collect();
        if messages.is_empty() {
            self.through.0 += 1;
        }
        let (through, last) = (self.through, self.last);
        Batch {
            origin: Arc::clone(&self.origin),
            messages,
            through,
            last,
            handover: None,
            continues: None,
        }
    }

    /// The next batch, of `count` small messages.
    pub fn next(&mut self, count: usize) -> Batch {
        let message = |n| Message::new("sample.made", "text/plain", format!("{n}"));
        self.batch((0..count).map(message))
    }
}
