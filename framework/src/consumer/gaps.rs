//! Messages that come before the ones they follow: held, if so configured, until what is missing
//! arrives or is fetched; always reported.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Inner, OnGap, apply::Part, builder::Order, start::beginning, stop::Stop};
use crate::{
    Error, Result, Storage,
    inbox::{News, compare},
    message::{Batch, Link, Origin, Position, decode_envelope},
    pulse::{self, Pulse, Wish},
    storage::InboxRow,
    transport::{Ack, Outcome, ReceiveError},
};

/// How often is looked for what other processes hold.
const LOOK: Duration = Duration::from_secs(10);
/// How many messages that were held are applied in one transaction.
const STEP: i64 = 256;
/// The longest that fetching a page may take.
const FETCH: Duration = Duration::from_secs(30);
/// How many pages are fetched at a look.
const PAGES: usize = 1_000;
/// A gap that is open for longer does not heal by itself: a source sends again within seconds.
const OPEN: Duration = Duration::from_secs(30);
/// What a source is told to wait while its stream is stopped.
const STOPPED_MS: u64 = 5_000;

/// Messages that are missing: something came that does not follow what was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Of which stream and shard.
    pub origin: Origin,
    /// When it was noticed.
    pub since: DateTime<Utc>,
    /// The last message that was applied: what is missing comes after it.
    pub applied: Link,
    /// The last message that is missing, as the first one after it names it.
    pub missing: Link,
    /// How many messages are held until then.
    pub held: u64,
}

impl<DB: Storage> Inner<DB> {
    pub(super) fn known_gaps(&self) -> Vec<Gap> {
        let gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |gap: &Gap| (gap.origin.source.clone(), gap.origin.stream.clone());
        let mut all: Vec<Gap> = gaps.values().cloned().collect();
        all.sort_by_key(|gap| (name(gap), gap.origin.shard));
        all
    }

    /// Answers a batch that does not follow `row`.
    pub(super) async fn early(&self, batch: &Batch, row: InboxRow) -> Result<Ack, ReceiveError> {
        let first = batch.messages.iter().find(|message| message.position > row.watermark);
        let missing = first.map_or(batch.last, |first| first.prev);
        // Another message stands where ours does: nothing is missing, the logs differ.
        if missing.position <= row.last.position {
            return Ok(row.ack(Outcome::Gap));
        }
        let holds = self.hold.messages > 0;
        let held = match first {
            Some(_) if holds => self.limited(self.hold_early(batch)).await,
            _ => Ok((row, if holds { Held::Kept(0) } else { Held::Full })),
        };
        let (row, held) = match held {
            Ok(held) => held,
            Err(stop) => return self.stopped(Part::of(batch), stop).await,
        };
        let count = if let Held::Kept(count) = held { count } else { 0 };
        self.note_gap(&batch.origin, row.last, missing, count);
        self.gap.notify_one();
        let outcome = match (held, self.on_gap) {
            (Held::Kept(_), _) => Outcome::Complete,
            (Held::Follows, _) | (_, OnGap::AskAgain) => Outcome::Gap,
            (_, OnGap::Stop) => Outcome::Paused { retry_after_ms: STOPPED_MS, trouble: None },
        };
        Ok(row.ack(outcome))
    }

    /// Answers an unordered batch before which others are missing for long.
    pub(super) async fn left_behind(&self, batch: &Batch, ack: Ack) -> Result<Ack, ReceiveError> {
        let origin = &batch.origin;
        let look = async {
            let mut tx = self.begin().await?;
            let (ahead, _) = DB::ahead_size(&mut tx, &self.name, origin).await?;
            let next = DB::next_ahead(&mut tx, &self.name, origin, ack.watermark, 1).await?;
            Ok::<_, Error>((ahead, next))
        };
        let (ahead, next) = self.limited(look).await?;
        let missing = next.first().map_or(batch.last, |first| first.prev);
        self.note_gap(origin, ack.last, missing, u64::try_from(ahead).unwrap_or(0));
        self.gap.notify_one();
        let outcome = match ahead > self.max_held || self.on_gap == OnGap::Stop {
            true => Outcome::Paused { retry_after_ms: STOPPED_MS, trouble: None },
            false => Outcome::Complete,
        };
        Ok(Ack { outcome, ..ack })
    }

    async fn hold_early(&self, batch: &Batch) -> Result<(InboxRow, Held), Stop> {
        let origin = &batch.origin;
        let mut tx = self.begin().await?;
        let first = self.first_row(Part::of(batch));
        let row = DB::lock_inbox(&mut tx, &self.name, origin, first).await?;
        row.check_incarnation(origin)?;
        if let News::Apply(..) = compare(&row, &batch.messages, batch.through, batch.last) {
            return Ok((row, Held::Follows));
        }
        for message in batch.messages.iter().filter(|m| m.position > row.watermark) {
            DB::add_ahead(&mut tx, &self.name, message, true).await?;
        }
        let (count, bytes) = DB::ahead_size(&mut tx, &self.name, origin).await?;
        if count > self.hold.messages || bytes > self.hold.bytes {
            return Ok((row, Held::Full));
        }
        tx.commit().await.map_err(Error::database("hold early messages"))?;
        Ok((row, Held::Kept(u64::try_from(count).unwrap_or(0))))
    }

