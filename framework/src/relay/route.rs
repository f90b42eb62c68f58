//! One route: read, publish in a window, move the checkpoint over the contiguous
//! acknowledged prefix; after a failure the window is drained and sent again from there.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Route, RouteState, Shared,
    backoff::Backoff,
    position::{Verified, verify},
};
use crate::{
    Result, Storage, Stream,
    message::{Batch, Origin},
    storage::{Checkpoint, Lease, LogRow, PageLimit},
    transport::{Ack, Outcome, PublishError, Publisher},
};

/// Why a route stopped sending.
enum End {
    Stopped,
    LeaseLost,
}

/// A batch under way.
struct Flight {
    /// The checkpoint once all of it is acknowledged.
    end: Checkpoint,
    /// None for a page without messages of the stream: there is nothing to send.
    answer: Option<JoinHandle<Result<Ack, PublishError>>>,
}

pub(super) struct Sender<DB: Storage> {
    shared: Arc<Shared<DB>>,
    name: String,
    publisher: Arc<dyn Publisher>,
    stream: Stream,
    origin: Arc<Origin>,
    backoff: Backoff,
}

impl<DB: Storage> Sender<DB> {
    pub(super) fn new(
        shared: Arc<Shared<DB>>,
        route: Route,
        stream: Stream,
        origin: Arc<Origin>,
    ) -> Self {
        let backoff = Backoff::new(shared.options.max_backoff);
        let Route { name, publisher, .. } = route;
        Self { shared, name, publisher, stream, origin, backoff }
    }

    /// Sends whenever this process has the route's lease, until the relay stops.
    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let lease_name = format!("route/{}", self.name);
        while !stop.is_cancelled() {
            let pause = match self.run_once(&lease_name).await {
                Ok(()) => {
                    self.shared.tell(&self.name, None, RouteState::Standby);
                    self.shared.options.lease / 3
                }
                Err(error) => {
                    tracing::warn!(route = self.name, %error, "route failed; trying again");
                    let pause = self.backoff.failed();
                    self.tell_backoff(error.to_string());
                    pause
                }
            };
            stop.run_until_cancelled(sleep(pause)).await;
        }
    }

    async fn run_once(&mut self, lease_name: &str) -> Result<()> {
        let Shared { pool, holder, options, .. } = &*self.shared;
        let asked = Instant::now();
        let Some(lease) = DB::acquire(pool, lease_name, *holder, options.lease).await? else {
            return Ok(());
        };
        let checkpoint = DB::open_route(pool, &self.name, self.stream.name()).await?;
        let mut run = Run {
            renew_at: asked + options.lease / 3,
            lease: lease.clone(),
            acked: checkpoint,
            read: checkpoint,
            saved: checkpoint,
            saved_at: asked,
            window: VecDeque::new(),
            page: options.page(),
            sender: self,
        };
        let end = run.send().await;
        // What was acknowledged is saved even when the route cannot go on.
        let saved = run.save().await;
        if !matches!(end, Ok(End::LeaseLost)) {
            DB::release(&self.shared.pool, &lease).await?;
        }
        saved?;
        end.map(drop)
    }

    fn tell_backoff(&self, error: String) {
        let failures = self.backoff.failures();
        self.shared.tell(&self.name, None, RouteState::Backoff { failures, error });
    }
}

/// The route's state while this process has its lease.
struct Run<'a, DB: Storage> {
    sender: &'a mut Sender<DB>,
    lease: Lease,
    renew_at: Instant,
    /// Everything up to here was acknowledged.
    acked: Checkpoint,
    /// Everything up to here was read, and sent or in the window.
    read: Checkpoint,
    saved: Checkpoint,
    saved_at: Instant,
    window: VecDeque<Flight>,
    page: PageLimit,
}

