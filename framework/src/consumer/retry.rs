//! Trying parked keys again: the held messages of a key in order, each in a transaction of
//! its own, until one fails again or none is left.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::Utc;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Inner, OnDead,
    compensation::rejection,
    stop::{Disturbed, Failure, Stop},
};
use crate::{
    Error, Result, Storage,
    error::{Class, chain},
    message::{Envelope, decode_envelope},
    outbox::enqueue,
    pulse::{self, Pulse, Wish},
    storage::{Cause, HeldMessage, Lent},
    wake,
};

/// How far ahead due keys are looked for; also the pause after the database failed.
const LOOK: Duration = Duration::from_millis(1_200);
/// How many due keys are read at a look.
const KEYS: i64 = 100;
/// How many keys are tried at once.
const AT_ONCE: usize = 4;

pub(super) async fn run<DB: Storage>(consumer: Arc<Inner<DB>>, stop: CancellationToken) {
    if let Err(error) = consumer.wake_unknown().await {
        tracing::warn!(consumer = consumer.name, %error, "unknown messages wait a little longer");
    }
    let (mut running, mut busy) = (JoinSet::new(), HashSet::new());
    let wish = Wish::Parked(consumer.name.clone());
    let mut ear = Pulse::of(&consumer.service).ear(consumer.pool.clone(), wish, pulse::EVERY);
    while !stop.is_cancelled() {
        let (mut next, looked) = (None, Instant::now());
        let pool = consumer.pool.now();
        match pool.limit(DB::due_keys(&pool, &consumer.name, LOOK, KEYS)).await {
            Ok(due) => {
                for due in due {
                    if !due.due_in.is_zero() {
                        next = Some(due.due_in);
                        break;
                    }
                    let key = (due.source, due.key);
                    if running.len() < AT_ONCE && busy.insert(key.clone()) {
                        running.spawn(retry(Arc::clone(&consumer), key, stop.clone()));
                    }
                }
            }
            Err(error) => {
                if let Some(left_out) = consumer.said.admit("due", &error.to_string()) {
                    let consumer = &consumer.name;
                    tracing::warn!(consumer, %error, left_out, "due keys could not be read");
                }
                next = Some(LOOK);
            }
        }
        let due = async {
            match next {
                Some(next) => tokio::time::sleep(next).await,
                None => ear.due(looked).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            Some(done) = running.join_next() => match done {
                Ok(key) => drop(busy.remove(&key)),
                Err(_) => busy.clear(),
            },
            () = consumer.parked.notified() => {}
            () = due => {}
        }
    }
    while running.join_next().await.is_some() {}
}

async fn retry<DB: Storage>(
    consumer: Arc<Inner<DB>>,
    (source, key): (String, String),
    stop: CancellationToken,
) -> (String, String) {
    if let Err(error) = consumer.retry_key(&source, &key, &stop).await {
        if let Some(left_out) = consumer.said.admit("retry", &error.to_string()) {
            tracing::warn!(consumer = consumer.name, source, key, %error, left_out, "retry failed");
        }
        // It is still due.
        stop.run_until_cancelled(tokio::time::sleep(LOOK)).await;
    }
    (source, key)
}

/// What one transaction of a retry came to.
enum Step {
    /// A message was applied, or its outcome recorded, and the key has more that is due.
    More,
    /// Nothing is left to do now.
    Rest,
}

/// Why it came to nothing.
struct Stopped {
    stop: Stop,
    /// The first message, if it was reached.
    first: Option<Box<(HeldMessage, Envelope)>>,
}

impl<E: Into<Stop>> From<E> for Stopped {
    fn from(stop: E) -> Self {
        Self { stop: stop.into(), first: None }
    }
}

impl Cause for Stopped {
    fn cause(&self) -> Option<&Error> {
        self.stop.cause()
    }
}

impl<DB: Storage> Inner<DB> {
    /// A program that has just started may know what nobody knew before.
    async fn wake_unknown(&self) -> Result<()> {
        let pool = self.pool.now();
        for (source, key) in pool.limit(DB::unknown_keys(&pool, &self.name)).await? {
            let wake = async {
                let mut tx = self.begin().await?;
                if DB::lock_parked(&mut tx, &self.name, &source, &key).await? {
                    DB::park(&mut tx, &self.name, &source, &key, Some(Duration::ZERO)).await?;
                }
                tx.commit().await.map_err(Error::database("wake an unknown message"))
            };
            self.limited(wake).await?;
        }
        Ok(())
    }

    async fn retry_key(&self, source: &str, key: &str, stop: &CancellationToken) -> Result<()> {
        let mut fresh = false;
        while !stop.is_cancelled() {
            let retried = self.retry_first(source, key, fresh);
            let Stopped { stop, first } = match self.limited(wake::committing(retried)).await {
                Ok(Step::More) => {
                    fresh = false;
                    continue;
                }
                Ok(Step::Rest) => return Ok(()),
                Err(stopped) => stopped,
            };
            let failure = match (stop, &first) {
                (Stop::Failed(_, failure), _) => failure,
                (Stop::Disturbed(Disturbed { class: Class::Stale, error, .. }), _) => {
                    if !fresh {
                        tracing::info!(
                            consumer = self.name, key, %error, "tried again on a fresh connection"
                        );
                        fresh = true;
                        continue;
                    }
                    Failure::Cut(chain(&error))
                }
                (Stop::Disturbed(disturbed), Some(first)) => {
                    match self.stands(&first.1, &disturbed) {
                        None => return Err(disturbed.error),
                        Some(why) => Failure::Cut(why),
                    }
                }
                (Stop::Transient(error) | Stop::Broken(error), _) => return Err(error),
                _ => return Ok(()),
            };
            let Some(first) = first else { return Ok(()) };
            let (held, message) = *first;
            self.limited(self.record(source, key, &held, &message, failure)).await?;
            self.standing.parked(&message);
            return Ok(());
        }
        Ok(())
    }

    /// Applies the key's first held message, or unparks the key when there is none.
    async fn retry_first(&self, source: &str, key: &str, fresh: bool) -> Result<Step, Stopped> {
        let mut lent = self.lend(fresh).await?;
        let done = self.retry_by(&mut lent, source, key).await;
        lent.give_back(done.as_ref().is_err_and(|stopped| stopped.stop.spoils()));
        done
    }

    async fn retry_by(
        &self,
        lent: &mut Lent<DB>,
        source: &str,
        key: &str,
    ) -> Result<Step, Stopped> {
        let mut tx = lent.begin(self.opening()).await?;
        // Nobody else tries it while the handler may still be running.
        let claim = self.timeout * 2;
        if !DB::take_due(&mut tx, &self.name, source, key, claim).await? {
            return Ok(Step::Rest);
        }
        let block = self.on_dead == OnDead::Block;
        let held = DB::held_of_key(&mut tx, &self.name, source, key, block, 2).await?;
        let mut applied = None;
        let step = match held.first() {
            None => {
                DB::unpark(&mut tx, &self.name, source, key).await?;
                Step::Rest
            }
            Some(first) if first.dead => {
                DB::park(&mut tx, &self.name, source, key, None).await?;
                Step::Rest
            }
            Some(first) => {
                let message = match decode_envelope(&first.envelope) {
                    Ok(message) => message,
                    Err(error) => {
                        let problem = format!("held message {}: {error}", first.id);
                        return Err(Error::LogBroken { position: first.position.0, problem }.into());
                    }
                };
                let mark = DB::mark_transaction(&mut tx).await?;
                let called =
                    self.invoke_all(&mut tx, (&mark, false), std::slice::from_ref(&message));
                if let Err(stop) = called.await {
                    let first = Some(Box::new((first.clone(), message)));
                    return Err(Stopped { stop, first });
                }
                DB::unhold(&mut tx, first.id).await?;
                match held.len() {
                    1 => DB::unpark(&mut tx, &self.name, source, key).await?,
                    _ => DB::park(&mut tx, &self.name, source, key, Some(Duration::ZERO)).await?,
                }
                applied = Some(message);
                if held.len() == 1 { Step::Rest } else { Step::More }
            }
        };
        tx.commit().await.map_err(Error::database("commit a retry"))?;
        if let (Some(message), Some(first)) = (&applied, held.first()) {
            let stood_s = (Utc::now() - first.held_at).num_seconds().max(0);
            tracing::info!(
                consumer = self.name, topic = message.topic, key, id = %message.id, source,
                attempts = first.attempts, stood_s, "held message applied"
            );
        }
        self.standing.applied(applied.as_slice());
        Ok(step)
    }

    /// Records a failed try in a transaction of its own; a rejection ends the message.
    async fn record(
        &self,
        source: &str,
        key: &str,
        held: &HeldMessage,
        message: &Envelope,
        failure: Failure,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        if !DB::lock_parked(&mut tx, &self.name, source, key).await? {
            return Ok(());
        }
        let (mut receipt, mut failed) = (None, None);
        if let Failure::Reject(reason) = &failure {
            receipt = Some(enqueue(&mut tx, &rejection(&self.name, message, reason)?).await?);
            DB::unhold(&mut tx, held.id).await?;
            DB::park(&mut tx, &self.name, source, key, Some(Duration::ZERO)).await?;
        } else if let Failure::Unknown(error) = &failure {
            let next = self.next_try(&failure, held.attempts);
            DB::mark_unknown(&mut tx, held.id, error).await?;
            DB::park(&mut tx, &self.name, source, key, next.after).await?;
        } else {
            let attempt = held.attempts.saturating_add(1);
            let next = self.next_try(&failure, attempt);
            DB::tried(&mut tx, held.id, &next.error, next.dead).await?;
            DB::park(&mut tx, &self.name, source, key, next.after).await?;
            failed = Some((attempt, next));
        }
        tx.commit().await.map_err(Error::database("commit a retry"))?;
        match (&failed, &failure) {
            (Some((attempt, next)), _) => self.tell_failed(message, key, *attempt, &failure, next),
            (None, Failure::Reject(reason)) => self.tell_rejected(message, reason),
            _ => {}
        }
        if let Some(receipt) = receipt {
            receipt.committed();
        }
        Ok(())
    }
}
