//! The work loop: claims instances that have something to decide, and has several transactions
//! decide at once, each its own ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{
    Inner,
    learnt::{Learnt, REMEMBERED},
    local::Stop,
    round::{Claimed, Round},
};
use crate::{
    Storage,
    backoff::Backoff,
    cap,
    error::chain,
    pulse::{Pulse, Wish},
    saga::operate::SET_ASIDE,
    said::Said,
    storage::Signal,
    wake::Decidable,
};

/// The first pause when others have locked what there is.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(10);

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
    let (mut decidable, mut told, mut pause) = (Decidable::default(), false, SHORTEST);
    let (mut watch, mut watched, mut watch_at) = (None, 0, Instant::now());
    let mut said = Said::default();
    let wish = Wish::Sagas(engine.owners.clone());
    let mut ear = Pulse::of(&engine.service).ear(engine.pool.clone(), wish, engine.poll);
    while !stop.is_cancelled() {
        let pool = engine.pool.now();
        if watched != pool.generation() {
            (watch, watched) = (None, pool.generation());
        }
        if watch.is_none() && Instant::now() >= watch_at {
            watch = pool.limit(DB::watch(&pool, Signal::Sagas)).await.ok();
            watch_at = Instant::now() + LONGEST;
        }
        let looking = tokio::time::Instant::now();
        let looked = engine.look(&mut learnt, (told, &mut decidable), &stop).await;
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
                engine.status().aside = learnt.aside.summary();
            }
            Err(error) => {
                let error = chain(&error);
                if let Some(left_out) = said.admit(&error) {
                    tracing::warn!(error, left_out, "sagas could not be decided; tried again");
                }
                engine.status().error = Some(error);
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
        let (mut learnt, stop) = (Learnt::default(), CancellationToken::new());
        self.0.work(&mut learnt, None, &stop).await
    }
}

/// What happens while transactions are under way.
enum Event<'a> {
    /// There may be more to claim.
    News,
    Claimed(crate::Result<Option<Claimed<'a>>>),
    Done(Result<Round, Stop>),
}

/// Waits for what is there; for ever when nothing is.
async fn each<F: Future + Unpin>(waited: Option<F>) -> F::Output {
    match waited {
        Some(waited) => waited.await,
        None => std::future::pending().await,
    }
}

/// Waits until it is told of something, and not longer than a poll.
async fn news(told: Option<&mut Decidable>, poll: Duration) {
    match told {
        Some(told) => drop(tokio::time::timeout(poll, told.next()).await),
        None => std::future::pending().await,
    }
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
        learnt: &mut Learnt,
        (told, decidable): (bool, &mut Decidable),
        stop: &CancellationToken,
    ) -> crate::Result<Looked> {
        if told && self.work(learnt, Some(&mut *decidable), stop).await? {
            return Ok(Looked::Worked);
        }
        let pool = self.pool.now();
        Ok(match pool.limit(DB::saga_due(&pool, &self.owners, self.poll)).await? {
            Some(due) if !due.is_zero() => Looked::Nothing(Some(due)),
            Some(_) if self.work(learnt, Some(decidable), stop).await? => Looked::Worked,
            Some(_) => Looked::Locked,
            None => Looked::Nothing(None),
        })
    }

    /// Decides until nothing is left; whether there was something. Several transactions are under
    /// way at once: what is `told` of meanwhile is claimed past what they have locked.
    async fn work(
        &self,
        learnt: &mut Learnt,
        mut told: Option<&mut Decidable>,
        stop: &CancellationToken,
    ) -> crate::Result<bool> {
        let (mut under_way, mut claiming) = (FuturesUnordered::new(), None);
        // An error that no transaction has disproved since; what is under way is waited for.
        let (mut worked, mut more, mut failed) = (false, true, None);
        // A claim has passed over what is locked here: it may have more to decide by its end.
        let mut passed_over = false;
        loop {
            let limit = if learnt.alone > 0 { 1 } else { self.batch };
            let free = under_way.len() < learnt.at_once(self.at_once);
            if claiming.is_none() && free && more && !stop.is_cancelled() {
                let wanted = (learnt.owners(&self.owners), learnt.aside.now());
                claiming = Some(Box::pin(self.claim(wanted, limit, learnt.take_fresh())));
            }
            if claiming.is_none() && under_way.is_empty() {
                break;
            }
            let event = tokio::select! {
                Some(done) = under_way.next() => Event::Done(done),
                claimed = each(claiming.as_mut()) => Event::Claimed(claimed),
                () = news(told.as_deref_mut(), self.poll), if !more => Event::News,
            };
            match event {
                Event::News => more = true,
                Event::Claimed(claimed) => {
                    claiming = None;
                    passed_over |= !under_way.is_empty();
                    match claimed {
                        Ok(Some(claimed)) => {
                            more &= claimed.count >= limit as usize;
                            let (excused, broken) = (&learnt.excused, &learnt.broken);
                            under_way.push(self.round(
                                claimed,
                                Arc::clone(excused),
                                Arc::clone(broken),
                            ));
                        }
                        Ok(None) => (more, learnt.alone) = (false, 0),
                        Err(error) => (more, failed) = (false, Some(error)),
                    }
                }
                Event::Done(Ok(Round { claimed, changed })) => {
                    (worked, failed) = (worked || changed > 0, None);
                    learnt.alone = learnt.alone.saturating_sub(1);
                    learnt.forget(&claimed);
                    learnt.aside.decided(&claimed, changed);
                    self.status().aside = learnt.aside.summary();
                    match changed {
                        // What is claimed in vain is not claimed again at once.
                        0 => more &= claimed.len() < limit as usize,
                        _ => more |= std::mem::take(&mut passed_over),
                    }
                }
                Event::Done(Err(Stop::Spoilt(key, error))) => {
                    learnt.excuse(key, error);
                    more = true;
                }
                Event::Done(Err(Stop::Disturbed(key, class, error))) => {
                    if learnt.disturbed(*key, class, &error) {
                        more = true;
                    } else {
                        learnt.contended = Some(Instant::now());
                        (more, failed) = (false, Some(error));
                    }
                }
                Event::Done(Err(Stop::Error(error, Some(blame)))) if !error.is_transient() => {
                    match learnt.blame(error, *blame) {
                        Ok(()) => more = true,
                        Err(error) => (more, failed) = (false, Some(error)),
                    }
                    self.note_aside(learnt).await;
                }
                Event::Done(Err(Stop::Error(error, _))) => {
                    learnt.contended = Some(Instant::now());
                    (more, failed) = (false, Some(error));
                }
            }
        }
        learnt.alone = 0;
        // What failed may be locked for a moment still: by its own rollback.
        if learnt.at.is_none_or(|at| at.elapsed() > REMEMBERED) {
            learnt.forget_all();
        }
        failed.map_or(Ok(worked), Err)
    }

    /// Tells of instances that are set aside by the status and in their rows, which others see.
    async fn note_aside(&self, learnt: &mut Learnt) {
        self.status().aside = learnt.aside.summary();
        let Some((id, error)) = learnt.aside.take_unnoted() else { return };
        let (pool, text) = (self.pool.now(), format!("{SET_ASIDE}{}", cap::text(&error)));
        if let Err(error) = pool.limit(DB::note_saga_trouble(&pool, id, &text)).await {
            // It is tried again with the next refusal.
            learnt.aside.is_unnoted(id);
            tracing::debug!(%id, %error, "that a saga is set aside was not stored");
        }
    }
}