    fn note_gap(&self, origin: &Origin, applied: Link, missing: Link, held: u64) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gap) = gaps.get_mut(origin) {
            (gap.applied, gap.held) = (applied, gap.held.max(held));
            if missing.position > gap.missing.position && applied.position >= gap.missing.position {
                gap.missing = missing;
            }
            return;
        }
        // It is an error when it stays: a source goes back by itself for a consumer that lags, or that
        // did not take a batch between two others.
        tracing::debug!(
            consumer = self.name, source = origin.source, stream = origin.stream,
            shard = origin.shard, applied = %applied.position, missing = %missing.position, held,
            "what came does not follow what was applied"
        );
        let since = Utc::now();
        let gap = Gap { origin: origin.clone(), since, applied, missing, held };
        gaps.insert(origin.clone(), gap);
    }

    /// After the watermark moved: is a gap closed?
    pub(super) fn passed(&self, origin: &Origin, ack: &Ack) {
        self.refused.passed(origin, ack.watermark);
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(gap) = gaps.get(origin) else { return };
        if ack.last.position >= gap.missing.position {
            let open_for_seconds = (Utc::now() - gap.since).num_seconds();
            tracing::info!(
                consumer = self.name, source = origin.source, stream = origin.stream,
                shard = origin.shard, applied = %ack.last.position, open_for_seconds,
                "what was missing has come"
            );
            gaps.remove(origin);
            self.gap.notify_one();
        }
    }

    /// Tells of gaps that stay open, each once.
    fn tell_open_gaps(&self, told: &mut HashSet<Origin>) {
        let gaps = self.known_gaps();
        told.retain(|told| gaps.iter().any(|gap| gap.origin == *told));
        for Gap { origin, since, applied, missing, held } in gaps {
            let age = (Utc::now() - since).to_std().unwrap_or_default();
            // A message that was refused here is not missing: its sender has it, and must not give it up.
            if self.refused.lately(&origin, OPEN) {
                told.remove(&origin);
                continue;
            }
            if age >= OPEN && told.insert(origin.clone()) {
                tracing::error!(
                    consumer = self.name, source = origin.source, stream = origin.stream,
                    shard = origin.shard, applied = %applied.position,
                    missing = %missing.position, held, open_for_seconds = age.as_secs(),
                    "messages are missing: what came does not follow what was applied; see that the \
                     source's relay runs, and have them sent again there (`syncline route rewind`). Only if \
                     they are gone for good: `syncline inbox skip` gives them up, and they are never applied"
                );
            }
        }
    }

    async fn close_gaps(&self, stop: &CancellationToken) -> Result<()> {
        let mut origins: BTreeMap<_, Origin> = BTreeMap::new();
        let name = |origin: &Origin| (origin.source.clone(), origin.stream.clone(), origin.shard);
        let pool = self.pool.now();
        for ahead in pool.limit(DB::ahead(&pool, Some(&self.name))).await? {
            if ahead.first <= ahead.row.watermark {
                self.remove_ahead(&ahead.origin, ahead.row.watermark).await?;
            }
            origins.insert(name(&ahead.origin), ahead.origin);
        }
        for gap in self.known_gaps() {
            origins.insert(name(&gap.origin), gap.origin);
        }
        for origin in origins.into_values() {
            if stop.is_cancelled() {
                break;
            }
            if let Err(error) = self.close_gap(&origin, stop).await
                && let Some(left_out) = self.said.admit("close", &error.to_string())
            {
                tracing::warn!(
                    consumer = self.name, source = origin.source, stream = origin.stream, %error, left_out,
                    "a gap could not be closed"
                );
            }
        }
        Ok(())
    }

    /// Applies what is held and follows now; fetches what is still missing, if it can.
    async fn close_gap(
        &self,
        origin: &Origin,
        stop: &CancellationToken,
    ) -> Result<(), ReceiveError> {
        let feed = self.fetch.iter().find(|(source, _)| *source == origin.source);
        let turn = self.turn(origin);
        for _ in 0..PAGES {
            let applying = turn.begin(self.patience()).await?;
            let (row, first) = self.drain(origin).await?;
            drop(applying);
            // Another process may have applied what is missing here.
            self.passed(origin, &row.ack(Outcome::Complete));
            if let Some(prev) = first {
                self.note_gap(origin, row.last, prev, 0);
            }
            let open = self.known_gaps().iter().any(|gap| gap.origin == *origin);
            let (true, Some((_, feed)), false) = (open, feed, stop.is_cancelled()) else { break };
            let page = tokio::time::timeout(FETCH, feed.fetch(origin, row.watermark, row.last));
            let page = match page.await {
                Ok(Ok(page)) => page,
                Ok(Err(error)) => {
                    let what = format!("the feed of {} failed: {error}", origin.source);
                    return Err(ReceiveError::Refused(what));
                }
                Err(_) => return Err(ReceiveError::Refused("the feed does not answer".into())),
            };
            if *page.origin != *origin {
                let what = format!("the feed of {} answered for another stream", origin.source);
                return Err(ReceiveError::Refused(what));
            }
            let applying = turn.begin(self.patience()).await?;
            let ack = self.apply_batch(&page).await?;
            drop(applying);
            self.passed(origin, &ack);
            if ack.last == row.last {
                let what = format!("the feed of {} does not have what is missing", origin.source);
                return Err(ReceiveError::Refused(what));
            }
            turn.watermark.send_replace(ack.watermark);
        }
        Ok(())
    }

    /// Forgets what is held up to `reached`.
    async fn remove_ahead(&self, origin: &Origin, reached: Position) -> Result<()> {
        let remove = async {
            let mut tx = self.begin().await?;
            DB::remove_ahead(&mut tx, &self.name, origin, reached).await?;
            tx.commit().await.map_err(Error::database("forget what was held"))
        };
        self.limited(remove).await
    }

    /// Applies held messages in order as far as they follow. Returns where that ends, and what
    /// the next one names as its predecessor.
    async fn drain(&self, origin: &Origin) -> Result<(InboxRow, Option<Link>), ReceiveError> {
        let handover = self.turn(origin).handover();
        loop {
            let look = async {
                let mut tx = self.begin().await?;
                let row = DB::peek_inbox(&mut tx, &self.name, origin).await?;
                let row = row.unwrap_or(beginning(origin));
                let ahead = DB::next_ahead(&mut tx, &self.name, origin, row.watermark, STEP);
                Ok::<_, Error>((row, ahead.await?))
            };
            let (row, ahead) = self.limited(look).await?;
            let Some(first) = ahead.first() else { return Ok((row, None)) };
            // The next batch tells what this version took over from; until then it waits.
            if origin.version > 1 && handover.is_none() {
                return Ok((row, None));
            }
            if !row.is_followed_by(first.prev) {
                return Ok((row, Some(first.prev)));
            }
            let (mut messages, mut last) = (Vec::new(), row.last);
            for next in &ahead {
                let follows = messages.is_empty() || next.prev == last;
                let (true, Some(envelope)) = (follows, &next.envelope) else { break };
                let message = decode_envelope(envelope).map_err(|error| Error::LogBroken {
                    position: next.link.position.0,
                    problem: format!("a message that was held: {error}"),
                })?;
                messages.push(message);
                last = next.link;
            }
            let ack = if messages.is_empty() {
                match self.advance(origin, None).await {
                    Ok(row) => row.ack(Outcome::Complete),
                    Err(Stop::Refused(reason)) => return Err(ReceiveError::Refused(reason)),
                    Err(Stop::Transient(error) | Stop::Broken(error)) => return Err(error.into()),
                    Err(_) => return Ok((row, None)),
                }
            } else {
                let (origin, through) = (Arc::new(origin.clone()), last.position);
                let handover = handover.clone();
                let batch = Batch { origin, messages, through, last, handover, continues: None };
                self.apply_batch(&batch).await?
            };
            if ack.last == row.last {
                return Ok((row, None));
            }
            if self.order_of(origin) == Order::Strict {
                self.remove_ahead(origin, ack.watermark).await?;
            }
            self.turn(origin).watermark.send_replace(ack.watermark);
            self.passed(origin, &ack);
        }
    }
}

/// What became of an early batch.
enum Held {
    /// It is held; so many messages of its stream are.
    Kept(u64),
    /// There is no room for it.
    Full,
    /// It follows by now.
    Follows,
}

/// Closes gaps when one is noticed, when what was missing has come, and now and then while there is
/// one or anything is held.
pub(super) async fn run<DB: Storage>(consumer: Arc<Inner<DB>>, stop: CancellationToken) {
    let wish = Wish::Ahead(consumer.name.clone());
    let mut ear = Pulse::of(&consumer.service).ear(consumer.pool.clone(), wish, pulse::EVERY);
    let mut told = HashSet::new();
    loop {
        if let Err(error) = consumer.close_gaps(&stop).await
            && let Some(left_out) = consumer.said.admit("gaps", &error.to_string())
        {
            tracing::warn!(consumer = consumer.name, %error, left_out, "gaps could not be looked for");
        }
        consumer.tell_open_gaps(&mut told);
        let looked = Instant::now();
        let now_and_then = async {
            sleep(LOOK).await;
            if consumer.known_gaps().is_empty() {
                ear.due(looked).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = consumer.gap.notified() => {}
            () = now_and_then => {}
        }
    }
}
