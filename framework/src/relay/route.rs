//! One shard of a route: read, publish in a window, move the checkpoint over the contiguous
//! acknowledged prefix; after a failure the window is drained and sent again from there.

mod answer;
mod fill;
mod idle;
mod incarnation;
mod refused;
mod trouble;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use self::{refused::Suspect, trouble::Trouble};
use super::{
    RouteState, Shared,
    backoff::Backoff,
    carried::Carried,
    position::{beyond, resume},
    window::{Landed, Window},
    work::Work,
};
use crate::{
    Error, Result, Storage,
    message::{Continues, Position},
    storage::{Checkpoint, Lease, Save, ShardKey},
    transport::Publisher,
};

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
    /// Why it does not move.
    trouble: Trouble,
    /// The most messages in one batch, while the target refuses larger ones.
    most: Option<u32>,
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
        let backoff = Backoff::of_target(shared.options.max_backoff);
        let (trouble, most) = Default::default();
        Self { shared, key, publisher, carried, lease, hold, backoff, work, trouble, most }
    }

    pub(super) async fn run(mut self) -> End {
        loop {
            let pause = match self.run_once().await {
                Ok(ControlFlow::Break(end)) => return end,
                Ok(ControlFlow::Continue(pause)) => pause,
                Err(error) => {
                    self.work.failed(&error);
                    match &error {
                        Error::Trimmed { position, kept } => self.trimmed(*position, *kept).await,
                        error => self.failed(error).await,
                    }
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

    /// Sends until an end, or until it must look again after a pause.
    async fn run_once(&mut self) -> Result<ControlFlow<End, Duration>> {
        let (pool, life) = (self.shared.pool.now(), self.shared.life.now());
        let Some(row) = pool.limit(DB::shard(&pool, &self.key)).await? else {
            return Err(Error::Definition {
                what: "route",
                name: self.key.route.clone(),
                problem: "its row was deleted: start the relay again".to_owned(),
            });
        };
        self.trouble.is_stored(row.problem.as_ref());
        // A place may be named only by its position, and be no longer kept.
        let Checkpoint { cursor, last } = row.checkpoint;
        if let Some(head) = pool.limit(beyond(&pool, cursor.position)).await? {
            self.work.succeeded();
            return Ok(ControlFlow::Continue(self.past_the_end(cursor.position, head).await));
        }
        let kept = pool.limit(DB::trimmed(&pool)).await?.position <= cursor.position;
        let at = match kept && cursor.seal != 0 && !last.is_anchor() {
            true => row.checkpoint,
            false => pool.limit(resume(&pool, &self.carried, cursor.position, last)).await?,
        };
        self.work.succeeded();
        let mut run = Run {
            began: self.carried.told_at(at.cursor.position),
            acked: at,
            read: at,
            saved: row.checkpoint,
            saving: None,
            told: None,
            continues: None,
            progress_at: None,
            ask_at: self.shared.ask_slot(),
            window: Window::new(self.shared.options.publish_within),
            ahead: None,
            suspect: None,
            life,
            sender: self,
        };
        let end = run.send().await;
        // What was acknowledged is saved even when the route cannot go on.
        if !matches!(end, Ok(End::Lost)) {
            run.save_now(matches!(end, Ok(End::Closed))).await;
        }
        end.map(ControlFlow::Break)
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
    /// Up to here the consumer need not be told that the log was looked at.
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
    /// When the consumer is asked where it is, if there is nothing to send.
    ask_at: Instant,
    window: Window,
    /// A page that is read before it is asked for.
    ahead: Option<AbortOnDropHandle<()>>,
    /// A message that was refused alone, until the consumer has said where it is.
    suspect: Option<Suspect>,
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
            if room && (self.ask_suspected() || self.fill(least).await?) {
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
                if self.ask_or_tell() {
                    continue;
                }
                self.tell(RouteState::Idle);
            }
            let read = self.read.cursor.position;
            let more = room && self.sender.carried.until.is_none_or(|until| read < until);
            let (idle, speaks_at) = (self.window.is_empty(), self.speaks_at());
            let event = tokio::select! {
                flight = self.window.landed() => Event::Landed(flight),
                saved = answered(&mut self.saving) => Event::Saved(saved),
                _ = head.wait_for(|head| head.0 - read.0 >= least), if more => Event::Look,
                () = sleep_until(speaks_at), if idle => Event::Look,
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

    fn tell(&self, state: RouteState) {
        let position = Some(self.acked.cursor.position);
        self.sender.shared.board.tell(&self.sender.key, position, state);
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
