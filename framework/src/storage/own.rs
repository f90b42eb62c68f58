//! Pools of our own. Every use of one has a time limit on our side.
//!
//! Only a clock of ours tells that a connection is dead: a proxy, a gateway or a server that is
//! frozen swallows what it is sent and resets nothing. Such a connection must not go back to its
//! pool, where sqlx (0.9.0) would wait for it without a limit while it keeps its place (sqlx issue
//! 4349). Its neighbours have most likely died with it. So the whole pool is replaced: what is under
//! way on the old one finishes, and its connections are closed after that.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::Pool;
use tokio::time::{Instant, sleep_until, timeout};

use super::Base;
use crate::{Error, Result, cap, error::is_exhausted};

/// How long the connections of a pool that was replaced may take to be closed.
const CLOSING: Duration = Duration::from_secs(60);
/// Time limit on waiting for a pool to be closed.
const PARTING: Duration = Duration::from_secs(5);
/// A limit that is not reached: while user code runs, which has one of its own.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

tokio::task_local! {
    static CLOCK: Clock;
}

/// Makes a pool like the service's; none where the service's own is used.
type Make<DB> = dyn Fn(&Pool<DB>) -> Option<Pool<DB>> + Send + Sync;

/// A pool that is replaced when the database does not answer by it.
pub(crate) struct Own<DB: Base>(Arc<Inner<DB>>);

impl<DB: Base> Clone for Own<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<DB: Base> {
    /// Whose it is, for the log.
    of: String,
    service: Pool<DB>,
    make: Box<Make<DB>>,
    limit: Duration,
    state: Mutex<State<DB>>,
}

struct State<DB: Base> {
    /// Made when it is first used: that needs a runtime.
    pool: Option<Pool<DB>>,
    /// How often it was replaced.
    generation: u64,
    /// When the database answered last.
    answered: Instant,
}

/// What can go wrong with work on a pool.
pub(crate) trait Cause: From<Error> {
    /// The database's part in it.
    fn cause(&self) -> Option<&Error>;
}

impl Cause for Error {
    fn cause(&self) -> Option<&Error> {
        Some(self)
    }
}

/// The pool as it is now.
pub(crate) struct Current<DB: Base> {
    pool: Pool<DB>,
    generation: u64,
    own: Own<DB>,
}

impl<DB: Base> Deref for Current<DB> {
    type Target = Pool<DB>;

    fn deref(&self) -> &Pool<DB> {
        &self.pool
    }
}

impl<DB: Base> Own<DB> {
    /// The pool that `make` makes of `service`, each use limited to `limit`; `of` says in the log
    /// whose it is. Where it makes none, the service's is used, which is not replaced.
    pub(crate) fn new(
        of: impl Into<String>,
        service: &Pool<DB>,
        limit: Duration,
        make: impl Fn(&Pool<DB>) -> Option<Pool<DB>> + Send + Sync + 'static,
    ) -> Self {
        let state = State { pool: None, generation: 0, answered: Instant::now() };
        Self(Arc::new(Inner {
            of: of.into(),
            service: service.clone(),
            make: Box::new(make),
            limit: cap::duration(limit),
            state: Mutex::new(state),
        }))
    }

    /// The service's pool, which only the service replaces.
    pub(crate) fn service(of: impl Into<String>, service: &Pool<DB>, limit: Duration) -> Self {
        Self::new(of, service, limit, |_| None)
    }

