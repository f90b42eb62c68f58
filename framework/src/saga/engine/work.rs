//! The work loop: claims instances that have something to decide, gives each its turn, and writes
//! all of it in one transaction.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::Pool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Inner,
    local::{Blame, Excused, Stop},
    turn::Turn,
};
use crate::{
    Error, Receipt, Storage,
    backoff::Backoff,
    outbox::enqueue_all,
    pulse::{Pulse, Wish},
    saga::Event,
    storage::{Pending, SagaChanges, SagaRow, Signal, begin_limited},
    wake::Decidable,
};

/// The first pause when others have locked what there is.
const SHORTEST: Duration = Duration::from_millis(1);
/// How long it is remembered what made a transaction fail.
const REMEMBERED: Duration = Duration::from_secs(60);
/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(10);

/// What one engine has learnt from transactions that failed.
#[derive(Default)]
struct Learnt {
    /// Tries of local steps that failed with their transaction.
    excused: Excused,
    /// Instances that cannot be decided, and why.
    broken: HashMap<Uuid, String>,
    /// When something was learnt last.
    at: Option<Instant>,
    /// So many instances are decided one by one.
    alone: u32,
    /// Which definition comes first.
    turn: usize,
}

/// Counts the engine among those that run, until it is dropped.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) async fn run<DB: Storage>(engine: Arc<Inner<DB>>, stop: CancellationToken) {
    engine.running.fetch_add(1, Ordering::Relaxed);
    let _running = Running(&engine.running);
    let (mut learnt, mut backoff) = (Learnt::default(), Backoff::new(LONGEST));
    let pool = DB::engine_pool(&engine.pool);
    let (mut decidable, mut told, mut pause) = (Decidable::default(), false, SHORTEST);
    let (mut watch, mut watch_at) = (None, Instant::now());
    let wish = Wish::Sagas(engine.owners.clone());
    let mut ear = Pulse::of(&engine.pool).ear(engine.pool.clone(), wish, engine.poll);
    while !stop.is_cancelled() {
        if watch.is_none() && Instant::now() >= watch_at {
            watch = DB::watch(&engine.pool, Signal::Sagas).await.ok();
            watch_at = Instant::now() + LONGEST;
        }
        let looking = tokio::time::Instant::now();
        let looked = engine.look(&pool, &mut learnt, told, &stop).await;
        let wait = match &looked {
            Ok(Looked::Worked) => Some(Duration::ZERO),
            Ok(Looked::Nothing(due)) => *due,
            Ok(Looked::Locked) => Some(pause),
            Err(_) => Some(backoff.failed()),
        };
        pause = match looked {
            Ok(Looked::Locked) => (pause * 2).min(engine.poll),
            _ => SHORTEST,
        };
        match looked {
            Ok(_) => {
                backoff.succeeded();
                engine.status().error = None;
            }
            Err(error) => {
                tracing::warn!(%error, "sagas could not be decided; tried again");
                engine.status().error = Some(error.to_string());
            }
        }
        let signalled = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => ear.due(looking).await,
            }
        };
        told = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = decidable.next() => true,
            () = signalled => true,
            () = due => false,
        };
    }
}

#[cfg(any(test, feature = "testing"))]
impl<DB: Storage> super::Sagas<DB> {
    /// Decides whatever is stored or due now, and whether there was something: for a test that lets
    /// the engine work when it says so.
    pub(crate) async fn work_off(&self) -> crate::Result<bool> {
        self.0.work(&self.0.pool, &mut Learnt::default(), &CancellationToken::new()).await
    }
}

/// What one transaction has done: how many instances it had, and how many of them it changed.
struct Round {
    claimed: usize,
    changed: usize,
}

/// What a look at the database came to.
enum Looked {
    Worked,
    /// There is nothing to decide; a timer may be due after this time, if one is soon.
    Nothing(Option<Duration>),
    /// What there is, others have locked.
    Locked,
}

impl<DB: Storage> Inner<DB> {
    /// An engine that was `told` of something need not ask first whether it is there.
    async fn look(
        &self,
        pool: &Pool<DB>,
        learnt: &mut Learnt,
        told: bool,
        stop: &CancellationToken,
    ) -> crate::Result<Looked> {
        if told && self.work(pool, learnt, stop).await? {
            return Ok(Looked::Worked);
        }
        Ok(match DB::saga_due(&self.pool, &self.owners, self.poll).await? {
            Some(due) if !due.is_zero() => Looked::Nothing(Some(due)),
            Some(_) if self.work(pool, learnt, stop).await? => Looked::Worked,
            Some(_) => Looked::Locked,
            None => Looked::Nothing(None),
        })
    }

    /// Decides until nothing is left; whether there was something.
    async fn work(
        &self,
        pool: &Pool<DB>,
        learnt: &mut Learnt,
        stop: &CancellationToken,
    ) -> crate::Result<bool> {
        let mut worked = false;
        while !stop.is_cancelled() {
            let limit = if learnt.alone > 0 { 1 } else { self.batch };
            match self.round(pool, learnt, limit).await {
                Ok(Round { claimed, changed }) if changed == 0 || claimed < limit as usize => {
                    worked |= changed > 0;
                    learnt.alone = 0;
                    // What failed may be locked for a moment still: by its own rollback.
                    if learnt.at.is_none_or(|at| at.elapsed() > REMEMBERED) {
                        (learnt.excused, learnt.broken) = Default::default();
                    }
                    break;
                }
                Ok(_) => {
                    worked = true;
                    learnt.alone = learnt.alone.saturating_sub(1);
                }
                Err(Stop::Spoilt(key, error)) => {
                    learnt.at = Some(Instant::now());
                    learnt.excused.insert(key, error);
                }
                Err(Stop::Error(error, Some(blame))) if !error.is_transient() => {
                    self.blame(learnt, error, *blame)?;
                }
                Err(Stop::Error(error, _)) => return Err(error),
            }
        }
        Ok(worked)
    }

