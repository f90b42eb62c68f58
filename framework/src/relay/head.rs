//! The head of the log: one process seals, by a lease; every process learns how far it got.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{Shared, pages::note_set_aside, share::Kept};
use crate::{
    Result, Storage,
    message::Position,
    pulse::{Ear, Wish},
    said::Said,
    storage::{Found, Lease, Own, Signal, Watch},
    wake::{Wake, Wakes},
};

/// The lease of the process that seals.
pub(super) const SEAL: &str = "seal";
/// How long a look that is under way may take when the relay stops.
const STOPPING: Duration = Duration::from_secs(2);
/// The pause between two looks while a transaction with messages is about to commit; it
/// doubles up to the idle pause. Longer than most commits take: a look before one finds nothing,
/// and is in the way of the one after it.
const EXPECTING: Duration = Duration::from_millis(5);

pub(super) async fn run<DB: Storage>(shared: Arc<Shared<DB>>, pool: Own<DB>) {
    let void = shared.kept.borrow().asked();
    let mut head = Head {
        lease: None,
        void,
        kept: shared.kept.subscribe(),
        ear: shared.pulse.ear(shared.pool.clone(), Wish::Log, shared.options.idle),
        looked: Instant::now(),
        lives: shared.life.subscribe(),
        life: 0,
        noted: None,
        watch: None,
        watched: 0,
        watch_at: Instant::now(),
        wakes: Wakes::default(),
        pause: EXPECTING,
        pool,
        shared,
    };
    head.run().await;
}

struct Head<DB: Storage> {
    shared: Arc<Shared<DB>>,
    /// Of one connection, which has prepared what is asked again and again.
    pool: Own<DB>,
    lease: Option<Lease>,
    kept: watch::Receiver<Kept>,
    /// A lease from before then is asked for anew.
    void: Instant,
    ear: Ear<DB>,
    /// When the last look began.
    looked: Instant,
    lives: watch::Receiver<u64>,
    /// The life of the server that the head was read in.
    life: u64,
    /// The epoch of the lease whose beginning was noted.
    noted: Option<i64>,
    watch: Option<Box<dyn Watch>>,
    /// Which generation of the pool it has its connection of.
    watched: u64,
    /// When it is tried to watch, if nothing does.
    watch_at: Instant,
    wakes: Wakes,
    pause: Duration,
}

impl<DB: Storage> Head<DB> {
    async fn run(&mut self) {
        let stop = self.shared.stop.clone();
        let shared = Arc::clone(&self.shared);
        let late = async || {
            stop.cancelled().await;
            sleep(STOPPING).await;
        };
        let mut said = Said::default();
        while !stop.is_cancelled() {
            let looked = tokio::select! {
                looked = shared.works.sealing.step(self.look()) => looked,
                () = late() => return,
            };
            let pause = match looked {
                Ok(true) => continue,
                Ok(false) => None,
                Err(error) => {
                    if let Some(left_out) = said.admit(&error.to_string()) {
                        tracing::warn!(%error, left_out, "the log could not be sealed; trying again");
                    }
                    // Nothing is sealed before the lease is renewed.
                    self.void = Instant::now();
                    self.shared.renew.notify_one();
                    Some(self.shared.options.idle)
                }
            };
            let next = async {
                // Not even a pause of nothing else: the timer's shortest takes a millisecond.
                if let Some(pause) = pause {
                    sleep(pause).await;
                }
                self.wait().await;
            };
            stop.run_until_cancelled(next).await;
        }
    }

    /// Seals one batch, or asks how far the sealing process got; true when there may be more.
    async fn look(&mut self) -> Result<bool> {
        let Shared { options, .. } = &*self.shared;
        let pool = self.pool.now();
        self.looked = Instant::now();
        let common = self.shared.pool.now();
        if self.watched != common.generation() {
            (self.watch, self.watched) = (None, common.generation());
        }
        if self.watch.is_none() && self.looked >= self.watch_at {
            self.watch = common.limit(DB::watch(&common, Signal::Outbox)).await.ok();
            self.watch_at = Instant::now() + options.lease / 3;
        }
        self.lease = self.kept.borrow_and_update().seal_since(self.void);
        let life = *self.lives.borrow_and_update();
        if life != self.life {
            // The log may end earlier than it did.
            let head = pool.limit(DB::head(&pool)).await?;
            self.shared.head.send_replace(head);
            (self.life, self.noted) = (life, None);
        }
        if let Some(lease) = &self.lease
            && self.noted != Some(lease.epoch)
        {
            pool.limit(DB::check_sealable(&pool)).await?;
            let head = pool.limit(DB::head(&pool)).await?;
            pool.limit(DB::note_term(&pool, head)).await?;
            self.noted = Some(lease.epoch);
        }
        let limit = i64::from(options.seal_messages);
        let (count, head) = match &self.lease {
            Some(lease) => {
                let sealed = pool.limit(DB::seal(&pool, lease, limit)).await?;
                pool.limit(note_set_aside(&pool, &sealed.rows)).await?;
                // They are there when their readers are woken.
                self.shared.pages.keep_sealed(life, sealed.rows);
                (sealed.count, sealed.head)
            }
            None => (0, Some(pool.limit(DB::head(&pool)).await?)),
        };
        let moved = head.is_some_and(|head| self.tell(head));
        if moved {
            self.pause = EXPECTING;
        }
        Ok(count >= limit.unsigned_abs())
    }

    fn tell(&self, head: Position) -> bool {
        let known = *self.shared.head.borrow();
        if head < known && self.life == self.shared.life.now() {
            self.shared.life.next(&format!("the log ended at {known}, and now it ends at {head}"));
            return false;
        }
        self.shared.head.send_if_modified(|known| {
            let moved = head > *known;
            *known = head.max(*known);
            moved
        })
    }

    /// Waits until it is worth looking again.
    async fn wait(&mut self) {
        let (blind, watch_at) = (self.watch.is_none(), self.watch_at);
        let watched = async {
            match &mut self.watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(watched);
        let (mut told, mut until) = (false, Instant::now() + self.pause);
        let idle = self.shared.options.idle;
        let known = *self.shared.head.borrow();
        let moved = |found: &Found| found.head.is_some_and(|head| head != known);
        while !told {
            tokio::select! {
                wake = self.wakes.next() => {
                    self.pause = EXPECTING;
                    told = wake == Wake::Committed;
                    // What was just enqueued is not committed yet: a look now would find nothing,
                    // and be in the way of the one after the commit.
                    until = until.min(Instant::now() + EXPECTING);
                }
                () = &mut watched => break,
                () = sleep_until(watch_at), if blind => break,
                () = sleep_until(until), if self.pause < idle => {
                    self.pause = (self.pause * 2).min(idle);
                    break;
                }
                // Nothing has happened for long: the process's pulse finds what there is.
                () = self.ear.due_or(self.looked, moved), if self.pause >= idle => break,
                _ = self.lives.changed() => break,
                _ = self.kept.changed() => {
                    let epoch = |lease: &Lease| lease.epoch;
                    let lease = self.kept.borrow_and_update().seal_since(self.void);
                    if lease.as_ref().map(epoch) != self.lease.as_ref().map(epoch) {
                        break;
                    }
                }
            }
        }
        if told && self.lease.is_none() {
            // Another process seals: tell it, many commits at once.
            let pool = self.shared.pool.now();
            if let Err(error) = pool.limit(DB::signal(&pool, Signal::Outbox)).await {
                tracing::debug!(%error, "wake-up was not sent; polling covers");
            }
            sleep(EXPECTING).await;
        }
    }
}
