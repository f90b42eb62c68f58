//! Messages that a consumer could not apply, made by a real consumer.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Message, RetryPolicy, Storage, Verdict,
    message::{Batch, Link, Origin, Position},
    transport::Receive,
};
use uuid::Uuid;

/// A consumer that fails for keys that begin with `bad` while it is broken, and says what it
/// applied.
pub struct Recipient<DB: Storage> {
    /// The consumer, named `login`.
    pub consumer: Consumer<DB>,
    broken: Arc<AtomicBool>,
    applied: Arc<Mutex<Vec<i64>>>,
}

impl<DB: Storage> Recipient<DB> {
    /// A broken one, whose failures are dead letters at once.
    pub fn broken(pool: Pool<DB>) -> Self {
        let pause = Duration::from_millis(20);
        Self::failing(pool, RetryPolicy { max_attempts: 1, base: pause, max: pause })
    }

    /// A broken one, whose failures are tried again so.
    pub fn failing(pool: Pool<DB>, retry: RetryPolicy) -> Self {
        let broken = Arc::new(AtomicBool::new(true));
        let applied = Arc::default();
        let handler = Fragile { broken: Arc::clone(&broken), applied: Arc::clone(&applied) };
        let consumer = Consumer::builder("login", pool).handler("*", handler).retry(retry);
        Self { consumer: consumer.build().expect("a valid consumer"), broken, applied }
    }

    /// From now on nothing fails.
    pub fn repair(&self) {
        self.broken.store(false, Ordering::SeqCst);
    }

    /// The positions that were applied, in order.
    pub fn applied(&self) -> Vec<i64> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Receives one message a key, in order, from position 1; each in a batch of its own, for
    /// what the handler remembers is not undone when a batch is rolled back.
    pub async fn receive(&self, keys: &[&str]) {
        for batch in batches(keys) {
            self.consumer.receive(batch).await.expect("the batch is taken in");
        }
    }
}

struct Fragile {
    broken: Arc<AtomicBool>,
    applied: Arc<Mutex<Vec<i64>>>,
}

#[async_trait]
impl<DB: Storage> Handler<DB> for Fragile {
    async fn handle(
        &self,
        _tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let bad = message.key.as_deref().is_some_and(|key| key.starts_with("bad"));
        if bad && self.broken.load(Ordering::SeqCst) {
            return Err("the e-mail address is \u{1b}[31mnot valid\u{1b}[0m".into());
        }
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.push(message.position.0);
        Ok(Verdict::Done)
    }
}

/// One batch of `count` messages from position 1: number n has position n and key `k{n}`.
pub fn numbered(count: i64) -> Batch {
    let origin = Arc::new(Origin {
        source: "/source".to_owned(),
        incarnation: Uuid::from_u128(7),
        stream: "s".to_owned(),
        version: 1,
        shard: 0,
    });
    let mut last = Link::START;
    let envelope = |n: i64| {
        let message = Message::json("in", &n).expect("JSON").key(format!("k{n}"));
        let prev = last;
        last = Link { position: Position(n), id: message.id };
        Envelope {
            origin: Arc::clone(&origin),
            position: Position(n),
            prev,
            message: message.into(),
        }
    };
    let messages = (1..=count).map(envelope).collect();
    Batch { origin, messages, through: last.position, last, handover: None, continues: None }
}

/// One message a key, from position 1, of the source `/register`.
fn batches(keys: &[&str]) -> Vec<Batch> {
    let origin = Arc::new(Origin {
        source: "/register".to_owned(),
        incarnation: Uuid::from_u128(7),
        stream: "users".to_owned(),
        version: 1,
        shard: 0,
    });
    let mut prev = Link::START;
    let batch = |(key, position): (&&str, i64)| {
        let payload = format!("user {key}");
        let message = Message::json("user.registered", &payload).expect("JSON").key(*key);
        let envelope = Envelope {
            origin: Arc::clone(&origin),
            position: Position(position),
            prev,
            message: message.into(),
        };
        prev = envelope.link();
        Batch {
            origin: Arc::clone(&origin),
            messages: vec![envelope],
            through: prev.position,
            last: prev,
            handover: None,
            continues: None,
        }
    };
    keys.iter().zip(1..).map(batch).collect()
}