    pub(crate) fn now(&self) -> Current<DB> {
        let mut state = self.state();
        let inner = &self.0;
        let pool = state.pool.get_or_insert_with(|| inner.make()).clone();
        Current { pool, generation: state.generation, own: self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State<DB>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self, generation: u64, waited: Duration) {
        let pool = self.0.make();
        if self.replace(generation, pool) {
            tracing::warn!(
                of = self.0.of,
                database = DB::LABEL,
                ?waited,
                "the database has not answered in time: its connections are closed and made anew; \
                 look at the network, proxies and poolers between here and it, at locks, and whether \
                 it is frozen or overloaded"
            );
        }
    }

    /// What one connection has said, the others would say as well.
    fn condemned(&self, generation: u64, error: &Error) {
        let Some(pool) = (self.0.make)(&self.0.service) else { return };
        if self.replace(generation, pool) {
            tracing::info!(
                of = self.0.of, database = DB::LABEL, %error,
                "connections are closed and made anew: they know another schema, or take no writes"
            );
        }
    }

    fn replace(&self, generation: u64, pool: Pool<DB>) -> bool {
        let mut state = self.state();
        if state.generation != generation {
            return false;
        }
        state.generation += 1;
        let old = state.pool.replace(pool);
        drop(state);
        let ours = |pool: &Pool<DB>| {
            !Arc::ptr_eq(&pool.connect_options(), &self.0.service.connect_options())
        };
        if let Some(old) = old.filter(ours) {
            tokio::spawn(async move { drop(timeout(CLOSING, old.close()).await) });
        }
        true
    }
}

/// Closes `pool` and waits for that, but not for long: sqlx waits for the answer of each connection.
pub(crate) async fn close<DB: Base>(pool: &Pool<DB>) {
    drop(timeout(PARTING, pool.close()).await);
}

impl<DB: Base> Inner<DB> {
    fn make(&self) -> Pool<DB> {
        (self.make)(&self.service).unwrap_or_else(|| self.service.clone())
    }
}

impl<DB: Base> Current<DB> {
    /// Waits for `work` on this pool, for a limited time that begins anew whenever user code ends.
    ///
    /// # Errors
    /// [`Error::Unanswered`] when the time is up: the pool is replaced.
    pub(crate) async fn limit<T, E: Cause>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.limit_to(self.own.0.limit, work).await
    }

    /// As [`Current::limit`], with another limit.
    pub(crate) async fn limit_to<T, E: Cause>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (clock, began) = (Clock::new(limit), Instant::now());
        let done = tokio::select! {
            done = CLOCK.scope(clock.clone(), work) => done,
            () = clock.run_out() => {
                self.own.unanswered(self.generation, began.elapsed());
                let (database, seconds) = (DB::LABEL, limit.as_secs_f64());
                return Err(Error::Unanswered { database, seconds }.into());
            }
        };
        match &done {
            Ok(_) => self.own.state().answered = Instant::now(),
            Err(error) => {
                let error = error.cause();
                // Others may only have used all connections; but they get answers.
                let dead = error.is_some_and(is_exhausted) && self.own.state().answered < began;
                if dead {
                    self.own.unanswered(self.generation, began.elapsed());
                } else if let Some(error) = error.filter(|error| error.condemns_pool()) {
                    self.own.condemned(self.generation, error);
                }
            }
        }
        done
    }

    /// Waits for the turn of somebody whose uses of the pool are limited one by one, as long as for
    /// one of them. The pool is not blamed.
    ///
    /// # Errors
    /// [`Error::Unanswered`] when the time is up.
    pub(crate) async fn await_turn<T>(&self, turn: impl Future<Output = T>) -> Result<T> {
        let limit = self.own.0.limit;
        let (database, seconds) = (DB::LABEL, limit.as_secs_f64());
        timeout(limit, turn).await.map_err(|_| Error::Unanswered { database, seconds })
    }

    /// How often the pool was replaced: what keeps a connection of it is made anew with it.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

/// When a limit is reached; it stands still while user code runs.
#[derive(Clone)]
struct Clock {
    limit: Duration,
    until: Arc<Mutex<Instant>>,
}

impl Clock {
    fn new(limit: Duration) -> Self {
        Self { limit, until: Arc::new(Mutex::new(Instant::now() + limit)) }
    }

    fn until(&self) -> MutexGuard<'_, Instant> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run_out(&self) {
        loop {
            // Nobody is told when it is set: it is looked at again, once in a limit.
            let until = *self.until();
            let now = Instant::now();
            if until <= now {
                return;
            }
            sleep_until(until.min(now + self.limit)).await;
        }
    }

    fn set(&self, rest: Duration) {
        *self.until() = Instant::now() + rest;
    }
}

/// Starts the clock anew, however the user code before it has ended.
struct Resumed(Clock);

impl Drop for Resumed {
    fn drop(&mut self) {
        self.0.set(self.0.limit);
    }
}

/// Waits for `code` of the user's, which has a limit of its own: the clock of the transaction
/// around it stands still.
pub(crate) async fn user_code<T>(code: impl Future<Output = T>) -> T {
    let resumed = CLOCK.try_with(Clone::clone).ok().map(|clock| {
        clock.set(FAR);
        Resumed(clock)
    });
    let done = code.await;
    drop(resumed);
    done
}
