//! One shard of a route: read, publish in a window, move the checkpoint over the contiguous
//! acknowledged prefix; after a failure the window is drained and sent again from there.

mod answer;
mod incarnation;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    RouteState, Shared,
    backoff::Backoff,
    carried::{Carried, Gather},
    position::resume,
    window::{Landed, Window},
    work::Work,
};
use crate::{
    Error, Result, Storage,
    message::{Batch, Continues, Envelope, Position},
    storage::{Checkpoint, Lease, Save, ShardKey},
    transport::Publisher,
};

/// So many batches are under way without a wait for more messages: one at the consumer and one
/// at its door. Only full ones fill the rest of the window.
const AT_ONCE: usize = 2;

/// What a sender is to do about its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// It has it.
    Held,
    /// It is another's to have: finish what is under way.
    GiveBack,
    /// Somebody else has it.
    Lost,
}

/// How a sender came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It stopped, and its lease can be given back.
    GivenBack,
    Lost,
    /// It has sent all of its version.
    Closed,
}

/// What a sender waits for.
enum Event {
    Landed(Landed),
    /// A checkpoint was saved, or refused; none when the database did not answer.
    Saved(Option<bool>),
    Look,
}

/// Sends one shard of a route while this process has its lease.
pub(super) struct Sender<DB: Storage> {
    shared: Arc<Shared<DB>>,
    key: ShardKey,
    publisher: Arc<dyn Publisher>,
    carried: Carried,
    lease: Lease,
    hold: watch::Receiver<Hold>,
    backoff: Backoff,
    work: Arc<Work>,
}

impl<DB: Storage> Sender<DB> {
    pub(super) fn new(
        shared: Arc<Shared<DB>>,
        key: ShardKey,
        publisher: Arc<dyn Publisher>,
        carried: Carried,
        lease: Lease,
        hold: watch::Receiver<Hold>,
        work: Arc<Work>,
    ) -> Self {
        let backoff = Backoff::new(shared.options.max_backoff);
        Self { shared, key, publisher, carried, lease, hold, backoff, work }
    }

    pub(super) async fn run(mut self) -> End {
        loop {
            let error = match self.run_once().await {
                Ok(end) => return end,
                Err(error) => error,
            };
            self.work.failed(&error);
            let pause = match &error {
                Error::Trimmed { .. } => self.trimmed(&error),
                error => {
                    tracing::warn!(route = self.key.route, %error, "route failed; trying again");
                    let pause = self.backoff.failed();
                    self.tell_backoff(error.to_string());
                    pause
                }
            };
            self.pause(pause).await;
            match *self.hold.borrow() {
                Hold::Lost => return End::Lost,
                Hold::GiveBack => return End::GivenBack,
                Hold::Held if self.shared.stop.is_cancelled() => return End::GivenBack,
                Hold::Held => {}
            }
        }
    }

    async fn run_once(&mut self) -> Result<End> {
        let (pool, life) = (self.shared.pool.now(), self.shared.life.now());
        let Some(row) = pool.limit(DB::shard(&pool, &self.key)).await? else {
            return Err(Error::Definition {
                what: "route",
                name: self.key.route.clone(),
                problem: "its row was deleted: start the relay again".to_owned(),
            });
        };
        // A place may be named only by its position, and be no longer kept.
        let Checkpoint { cursor, last } = row.checkpoint;
        let kept = pool.limit(DB::trimmed(&pool)).await?.position <= cursor.position;
        let at = match kept && cursor.seal != 0 && !last.is_anchor() {
            true => row.checkpoint,
            false => pool.limit(resume(&pool, &self.carried, cursor.position, last)).await?,
        };
        self.work.succeeded();
        let mut run = Run {
            began: at.cursor.position,
            acked: at,
            read: at,
            saved: row.checkpoint,
            saving: None,
            told: None,
            continues: None,
            progress_at: None,
            window: Window::default(),
            ahead: None,
            life,
            sender: self,
        };
        let end = run.send().await;
        // What was acknowledged is saved even when the route cannot go on.
        if !matches!(end, Ok(End::Lost)) {
            run.save_now(matches!(end, Ok(End::Closed))).await;
        }
        end
    }

    /// What is to be sent next is no longer kept: an operator must decide. Returns how long to
    /// wait before it is looked at again.
    fn trimmed(&self, error: &Error) -> Duration {
        let (route, shard) = (&self.key.route, self.key.shard);
        let error = super::status::told(error, &self.key, &self.carried.origin);
        tracing::error!(route, shard, error, "route stopped: it came too late");
        let state = RouteState::Trimmed { error };
        self.shared.board.tell(&self.key, None, state);
        self.shared.options.max_backoff
    }

