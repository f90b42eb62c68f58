//! What the cases share. Handlers write their effects as messages into the outbox of the
//! database they run on, so that the suite needs no SQL of its own.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use uuid::Uuid;

use crate::{
    Consumer, Envelope, Handler, HandlerError, Message, Storage, Verdict, begin,
    message::{Batch, Link, Origin, Position},
    outbox::enqueue_all,
    storage::{Checkpoint, Cursor, Lease, LogRow, NewShard, PageLimit, Save, ShardKey},
    transport::{Ack, PublishError, Publisher, Receive},
};

pub(super) const PAGE: PageLimit = PageLimit { rows: 1_000, bytes: usize::MAX };
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// A message of `key`, whose payload is `n`.
pub(super) fn message(topic: &str, key: &str, n: i64) -> Message {
    Message::json(topic, &n).expect("a number").key(key)
}

/// Commits `messages` in one transaction.
pub(super) async fn commit<DB: Storage>(pool: &Pool<DB>, messages: &[Message]) {
    let mut tx = begin(pool).await.expect("begin");
    let receipts = enqueue_all(&mut tx, messages).await.expect("enqueue");
    tx.commit().await.expect("commit");
    receipts.into_iter().for_each(crate::Receipt::committed);
}

/// The lease that sealing needs, for a long time.
pub(super) async fn sealer<DB: Storage>(pool: &Pool<DB>) -> Lease {
    let lease = DB::acquire(pool, "seal", Uuid::now_v7(), LEASE).await.expect("acquire");
    lease.expect("nobody else seals")
}

/// Seals what is there and reads the whole log.
pub(super) async fn whole_log<DB: Storage>(pool: &Pool<DB>, lease: &Lease) -> Vec<LogRow> {
    let mut came = Vec::new();
    loop {
        let sealed = DB::seal(pool, lease, 1_000).await.expect("seal");
        let whole = sealed.rows.is_empty() || sealed.rows.len() as u64 == sealed.count;
        assert!(whole, "all rows of a seal come with it, or none");
        came.extend(sealed.rows);
        if sealed.count == 0 {
            break;
        }
    }
    let all = read_all(pool, PAGE).await;
    for row in came {
        assert!(all.contains(&row), "what comes with a seal is what is read: {row:?}");
    }
    all
}

/// Reads the sealed log in pages.
pub(super) async fn read_all<DB: Storage>(pool: &Pool<DB>, page: PageLimit) -> Vec<LogRow> {
    let (mut all, mut after) = (Vec::<LogRow>::new(), Cursor::default());
    loop {
        let rows = DB::read(pool, after, page).await.expect("read");
        let Some(last) = rows.last() else { return all };
        assert!(rows.len() as i64 <= page.rows, "a page has at most its limit");
        after = last.cursor;
        all.extend(rows);
    }
}

/// Waits until `probe` gives something; a failed promise after a minute.
pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    for _ in 0..6_000 {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited a minute in vain: {what}")
}

/// The messages on topic `in` as one batch of stream `s`, as a relay would send it.
pub(super) fn batch(rows: Vec<LogRow>, incarnation: Uuid) -> Batch {
    linked(rows, "s", "in", incarnation)
}

/// The messages on `topic` as one batch of `stream`.
pub(super) fn linked(rows: Vec<LogRow>, stream: &str, topic: &str, incarnation: Uuid) -> Batch {
    let (source, stream) = ("/suite".into(), stream.into());
    let origin = Arc::new(Origin { source, incarnation, stream, version: 1, shard: 0 });
    let through = rows.last().map_or(Position::START, |row| row.cursor.position);
    let mut last = Link::START;
    let topic = crate::message::TopicPattern::from(topic);
    let rows = rows.into_iter().filter(|row| topic.matches(&row.message.topic));
    let messages = rows
        .map(|row| {
            let position = row.cursor.position;
            let prev = std::mem::replace(&mut last, Link { position, id: row.message.id });
            Envelope { origin: Arc::clone(&origin), position, prev, message: row.message }
        })
        .collect();
    Batch { origin, messages, through, last, handover: None, continues: None }
}

/// What makes route `r` of stream `s`, of one shard, for a test that has no relay.
pub(super) async fn open<DB: Storage>(pool: &Pool<DB>) -> Checkpoint {
    let key = ShardKey::new("r", 1, 0);
    let new = NewShard { key: key.clone(), at: Position::START, closed: false };
    DB::create_shards(pool, "s", &[new]).await.expect("create");
    DB::shard(pool, &key).await.expect("read").expect("it is there").checkpoint
}

/// Saves one checkpoint of route `r`.
pub(super) async fn save<DB: Storage>(pool: &Pool<DB>, lease: &Lease, to: Checkpoint) -> bool {
    let (key, lease) = (ShardKey::new("r", 1, 0), lease.clone());
    let saves = [Save { key, lease, to, closed: false }];
    DB::save_checkpoints(pool, &saves, &|| true).await.expect("save")[0]
}

/// The part of a batch from message `from` on.
pub(super) fn tail(batch: &Batch, from: usize) -> Batch {
    Batch { messages: batch.messages[from..].to_vec(), ..batch.clone() }
}

/// The end of a batch that was applied.
pub(super) fn end_of(batch: &Batch) -> (Position, Link) {
    (batch.through, batch.last)
}

/// Writes each message it handles as an effect on topic `out`, after `behave` agreed.
pub(super) struct Effect<F>(pub(super) F);

#[async_trait]
impl<DB, F> Handler<DB> for Effect<F>
where
    DB: Storage,
    F: Fn(&Envelope) -> Behaviour + Send + Sync + 'static,
{
    async fn handle(
        &self,
        tx: &mut Transaction<'_, DB>,
        message: &Envelope,
    ) -> Result<Verdict, HandlerError> {
        let mut effect = Message::new("out", "application/json", message.data.clone());
        effect.key = message.key.clone();
        // First the write, then the trouble: it must be rolled back.
        DB::append(tx, &[effect]).await?;
        match (self.0)(message) {
            Behaviour::Done => Ok(Verdict::Done),
            Behaviour::Fail => Err("it failed as it was told to".into()),
            Behaviour::Panic => panic!("it panicked as it was told to"),
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Verdict(verdict) => Ok(verdict),
        }
    }
}

/// What a handler of the suite does with a message.
pub(super) enum Behaviour {
    Done,
    Fail,
    Panic,
    Hang,
    Verdict(Verdict),
}

/// The payload's number.
pub(super) fn number(message: &Message) -> i64 {
    message.decode().expect("a number")
}

/// The effects so far: (key, number) in commit order.
pub(super) async fn effects<DB: Storage>(pool: &Pool<DB>, lease: &Lease) -> Vec<(String, i64)> {
    let rows = whole_log(pool, lease).await;
    let effects = rows.into_iter().filter(|row| row.message.topic == "out");
    effects.map(|row| (row.message.key.clone().unwrap_or_default(), number(&row.message))).collect()
}

/// Hands batches straight to a consumer.
pub(super) struct Direct<DB: Storage>(pub(super) Consumer<DB>);

#[async_trait]
impl<DB: Storage> Publisher for Direct<DB> {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        self.0.receive(batch.clone()).await.map_err(|error| PublishError::Unavailable {
            target: "the suite's consumer".into(),
            reason: error.to_string(),
            retry_after: None,
        })
    }
}
