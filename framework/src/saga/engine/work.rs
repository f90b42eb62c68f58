//! The work loop: claims instances that have something to decide, gives each its turn, and writes
//! all of it in one transaction.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

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
    begin,
    outbox::enqueue_all,
    saga::Event,
    storage::{Pending, SagaChanges, SagaRow},
};

/// The first pause after a hint: what it told of may not be committed yet.
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

pub(super) async fn run<DB: Storage>(engine: Arc<Inner<DB>>, stop: CancellationToken) {
    let (mut learnt, mut backoff, mut pause) = (Learnt::default(), Backoff::new(LONGEST), SHORTEST);
    while !stop.is_cancelled() {
        let looked = engine.look(&mut learnt, &stop).await;
        let wait = match looked {
            Ok(Looked::Worked) => {
                pause = SHORTEST;
                Duration::ZERO
            }
            Ok(Looked::Nothing(due)) => {
                pause = (pause * 2).min(engine.poll);
                due.min(pause)
            }
            Err(_) => backoff.failed(),
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
        tokio::select! {
            () = stop.cancelled() => {}
            () = engine.hint.notified() => pause = SHORTEST,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl<DB: Storage> super::Sagas<DB> {
    /// Decides whatever is stored or due now, and whether there was something: for a test that lets
    /// the engine work when it says so.
    pub(crate) async fn work_off(&self) -> crate::Result<bool> {
        self.0.work(&mut Learnt::default(), &CancellationToken::new()).await
    }
}

/// What a look at the database came to.
enum Looked {
    Worked,
    /// Nothing could be decided; a timer may be due after this time.
    Nothing(Duration),
}

impl<DB: Storage> Inner<DB> {
    async fn look(&self, learnt: &mut Learnt, stop: &CancellationToken) -> crate::Result<Looked> {
        Ok(match DB::saga_due(&self.pool, &self.owners, self.poll).await? {
            Some(due) if !due.is_zero() => Looked::Nothing(due),
            // What others have locked is looked for again after a pause.
            Some(_) if self.work(learnt, stop).await? => Looked::Worked,
            _ => Looked::Nothing(self.poll),
        })
    }

    /// Decides until nothing is left; whether there was something.
    async fn work(&self, learnt: &mut Learnt, stop: &CancellationToken) -> crate::Result<bool> {
        let mut worked = false;
        while !stop.is_cancelled() {
            let limit = if learnt.alone > 0 { 1 } else { self.batch };
            match self.round(learnt, limit).await {
                Ok(0) => {
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

    /// One transaction; how many instances it changed.
    async fn round(&self, learnt: &mut Learnt, limit: u32) -> Result<usize, Stop> {
        let mut owners = self.owners.clone();
        // Each definition comes first in its turn, so that none hides the others.
        owners.rotate_left(learnt.turn % self.owners.len());
        learnt.turn = learnt.turn.wrapping_add(1);
        let mut tx = begin(&self.pool).await?;
        let rows = DB::claim_sagas(&mut tx, &owners, limit.into()).await?;
        if rows.is_empty() {
            tx.rollback().await.map_err(Error::database("look for sagas"))?;
            return Ok(0);
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
        Ok(changed)
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
