//! The crash explorer: a user's own saga and participants, each with a SQLite database, through
//! every failure, crash, repeat and order.
//!
//! Whatever the services do happens because the explorer says so: it carries their messages, lets
//! the engine decide, and lets time pass. SQLite asks it before every commit; so it knows each of
//! them, and a process can die there.

mod campaign;
mod check;
mod engine;
mod mutant;
mod report;
mod run;
mod service;
mod valve;
mod watch;
mod world;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use sqlx::{Sqlite, SqlitePool};
use uuid::Uuid;

use super::Mutant;
use crate::{
    HandlerError,
    saga::{End, Saga},
};
use campaign::Campaign;

pub use report::{Report, Violation};
pub use service::Service;

type Check =
    Arc<dyn Fn(Databases, End) -> BoxFuture<'static, Result<(), HandlerError>> + Send + Sync>;

/// So often each step is tried at the most, whatever its definition says: more would only take
/// longer.
const ATTEMPTS: u32 = 2;

/// Takes a saga through everything that can go wrong, on SQLite, in this process: every step is
/// refused, fails once and for good, and is not heard of in time; every message comes twice, late
/// and in other orders; every process dies at every commit and before every answer. At the end of
/// each run every step's effect must have happened once and in order, all steps must be applied or
/// all applied ones compensated, and [`check`](Self::check) must agree.
///
/// ```
/// # use async_trait::async_trait;
/// # use serde_json::Value;
/// # use sqlx::{Sqlite, Transaction};
/// # use syncline::{Envelope, HandlerError, Message, saga::{Outcome, SagaBuilder, SagaHandler}};
/// use syncline::testing::saga::{Explorer, Service};
/// # struct Stock;
/// # #[async_trait]
/// # impl SagaHandler<Sqlite> for Stock {
/// #     async fn apply(&self, tx: &mut Transaction<'_, Sqlite>, _: &Envelope)
/// #         -> Result<Outcome<Value>, HandlerError> {
/// #         sqlx::query("UPDATE stock SET pieces = pieces - 1").execute(&mut **tx).await?;
/// #         Ok(Outcome::Done(Value::Null))
/// #     }
/// #     async fn compensate(&self, tx: &mut Transaction<'_, Sqlite>, _: &Envelope, _: &Value)
/// #         -> Result<(), HandlerError> {
/// #         sqlx::query("UPDATE stock SET pieces = pieces + 1").execute(&mut **tx).await?;
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut saga = SagaBuilder::<Sqlite, ()>::new("order", 1);
/// saga.remote::<_, ()>("reserve", (), |_| Ok(Message::json("stock.reserve", &())?)).compensated().add();
/// saga.local("approve", (), |_tx, _call| Box::pin(async { Ok(Outcome::Done(())) })).pivot().add();
///
/// let report = Explorer::new(saga.build()?, Service::new("orders"), &())?
///     .participant(
///         Service::new("warehouse")
///             .tables("CREATE TABLE stock (pieces INTEGER); INSERT INTO stock VALUES (5)")
///             .handles("stock.reserve", Stock),
///     )
///     .check(|databases, end| Box::pin(async move {
///         let pieces: i64 = sqlx::query_scalar("SELECT pieces FROM stock")
///             .fetch_one(databases.of("warehouse")?).await?;
///         let expected = if end == syncline::saga::End::Completed { 4 } else { 5 };
///         if pieces == expected { Ok(()) } else { Err(format!("{pieces} pieces are left").into()) }
///     }))
///     .courses(1).orders(5).chances(5)
///     .explore()
///     .await?;
/// println!("{report}");
/// # assert!(report.crash_points > 10);
/// # Ok(()) }
/// ```
pub struct Explorer {
    saga: Saga<Sqlite>,
    input: Value,
    /// The orchestrator is the first one.
    services: Vec<Service>,
    check: Option<Check>,
    seed: u64,
    orders: usize,
    courses: usize,
    chances: u64,
    mutant: Option<Mutant>,
}

/// The services' databases at the end of a run.
#[derive(Debug, Clone)]
pub struct Databases(Vec<(String, SqlitePool)>);

impl Databases {
    /// That of the service `name`.
    ///
    /// # Errors
    /// There is no such service.
    pub fn of(&self, name: &str) -> Result<&SqlitePool, HandlerError> {
        let found = self.0.iter().find(|(service, _)| service == name);
        found.map(|(_, pool)| pool).ok_or_else(|| format!("no service {name:?} is explored").into())
    }
}

impl Explorer {
    /// Explores `saga`, which `orchestrator` runs, started with `input`: with it every step must be
    /// applied when nothing goes wrong.
    ///
    /// # Errors
    /// `input` cannot be written as JSON.
    pub fn new(
        saga: Saga<Sqlite>,
        orchestrator: Service,
        input: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        let input = serde_json::to_value(input)?;
        let seed = std::env::var("SYNCLINE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| Uuid::now_v7().as_u64_pair().0);
        let services = vec![orchestrator];
        let (orders, courses, chances) = (100, usize::MAX, 200);
        let (check, mutant) = (None, None);
        let mut saga = saga;
        saga.plan.limit_attempts(ATTEMPTS);
        Ok(Self { saga, input, services, check, seed, orders, courses, chances, mutant })
    }

    /// Another service that takes part.
    #[must_use]
    pub fn participant(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// What must hold in the databases at the end of every run, all applied or all compensated.
    #[must_use]
    pub fn check<F>(mut self, check: F) -> Self
    where
        F: Fn(Databases, End) -> BoxFuture<'static, Result<(), HandlerError>>
            + Send
            + Sync
            + 'static,
    {
        self.check = Some(Arc::new(check));
        self
    }

    /// What decides the runs by chance; without it the environment's `SYNCLINE_SEED`, or a new one.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many orders of arrival are tried one by one, for each course of the saga (100).
    #[must_use]
    pub fn orders(mut self, orders: usize) -> Self {
        self.orders = orders;
        self
    }

    /// In how many of its courses the saga is crashed at every commit and before every answer (all).
    /// The first ones show most: it succeeds, it goes back at the end, a step fails once, a
    /// compensation fails once.
    #[must_use]
    pub fn courses(mut self, courses: usize) -> Self {
        self.courses = courses;
        self
    }

    /// How many runs are made by chance (200): orders, repeats, faults and crashes together.
    #[must_use]
    pub fn chances(mut self, chances: u64) -> Self {
        self.chances = chances;
        self
    }

    /// Breaks the saga on purpose: the exploration must fail.
    #[must_use]
    pub fn mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// Explores.
    ///
    /// # Errors
    /// [`Violation`]: the first run that broke a promise, what went wrong in it on purpose, and
    /// what happened.
    pub async fn explore(&self) -> Result<Report, Violation> {
        Campaign::new(self).explore().await
    }
}