    /// Finds out, one by one, whose fault it is that a transaction cannot be committed.
    fn blame(&self, learnt: &mut Learnt, error: Error, blame: Blame) -> crate::Result<()> {
        learnt.at = Some(Instant::now());
        match (&blame.instances[..], blame.last) {
            ([_], Some(key)) if !learnt.excused.contains_key(&key) => {
                learnt.excused.insert(key, error.to_string());
            }
            ([id], _) if !learnt.broken.contains_key(id) => {
                learnt.broken.insert(*id, error.to_string());
            }
            ([_] | [], _) => return Err(error),
            (all, _) => learnt.alone = u32::try_from(all.len()).unwrap_or(u32::MAX),
        }
        Ok(())
    }

    /// One transaction.
    async fn round(&self, pool: &Pool<DB>, learnt: &mut Learnt, limit: u32) -> Result<Round, Stop> {
        let mut owners = self.owners.clone();
        // Each definition comes first in its turn, so that none hides the others.
        owners.rotate_left(learnt.turn % self.owners.len());
        learnt.turn = learnt.turn.wrapping_add(1);
        let mut tx = begin_limited(pool).await?;
        let rows = DB::claim_sagas(&mut tx, &owners, limit.into()).await?;
        if rows.is_empty() {
            tx.rollback().await.map_err(Error::database("look for sagas"))?;
            return Ok(Round { claimed: 0, changed: 0 });
        }
        let mut turns: Vec<Turn<'_, DB>> = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(saga) = self.definition(&row.saga, row.version) {
                turns.push(Turn::new(saga, row, learnt.broken.get(&row.id).cloned()));
            }
        }
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let timers: Vec<_> = turns.iter().flat_map(Turn::timers).collect();
        let pending = DB::pending(&mut tx, &ids, &timers).await?;
        let done = self.decide_and_write(&mut tx, turns, pending, &learnt.excused).await;
        let (changed, receipts, last) = match done {
            Ok(done) => done,
            Err((Stop::Error(error, _), last)) => {
                return Err(Stop::Error(error, Some(Box::new(Blame { instances: ids, last }))));
            }
            Err((stop, _)) => return Err(stop),
        };
        if let Err(error) = tx.commit().await.map_err(Error::database("decide sagas")) {
            return Err(Stop::Error(error, Some(Box::new(Blame { instances: ids, last }))));
        }
        receipts.into_iter().take(1).for_each(Receipt::committed);
        forget(learnt, &rows);
        Ok(Round { claimed: rows.len(), changed })
    }
}

fn forget(learnt: &mut Learnt, rows: &[SagaRow]) {
    learnt.excused.retain(|(id, ..), _| rows.iter().all(|row| row.id != *id));
    learnt.broken.retain(|id, _| rows.iter().all(|row| row.id != *id));
}

type Wrote = (usize, Vec<Receipt>, Option<super::local::Key>);
type Unwritten = (Stop, Option<super::local::Key>);

impl<DB: Storage> Inner<DB> {
    async fn decide_and_write(
        &self,
        tx: &mut sqlx::Transaction<'_, DB>,
        mut turns: Vec<Turn<'_, DB>>,
        pending: Vec<Pending>,
        excused: &Excused,
    ) -> Result<Wrote, Unwritten> {
        let mut of: BTreeMap<Uuid, Vec<Pending>> = BTreeMap::new();
        for one in pending {
            of.entry(one.saga).or_default().push(one);
        }
        let (mut changes, mut messages, mut last) = (SagaChanges::default(), Vec::new(), None);
        for turn in &mut turns {
            let events = take_in(turn, of.remove(&turn.id()).unwrap_or_default());
            if turn.problem.is_none() {
                turn.run(tx, events, excused)
                    .await
                    .map_err(|stop| (stop, turn.ran.last().cloned()))?;
            }
            last = turn.ran.last().cloned().or(last);
        }
        let blame = |error: Error, last: &Option<_>| (Stop::Error(error, None), last.clone());
        if last.is_some() {
            DB::still_open(tx).await.map_err(|error| blame(error, &last))?;
        }
        let mut changed = 0;
        for mut turn in turns {
            messages.append(&mut turn.commands);
            changed += usize::from(turn.write(&mut changes).map_err(|stop| (stop, last.clone()))?);
        }
        let receipts = enqueue_all(tx, &messages).await.map_err(|error| blame(error, &last))?;
        DB::save_sagas(tx, &changes).await.map_err(|error| blame(error, &last))?;
        Ok((changed, receipts, last))
    }
}

/// The events in order, what an operator says first; takes note of the timers that are due. An
/// operator may speak of an instance before it has begun.
fn take_in<DB: Storage>(turn: &mut Turn<'_, DB>, pending: Vec<Pending>) -> Vec<(i64, Event)> {
    let mut events: Vec<(i64, Event)> = Vec::new();
    for Pending { id, text, .. } in pending {
        if id == 0 {
            turn.is_due(&text);
            continue;
        }
        match serde_json::from_str(&text) {
            Ok(event) => events.push((id, event)),
            Err(error) => {
                turn.problem.get_or_insert(format!("event {id} cannot be read: {error}"));
            }
        }
    }
    events.sort_by_key(|(_, event)| match event {
        Event::Started => 0,
        event if event.is_operators() => 1,
        _ => 2,
    });
    events
}
