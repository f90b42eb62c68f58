//! One transaction of the engine: instances are claimed, each has its turn, and all of it is written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use futures::future::BoxFuture;
use sqlx::Transaction;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Inner,
    local::{Blame, Excused, Key, Stop},
    say::Said,
    step_tx::StepTx,
    turn::Turn,
};
use crate::{
    Error, Receipt, Storage,
    outbox::enqueue_all,
    saga::{End, Event, Status},
    storage::{Current, Lent, Opening, Pending, SagaChanges, SagaRow},
};

/// Why instances cannot be decided.
pub(super) type Broken = HashMap<Uuid, String>;

/// Instances that a transaction has locked, which waits to decide them.
pub(super) struct Claimed<'a> {
    /// How many.
    pub(super) count: usize,
    go: oneshot::Sender<Taught>,
    transaction: BoxFuture<'a, Result<Option<Round>, Stop>>,
}

/// Whose instances are claimed, and which are not.
type Wanted = (Vec<String>, Vec<Uuid>);

/// What earlier transactions have taught.
type Taught = (Arc<Excused>, Arc<Broken>);

/// What one transaction has done.
pub(super) struct Round {
    /// The instances that it had.
    pub(super) claimed: Vec<Uuid>,
    /// How many of them it changed.
    pub(super) changed: usize,
}

impl<DB: Storage> Inner<DB> {
    /// Locks up to `limit` instances that have something to decide, those of the first of `owners`
    /// before the others', and none of `aside`; none when there are none. By a `fresh` connection after
    /// an error that comes from what a connection remembers.
    pub(super) async fn claim(
        &self,
        (owners, aside): Wanted,
        limit: u32,
        fresh: bool,
    ) -> Result<Option<Claimed<'_>>, Error> {
        let (told, count) = oneshot::channel();
        let (go, going) = oneshot::channel();
        // One future: the transaction borrows its connection.
        let mut transaction: BoxFuture<'_, _> =
            Box::pin(self.transaction((owners, aside), limit, fresh, (told, going)));
        tokio::select! {
            biased;
            Ok(count) = count => Ok(Some(Claimed { count, go, transaction })),
            done = &mut transaction => match done {
                Err(Stop::Error(error, _)) => Err(error),
                _ => Ok(None),
            },
        }
    }

    /// Decides what was claimed.
    pub(super) async fn round(
        &self,
        Claimed { go, transaction, .. }: Claimed<'_>,
        excused: Arc<Excused>,
        broken: Arc<Broken>,
    ) -> Result<Round, Stop> {
        // It waits for this.
        drop(go.send((excused, broken)));
        Ok(transaction.await?.unwrap_or(Round { claimed: Vec::new(), changed: 0 }))
    }

    async fn transaction(
        &self,
        wanted: Wanted,
        limit: u32,
        fresh: bool,
        between: (oneshot::Sender<usize>, oneshot::Receiver<Taught>),
    ) -> Result<Option<Round>, Stop> {
        let pool = self.pool.now();
        let mut lent = pool.limit(Lent::of(&pool, fresh)).await?;
        let done = self.claim_and_decide(&pool, &mut lent, (wanted, limit), between).await;
        lent.give_back(done.as_ref().is_err_and(Stop::spoils));
        done
    }

    async fn claim_and_decide(
        &self,
        pool: &Current<DB>,
        lent: &mut Lent<DB>,
        ((owners, aside), limit): (Wanted, u32),
        (told, going): (oneshot::Sender<usize>, oneshot::Receiver<Taught>),
    ) -> Result<Option<Round>, Stop> {
        let claim = async {
            let mut tx = lent.begin(Opening::Limited).await?;
            let rows = DB::claim_sagas(&mut tx, &owners, &aside, limit.into()).await?;
            if rows.is_empty() {
                tx.rollback().await.map_err(Error::database("look for sagas"))?;
                return Ok::<_, Error>(None);
            }
            Ok(Some((tx, rows)))
        };
        let Some((tx, rows)) = pool.limit(claim).await? else { return Ok(None) };
        if told.send(rows.len()).is_err() {
            return Ok(None);
        }
        let Ok((excused, broken)) = going.await else { return Ok(None) };
        pool.limit(self.decide(tx, rows, excused, broken)).await.map(Some)
    }

    async fn decide(
        &self,
        mut tx: Transaction<'_, DB>,
        rows: Vec<SagaRow>,
        excused: Arc<Excused>,
        broken: Arc<Broken>,
    ) -> Result<Round, Stop> {
        let mut turns: Vec<Turn<'_, DB>> = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(saga) = self.definition(&row.saga, row.version) {
                turns.push(Turn::new(saga, row, broken.get(&row.id).cloned()));
            }
        }
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let timers: Vec<_> = turns.iter().flat_map(Turn::timers).collect();
        let pending = DB::pending(&mut tx, &ids, &timers).await?;
        let done = self.decide_and_write(&mut tx, turns, pending, &excused).await;
        let Wrote { changed, receipts, topics, said, last, over } = match done {
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
        said.into_iter().for_each(|said| said.say(&self.said));
        self.topics.note(topics);
        self.waiting.tell(over);
        Ok(Round { claimed: ids, changed })
    }
}