    fn tell_backoff(&self, error: String) {
        let failures = self.backoff.failures();
        self.shared.board.tell(&self.key, None, RouteState::Backoff { failures, error });
    }

    /// Waits, unless the relay stops or the lease is to go.
    async fn pause(&mut self, pause: Duration) {
        let held = async |hold: &mut watch::Receiver<Hold>| {
            let _ = hold.wait_for(|hold| *hold != Hold::Held).await;
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = self.shared.stop.cancelled() => {}
            () = held(&mut self.hold) => {}
        }
    }
}

/// The shard's state while it is sent.
struct Run<'a, DB: Storage> {
    sender: &'a mut Sender<DB>,
    /// Where it found its checkpoint.
    began: Position,
    /// Everything up to here was acknowledged.
    acked: Checkpoint,
    /// Everything up to here was read, and sent or in the window.
    read: Checkpoint,
    saved: Checkpoint,
    /// A checkpoint that is being saved.
    saving: Option<(Checkpoint, oneshot::Receiver<bool>)>,
    /// How far the consumer said it is; none before its first answer.
    told: Option<Position>,
    /// What is told to a consumer that follows a former incarnation.
    continues: Option<Arc<Continues>>,
    /// When progress is told to the consumer.
    progress_at: Option<Instant>,
    window: Window,
    /// A page that is read before it is asked for.
    ahead: Option<AbortOnDropHandle<()>>,
    /// The life of the database server that all of this was read in.
    life: u64,
}