impl<DB: Storage> Run<'_, DB> {
    async fn send(&mut self) -> Result<End> {
        let stop = self.sender.shared.stop.clone();
        let mut head = self.sender.shared.head.subscribe();
        loop {
            if !self.renew().await? {
                return Ok(End::LeaseLost);
            }
            let room = self.window.len() < self.window_size();
            if room && !stop.is_cancelled() && self.fill().await? {
                continue;
            }
            if self.acked != self.saved && Instant::now() >= self.save_at() && !self.save().await? {
                return Ok(End::LeaseLost);
            }
            if self.window.is_empty() {
                if stop.is_cancelled() {
                    return Ok(End::Stopped);
                }
                self.tell(RouteState::Idle);
            }
            let (read, idle) = (self.read.cursor.position, self.window.is_empty());
            let wake_at = if self.acked == self.saved {
                self.renew_at
            } else {
                self.renew_at.min(self.save_at())
            };
            let flight = tokio::select! {
                flight = landed(&mut self.window) => Some(flight),
                _ = head.wait_for(|head| *head > read), if room => None,
                () = sleep_until(wake_at) => None,
                () = stop.cancelled(), if idle => None,
            };
            if let Some(flight) = flight {
                self.land(flight).await?;
            }
        }
    }

    fn window_size(&self) -> usize {
        self.sender.backoff.window(self.sender.shared.options.window)
    }

    fn save_at(&self) -> Instant {
        self.saved_at + self.sender.shared.options.checkpoint_every
    }

    fn tell(&self, state: RouteState) {
        let position = Some(self.acked.cursor.position);
        self.sender.shared.tell(&self.sender.name, position, state);
    }

    /// Renews the lease in time; false when somebody else has it.
    async fn renew(&mut self) -> Result<bool> {
        let now = Instant::now();
        if now < self.renew_at {
            return Ok(true);
        }
        let Shared { pool, holder, options, .. } = &*self.sender.shared;
        let lease = DB::acquire(pool, &self.lease.name, *holder, options.lease).await?;
        self.renew_at = now + options.lease / 3;
        Ok(lease.is_some_and(|lease| lease.epoch == self.lease.epoch))
    }

    /// Reads one page and sends it; false when there is nothing to read.
    async fn fill(&mut self) -> Result<bool> {
        let Sender { shared, publisher, stream, origin, .. } = &*self.sender;
        let head = *shared.head.borrow();
        if head <= self.read.cursor.position {
            return Ok(false);
        }
        let rows = DB::read(&shared.pool, self.read.cursor, self.page).await?;
        let cursor = match rows.last() {
            Some(last) => last.cursor,
            // No row stands between here and the head any more.
            None => DB::locate(&shared.pool, head).await?,
        };
        self.page.rows = next_page(self.page.rows, &rows, shared.options.page());
        let mut batch = stream.batch(origin, &self.read, rows);
        batch.through = cursor.position;
        let end = Checkpoint { cursor, last: batch.last };
        let answer = (!batch.messages.is_empty()).then(|| publish(publisher, batch));
        self.window.push_back(Flight { end, answer });
        self.read = end;
        self.tell(RouteState::Sending);
        Ok(true)
    }

    /// Takes in the answer to the oldest batch under way.
    async fn land(&mut self, (end, answer): Landed) -> Result<()> {
        let ack = match answer {
            None => {
                self.acked = end;
                return Ok(());
            }
            Some(Ok(ack)) => ack,
            Some(Err(error)) => {
                tracing::warn!(route = self.sender.name, %error, "batch was not delivered");
                let asked = match &error {
                    PublishError::Unavailable { retry_after, .. } => {
                        retry_after.unwrap_or_default()
                    }
                    _ => Duration::ZERO,
                };
                let most = self.sender.shared.options.max_backoff;
                return self.back_off(error.to_string(), asked.min(most)).await;
            }
        };
        let complete = ack.outcome == Outcome::Complete && ack.watermark >= end.cursor.position;
        if complete && ack.last == end.last {
            self.sender.backoff.succeeded();
            self.acked = end;
            return Ok(());
        }
        match verify(&self.sender.shared.pool, ack.watermark, ack.last).await? {
            Verified::Diverged(error) => self.diverged(error).await,
            // The consumer knew it already, and more.
            Verified::Here(_) if complete => {
                self.sender.backoff.succeeded();
                self.acked = end;
                Ok(())
            }
            Verified::Here(checkpoint) => {
                let progress = checkpoint != self.acked;
                self.drain().await;
                (self.acked, self.read) = (checkpoint, checkpoint);
                match ack.outcome {
                    Outcome::Paused { retry_after_ms } => {
                        let pause = Duration::from_millis(retry_after_ms);
                        self.back_off("the consumer pauses".to_owned(), pause).await
                    }
                    // The first answer to a gap is to send again at once, from there.
                    _ if progress => Ok(()),
                    _ => {
                        let error = "the consumer asks again for what it was sent".to_owned();
                        self.back_off(error, Duration::ZERO).await
                    }
                }
            }
        }
    }

    /// Waits for what is under way, so that nothing of it arrives after what follows.
    async fn drain(&mut self) {
        while !self.window.is_empty() {
            landed(&mut self.window).await;
        }
    }

    async fn back_off(&mut self, error: String, at_least: Duration) -> Result<()> {
        self.drain().await;
        self.read = self.acked;
        let pause = self.sender.backoff.failed().max(at_least);
        self.sender.tell_backoff(error);
        self.pause(pause).await
    }

    async fn diverged(&mut self, error: String) -> Result<()> {
        tracing::error!(route = self.sender.name, error, "route stopped: the logs differ");
        self.drain().await;
        self.read = self.acked;
        self.tell(RouteState::Diverged { error });
        self.pause(self.sender.shared.options.max_backoff).await
    }

    /// Waits, but not past the next renewal: the caller's loop renews and may wait again.
    async fn pause(&mut self, pause: Duration) -> Result<()> {
        let until = Instant::now() + pause;
        let stop = self.sender.shared.stop.clone();
        while Instant::now() < until && !stop.is_cancelled() {
            stop.run_until_cancelled(sleep_until(until.min(self.renew_at))).await;
            if !self.renew().await? {
                // The loop finds out at its own renewal.
                self.renew_at = Instant::now();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Saves what was acknowledged; false when the lease is somebody else's.
    async fn save(&mut self) -> Result<bool> {
        if self.acked == self.saved {
            return Ok(true);
        }
        let Sender { shared, name, .. } = &*self.sender;
        let saved = DB::save_checkpoint(&shared.pool, name, &self.lease, &self.acked).await?;
        if saved {
            (self.saved, self.saved_at) = (self.acked, Instant::now());
        } else {
            tracing::warn!(route = name, "another process has taken this route over");
        }
        Ok(saved)
    }
}

type Landed = (Checkpoint, Option<Result<Ack, PublishError>>);

fn publish(publisher: &Arc<dyn Publisher>, batch: Batch) -> JoinHandle<Result<Ack, PublishError>> {
    let publisher = Arc::clone(publisher);
    tokio::spawn(async move { publisher.publish(&batch).await })
}

/// Waits for the oldest batch under way. Safe to drop: it is taken out only when it is done.
async fn landed(window: &mut VecDeque<Flight>) -> Landed {
    let Some(flight) = window.front_mut() else { return std::future::pending().await };
    let (end, answer) = match &mut flight.answer {
        None => (flight.end, None),
        Some(handle) => {
            let answer = handle.await.unwrap_or_else(|error| {
                Err(PublishError::Unavailable {
                    target: "the publisher".to_owned(),
                    reason: error.to_string(),
                    retry_after: None,
                })
            });
            (flight.end, Some(answer))
        }
    };
    window.pop_front();
    (end, answer)
}

/// How many rows to ask for next: what fitted when the page's bytes were nearly full, else
/// twice as many.
fn next_page(asked: i64, rows: &[LogRow], most: PageLimit) -> i64 {
    let bytes: usize = rows.iter().map(|row| row.message.data.len()).sum();
    match bytes.saturating_mul(2) > most.bytes {
        true => rows.len().max(1) as i64,
        false => (asked * 2).min(most.rows),
    }
}