/// What is written and not committed yet.
struct Wrote {
    /// How many instances are changed.
    changed: usize,
    receipts: Vec<Receipt>,
    /// The topics of its commands.
    topics: BTreeSet<String>,
    /// For the program's log.
    said: Vec<Said>,
    /// The last local step that ran.
    last: Option<Key>,
    /// Instances that are over, and how they have ended.
    over: Vec<(Uuid, End)>,
}

type Unwritten = (Stop, Option<Key>);

impl<DB: Storage> Inner<DB> {
    async fn decide_and_write(
        &self,
        tx: &mut Transaction<'_, DB>,
        mut turns: Vec<Turn<'_, DB>>,
        pending: Vec<Pending>,
        excused: &Excused,
    ) -> Result<Wrote, Unwritten> {
        let mut of: BTreeMap<Uuid, Vec<Pending>> = BTreeMap::new();
        for one in pending {
            of.entry(one.saga).or_default().push(one);
        }
        let (mut changes, mut messages, mut last) = (SagaChanges::default(), Vec::new(), None);
        let mut steps = StepTx::new(tx);
        for turn in &mut turns {
            let events = take_in(turn, of.remove(&turn.id()).unwrap_or_default());
            if turn.problem.is_none() {
                turn.run(&mut steps, events, excused)
                    .await
                    .map_err(|stop| (stop, turn.ran.last().or(last.as_ref()).cloned()))?;
            }
            last = turn.ran.last().cloned().or(last);
        }
        let blame = |error: Error, last: &Option<_>| (Stop::Error(error, None), last.clone());
        if last.is_some() {
            // The savepoint is gone when the last step has ended the transaction.
            steps.keep().await.map_err(|error| blame(error, &last))?;
        }
        let sent: Vec<usize> = turns.iter().map(|turn| turn.commands.len()).collect();
        for turn in &mut turns {
            messages.append(&mut turn.commands);
        }
        let topics = messages.iter().map(|message| message.topic.clone()).collect();
        let receipts = enqueue_all(tx, &messages).await.map_err(|error| blame(error, &last))?;
        let (mut changed, mut over, mut said) = (0, Vec::new(), Vec::new());
        let (mut erased, mut own) = (Vec::new(), &receipts[..]);
        for (mut turn, sent) in turns.into_iter().zip(sent) {
            if let Status::Ended(end) = turn.state.status {
                over.push((turn.id(), end));
            }
            let (first, rest) = own.split_at(sent.min(own.len()));
            turn.keep_secrets(first, &mut erased);
            own = rest;
            let wrote = turn.write(&mut changes, &mut said);
            changed += usize::from(wrote.map_err(|stop| (stop, last.clone()))?);
        }
        // In one order, so that two transactions cannot wait for each other.
        erased.sort_unstable();
        DB::erase_rows(tx, &erased).await.map_err(|error| blame(error, &last))?;
        DB::save_sagas(tx, &changes).await.map_err(|error| blame(error, &last))?;
        Ok(Wrote { changed, receipts, topics, said, last, over })
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