impl<DB: Storage> Run<'_, DB> {
    async fn send(&mut self) -> Result<End> {
        let stop = self.sender.shared.stop.clone();
        let mut head = self.sender.shared.head.subscribe();
        let mut hold = self.sender.hold.clone();
        let mut life = self.sender.shared.life.subscribe();
        loop {
            if *life.borrow_and_update() != self.life {
                self.window.drain().await;
                return Err(Error::ServerChanged);
            }
            let held = *hold.borrow_and_update();
            if held == Hold::Lost {
                return Ok(End::Lost);
            }
            let leaving = held == Hold::GiveBack || stop.is_cancelled();
            let room = self.window.len() < self.window_size() && !leaving;
            let least = self.least();
            if room && self.fill(least).await? {
                continue;
            }
            self.save_soon();
            if self.window.is_empty() {
                if leaving {
                    return Ok(End::GivenBack);
                }
                if self.is_finished() {
                    return Ok(End::Closed);
                }
                if self.tell_progress() {
                    continue;
                }
                self.tell(RouteState::Idle);
            }
            let read = self.read.cursor.position;
            let more = room && self.sender.carried.until.is_none_or(|until| read < until);
            let idle = self.window.is_empty();
            let event = tokio::select! {
                flight = self.window.landed() => Event::Landed(flight),
                saved = answered(&mut self.saving) => Event::Saved(saved),
                _ = head.wait_for(|head| head.0 - read.0 >= least), if more => Event::Look,
                () = sleep_until(self.progress_at.unwrap_or_else(Instant::now)),
                    if idle && self.progress_at.is_some() => Event::Look,
                _ = hold.changed() => Event::Look,
                _ = life.changed() => Event::Look,
                () = stop.cancelled(), if !leaving => Event::Look,
            };
            match event {
                Event::Look => {}
                Event::Landed(flight) => self.land(flight).await?,
                Event::Saved(Some(true)) => {
                    self.saved = self.saving.take().map_or(self.saved, |(to, _)| to);
                }
                Event::Saved(Some(false)) => {
                    let route = &self.sender.key.route;
                    tracing::warn!(route, "another process has taken this route over");
                    return Ok(End::Lost);
                }
                // The database is away: again with the next tick.
                Event::Saved(None) => {
                    self.saving = None;
                    self.sender.pause(self.sender.shared.options.checkpoint_every).await;
                }
            }
        }
    }

    /// One batch at a time until the consumer has answered: what it begins with, it must get
    /// first.
    fn window_size(&self) -> usize {
        match self.told {
            None => 1,
            Some(_) => self.sender.backoff.window(self.sender.shared.options.window),
        }
    }

    /// How many positions there must be before more is read. While the consumer has one batch in
    /// its hands and the next one at its door, what arrives meanwhile goes together: else each
    /// message would cost a transaction of its own, and a queue build up before the consumer.
    fn least(&self) -> i64 {
        let (carried, full) = (&self.sender.carried, self.full());
        let ends = carried.until.map(|until| until.0 - self.read.cursor.position.0);
        match self.window.under_way() < AT_ONCE {
            true => 1,
            false => ends.map_or(full, |ends| full.min(ends)).max(1),
        }
    }

    /// How many positions are looked at for one batch.
    fn full(&self) -> i64 {
        let Sender { shared, carried, .. } = &*self.sender;
        i64::from(shared.options.batch_messages) * i64::from(carried.pages())
    }

    fn tell(&self, state: RouteState) {
        let position = Some(self.acked.cursor.position);
        self.sender.shared.board.tell(&self.sender.key, position, state);
    }

    /// Gathers one batch and sends it; false when there are less than `least` positions to read.
    async fn fill(&mut self, least: i64) -> Result<bool> {
        let Sender { shared, publisher, carried, .. } = &*self.sender;
        let head = (*shared.head.borrow()).min(carried.until.unwrap_or(Position(i64::MAX)));
        if head.0 - self.read.cursor.position.0 < least {
            return Ok(false);
        }
        let mut batch = Gather::new(carried, self.read, shared.options.page());
        // A shard finds little in a page, and a seal may be one of few rows: it looks at so many
        // that a batch is worth sending.
        let upto = head.min(Position(self.read.cursor.position.0 + self.full()));
        while batch.end.cursor.position < upto {
            let page = shared.pages.read(&shared.ready, self.life, batch.end.cursor, head).await?;
            self.sender.work.succeeded();
            let ahead = shared.pages.read_ahead(&shared.ready, self.life, &page, head);
            self.ahead = ahead.or(self.ahead.take());
            if !batch.take(&page) {
                break;
            }
        }
        let (messages, end) = (batch.messages, batch.end);
        let batch = (!messages.is_empty()).then(|| self.batch(messages, &end));
        self.window.push(end, self.acked.cursor.position, publisher, batch);
        self.read = end;
        self.tell(RouteState::Sending);
        Ok(true)
    }

    fn batch(&self, messages: Vec<Envelope>, end: &Checkpoint) -> Batch {
        let continues = self.continues.clone();
        Batch { continues, ..self.sender.carried.batch(messages, end) }
    }

    /// Whether this version is at its end, and the consumer has said so.
    fn is_finished(&self) -> bool {
        self.sender.carried.until.is_some_and(|until| self.told.is_some_and(|told| told >= until))
    }

    /// Tells the consumer how far the log was looked at, when that is due: an empty batch.
    fn tell_progress(&mut self) -> bool {
        let Sender { shared, publisher, carried, .. } = &*self.sender;
        let at = self.acked.cursor.position;
        // The end of a version is told at once, and when nothing else was.
        let last = self.continues.is_some() || carried.until.is_some_and(|until| at >= until);
        if !last && self.told.unwrap_or(self.began) >= at {
            self.progress_at = None;
            return false;
        }
        let due = *self.progress_at.get_or_insert_with(|| shared.progress_slot());
        if !last && Instant::now() < due {
            return false;
        }
        self.progress_at = None;
        let batch = self.batch(Vec::new(), &self.acked);
        self.window.push(self.acked, self.acked.cursor.position, publisher, Some(batch));
        true
    }

    /// Hands in what was acknowledged, unless a checkpoint is being saved.
    fn save_soon(&mut self) {
        if self.saving.is_none() && self.acked != self.saved {
            let answer = self.hand_in(false, false);
            self.saving = Some((self.acked, answer));
        }
    }

    /// Saves what was acknowledged and waits for it.
    async fn save_now(&mut self, closed: bool) {
        if self.acked == self.saved && !closed {
            return;
        }
        if let Some((_, answer)) = self.saving.take() {
            drop(answer.await);
        }
        drop(self.hand_in(closed, true).await);
    }

    fn hand_in(&self, closed: bool, now: bool) -> oneshot::Receiver<bool> {
        let Sender { shared, key, lease, .. } = &*self.sender;
        let (key, lease, to) = (key.clone(), lease.clone(), self.acked);
        shared.saver.save(Save { key, lease, to, closed }, self.life, now)
    }
}

/// The answer to the checkpoint that is being saved; none when the database did not give any.
async fn answered(saving: &mut Option<(Checkpoint, oneshot::Receiver<bool>)>) -> Option<bool> {
    match saving {
        Some((_, answer)) => answer.await.ok(),
        None => std::future::pending().await,
    }
}
