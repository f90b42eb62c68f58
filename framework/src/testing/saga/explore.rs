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

/// Takes a saga through everything that can go wrong. See `docs/testing-sagas.md`.
pub struct Explorer {
    saga: Saga<Sqlite>,
    input: Value,
    /// The orchestrator is the first one.
    services: Vec<Service>,
    check: Option<Check>,
    seed: u64,
    orders: usize,
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
        let (orders, chances) = (100, 200);
        Ok(Self { saga, input, services, check: None, seed, orders, chances, mutant: None })
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
