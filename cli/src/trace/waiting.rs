//! Messages of a key that wait: at their source until they are due, at a consumer for the one before
//! them.

use std::time::Instant;

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Envelope, Storage,
    message::decode_envelope,
    storage::{AheadRow, DelayedMessage},
};

use crate::{
    failure::Failure,
    layout::{cut, spare, whole},
    output::Output,
    text,
};

/// The most delayed messages that are shown.
const DELAYED: i64 = 100;
/// Early messages that are read together; each may be as large as a message.
const EARLY: i64 = 100;

/// An early message.
struct Early {
    consumer: String,
    message: Envelope,
}

/// Messages that wait, and how far was looked.
#[derive(Default)]
pub(super) struct Waiting {
    delayed: Vec<DelayedMessage>,
    early: Vec<Early>,
    /// The consumer whose early messages were being looked at when the time was up.
    stopped_at: Option<String>,
}

impl Waiting {
    /// Looks for what waits of `key`. Early messages have no index by key: they are looked through
    /// until `until`.
    pub(super) async fn look<DB: Storage>(
        key: &str,
        until: Instant,
        pool: &Pool<DB>,
    ) -> Result<Self, Failure> {
        let delayed = DB::delayed_of_key(pool, key, DELAYED + 1).await?;
        let mut waiting = Self { delayed, ..Self::default() };
        let of_key = |row: AheadRow| {
            let message = decode_envelope(&row.envelope?).ok()?;
            (message.key.as_deref() == Some(key)).then_some(message)
        };
        for ahead in DB::ahead(pool, None).await?.into_iter().filter(|ahead| ahead.waiting > 0) {
            let (consumer, mut after) = (&ahead.consumer, ahead.row.watermark);
            loop {
                let page = DB::look_ahead(pool, consumer, &ahead.origin, after, EARLY).await?;
                let Some(last) = page.last() else { break };
                after = last.link.position;
                let found = page.into_iter().filter_map(of_key);
                waiting
                    .early
                    .extend(found.map(|message| Early { consumer: consumer.clone(), message }));
                if Instant::now() > until {
                    waiting.stopped_at = Some(consumer.clone());
                    return Ok(waiting);
                }
            }
        }
        Ok(waiting)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.delayed.is_empty() && self.early.is_empty()
    }

    fn shown(&self) -> &[DelayedMessage] {
        &self.delayed[..self.delayed.len().min(DELAYED as usize)]
    }

    /// The delayed ones, and the early ones.
    pub(super) fn documents(&self) -> [Value; 2] {
        let delayed = self.shown().iter();
        let delayed = delayed
            .map(|one| json!({"id": one.id, "topic": one.topic, "due_at": text::at(one.due)}));
        let early = self.early.iter().map(|Early { consumer, message }| {
            json!({
                "consumer": consumer, "source": message.origin.source,
                "stream": message.origin.stream, "version": message.origin.version,
                "shard": message.origin.shard, "position": message.position, "id": message.id,
                "topic": message.topic, "waits_for": message.prev.position,
            })
        });
        let more = self.delayed.len() > self.shown().len();
        [
            json!({"items": delayed.collect::<Vec<_>>(), "more": more}),
            json!({"items": early.collect::<Vec<_>>(), "more": self.stopped_at.is_some()}),
        ]
    }

    pub(super) fn page(&self, output: &mut Output) -> Result<(), Failure> {
        if !self.delayed.is_empty() {
            output.line("")?;
            output.line("delayed: they are put into the log when they are due:")?;
            let rows = self.shown().iter();
            let rows = rows.map(|one| [text::time(one.due), one.topic.clone(), one.id.to_string()]);
            output.table([spare("due_at"), cut("topic"), whole("id")], rows)?;
        }
        if !self.early.is_empty() {
            output.line("")?;
            output.line("early: they wait here for the message before them:")?;
            let rows = self.early.iter().map(|Early { consumer, message }| {
                [
                    consumer.clone(),
                    message.origin.source.clone(),
                    message.topic.clone(),
                    message.position.to_string(),
                    message.prev.position.to_string(),
                    message.id.to_string(),
                ]
            });
            let columns = [
                cut("consumer"),
                cut("source"),
                cut("topic"),
                whole("position"),
                whole("waits_for"),
                whole("id"),
            ];
            output.table(columns, rows)?;
        }
        Ok(())
    }

    /// Says what is not among it.
    pub(super) fn notes(&self, output: &mut Output) -> Result<(), Failure> {
        if self.delayed.len() > self.shown().len() {
            output.note(&format!("only the first {DELAYED} delayed messages are shown"))?;
        }
        if let Some(consumer) = &self.stopped_at {
            output.note(&format!(
                "the time was up among the early messages of {consumer}: give it more with --timeout"
            ))?;
        }
        Ok(())
    }
}
